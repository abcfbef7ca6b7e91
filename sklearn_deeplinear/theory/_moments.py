"""Second moments of a data set, held as a factor.

A linear network sees its training data only through A = E[x x^T], S = E[y x^T] and
c = E||y||^2. Forming A squares the condition number of the data, so the moments are
held as a factor R with R^T R = E[(x, y) (x, y)^T] of no more rows than columns: the
least-squares solution read off R is as accurate as one computed from the data, and two
factors merge by one more decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from sklearn_deeplinear._parameters import as_array
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._batches import block_rows
from sklearn_deeplinear.theory._decompositions import eigh
from sklearn_deeplinear.theory._factor import tall_factor
from sklearn_deeplinear.theory._location import Location
from sklearn_deeplinear.theory._sparse_rows import sparse_moments
from sklearn_deeplinear.theory._unequal_columns import unequal_svd
from sklearn_deeplinear.theory._wide_factor import thin_svd

# Errors of sums over rows are a random walk; directions are rounding up to so many times its
# length. Of 20,000 sets of a known rank 790 had one more with the size of the factor alone.
_WALK = 2.0
# Relative errors that moments made by others may have, and S after the division by the root of A
# and the multiplication with it.
_GIVEN, _IN_RANGE = 1e-10, 1e-8


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular value decomposition R_x = U diag(sigma) V^T of the input factor.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values, descending; their squares are the non-zero eigenvalues of A.
        Directions whose singular value is rounding error are left out.
    directions : ndarray of shape (d, k)
        V, orthonormal columns: the eigenvectors of A.
    targets : ndarray of shape (k, m)
        U^T R_y, so that S = targets^T diag(sigma) V^T.
    residual : float
        Mean squared error of least squares, c - ||targets||_F^2 without cancellation.
    """

    sigma: np.ndarray
    directions: np.ndarray
    targets: np.ndarray
    residual: float

    def __repr__(self):
        return one_line(self, "sigma", "directions", "targets", "residual")

    @property
    def _target_norms(self) -> np.ndarray:
        """Norms of the rows of `targets`, shape (k,), whose squares may be no numbers."""
        return np.hypot.reduce(np.abs(self.targets), axis=1)


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """Weighted second moments of inputs and targets, centred by default.

    Build them with :meth:`from_data`, :meth:`from_batches` or :meth:`from_moments`;
    ``a + b`` merges the moments of two data sets.

    Attributes
    ----------
    factor : ndarray of shape (k, d + m), float64
        Factor of the second moments: ``factor.T @ factor`` is the weighted mean of
        ``(x, y) (x, y)^T``, with x and y centred unless ``centered`` is False.
    mean_x : ndarray of shape (d,)
        Weighted mean of the inputs; zero when the moments are not centred.
    mean_y : ndarray of shape (m,)
        Weighted mean of the targets; zero when the moments are not centred.
    n_samples : int
        Number of rows seen, rows of weight zero included.
    sum_weight : float
        Sum of the sample weights; infinity where it exceeds the largest float64, which
        harms nothing, as only ratios of weights matter.
    centered : bool
        Whether the means were taken out.
    single_target : bool
        Whether the targets were given as a vector; predictions then are vectors too.

    Notes
    -----
    Any units will do as long as the squares of the data are float64 numbers: from about
    1e-150 to 1e150. Larger data are refused; of smaller ones the factor is right, but A, S
    and c lose digits below 1e-308. Columns may differ in size by up to 1e25, if none depends
    on the others: else what is smaller than the rounding error of the largest column counts as
    constant.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_deeplinear.theory import SecondMoments
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> moments = SecondMoments.from_data(X, y)
    >>> moments.input_moment.round(4), moments.cross_moment.round(4)
    (array([[0.6667]]), array([[1.3333]]))
    >>> halves = SecondMoments.from_data(X[:1], y[:1]) + SecondMoments.from_data(X[1:], y[1:])
    >>> np.allclose(halves.input_moment, moments.input_moment)
    True
    """

    factor: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray
    n_samples: int
    sum_weight: float
    centered: bool = True
    single_target: bool = False
    _location: Location | None = field(default=None, repr=False)

    @classmethod
    def from_data(cls, X, y, sample_weight=None, *, center=True) -> SecondMoments:
        """Moments of a data set, read in blocks of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, d)
            Inputs: an array, a memmap, or anything of two dimensions whose slices of
            rows convert to arrays (zarr, h5py). Never copied whole. Of a sparse
            matrix the products are taken; it is filled in, a block of rows at a time,
            only where they would lose digits. Chunks of dask arrays and data frames
            are read by tasks of dask, and nothing but moments leaves these.
        y : array-like of shape (n_samples,) or (n_samples, m)
            Targets; with dask inputs of unknown chunk sizes, as data frames have them, a
            dask array or series of the same chunks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative and not all zero; None weights all rows
            equally.
        center : bool, default=True
            Take the weighted means out. False gives the moments about zero, for
            models without intercept.

        Returns
        -------
        moments : SecondMoments

        Raises
        ------
        ValueError
            If shapes do not match, there is no row, values are not finite or so large
            that their squares are not, or the weights are negative or sum to zero.
        """
        return cls.from_batches([(X, y, sample_weight)], center=center)

    @classmethod
    def from_batches(cls, batches, *, center=True) -> SecondMoments:
        """Moments of a data set that arrives in batches.

        Parameters
        ----------
        batches : iterable of (X, y) or (X, y, sample_weight)
            Batches as :meth:`from_data` takes them, of any sizes. The weights of some
            may be zero everywhere, those of all may not.
        center : bool, default=True
            Take the weighted means out.

        Returns
        -------
        moments : SecondMoments

        Raises
        ------
        ValueError
            If there is no batch, or one is not valid for :meth:`from_data`.
        """
        from sklearn_deeplinear.theory._tally import Tally

        total = Tally.of(batches, center)
        if not total.n_samples:
            raise ValueError("X must have rows, at least one batch of them; got none.")
        return total.moments

    @classmethod
    def from_moments(cls, input_moment, cross_moment, output_moment) -> SecondMoments:
        """Moments given as matrices, for populations and worked examples.

        Parameters
        ----------
        input_moment : array-like of shape (d, d)
            A = E[x x^T], symmetric and positive semi-definite.
        cross_moment : array-like of shape (m, d)
            S = E[y x^T].
        output_moment : float
            c = E||y||^2, at least what the inputs explain of it.

        Returns
        -------
        moments : SecondMoments
            With zero means, one sample and weight one.

        Raises
        ------
        ValueError
            If the matrices do not fit each other or are moments of no distribution.
        """
        A = np.atleast_2d(as_array(input_moment, "input_moment"))
        S = np.atleast_2d(as_array(cross_moment, "cross_moment"))
        c = as_array(output_moment, "output_moment")
        if S.ndim != 2 or c.ndim:
            raise ValueError(
                "cross_moment must have shape (m, d) and output_moment be a number, got shapes "
                f"{S.shape} and {c.shape}."
            )
        c, (m, d) = float(c), S.shape
        if A.shape != (d, d):
            raise ValueError(
                f"input_moment must have shape ({d}, {d}) to match cross_moment, got {A.shape}."
            )
        if not (np.isfinite(A).all() and np.isfinite(S).all() and np.isfinite(c)):
            raise ValueError("input_moment, cross_moment and output_moment must be finite.")
        if not np.allclose(A, A.T, rtol=_GIVEN, atol=1e-2 * _GIVEN * np.abs(A).max()):
            raise ValueError("input_moment must be symmetric.")
        eigenvalues, V = eigh((A + A.T) / 2)
        top = max(eigenvalues[-1], 0.0)
        keep = eigenvalues > d * np.finfo(float).eps * top
        if eigenvalues[0] < -_GIVEN * top:
            raise ValueError("input_moment must be positive semi-definite.")
        sigma, V = np.sqrt(eigenvalues[keep]), V[:, keep]
        R_x = sigma[:, None] * V.T
        R_xy = (V.T @ S.T) / sigma[:, None]
        if not np.allclose(R_xy.T @ R_x, S, rtol=_IN_RANGE, atol=_IN_RANGE * np.abs(S).max()):
            raise ValueError("cross_moment must lie in the range of input_moment.")
        residual = c - np.sum(R_xy**2)
        if residual < -_GIVEN * abs(c):
            raise ValueError(
                f"output_moment must be at least {np.sum(R_xy**2):g}, what the inputs explain; "
                f"got {c:g}."
            )
        # Only the trace of the output moment enters a squared loss, so the unexplained
        # part may be spread evenly over the outputs.
        R_yy = np.sqrt(max(residual, 0.0) / m) * np.eye(m)
        factor = np.block([[R_x, R_xy], [np.zeros((m, d)), R_yy]])
        return cls(factor, np.zeros(d), np.zeros(m), 1, 1.0, True, False)

    @classmethod
    def _blocks(cls, X, y, weight, center):
        """Yield the moments of blocks of rows, but of those without weight."""
        if weight is not None and not weight.any():
            return
        n, n_columns = X.shape[0], X.shape[1] + (y.shape[1:] or (1,))[0]
        sparse = hasattr(X, "tocsr")
        if sparse:
            Y = np.asarray(y, dtype=np.float64).reshape(n, -1)
            location, factor = sparse_moments(X, Y, weight, center)
            if factor is not None:
                yield cls._at(location, factor, X.shape[1], n_samples=n, centered=center)
                return
        size = min(block_rows(n, n_columns), n)
        buffer = np.empty((size, n_columns))  # of all blocks: new memory is slow
        for start in range(0, n, size):
            rows = slice(start, start + size)
            share = None if weight is None else weight[rows]
            if share is None or share.any():
                dense = X[rows].toarray() if sparse else X[rows]
                yield cls._from_block(dense, y[rows], share, center, buffer)

    @classmethod
    def _from_block(cls, X, y, weight, center, buffer) -> SecondMoments:
        X, y = np.asarray(X), np.asarray(y)
        d = X.shape[1]
        rows = buffer[: len(X)]
        rows[:, :d], rows[:, d:] = X, y.reshape(len(y), -1)
        if weight is not None:  # what weighs nothing must not widen the range either
            rows[weight == 0] = rows[weight.argmax()]
        with np.errstate(over="ignore", invalid="ignore"):
            location, scale = Location.of_rows(rows, weight, center, d)
            factor = scale * tall_factor(rows)
        return cls._at(location, factor, d, n_samples=len(X), centered=center)

    @classmethod
    def _at(cls, location, factor, n_inputs, **others) -> SecondMoments:
        means = location.mean[:n_inputs], location.mean[n_inputs:]
        return cls(factor, *means, sum_weight=location.sum_weight, _location=location, **others)

    def __post_init__(self):
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.linalg.norm(self.factor)
        if not np.isfinite(size):
            raise ValueError(
                "the squares of X and y overflow: give them in units in which they stay below "
                "1e150 (less their means, if these are taken out)."
            )

    def __repr__(self):
        return one_line(
            self, "n_inputs", "n_outputs", "n_samples", "sum_weight", "centered", "single_target"
        )

    def __add__(self, other) -> SecondMoments:
        """Moments of the two data sets together, from their factors alone."""
        if not isinstance(other, SecondMoments):
            return NotImplemented
        if self.factor.shape[1] != other.factor.shape[1] or self.mean_x.size != other.mean_x.size:
            raise ValueError(
                "moments to be merged must have the same numbers of inputs and outputs; got "
                f"{self.mean_x.size} and {other.mean_x.size} inputs, "
                f"{self.mean_y.size} and {other.mean_y.size} outputs."
            )
        if self.centered != other.centered:
            raise ValueError("moments to be merged must both be centred, or both not be.")
        with np.errstate(over="ignore", invalid="ignore"):
            location, root, other_root, gap = self._whereabouts.merged(other._whereabouts)
            # Moving both data sets to the common mean adds one row to the scatter.
            rows = [root * self.factor, other_root * other.factor, (root * other_root * gap)[None]]
            factor = tall_factor(np.concatenate(rows))
        return SecondMoments._at(
            location,
            factor,
            self.n_inputs,
            n_samples=self.n_samples + other.n_samples,
            centered=self.centered,
            single_target=self.single_target and other.single_target,
        )

    @property
    def n_inputs(self) -> int:
        """Number of inputs, d."""
        return self.mean_x.size

    @property
    def n_outputs(self) -> int:
        """Number of outputs, m."""
        return self.mean_y.size

    @property
    def input_factor(self) -> np.ndarray:
        """R_x of shape (k, d), with A = R_x^T R_x."""
        return self.factor[:, : self.n_inputs]

    @property
    def output_factor(self) -> np.ndarray:
        """R_y of shape (k, m), with S = R_y^T R_x."""
        return self.factor[:, self.n_inputs :]

    def __getstate__(self):
        # What follows from the factor is left out: it would be as large once more, or larger.
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @cached_property
    def input_moment(self) -> np.ndarray:
        """A = E[x x^T], shape (d, d)."""
        return self.input_factor.T @ self.input_factor

    @cached_property
    def cross_moment(self) -> np.ndarray:
        """S = E[y x^T], shape (m, d)."""
        return self.output_factor.T @ self.input_factor

    @cached_property
    def output_moment(self) -> float:
        """c = E||y||^2, a float."""
        return float(np.sum(self.output_factor**2))

    @cached_property
    def _whereabouts(self) -> Location:
        means = np.concatenate([self.mean_x, self.mean_y])
        return self._location or Location.of_means(means, self.sum_weight)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Singular value decomposition of the input factor, a :class:`Spectrum`."""
        varies = ~self._whereabouts.constant[: self.n_inputs]
        U, sigma, V = thin_svd(self.input_factor * varies)
        steps = max(*self.factor.shape, _WALK * np.sqrt(self.n_samples))
        rounding = steps * np.finfo(float).eps
        k = int(np.sum(sigma > rounding * sigma[0]))
        unequal = unequal_svd(self.input_factor * varies, sigma, rounding)
        if unequal is not None:
            U, sigma, V = unequal
            k = len(sigma)
        targets = U[:, :k].T @ self.output_factor
        residual = self.output_factor - U[:, :k] @ targets
        return Spectrum(sigma[:k], V[:, :k], targets, float(np.sum(residual**2)))

    def loss(self, coef, intercept=None) -> float:
        """Mean squared error of the linear map `coef` on the data of these moments.

        Parameters
        ----------
        coef : array-like of shape (m, d), or (d,) for one target
            End-to-end map M.
        intercept : float or array-like of shape (m,), default=None
            Intercept b. None takes the one that suits these data best, which is none if
            the moments are not centred. Give that of a fitted model to get its loss on
            other data than it was fitted to: its intercept belongs to their means.

        Returns
        -------
        loss : float
            ``tr(M A M^T) - 2 tr(M S^T) + c``, evaluated without cancellation, plus
            ``||mean_y - M mean_x - b||^2`` if b is given.

        Raises
        ------
        ValueError
            If a shape does not match, or an intercept that is not zero is given and the
            moments are not centred: they hold no means.
        """
        coef = self.as_map(coef)
        loss = float(np.sum((self.input_factor @ coef.T - self.output_factor) ** 2))
        return loss if intercept is None else loss + self._shift(coef, intercept)

    def intercept(self, coef) -> np.ndarray:
        """Intercept that goes with the map `coef` (m, d), shape (m,)."""
        return self.mean_y - self.as_map(coef) @ self.mean_x

    def _shift(self, coef, intercept):
        """What an intercept costs that is not the best one."""
        b = as_array(intercept, "intercept")
        if b.shape != (self.n_outputs,) and (b.ndim or self.n_outputs > 1):
            raise ValueError(f"intercept must have shape ({self.n_outputs},), got {b.shape}.")
        if not self.centered and b.any():
            raise ValueError(
                "intercept must be left out or zero where the moments are not centred: they do "
                "not hold the means. Build them with center=True."
            )
        return float(np.sum((self.intercept(coef) - b) ** 2))

    def as_map(self, coef):
        """`coef` as an array of shape (m, d), if it is one or, for one output, (d,)."""
        coef, shape = as_array(coef, "coef"), (self.n_outputs, self.n_inputs)
        if coef.shape != shape and (coef.shape != shape[1:] or shape[0] > 1):
            raise ValueError(f"coef must have shape {shape}, got {coef.shape}.")
        return coef.reshape(shape)


def check_moments(moments):
    """Raise a TypeError unless `moments` is a SecondMoments."""
    if not isinstance(moments, SecondMoments):
        raise TypeError(f"moments must be a SecondMoments, got {type(moments).__name__}.")
