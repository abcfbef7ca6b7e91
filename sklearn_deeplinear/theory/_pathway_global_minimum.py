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
from sklearn_deeplinear.theory._schatten import (
    CERTIFIED_GAP,
    schatten_penalty,
    whitened_minimum,
)

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
        others                                         stationary
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
    def rank(self):
        """Rank of S, which no map of a minimum needs to exceed."""
        if self.reduced.uncorrelated:
            return 0
        return int(np.linalg.matrix_rank(self.reduced.moments.spectrum.targets))

    @cached_property
    def groups(self):
        """Pathways of depth 2 and more, those of equal depth and decay together.

        A group has the sum of its widths. One that is wide enough beats groups of the same
        depth and more decay, and one that is free of decay beats all others.
        """
        members: dict[tuple, list] = {}
        for p in range(len(self.depths)):
            if p not in self.shallow:
                key = (self.depths[p], self.decay[p]) if self.decay[p] > 0 else (2, 0.0)
                members.setdefault(key, []).append(p)
        groups = [_Group(L, g, tuple(ps), self._capacity(ps)) for (L, g), ps in members.items()]
        return [group for group in groups if not any(self._beats(best, group) for best in groups)]

    def _capacity(self, members):
        full = min(self.moments.n_inputs, self.moments.n_outputs)
        return min(full, sum(self._rank_bound(p) for p in members))

    def _rank_bound(self, p):
        full = min(self.moments.n_inputs, self.moments.n_outputs)
        return min([full, *(self.widths[p] if self.widths is not None else ())])

    def _beats(self, one, other):
        comparable = one.decay == 0 or one.depth == other.depth
        return one.rank >= self.rank and comparable and one.decay < other.decay

    def result(self, maps, kind, lower_bound=None):
        """The minimum with the maps `maps[i]` of the groups."""
        coefs = [np.zeros((self.moments.n_outputs, self.moments.n_inputs)) for _ in self.depths]
        for group, N in zip(self.groups, maps, strict=True):
            self._distribute(N, group, coefs)
        self._add_shallow(sum(maps), coefs)
        return self.result_at(coefs, kind, lower_bound)

    def result_at(self, coefs, kind, lower_bound=None):
        """The minimum with the maps `coefs[p]` of the pathways."""
        coef, log_g = np.sum(coefs, axis=0), map(mean_log, self.gamma)
        return PathwayMinimum.at(
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

    def _distribute(self, N, group, coefs):
        """Fill the pathways of a group with whole modes of N, those first that attain it."""
        U, s, Vt = np.linalg.svd(N, full_matrices=False)
        first = 0
        for p in sorted(group.members, key=lambda p: bool(self.gamma[p].any())):
            last = first + self._rank_bound(p)
            coefs[p] = (U[:, first:last] * s[first:last]) @ Vt[first:last]
            first = last

    def _add_shallow(self, N, coefs):
        if not self.shallow:
            return
        sigma, targets = self.moments.spectrum.sigma[:, None], self.moments.spectrum.targets
        V, gamma = self.moments.spectrum.directions, self.shallow_decay
        left = targets - (sigma * (V.T @ N.T) if np.ndim(N) else 0.0)
        M = (V @ (sigma / (sigma**2 + gamma) * left)).T  # (S - N A) (A + gamma I)^(-1)
        for p in self.shallow:
            coefs[p] = M * (gamma / self.decay[p])


@dataclass(frozen=True)
class _Group:
    """Pathways of the same depth and decay, and the rank they can have together."""

    depth: int
    decay: float
    members: tuple
    rank: int

    def minimum(self, problem):
        """Minimum with the pathways of this group alone."""
        return global_minimum(
            problem.moments, depth=self.depth, weight_decay=self.decay, rank=self.rank
        )


def _ridge(race):
    return race.result([], "exact")


def _one_network(race):
    minimum = race.groups[0].minimum(race.reduced)
    return race.result([minimum.coef], minimum.kind, minimum.lower_bound)


def _one_mode(race):
    minima = [group.minimum(race.reduced) for group in race.groups]
    best = int(np.argmin([minimum.objective for minimum in minima]))
    maps = [M.coef if i == best else 0.0 * M.coef for i, M in enumerate(minima)]
    return race.result(maps, "exact")


def _white(race):
    spectrum = race.reduced.moments.spectrum
    U, t, Vt = np.linalg.svd(spectrum.targets, full_matrices=False)
    sigma = spectrum.sigma[0]
    strengths = np.array([_mode_strengths(spectrum, U, t, Vt, group) for group in race.groups])
    values = (sigma * strengths - t) ** 2  # (groups, modes)
    for row, x, group in zip(values, strengths, race.groups, strict=True):
        row += group.depth * group.decay * x ** (2 / group.depth)
    slots = np.repeat(np.arange(len(values)), [min(group.rank, len(t)) for group in race.groups])
    costs = np.vstack([values[slots], np.tile(t**2, (len(t), 1))])  # or no pathway at all
    slot, mode = scipy.optimize.linear_sum_assignment(costs)
    bound = spectrum.residual + np.min(values, axis=0).sum()
    exact = costs[slot, mode].sum() <= (1 + _ROUNDING) * np.min(values, axis=0).sum()
    maps = []
    for i, x in enumerate(strengths):
        chosen = mode[np.isin(slot, np.flatnonzero(slots == i))]
        B = (U[:, chosen] * x[chosen]) @ Vt[chosen]
        maps.append(B.T @ spectrum.directions.T)
    return race.result(maps, "exact" if exact else "stationary", None if exact else bound)


def _mode_strengths(spectrum, U, t, Vt, group):
    if group.decay == 0:
        return t / spectrum.sigma[0]
    B = whitened_minimum(spectrum, np.log(group.decay), group.depth, len(t))
    x = np.abs(np.sum((U.T @ B) * Vt, axis=1))
    return np.where(x > len(t) * np.finfo(float).eps * x.max(), x, 0.0)


def _descent(race):
    moments = race.reduced.moments
    V, groups = moments.spectrum.directions, race.groups
    maps = [group.minimum(race.reduced).coef @ V for group in groups]
    maps.append((moments.spectrum.targets / moments.spectrum.sigma[:, None]).T)
    starts = [start for M in maps for start in shared(M, groups)]
    maps = [N @ V.T for N in descended_maps(moments.spectrum, groups, starts)]
    value = race.result(maps, "stationary").objective
    bound = _lower_bound(race, value)
    tight = value - bound <= CERTIFIED_GAP * value
    return race.result(maps, "certified" if tight else "stationary", bound)


def _lower_bound(race, value):
    """A bound that no weights can fall below, given that `value` has been reached.

    At a minimum c(sigma_1) <= value, so sigma_1 <= R = max_p (value / (L_p g_p))^(L_p / 2),
    and on [0, R] the concave c lies above its chord c(R) / R: a nuclear-norm problem.
    """
    moments, groups = race.reduced.moments, race.groups
    rank = min(sum(group.rank for group in groups), moments.n_inputs, moments.n_outputs)
    least_loss = global_minimum(moments, depth=2, rank=rank).objective
    if any(group.decay == 0 for group in groups):
        return least_loss
    log_R = max(group.depth / 2 * np.log(value / (group.depth * group.decay)) for group in groups)
    chord = min(
        group.depth * group.decay * np.exp((2 / group.depth - 1) * log_R) for group in groups
    )
    relaxed = global_minimum(moments, depth=2, weight_decay=chord / 2)
    return max(least_loss, relaxed.lower_bound)


# The first case that applies is taken.
_CASES = (
    (lambda race: not race.groups, _ridge),
    (lambda race: len(race.groups) == 1, _one_network),
    (lambda race: race.reduced.direction is not None, _one_mode),
    (lambda race: race.reduced.is_white, _white),
    (lambda race: True, _descent),
)
