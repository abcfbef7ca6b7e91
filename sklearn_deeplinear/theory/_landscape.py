"""The landscape around zero weights: its Hessian, and the decays at which zero wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._parameters import (
    check_depth,
    check_noise,
    check_weight_decay,
    check_width,
)
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._moments import check_moments
from sklearn_deeplinear.theory._problem import Problem
from sklearn_deeplinear.theory._scalar_family import ScalarFamily, log_shrinkage


@dataclass(frozen=True)
class CriticalWeightDecay:
    """Decays, equal in all layers, at which the non-zero solution gives way to zero.

    Attributes
    ----------
    collapse : float
        From here on zero weights are a global minimum of the objective.
    spinodal : float
        From here on the non-zero minimum is gone; at least `collapse`.
    """

    collapse: float
    spinodal: float

    def __repr__(self):
        return one_line(self, "collapse", "spinodal")


@dataclass(frozen=True, eq=False)
class ZeroHessian:
    """Second derivatives of the objective at zero weights.

    Attributes
    ----------
    eigenvalues : ndarray of shape (k,)
        The distinct eigenvalues of the Hessian over all weights, ascending.
    multiplicities : ndarray of shape (k,), int
        Their multiplicities; they sum to the number of weights.
    is_stationary : bool
        Whether the gradient vanishes at zero: always, but for one layer with S != 0.
    is_strict_minimum : bool
        Zero is stationary and all eigenvalues are positive.
    is_saddle : bool
        Zero is stationary and an eigenvalue is negative. When this and
        `is_strict_minimum` are both False at a stationary zero, the second order does
        not decide; three or more layers without weight decay are the usual case.
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    is_stationary: bool
    is_strict_minimum: bool
    is_saddle: bool

    def __repr__(self):
        return one_line(self, "eigenvalues", "is_stationary", "is_strict_minimum", "is_saddle")


def critical_weight_decay(moments, *, depth, width=None, noise=0.0) -> CriticalWeightDecay:
    """Weight decays at which a deep linear network collapses to zero.

    Two layers pass to zero continuously, at ``gamma = ||S||_2`` whatever the noise. With
    three layers or more zero is a local minimum for every positive decay, the passage is
    a jump, and there are two critical values: at `collapse` zero becomes the global
    minimum, at `spinodal` the other minimum disappears.

    Parameters
    ----------
    moments : SecondMoments
        Moments of the data; with three layers or more S must have rank one, as it has
        for a single output.
    depth : int
        Number of weight matrices L.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths; needed only with noise, for without it they drop out.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the multiplicative noise on the hidden layers.

    Returns
    -------
    critical : CriticalWeightDecay
        Both values are 0 if S = 0, and infinite for one layer otherwise: no ridge
        penalty makes the solution zero.

    Raises
    ------
    ValueError
        If S has rank two or more and ``depth > 2``, or noise comes without `width`.

    Notes
    -----
    With A = sum_k a_k v_k v_k^T, z_k = ||S v_k||^2, D = L - 1 and
    rho = prod_l h_l / (h_l + s_l), the family of candidates with a common decay gamma
    has the objective ``phi = D t + c - rho sum_k z_k / (a_k + mu)`` at
    ``t = (rho gamma^L / mu)^(1/D)``. It is stationary where

        (rho gamma^L)^(1/D) = F(mu) = rho mu^(L/D) sum_k z_k / (a_k + mu)^2

    and at most c, the objective of zero, where

        (rho gamma^L)^(1/D) <= H(mu) = rho mu^(1/D) sum_k z_k / (a_k + mu) / D.

    F and H do not depend on gamma: the spinodal is read off the maximum of F, the
    collapse off that of H.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35 (the family of candidates; the bad minimum at zero).

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay
    >>> moments = SecondMoments.from_moments([[0.7]], [[1.3]], 3.0)
    >>> critical = critical_weight_decay(moments, depth=3)
    >>> round(critical.collapse, 5), round(critical.spinodal, 5)
    (0.63414, 0.75498)
    """
    depth = check_depth(depth)
    noise = check_noise(noise, depth)
    if width is None and depth > 2 and noise.any():
        raise ValueError("width must be given when noise is not zero.")
    log_rho = log_shrinkage(noise, check_width(1 if width is None else width, depth))
    problem = Problem.checked(moments, depth, None, 0.0, 0.0)
    if problem.uncorrelated:
        return CriticalWeightDecay(0.0, 0.0)
    if depth <= 2:
        value = float(np.linalg.norm(moments.cross_moment, 2)) if depth == 2 else np.inf
        return CriticalWeightDecay(value, value)
    if problem.direction is None:
        raise ValueError(
            "moments must have a cross moment S of rank one (a single output) when depth is "
            "greater than 2: no critical decay is known for rank "
            f"{np.linalg.matrix_rank(moments.spectrum.targets)}."
        )
    spectrum = moments.spectrum
    family = ScalarFamily(spectrum.sigma, spectrum._target_norms, depth, log_rho)
    return CriticalWeightDecay(*np.exp(family.critical_log_decays() / depth).tolist())


def zero_hessian(moments, *, depth, width=None, weight_decay=0.0) -> ZeroHessian:
    """Eigenvalues of the Hessian of the objective at zero weights.

    One layer has the Hessian of ridge regression, ``2 (A + gamma I)`` for each output.
    Two layers are coupled by S: each of its singular values s_k gives the eigenvalues
    ``gamma_1 + gamma_2 +- sqrt((gamma_1 - gamma_2)^2 + 4 s_k^2)``, so zero is a saddle
    while ``s_1^2 > gamma_1 gamma_2``. With three layers or more nothing but the penalty
    is of second order: the eigenvalues are ``2 gamma_l``, and zero is a strict minimum
    for all positive decays, however small. Noise on hidden units changes none of this.

    Parameters
    ----------
    moments : SecondMoments
        Moments of the data.
    depth : int
        Number of weight matrices L.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths; needed unless the depth is 1.
    weight_decay : float or sequence of L floats, default=0.0
        Decays gamma_l.

    Returns
    -------
    hessian : ZeroHessian
        With attributes ``eigenvalues``, ``multiplicities``, ``is_stationary``,
        ``is_strict_minimum`` and ``is_saddle``.

    Raises
    ------
    ValueError
        If the depth is greater than 1 and `width` is not given.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, zero_hessian
    >>> moments = SecondMoments.from_moments([[1.0]], [[2.0]], 5.0)
    >>> zero_hessian(moments, depth=2, width=3).eigenvalues
    array([-4.,  4.])
    >>> zero_hessian(moments, depth=3, width=3, weight_decay=0.01).is_strict_minimum
    True
    """
    check_moments(moments)
    depth = check_depth(depth)
    if width is None and depth > 1:
        raise ValueError("width must be given when depth is greater than 1.")
    widths = check_width(() if width is None else width, depth)
    gamma = check_weight_decay(weight_decay, depth)
    spectrum = _SPECTRA.get(depth, _penalty_spectrum)
    sizes = (moments.n_inputs, *widths, moments.n_outputs)
    eigenvalues, multiplicities = _merge(*spectrum(moments, sizes, gamma))
    stationary = depth > 1 or Problem.checked(moments, 1, None, 0.0, 0.0).uncorrelated
    return ZeroHessian(
        eigenvalues,
        multiplicities,
        stationary,
        is_strict_minimum=stationary and bool(eigenvalues[0] > 0),
        is_saddle=stationary and bool(eigenvalues[0] < 0),
    )


def _ridge_spectrum(moments, sizes, gamma):
    d, m = sizes
    a = np.zeros(d)
    a[: len(moments.spectrum.sigma)] = moments.spectrum.sigma**2
    return 2 * (a + gamma[0]), np.full(d, m)


def _two_layer_spectrum(moments, sizes, gamma):
    d, h, m = sizes
    s = np.linalg.svd(moments.cross_moment, compute_uv=False)
    mean, gap = gamma.sum(), gamma[0] - gamma[1]
    high = mean + np.hypot(gap, 2 * s)
    # The product of the pair is 4 (gamma_1 gamma_2 - s^2), which keeps the sign exact.
    safe = np.where(high > 0, high, 1.0)
    big = gamma.max()
    root = big * np.sqrt(gamma.min() / big) if big > 0 else 0.0
    low = 4 * (root - s) * ((root + s) / safe)
    r = len(s)
    values = np.concatenate([low, high, 2 * gamma])
    counts = np.concatenate([np.full(2 * r, h), [h * (d - r), h * (m - r)]])
    return values, counts


def _penalty_spectrum(moments, sizes, gamma):
    return 2 * gamma, np.array(sizes[1:]) * np.array(sizes[:-1])


_SPECTRA = {1: _ridge_spectrum, 2: _two_layer_spectrum}


def _merge(values, counts):
    """Distinct values, ascending, with their counts; equal up to rounding is equal."""
    values, counts = values[counts > 0], counts[counts > 0]
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    tolerance = 16 * np.finfo(float).eps * np.abs(values).max()
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > tolerance]))
    return values[starts], np.add.reduceat(counts, starts)
