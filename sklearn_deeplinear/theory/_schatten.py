"""Deep linear networks with several outputs and weight decay: Schatten-q regression.

The least penalty of a map M over all its factorisations is L g ||M||_q^q with q = 2 / L
and g the geometric mean of the decays: the sum of the singular values to the power q.
In the eigenbasis of A what is left to minimise is

    ||diag(sigma) B - Y||_F^2 + L g ||B||_q^q,      B (k, p), p = rank of S.

Split B^T = N W_1, and let N N^T = (W W^T)^D with D = L - 1 and W (p, r). For given W the
first layer is ridge regression and can be eliminated:

    F(W) = tr sum_i y_i^T y_i (sigma_i^2 (W W^T)^D + g I)^(-1) + D ||W||_F^2

times g is the least objective. F is smooth, its r x p unknowns do not grow with the number
of inputs, and the conditioning of the data has been eliminated with the first layer. For
L = 2 it is convex in W W^T, and the residuals of its minimiser certify it. For other depths
and for bottlenecks :mod:`._certified_search` looks for a minimum and for its certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._certified_search import CertifiedSearch
from sklearn_deeplinear.theory._decompositions import eigh, svd
from sklearn_deeplinear.theory._least_squares import excess_loss, reduced_rank_ridge
from sklearn_deeplinear.theory._mode_costs import ModeCosts
from sklearn_deeplinear.theory._mode_descent import settled_modes
from sklearn_deeplinear.theory._nuclear_norm import nuclear_minimum
from sklearn_deeplinear.theory._scalar_family import best_modes
from sklearn_deeplinear.theory._singular_modes import leading_modes

# A relative duality gap below this certifies a solution of the convex problem.
CERTIFIED_GAP = 1e-8

# Decays below this, in units of the data, change nothing that float64 can show.
NEGLIGIBLE_DECAY = 1e-30

# Steps of the splitting after which the factored iteration takes over, and the smallest sigma from
# which they may do, as about 12 / sigma are needed.
_MAX_STEPS, _WELL_CONDITIONED = 1000, 0.0125

# Errors that the splitting may leave, and whether it extrapolates. Where hardly any decay leaves
# hardly any loss the first error does not close the gap: a few plain steps more do.
_SPLITTINGS = (
    {"tol": 1e-9, "extrapolate": True},
    {"tol": 1e-11, "extrapolate": False},
)

# Modes this far below the largest one have died out in the iteration.
_DEAD = 1e-12

# Size of the modes that descent starts with, in that of the largest one, where they are missing.
_SEED = 1e-2


@dataclass(frozen=True, eq=False)
class SchattenProblem:
    """The problem in units where sigma_1 = ||Y||_F = 1.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values of the input factor, positive.
    Y : ndarray of shape (k, p)
        Targets, of full column rank.
    g : float
        Geometric mean of the decays, positive.
    depth : int
        Number of weight matrices L, at least 2.
    """

    sigma: np.ndarray
    Y: np.ndarray
    g: float
    depth: int

    def coordinates(self, W):
        """The map B (k, p) with the best first layer for W, of no more modes than W (p, r)."""
        U, root, _ = svd(W, full_matrices=False)
        power = root ** (2 * (self.depth - 1))
        kept = 1 / (self.sigma[:, None] ** 2 * power + self.g)
        return self.sigma[:, None] * (self.Y @ U) * kept * power @ U.T

    def factor(self, B, rank):
        """W (p, r) of the map `B` cut to rank r <= `rank`, from balanced layers."""
        _, s, Vt = leading_modes(B, rank, _DEAD)
        return Vt.T * s ** (1 / self.depth)

    def start_at(self, directions, rank):
        """Starting point W whose modes are the best for these output directions, or None."""
        options = rank, self.depth, self.depth * np.log(self.g)
        B = best_modes(self.sigma, self.Y, directions.T, *options)
        return self.factor(B, rank) if B.any() else None

    def natural_directions(self):
        """Output directions of the data, ordered by what they vary and by what they gain."""
        targets = self.Y, self.sigma[:, None] * self.Y
        return [svd(T, full_matrices=False)[2].T for T in targets]

    def value(self, W):
        """Objective, g F(W), in units of ||Y||_F^2."""
        _, kept, y = self._modes(W)
        return self.g * float(np.sum(y**2 * kept) + (self.depth - 1) * np.sum(W**2))

    def dual_value(self, W):
        """Lower bound on the objective for L = 2, from the residuals R = Y - diag(sigma) B.

        c R is dual feasible while ``c ||diag(sigma) R||_2 <= g``; its dual value is
        ``2 c <R, Y> - c^2 ||R||^2``.
        """
        _, kept, y = self._modes(W)
        R = self.g * y * kept
        inner, square = np.sum(R * y), np.sum(R**2)
        c = min(inner / square, self.g / np.linalg.norm(self.sigma[:, None] * R, 2))
        return float(2 * c * inner - c**2 * square)

    def _modes(self, W):
        """Eigenvectors of W W^T, 1 / (sigma_i^2 s_j^D + g), and Y in that basis."""
        s, U = eigh(W @ W.T)
        power = np.clip(s, 0.0, None) ** (self.depth - 1)
        return U, 1 / (self.sigma[:, None] ** 2 * power + self.g), self.Y @ U


def schatten_minimum(spectrum, log_g, depth, rank, start=None):
    """Best stationary point found, and a true lower bound on the excess objective.

    Parameters
    ----------
    spectrum : Spectrum
        Of the moments of the data; S must not be zero.
    log_g : float
        Mean of the logarithms of the decays.
    depth : int
        Number of weight matrices L, at least 2.
    rank : int
        Bound on the rank of the map.
    start : ndarray of shape (k, m), default=None
        Coordinates of a map near the minimum; helps only with two layers.

    Returns
    -------
    B : ndarray of shape (k, m)
        Coordinates of the map.
    lower_bound : float
        Lower bound on excess loss plus penalty.
    certified : bool
        Whether the bound proves that B is the global minimum.
    """
    problem, basis, unit = normalised(spectrum, log_g, depth)
    p = problem.Y.shape[1]
    rank = min(rank, p)
    scale = unit / spectrum.sigma[0]
    dual = -np.inf
    if depth == 2:
        B = None if start is None else start @ basis / scale
        W, dual = _nuclear(problem, B)
        if W.shape[1] <= rank:
            certified = problem.value(W) - dual <= CERTIFIED_GAP * problem.value(W)
            return problem.coordinates(W) @ basis.T * scale, dual * unit**2, certified
    log_decay, units = normalised_log_decay(spectrum, log_g, depth), log_units(spectrum, log_g)
    costs = ModeCosts(problem.sigma, problem.Y, log_decay, depth, units)
    search = CertifiedSearch(problem, costs, rank, spectrum.residual / unit**2)
    search.run(_starts(search))
    B = problem.coordinates(search.W)
    dual = max(dual, search.bound)
    certified = search.value - dual <= CERTIFIED_GAP * (search.value + search.residual)
    unavoidable = excess_loss(spectrum, reduced_rank_ridge(spectrum, 0.0, rank))
    return B @ basis.T * scale, max(dual * unit**2, unavoidable), certified


def descended_map(spectrum, log_g, depth, rank, start):
    """Coordinates of the stationary point that descent reaches from those of a map."""
    problem, basis, unit = normalised(spectrum, log_g, depth)
    scale = unit / spectrum.sigma[0]
    W = problem.factor(start @ basis / scale, rank)
    return problem.coordinates(settled_modes(problem, W)) @ basis.T * scale


def whitened_minimum(spectrum, log_g, depth, rank):
    """Coordinates B of the global minimum when all sigma are equal: one problem per mode."""
    directions = leading_modes(spectrum.targets)[2]
    return best_modes(spectrum.sigma, spectrum.targets, directions, rank, depth, depth * log_g)


def schatten_penalty(B, log_g, depth):
    """Least penalty L g ||B||_q^q of the map B, not counting modes that are rounding."""
    s = np.linalg.svd(B, compute_uv=False)
    s = s[s > max(B.shape) * np.finfo(float).eps * s.max(initial=0.0)]
    return float(depth * np.sum(np.exp(log_g + 2 / depth * np.log(s))))


def normalised_log_decay(spectrum, log_g, depth):
    """Logarithm of g in units where sigma_1 = ||Y||_F = 1.

    B = (||Y|| / sigma_1) B' turns L g ||B||_q^q into ||Y||^2 L g' ||B'||_q^q. From g' = 1 on
    zero is the global minimum, with or without noise: it gains at most min(2 ||B'||_F, 1)
    over zero, and the penalty is at least L ||B'||_F^q >= 2 min(||B'||_F, 1).
    """
    log_unit = np.log(np.linalg.norm(spectrum.targets))
    return log_g + 2 / depth * (log_unit - np.log(spectrum.sigma[0])) - 2 * log_unit


def log_units(spectrum, log_g):
    """Sum of the logarithms, taken positive, that :func:`normalised_log_decay` combines."""
    log_unit, log_sigma = np.log(np.linalg.norm(spectrum.targets)), np.log(spectrum.sigma[0])
    return float(abs(log_g) + 2 * abs(log_unit) + abs(log_sigma))


def normalised(spectrum, log_g, depth):
    """The problem in its own units, the basis (m, p) of its outputs, and the unit of y."""
    U, s, Vt = leading_modes(spectrum.targets)
    unit = float(np.linalg.norm(s))
    g = max(np.exp(normalised_log_decay(spectrum, log_g, depth)), NEGLIGIBLE_DECAY)
    sigma = spectrum.sigma / spectrum.sigma[0]
    return SchattenProblem(sigma, U * (s / unit), float(g), depth), Vt.T, unit


def _nuclear(problem, B=None):
    """Minimiser W and dual value of the convex problem, L = 2."""
    p = problem.Y.shape[1]
    if np.linalg.norm(problem.sigma[:, None] * problem.Y, 2) <= problem.g:
        W = np.zeros((p, 0))
        return W, problem.dual_value(W)
    B = ridge(problem) if B is None or not B.any() else B
    if is_well_conditioned(problem.sigma):
        sigma, Y, g = problem.sigma, problem.Y, problem.g
        for how in _SPLITTINGS:
            B = nuclear_minimum(sigma, Y, g, B, max_steps=_MAX_STEPS, **how)
            W = problem.factor(B, p)
            value, dual = problem.value(W), problem.dual_value(W)
            if value - dual <= CERTIFIED_GAP * value:
                return W, dual
    W = problem.factor(B, p)
    W = settled_modes(problem, seeded(W))
    return W, problem.dual_value(W)


def seeded(W):
    """W (p, p) with small modes where it has none: what is missing at the start stays so."""
    U, s, _ = svd(np.hstack([W, _SEED * np.linalg.norm(W, 2) * np.eye(len(W))]))
    return U * s


def chord_decay(value, costs, log_largest=np.inf):
    """A decay of the nuclear norm that costs a mode no more than any (L, g) in `costs` do.

    It holds for penalties L g sigma^(2/L) of at most `value` and for sigma of at most the
    largest one known: up to there a concave cost lies above its chord.
    """
    by_penalty = max(L / 2 * np.log(value / (L * g)) for L, g in costs)
    log_R = min(by_penalty, log_largest)
    return min(L * g * np.exp((2 / L - 1) * log_R) for L, g in costs) / 2


def is_well_conditioned(sigma):
    """Whether the splitting finds minima of two layers within its steps."""
    return bool(sigma[-1] >= _WELL_CONDITIONED * sigma[0])


def ridge(problem):
    return (problem.sigma / (problem.sigma**2 + problem.g))[:, None] * problem.Y


def _starts(search):
    """Deterministic starting points W of the non-convex problem, the likely ones first."""
    problem, rank = search.problem, search.rank
    # Descent keeps the modes of symmetric problems apart: choose those that gain most.
    for directions in problem.natural_directions():
        W = problem.start_at(directions, rank)
        if W is not None:
            yield W
    # And all modes of others, from which the search takes those that do not pay.
    for B in (problem.Y / problem.sigma[:, None], ridge(problem)):
        yield problem.factor(B, rank)
