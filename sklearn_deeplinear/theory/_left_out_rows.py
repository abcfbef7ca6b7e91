"""The rows of a data set, seen from the eigenbasis of A, for leaving out each of them.

With R_x = U diag(sigma) V^T put u_i = V^T x_i / sigma, the row of U that belongs to sample i
less its weight, and t = U^T r_y, so that the least-squares prediction of y_i is u_i^T t. Let
s_i be the share of sample i in the sum of the weights, c = 1 for centred moments and 0 else.
Leaving it out makes

    A_i = (A - r_i x_i x_i^T) / (1 - s_i),     S_i = (S - r_i y_i x_i^T) / (1 - s_i),

r_i = s_i / (1 - c s_i): the mean moves to -r_i x_i if there is one. By Sherman and Morrison
(1950) the ridge solution S_i (A_i + mu I)^(-1), at tau = (1 - s_i) mu, has the coordinates

    kept (t - s_i e_i u_i) / sigma,      e_i = (u_i^T (dropped t) + o_i) / g_i,
    g_i = s_i u_i^2^T dropped + (1 - c s_i - s_i ||u_i||^2),

kept = sigma^2 / (sigma^2 + tau), dropped = 1 - kept, o_i = y_i - u_i^T t; and e_i is what it
misses y_i by. Nothing cancels in these sums: where no map misses its sample, as in wide data,
numerator and denominator vanish together as tau does, and the last terms are exactly zero.
Else the last term of g, what the sample lacks to a leverage of one, is known to about eps times
the condition number of R_x: where it is as small as that, so are the digits of e_i.
The entries of u_i are known to as much, too: of a row that is huge in some columns the others are
small, and alone decide where its large ones are kept. Of three rows of condition 2,000 six digits
of such an e_i were left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy

from sklearn_deeplinear.theory._location import shares_of
from sklearn_deeplinear.theory._moments import SecondMoments

# Without a sample of share s the gradient at zero has 1 - s of its size: its square, which the
# equation is about, is a difference that must keep ten digits.
_DOMINANT = 0.999

# What does not depend on the target.
_OF_INPUTS = "a", "basis", "weighted_squares", "typical", "whole", "leverage"

# Numbers of eigenvalues that are few enough, and what remains of a function that is rounding.
_FEW, _NOTHING = 16, 1e-15


@dataclass(frozen=True, eq=False)
class LeftOutRows:
    """Rows to be left out one at a time, with one target.

    Attributes
    ----------
    moments : SecondMoments
        Of all rows, with one output.
    u : ndarray of shape (n, k)
        Rows in the eigenbasis of A, in units of its square root.
    y : ndarray of shape (n,)
        Targets, less their mean if the moments are centred.
    share : ndarray of shape (n,)
        Weights of sum one; rows of weight zero are left out of nothing.
    """

    moments: SecondMoments
    u: np.ndarray
    y: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, moments, X, y, sample_weight=None) -> LeftOutRows:
        """Rows of the data X (n, d) and y (n,) that the `moments` were made of.

        Raises
        ------
        ValueError
            If fewer than two rows have weight, or one has nearly all of it.
        """
        share, spectrum = shares_to_leave_out(len(X), sample_weight), moments.spectrum
        if share.max() > _DOMINANT:
            raise ValueError(
                "sample_weight must not give a sample more than 99.9 % of all weight in "
                "leave-one-out: what is left without it would be rounding error. Use a splitter."
            )
        # There cannot be more directions, whatever rounding makes of the singular values.
        rank = min(len(spectrum.sigma), np.count_nonzero(share) - moments.centered)
        V = spectrum.directions[:, :rank]
        u = ((X - moments.mean_x) @ V) / spectrum.sigma[:rank]
        return cls(moments, u, y - moments.mean_y[0], share)

    def with_target(self, moments, y) -> LeftOutRows:
        """The same rows with another target, of the `moments` of the same inputs."""
        rows = replace(self, moments=moments, y=y - moments.mean_y[0])
        vars(rows).update({name: getattr(self, name) for name in _OF_INPUTS})
        return rows

    @property
    def sigma(self):
        """Singular values of the input factor, shape (k,)."""
        return self.moments.spectrum.sigma[: self.u.shape[1]]

    @property
    def directions(self):
        """Eigenvectors of A, shape (d, k)."""
        return self.moments.spectrum.directions[:, : self.u.shape[1]]

    @property
    def target(self):
        """t, shape (k,)."""
        return self.moments.spectrum.targets[: self.u.shape[1], 0]

    @cached_property
    def a(self):
        """Eigenvalues of A in units of the largest one, shape (k,)."""
        return (self.sigma / self.sigma[:1]) ** 2

    @cached_property
    def basis(self):
        """Orthonormal vectors (k, p) that span ``1 / (a + tau)`` for all tau; None if p is large.

        Eigenvalues close to each other make much the same of tau: for 50 between 0.5 and 1 there
        are 12 vectors.
        """
        k = len(self.a)
        if k <= _FEW:
            return None
        tau = np.exp(np.arange(np.log(self.a[-1]) - 4, 4, 0.25))
        functions = np.column_stack([1 / (self.a[:, None] + tau), 1 / self.a, np.ones(k)])
        functions /= functions.max(axis=0)
        Q, R, _ = scipy.linalg.qr(functions, mode="economic", pivoting=True)
        sizes = np.abs(np.diag(R))
        p = np.count_nonzero(sizes > _NOTHING * sizes[0])
        return Q[:, :p].copy() if p <= k / 2 else None

    @cached_property
    def products(self):
        """t_k u_ik in the basis, of shape (n, p)."""
        return self._in_basis(self.u * self.target)

    @cached_property
    def weighted_squares(self):
        """s_i u_ik^2 in the basis, of shape (n, p)."""
        return self._in_basis(self.share[:, None] * self.u**2)

    def _in_basis(self, rows):
        return rows if self.basis is None else rows @ self.basis

    @cached_property
    def typical(self):
        """A share that is that of all samples if they are equal."""
        return float(np.median(self.share))

    @cached_property
    def size(self):
        """Root mean square of the targets, a unit for them."""
        largest = np.abs(self.y).max() or 1.0
        return float(largest * np.sqrt(self.share @ (self.y / largest) ** 2)) or 1.0

    @cached_property
    def whole(self):
        """g where everything is dropped, ``1 - c s_i``, shape (n,)."""
        return 1 - self.moments.centered * self.share

    @cached_property
    def residual_of_zero(self):
        """What the zero map misses the samples by, shape (n,)."""
        return self.y / self.whole

    @cached_property
    def leverage(self):
        """``s_i ||u_i||^2``, shape (n,)."""
        return self.share * np.sum(self.u**2, axis=1)

    @cached_property
    def unfitted(self):
        """``1 - c s_i - s_i ||u_i||^2`` and o_i, both of shape (n,): zero where all maps fit."""
        n = np.count_nonzero(self.share)
        rest = self.whole - self.leverage
        missed = self.y - self.u @ self.target
        if len(self.sigma) == n - self.moments.centered:
            fitted = self.share > 0
        else:
            # Directions of small singular values are known to eps times the condition number.
            condition = self.sigma[0] / self.sigma[-1] if len(self.sigma) else 1.0
            fitted = rest <= np.finfo(float).eps * max(self.u.shape) * condition
        return np.where(fitted, 0.0, rest), np.where(fitted, 0.0, missed)

    def residuals_of_least_squares(self):
        """The limit of e_i for no penalty, shape (n,)."""
        rest, missed = self.unfitted
        fitted = rest == 0
        residuals = missed / np.where(fitted, 1.0, rest)
        # There both vanish like tau, in the ratio of their first derivatives.
        u, share = self.u[fitted], self.share[fitted]
        residuals[fitted] = u @ (self.target / self.a) / (share * (u**2 @ (1 / self.a)))
        return residuals

    def coordinates(self, residuals, x):
        """Maps V without each of the samples (n, k), at ``x = log(tau / sigma_1^2)`` (n,)."""
        with np.errstate(over="ignore"):
            kept = 1 / (1 + np.exp(x)[:, None] / self.a)
        return kept * (self.target - (self.share * residuals)[:, None] * self.u) / self.sigma

    def intercepts(self, coordinates):
        """Intercepts (n,) of the left-out problems for inputs less ``moments.mean_x``."""
        if not self.moments.centered:
            return np.zeros(len(self.y))
        moved = self.share / self.whole  # the mean without sample i, in units of -x_i
        at_x = np.sum(coordinates * (self.sigma * self.u), axis=1)
        return self.moments.mean_y[0] - moved * (self.y - at_x)


def shares_to_leave_out(n_samples, sample_weight=None):
    """Weights of sum one, None for equal ones.

    Raises
    ------
    ValueError
        If fewer than two samples have weight.
    """
    share = shares_of(np.ones(n_samples) if sample_weight is None else sample_weight)
    if np.count_nonzero(share) < 2:
        raise ValueError(
            "leave-one-out needs at least two samples of positive sample_weight, got "
            f"n_samples = {np.count_nonzero(share)}."
        )
    return share
