"""Global minima of the objective of parallel deep linear pathways, f(x) = sum_p M_p x.

Put c_p(x) = L_p g_p x^(2/L_p), g_p the geometric mean of the decays of pathway p, for what a
mode of strength x costs there. Three facts reduce the problem to single networks:

1. A pathway of depth 1 can be eliminated. With B = A + gamma I its best map is
   M_1 = (S - N A) B^(-1) for the sum N of the others, and what is left is the problem of N
   with A' = gamma A B^(-1) and S' = gamma S B^(-1).
2. Pathways of depth 2 and more share nothing: c(x) = min_p c_p(x) is concave with c(0) = 0,
   so the singular values of matrices obey sum_p sum_k c_p(sigma_k(M_p)) >= sum_k
   c(sigma_k(sum_p M_p)) (Rotfel'd; Thompson), with equality for whole modes.
3. Where S has rank one there is one mode, and where A = a I there is a separate problem for
   each mode: it goes where it is cheapest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy

from sklearn_deeplinear.theory._certify import excess_bound
from sklearn_deeplinear.theory._global_minimum import global_minimum
from sklearn_deeplinear.theory._minimum_result import escapes
from sklearn_deeplinear.theory._moments import SecondMoments, check_moments
from sklearn_deeplinear.theory._pathway_local_minimum import descended_maps, shared
from sklearn_deeplinear.theory._pathway_minimum_result import PathwayMinimum
from sklearn_deeplinear.theory._pathway_parameters import (
    check_depths,
    check_pathway_decays,
    check_pathway_widths,
)
from sklearn_deeplinear.theory._problem import Problem, mean_log
from sklearn_deeplinear.theory._scalar_family import mode_minima
from sklearn_deeplinear.theory._schatten import CERTIFIED_GAP, chord_decay, schatten_penalty
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Two sums of costs that are this near each other, relatively, differ by rounding only.
_ROUNDING = 1e-12


def pathway_global_minimum(moments, *, depths, widths=None, weight_decay=0.0) -> PathwayMinimum:
    """Global minimum of the objective of several deep linear pathways in parallel.

    Minimises ``J = E||y - sum_p W_pL ... W_p1 x - b||^2 + sum_p sum_l gamma_pl ||W_pl||^2``
    over all weights.

    Parameters
    ----------
    moments : SecondMoments
        Moments of the data.
    depths : sequence of int
        Number of weight matrices of each pathway.
    widths : int, sequence of ints or list of them, default=None
        Hidden widths: an int for all layers, a sequence for the layers of every pathway,
        or one of these per pathway. None stands for wide enough.
    weight_decay : float, sequence of floats or list of them, default=0.0
        Decays gamma_pl, given like `widths`.

    Returns
    -------
    minimum : PathwayMinimum
        Its ``kind`` tells what is known. Pathways of depth 1 may be among all of these:

        ============================================== =================================
        pathways of depth 2 and more                   kind
        ============================================== =================================
        equal depth and decay                          that of one network of the summed
                                                       widths, see :func:`global_minimum`
        S of rank one, e.g. one output                 exact (cheapest pathway takes all)
        A = a I, wide enough                           exact (cheapest pathway per mode)
        no decay                                       exact ((reduced-rank) regression)
        others                                         certified where the proof closes,
                                                       else stationary
        a decay missing in some layers only, and used  unattained
        ============================================== =================================

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    .. [1] Rotfel'd, S. Ju. (1969). "The singular numbers of the sum of completely
       continuous operators." Topics in Mathematical Physics 3, 73-78.
    .. [2] Thompson, R. C. (1976). "Convex and concave functions of singular values of
       matrix sums." Pacific Journal of Mathematics 66, 285-290.

    Examples
    --------
    A weak mode is cheaper in the shallow pathway, a strong one in the deep pathway.

    >>> from sklearn_deeplinear.theory import SecondMoments, pathway_global_minimum
    >>> moments = SecondMoments.from_moments([[1, 0], [0, 1]], [[4, 0], [0, 1]], 17.0)
    >>> minimum = pathway_global_minimum(moments, depths=(2, 3), weight_decay=0.2)
    >>> [M.round(3).tolist() for M in minimum.pathway_coefs]
    [[[0.0, 0.0], [0.0, 0.8]], [[3.873, 0.0], [0.0, 0.0]]]
    """
    check_moments(moments)
    depths = check_depths(depths, None, "depths")
    if widths is not None:
        widths = check_pathway_widths(widths, depths, "widths")
    race = Race(moments, depths, widths, check_pathway_decays(weight_decay, depths))
    solve = next(solve for applies, solve in _CASES if applies(race))
    return solve(race)


@dataclass(frozen=True, eq=False)
class Race:
    """Checked pathways, and what decides between the cases."""

    moments: SecondMoments
    depths: tuple
    widths: list | None
    gamma: list

    @cached_property
    def decay(self):
        """g_p; zero where a pathway can make its penalty vanish."""
        return [float(np.exp(mean_log(g))) for g in self.gamma]

    @cached_property
    def shallow(self):
        """Pathways of depth 1 with decay."""
        return [p for p, L in enumerate(self.depths) if L == 1 and self.decay[p] > 0]

    @cached_property
    def shallow_decay(self):
        """Decay of the one pathway of depth 1 that does what all of them do together."""
        return 1 / sum(1 / self.decay[p] for p in self.shallow)

    @cached_property
    def reduced(self):
        """The problem of the other pathways, once those of depth 1 are eliminated."""
        moments, spectrum = self.moments, self.moments.spectrum
        if self.shallow:
            root = np.sqrt(self.shallow_decay)
            keep = (root / np.hypot(spectrum.sigma, root))[:, None]
            R_x = keep * spectrum.sigma[:, None] * spectrum.directions.T
            # Of what no map explains only the trace enters the loss.
            R_yy = np.sqrt(spectrum.residual / moments.n_outputs) * np.eye(moments.n_outputs)
            zeros = np.zeros((moments.n_outputs, moments.n_inputs))
            factor = np.block([[R_x, keep * spectrum.targets], [zeros, R_yy]])
            means = {"mean_x": 0 * moments.mean_x, "mean_y": 0 * moments.mean_y}
            moments = replace(moments, factor=factor, **means)
        return Problem.checked(moments, 1, None, 0.0, 0.0)

    @cached_property
    def groups(self):
        """Pathways of depth 2 and more, those of equal depth and decay together.

        A group has the sum of its widths. One that is wide enough beats groups of the same
        depth and more decay, and one that is free of decay beats all others. Where S = 0
        there is nothing to do.
        """
        if self.reduced.uncorrelated:
            return []
        members: dict[tuple, list] = {}
        for p in range(len(self.depths)):
            if p not in self.shallow:
                key = (self.depths[p], self.decay[p]) if self.decay[p] > 0 else (2, 0.0)
                members.setdefault(key, []).append(p)
        full = min(self.moments.n_inputs, self.moments.n_outputs)
        groups = [
            _Group(L, g, tuple(ps), min(full, sum(self.rank_bounds[p] for p in ps)))
            for (L, g), ps in members.items()
        ]
        needed = len(leading_modes(self.reduced.moments.spectrum.targets)[1])
        wide = [group for group in groups if group.rank >= needed]
        return [group for group in groups if not any(best.beats(group) for best in wide)]

    @cached_property
    def rank_bounds(self):
        """Largest rank of the map of each pathway."""
        full = min(self.moments.n_inputs, self.moments.n_outputs)
        return [min([full, *widths]) for widths in self.widths or [()] * len(self.depths)]

    def deep(self, coefs):
        """Sum of the maps of the pathways that have not been eliminated."""
        zero = np.zeros((self.moments.n_outputs, self.moments.n_inputs))
        return sum((M for p, M in enumerate(coefs) if p not in self.shallow), start=zero)

    def result(self, maps, kind, lower_bound=None):
        """The minimum with the maps `maps[i]` of the groups."""
        coefs = [np.zeros((self.moments.n_outputs, self.moments.n_inputs)) for _ in self.depths]
        for group, N in zip(self.groups, maps, strict=True):
            U, s, Vt = leading_modes(N)
            first = 0
            # Whole modes go to the pathways, to those first that attain their minimum.
            for p in sorted(group.members, key=lambda p: bool(self.gamma[p].any())):
                last = first + self.rank_bounds[p]
                coefs[p] = (U[:, first:last] * s[first:last]) @ Vt[first:last]
                first = last
        if self.shallow:
            spectrum, gamma = self.moments.spectrum, self.shallow_decay
            sigma, V = spectrum.sigma[:, None], spectrum.directions
            left = spectrum.targets - sigma * (sum(coefs) @ V).T
            M = (V @ (sigma / (sigma**2 + gamma) * left)).T  # (S - N A) (A + gamma I)^(-1)
            for p in self.shallow:
                coefs[p] = M * (gamma / self.decay[p])
        return self.result_at(coefs, kind, lower_bound)

    def result_at(self, coefs, kind, lower_bound=None):
        """The minimum with the maps `coefs[p]` of the pathways."""
        coef, log_g = np.sum(coefs, axis=0), map(mean_log, self.gamma)
        return PathwayMinimum._at(
            self.moments,
            coef,
            self.moments.loss(coef),
            sum(map(schatten_penalty, coefs, log_g, self.depths)),
            "unattained" if any(map(escapes, coefs, self.gamma)) else kind,
            lower_bound,
            pathway_coefs=coefs,
            depths=self.depths,
            widths=self.widths,
            weight_decay=self.gamma,
        )


@dataclass(frozen=True)
class _Group:
    """Pathways of the same depth and decay, and the rank they can have together."""

    depth: int
    decay: float
    members: tuple
    rank: int

    def beats(self, other):
        """Whether modes are never dearer here, and cheaper somewhere, than in `other`."""
        return (self.decay == 0 or self.depth == other.depth) and self.decay < other.decay

    def minimum(self, problem):
        """Minimum with the pathways of this group alone."""
        return global_minimum(
            problem.moments, depth=self.depth, weight_decay=self.decay, rank=self.rank
        )


def _one_network(race):
    minimum = race.groups[0].minimum(race.reduced)
    return race.result([minimum.coef], minimum.kind, minimum.lower_bound)


def _separate_modes(race):
    """S of rank one, or A = a I: every mode goes where it is cheapest."""
    spectrum, groups, u = race.reduced.moments.spectrum, race.groups, race.reduced.direction
    directions = leading_modes(spectrum.targets)[2] if u is None else u[None]
    targets = spectrum.targets @ directions.T
    minima = [
        mode_minima(spectrum.sigma, targets, group.depth, group.depth * mean_log(group.decay))
        for group in groups
    ]
    costs = np.array([excess + penalty for _, excess, penalty, _ in minima])  # (groups, modes)
    n_modes = len(directions)
    slots = np.repeat(np.arange(len(groups)), [min(group.rank, n_modes) for group in groups])
    unused = np.tile(np.sum(targets**2, axis=0), (n_modes, 1))  # or no pathway at all
    assigned = np.vstack([costs[slots], unused])
    slot, mode = scipy.optimize.linear_sum_assignment(assigned)
    owner = np.append(slots, np.full(n_modes, -1))[slot]
    maps = []
    for i, (coordinates, *_) in enumerate(minima):
        chosen = mode[owner == i]
        maps.append((coordinates[:, chosen] @ directions[chosen]).T @ spectrum.directions.T)
    cheapest = np.min(costs, axis=0).sum()
    if assigned[slot, mode].sum() <= (1 + _ROUNDING) * cheapest:
        return race.result(maps, "exact")
    return race.result(maps, "stationary", spectrum.residual + cheapest)


def _descent(race):
    moments = race.reduced.moments
    V, groups = moments.spectrum.directions, race.groups
    maps = [group.minimum(race.reduced).coef @ V for group in groups]
    maps.append((moments.spectrum.targets / moments.spectrum.sigma[:, None]).T)
    starts = [start for M in maps for start in shared(M, groups)]
    maps = [N @ V.T for N in descended_maps(moments.spectrum, groups, starts)]
    value = race.result(maps, "stationary").objective
    bound = proven_pathway_bound(race, sum(maps), value)
    tight = value - bound <= CERTIFIED_GAP * value
    return race.result(maps, "certified" if tight else "stationary", bound)


def proven_pathway_bound(race, N, value=None):
    """A bound that no weights can fall below, from the sum N of the maps of all groups.

    A mode costs what it does in the cheapest pathway, whatever their widths; and, if `value`
    has been reached, more than in one nuclear norm.
    """
    problem, groups = race.reduced, race.groups
    spectrum = problem.moments.spectrum
    if not groups:
        return spectrum.residual + float(np.sum(spectrum.targets**2))
    rank = min(sum(group.rank for group in groups), problem.rank)
    least_loss = global_minimum(problem.moments, depth=2, rank=rank).objective
    if any(group.decay == 0 for group in groups):
        return least_loss
    networks = [(group.depth, float(np.log(group.decay))) for group in groups]
    excess = excess_bound(spectrum, networks, rank, (N @ spectrum.directions).T)
    bound = max(least_loss, spectrum.residual + excess)
    if value is None or value - bound <= CERTIFIED_GAP * value:
        return bound
    decay = chord_decay(value, [(group.depth, group.decay) for group in groups])
    relaxed = global_minimum(problem.moments, depth=2, weight_decay=decay)
    return max(bound, relaxed.lower_bound)


# The first case that applies is taken.
_CASES = (
    (lambda race: not race.groups, lambda race: race.result([], "exact")),
    (lambda race: len(race.groups) == 1, _one_network),
    (lambda race: race.reduced.direction is not None or race.reduced.is_white, _separate_modes),
    (lambda race: True, _descent),
)
