r"""Problems without noise that lie below the problem with noise.

Let N = diag(sigma) B be a map in coordinates where the inputs are white, s_l the noise of the
h_l units of hidden layer l and kappa = prod_l (1 + s_l / h_l) - 1. Cauchy and Schwarz's
inequality, over the paths through each set of noisy layers, bounds the variance of the output:

    expected loss >= ||N - Y||^2 + kappa ||N||_*^2,        ||.||_* the nuclear norm.

The right side is a problem of the map alone, and two problems without noise lie below it:

- inflated: ||N||_* >= ||N||_F, so that noise only multiplies the curvature of the loss, by
  1 + kappa. At maps of rank one nothing is lost.
- shrunk: kappa ||N||_*^2 >= 2 <E, N> - ||E||_2^2 / kappa for every E, so that noise takes E
  off the targets. With two layers nothing is lost if E is the best, for the problem is convex.

A share of the nuclear norm may be bounded in one way, and the rest in the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._least_squares import excess_loss, reduced_rank_ridge
from sklearn_deeplinear.theory._moments import Spectrum
from sklearn_deeplinear.theory._scalar_family import log_shrinkage
from sklearn_deeplinear.theory._schatten import normalised_log_decay, schatten_minimum
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Shares of the nuclear norm whose square is bounded by an E, with two layers and with more. Of
# 200 random problems 0 and 1 left 16 of more layers open, 0.5 and 0.9 closed nine of them.
_SHARES, _DEEP_SHARES = (0.0, 1.0), (0.0, 0.5, 0.9, 1.0)

# More noise than this is not counted: the bounds stay true, and numbers in range.
_MOST_NOISE = 1e30

# Ascents in E, each of which solves a problem without noise, and the gain that ends them. 60 of
# them raised the bounds of wide networks of two layers by 1e-5 at most, in up to two seconds.
_STEPS, _GAIN = 8, 1e-11

# Rounding errors of a bound, per input, besides those of the problem without noise.
_ROUNDINGS = 4


class Quiet(NamedTuple):
    """A problem without noise whose objective lies below that with noise.

    Its coordinates B' (k, m) stand for the map ``scale * B'``.
    """

    spectrum: Spectrum
    log_g: float
    scale: float


def added_curvature(noise, widths):
    """kappa = prod_l (1 + s_l / h_l) - 1, or less."""
    return float(np.expm1(min(-log_shrinkage(noise, widths), np.log(_MOST_NOISE))))


def inflated(spectrum, log_g, depth, kappa):
    """The problem of curvature 1 + kappa."""
    share = 1 / (1 + kappa)
    lost = kappa * share * float(np.sum(spectrum.targets**2))
    targets = np.sqrt(share) * spectrum.targets
    moved = replace(spectrum, targets=targets, residual=spectrum.residual + lost)
    return Quiet(moved, log_g + np.log(share) / depth, np.sqrt(share))


def shrunk(quiet, kappa, E):
    """The problem with the targets Y - E."""
    if not E.any():
        return quiet
    spectrum, Y = quiet.spectrum, quiet.spectrum.targets
    gained = float(np.sum(E * (2 * Y - E)) - np.linalg.norm(E, 2) ** 2 / kappa)
    rounding = _ROUNDINGS * len(Y) * np.finfo(float).eps * np.sum(np.abs(E) * np.abs(Y))
    moved = replace(spectrum, targets=Y - E, residual=spectrum.residual + gained - rounding)
    return quiet._replace(spectrum=moved)


def taken_off(spectrum, log_g, depth, rank, kappa, B):
    """E (k, m) for the map with coordinates B: the best one if it minimises the relaxation.

    E = kappa ||N||_* U V^T on the modes U, V of such a map, and beside them it is no larger.
    With two layers Y = N + E + Z / sigma, where 2 Z is in the subdifferential of the penalty:
    no singular value of Z exceeds g, and given Z the best E is a proximal point. With more
    layers, or if the bound on the rank is what leaves modes out, E may be all there is.
    """
    sigma, Y = spectrum.sigma[:, None], spectrum.targets
    N = sigma * B
    U, s, Vt = leading_modes(N)
    largest = kappa * np.sum(s)
    rest = Y - N - largest * (U @ Vt)
    bound = len(s) == rank < min(Y.shape)
    if not len(s) or (depth == 2 and not bound):
        return _proximal(Y - _cut(sigma * rest, np.exp(log_g)) / sigma, kappa)
    beside = rest - U @ (U.T @ rest)
    beside = beside - (beside @ Vt.T) @ Vt
    return largest * (U @ Vt) + _cut(beside, largest)


def quiet_problems(spectrum, log_g, depth, rank, kappa, B):
    """Problems without noise that lie below, as near as can be at the map with coordinates B."""
    for share in _SHARES if depth == 2 else _DEEP_SHARES:
        quiet = inflated(spectrum, log_g, depth, (1 - share) * kappa)
        if share:
            left = share * kappa * quiet.scale**2
            E = taken_off(quiet.spectrum, quiet.log_g, depth, rank, left, B / quiet.scale)
            quiet = shrunk(quiet, left, E)
        yield quiet


def inflated_minimum(spectrum, log_g, depth, rank, kappa):
    """Coordinates (k, m) of the minimum of the inflated problem, and its lower bound."""
    return _minimum(inflated(spectrum, log_g, depth, kappa), depth, rank)


def shrunk_minimum(spectrum, log_g, depth, rank, kappa, start):
    """Coordinates of the minimum of the best shrunk problem, and its lower bound.

    The bound is concave in E, with derivative 2 N: accelerated proximal ascent, from the E of
    the map with coordinates `start`.
    """
    E = last = taken_off(spectrum, log_g, depth, rank, kappa, start)
    best, previous, best_B, t = -np.inf, -np.inf, start, 1.0
    for _ in range(_STEPS):
        B, bound = _minimum(shrunk(Quiet(spectrum, log_g, 1.0), kappa, E), depth, rank)
        if bound > best:
            best_B = B
        if bound - best <= _GAIN * abs(bound) and bound >= previous:
            best = max(best, bound)
            break
        if bound < previous:  # the momentum has overshot
            t = 1.0
        best, previous = max(best, bound), bound
        found = _proximal(E + spectrum.sigma[:, None] * B, kappa)
        following = (1 + np.sqrt(1 + 4 * t**2)) / 2
        E, last, t = found + (t - 1) / following * (found - last), found, following
    return best_B, best


def _minimum(quiet, depth, rank):
    """Coordinates of the map at the minimum of a quiet problem, and a bound on its objective."""
    spectrum, log_g, scale = quiet
    Y = spectrum.targets
    if not Y.any() or normalised_log_decay(spectrum, log_g, depth) >= 0:
        return np.zeros_like(Y), float(np.sum(Y**2)) + spectrum.residual
    if np.isneginf(log_g):
        B = reduced_rank_ridge(spectrum, 0.0, rank)
        return scale * B, excess_loss(spectrum, B) + spectrum.residual
    B, bound, _ = schatten_minimum(spectrum, log_g, depth, rank)
    return scale * B, bound + spectrum.residual


def _proximal(T, kappa):
    """Minimiser E of ||E - T||_F^2 + ||E||_2^2 / kappa."""
    if kappa == 0:  # noise that is lost in rounding
        return np.zeros_like(T)
    s = np.linalg.svd(T, compute_uv=False)
    return _cut(T, np.max(np.cumsum(s) / (np.arange(1, len(s) + 1) + 1 / kappa)))


def _cut(M, largest):
    """M with its singular values cut off."""
    U, s, Vt = svd(M, full_matrices=False)
    return (U * np.minimum(s, largest)) @ Vt
