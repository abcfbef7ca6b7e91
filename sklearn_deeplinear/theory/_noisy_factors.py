"""Stationary points of noisy deep linear networks with several outputs.

No closed form is known. The expected objective is a polynomial in the weights and is
minimised over all of them, from several deterministic starts. Second moments run forwards,
C_0 = A, C_l = W_l C~_{l-1} W_l^T, C~_l = C_l + s_l diag(C_l); their adjoints K_l run
backwards by the transposed rule. The objective is quadratic in the first layer,

    tr(W_1^T K_1 W_1 A) - 2 tr(W_1^T N^T S) + g ||W_1||_F^2,    N = W_L ... W_2,

which is therefore solved for and leaves an objective of the layers above alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._decompositions import eigh
from sklearn_deeplinear.theory._least_squares import reduced_rank_ridge
from sklearn_deeplinear.theory._local_minimum import (
    best_local_minimum,
    descend,
    finalists,
    lowest_descent,
)
from sklearn_deeplinear.theory._scalar_family import log_shrinkage, mode_minima
from sklearn_deeplinear.theory._schatten import NEGLIGIBLE_DECAY, normalised_log_decay
from sklearn_deeplinear.theory._singular_modes import leading_modes

# One unit with noise s / q stands for q copies of a unit with noise s, at the same penalty.
# Layers wider than this, and than twice the rank, are built from such copies: with two layers
# that loses nothing, for the loads of the units can still be made to follow the copies.
_MIN_WIDTH = 32

_N_RANDOM_STARTS = 8

# Descents that are followed to the end, with few unknowns and with more than so many: four missed
# one minimum of 300 small problems, by 1e-6.
_N_FINALISTS, _MANY_UNKNOWNS, _N_LARGE_FINALISTS = 8, 200, 4

# With two layers so many of the large ones, and until a step gains less than the first fraction;
# the best one until it gains less than the second. Wide layers have many minima that hardly
# differ, by 1e-7 to 1e-4 with 10 outputs and 50 units, in flat valleys.
_N_WIDE_FINALISTS, _COARSE, _FINE = 2, 1e-8, 1e-10

# Descent from given weights visits at most about so many numbers, or 100 points.
_MAX_ENTRIES = 20_000_000

# At most so many modes of S are tried one by one; the strongest suffer least from noise.
_MAX_MODES = 8

# Singular values of S this far below the largest one are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class NoisyProblem:
    """Expected objective in the eigenbasis of A, above the residual of least squares.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values of the input factor.
    Y : ndarray of shape (k, m)
        Targets in the same basis.
    widths : tuple of L - 1 ints
        Hidden widths.
    g : float
        Decay of every layer.
    noise : list of L - 1 ndarray of shape (h_l,)
        Noise variances of the units.
    """

    sigma: np.ndarray
    Y: np.ndarray
    widths: tuple
    g: float
    noise: list

    def objective(self, upper):
        """Objective and its gradients, for W_2, ..., W_L and the best W_1."""
        adjoints, backs = self._backwards(upper)
        W = self._first_layer(adjoints[-1], backs[-1])
        value = np.sum(self.Y**2) - np.sum(backs[-1] * W)
        P, C, gradients = W, W * self.sigma**2 @ W.T, []
        for W, s, K, back in zip(upper, self.noise, adjoints[-2::-1], backs[-2::-1], strict=True):
            C = C + s * np.diag(np.diag(C))
            gradients.append(2 * (K @ W @ C - back @ P.T + self.g * W))
            value += self.g * np.sum(W**2)
            P, C = W @ P, W @ C @ W.T
        return value, gradients

    def complete(self, upper):
        """All the weights, with the best W_1."""
        adjoints, backs = self._backwards(upper)
        return [self._first_layer(adjoints[-1], backs[-1]), *upper]

    def _backwards(self, upper):
        """Adjoints K_l of the second moments and (W_L ... W_{l+1})^T S, from l = L to 1."""
        adjoints, backs = [np.eye(self.Y.shape[1])], [(self.sigma[:, None] * self.Y).T]
        for W, s in zip(upper[::-1], self.noise[::-1], strict=True):
            K = W.T @ adjoints[-1] @ W
            adjoints.append(K + s * np.diag(np.diag(K)))
            backs.append(W.T @ backs[-1])
        return adjoints, backs

    def _first_layer(self, K, back):
        """Columns w_i of W_1, with (sigma_i^2 K + g I) w_i = column i of N^T S."""
        kappa, Q = eigh(K)
        scale = np.maximum(kappa, 0.0)[:, None] * self.sigma**2 + self.g
        # Without decay a unit without outgoing weights needs no incoming ones.
        dead = scale <= np.finfo(float).eps * kappa[-1] * self.sigma**2
        return Q @ np.where(dead, 0.0, Q.T @ back / np.where(dead, 1.0, scale))


def noisy_minimum(spectrum, log_g, noise, widths, maps):
    """Best stationary weights found for the expected objective with noise.

    Parameters
    ----------
    spectrum : Spectrum
        Of the moments of the data.
    log_g : float
        Logarithm of the decay, equal in all layers; -inf for none. (Unequal decays are the
        same problem with the layers rescaled, for noise knows no scale.)
    noise : ndarray of shape (L - 1,)
        Noise variances.
    widths : tuple of L - 1 ints
        Hidden widths.
    maps : list of ndarray of shape (k, m)
        Coordinates of maps to start from, besides truncated least squares and zero.

    Returns
    -------
    weights : list of L ndarray
        W_1 (h_1, k) acts on coordinates in the eigenbasis of A. Widths are those of the
        reduced network; :func:`spread_copies` makes it as wide as asked for.
    """
    L = len(widths) + 1
    enough = max(_MIN_WIDTH, 2 * min(spectrum.targets.shape))
    copies = [unit_copies(h, min(h, enough)) for h in widths]
    problem, c = _normalised(spectrum, log_g, noise, copies)
    rank = min(*problem.widths, *spectrum.targets.shape)
    maps = [B / c**L for B in maps]
    maps += [reduced_rank_ridge(spectrum, 0.0, r) / c**L for r in range(1, rank + 1)]
    starts = [*_mode_starts(problem, copies, noise), *_starts(problem, maps)]
    found = _best(problem.objective, starts)
    zero = [np.zeros_like(W) for W in found]
    best = min([zero, found], key=lambda weights: problem.objective(weights)[0])
    return [c * W for W in problem.complete(best)]


def _best(objective, starts):
    """The best stationary point, or near one if two layers have many unknowns."""
    large = sum(W.size for W in starts[0]) > _MANY_UNKNOWNS
    if not large or len(starts[0]) > 1:
        return best_local_minimum(objective, starts, _N_LARGE_FINALISTS if large else _N_FINALISTS)
    starts = finalists(objective, starts, _N_WIDE_FINALISTS)
    best = lowest_descent(objective, starts, _COARSE)
    return descend(objective, best, ftol=_FINE)


def noisy_descent(spectrum, log_g, noise, weights):
    """Weights at least as good as `weights`, of equal decays, that descent reaches from them.

    Its time is bounded.
    """
    copies = [np.ones(len(W), dtype=int) for W in weights[:-1]]
    problem, c = _normalised(spectrum, log_g, noise, copies)
    upper = [W / c for W in weights[1:]]
    max_iter = max(_MAX_ENTRIES // sum(W.size for W in upper), 100)
    found = descend(problem.objective, upper, max_iter=max_iter)
    return [c * W for W in problem.complete(found)]


def _normalised(spectrum, log_g, noise, copies):
    """The problem in units with sigma_1 = ||Y|| = 1, where every layer is c times smaller."""
    L = len(noise) + 1
    sigma, unit = spectrum.sigma / spectrum.sigma[0], np.linalg.norm(spectrum.targets)
    c = (unit / spectrum.sigma[0]) ** (1 / L)
    g = np.exp(normalised_log_decay(spectrum, log_g, L))
    g = 0.0 if np.isneginf(log_g) else max(g, NEGLIGIBLE_DECAY)
    shared = [s / q for s, q in zip(noise, copies, strict=True)]
    widths = tuple(map(len, copies))
    return NoisyProblem(sigma, spectrum.targets / unit, widths, g, shared), c


def unit_copies(width, n_units):
    """Numbers of copies, as equal as can be, by which `n_units` make up `width` units."""
    return np.full(n_units, width // n_units) + (np.arange(n_units) < width % n_units)


def spread_copies(weights, widths):
    """The network `weights` with its hidden units split into copies, up to `widths`.

    q copies of a unit carry its incoming and outgoing weights divided by q^(1/2), which
    leaves the map and the penalty as they are and divides the variance of the noise by q.
    """
    copies = [unit_copies(h, len(W)) for W, h in zip(weights[:-1], widths, strict=True)]
    ends = (np.ones(weights[0].shape[1], int), np.ones(len(weights[-1]), int))
    copies = [ends[0], *copies, ends[1]]
    return [
        np.repeat(np.repeat(W / np.sqrt(np.outer(q, p)), q, axis=0), p, axis=1)
        for W, p, q in zip(weights, copies[:-1], copies[1:], strict=True)
    ]


def _mode_starts(problem, copies, noise):
    """The exact minimum for each mode of S alone, its load spread over all the copies.

    Under strong noise all other starts may be so large that descent carries them to zero.
    """
    L, log_g = len(noise) + 1, np.log(problem.g) if problem.g > 0 else -np.inf
    log_rho = log_shrinkage(noise, [q.sum() for q in copies])
    V = leading_modes(problem.sigma[:, None] * problem.Y, _MAX_MODES, _ROUNDING)[2].T
    coords, _, penalty, _ = mode_minima(problem.sigma, problem.Y @ V, L, L * log_g, log_rho)
    for u, size, cost in zip(V.T, np.linalg.norm(coords, axis=0), penalty, strict=True):
        if size > 0:
            norm = np.sqrt(cost / L / problem.g) if problem.g > 0 else size ** (1 / L)
            loads = [*(np.sqrt(q / q.sum()) for q in copies), u]
            yield [norm * np.outer(v, w) for v, w in zip(loads[1:], loads[:-1], strict=True)]


def _starts(problem, maps):
    """W_2, ..., W_L of the given maps, spread over the hidden units, and random ones."""
    for B in maps:
        weights = balanced_factors(B.T, problem.widths)[1:]
        # Noise punishes unequal loads: mix the units by orthogonal matrices without zeros.
        mixers = [scipy.fft.dct(np.eye(h), norm="ortho") for h in problem.widths]
        left, right = [*mixers[1:], np.eye(len(weights[-1]))], mixers
        yield [Q @ W @ P.T for Q, W, P in zip(left, weights, right, strict=True)]
    random, sizes = np.random.RandomState(0), (*problem.widths, problem.Y.shape[1])
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    for _ in range(_N_RANDOM_STARTS):
        yield [random.standard_normal(shape) / np.sqrt(max(shape)) for shape in shapes]
