"""Check a reported minimum without the solver that found it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._certify import proven_bound
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._minimum_result import GlobalMinimum
from sklearn_deeplinear.theory._moments import check_moments
from sklearn_deeplinear.theory._noise import noisy_loss
from sklearn_deeplinear.theory._pathway_global_minimum import Race, proven_pathway_bound
from sklearn_deeplinear.theory._pathway_minimum_result import PathwayMinimum
from sklearn_deeplinear.theory._problem import Problem

# Relative to the objective, what two evaluations of it may differ by, and what is a closed gap.
_EQUAL, _CLOSED = 1e-9, 1e-8

# Rounding of a loss that vanishes, in the mean square of the targets.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Verification:
    """What :func:`verify` found.

    Attributes
    ----------
    ok : bool
        Whether nothing that was reported is contradicted, and the claim of an "exact" or
        "certified" minimum, or of an infimum that its lower bound proves, is confirmed by a
        bound that was computed anew.
    gap : float
        Objective less the largest proven bound, relative to the objective.
    objective : float
        J of the reported map, computed anew.
    lower_bound : float
        Bound on J that the reported map proves by itself.
    problems : tuple of str
        What does not hold; empty if `ok`.
    """

    ok: bool
    gap: float
    objective: float
    lower_bound: float
    problems: tuple

    def __repr__(self):
        return one_line(self, "ok", "gap", "objective", "lower_bound")


def verify(minimum, moments) -> Verification:
    """Check a reported minimum independently of the solver.

    The objective is computed from the map (and, where there are any, from the weights), and
    a lower bound from the map alone, as in :func:`certify`.

    Parameters
    ----------
    minimum : GlobalMinimum or PathwayMinimum
        Result for `moments` of :func:`global_minimum`, without its parameter ``rank``, or of
        :func:`pathway_global_minimum`.
    moments : SecondMoments
        Moments of the data.

    Returns
    -------
    report : Verification
        With ``ok`` and ``gap``. Nothing is raised for a minimum that is wrong.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, global_minimum, verify
    >>> moments = SecondMoments.from_moments([[1.0]], [[2.0]], 5.0)
    >>> report = verify(global_minimum(moments, depth=2, weight_decay=0.5), moments)
    >>> report.ok, report.objective
    (True, 2.75)
    """
    check_moments(moments)
    if not isinstance(minimum, (GlobalMinimum, PathwayMinimum)):
        raise TypeError(
            f"minimum must be a GlobalMinimum or a PathwayMinimum, got {type(minimum).__name__}."
        )
    shape = (moments.n_outputs, moments.n_inputs)
    if minimum.coef.shape != shape or not np.isfinite(minimum.coef).all():
        return Verification(False, np.inf, np.inf, 0.0, (f"coef is no finite map {shape}",))
    known = (_pathways if isinstance(minimum, PathwayMinimum) else _network)(minimum, moments)
    objective = next(iter(known.objectives.values()))
    tolerance = _EQUAL * abs(objective) + _ROUNDING * moments.output_moment
    bound = known.bound(objective)
    gap = (objective - bound) / objective if objective > 0 else 0.0
    problems = [
        f"objective is {minimum.objective:g}, but {value:g} from the {name}"
        for name, value in known.objectives.items()
        if not abs(value - minimum.objective) <= tolerance
    ]
    if not minimum.lower_bound <= minimum.objective:
        problems.append("lower_bound exceeds the objective")
    if bound > objective + tolerance:
        problems.append("the objective lies below a proven bound")
    if known.claimed and not objective - bound <= _CLOSED * objective + tolerance:
        problems.append(f"{minimum.kind}, but the gap to a proven bound is {gap:.1e}")
    return Verification(not problems, float(gap), float(objective), bound, tuple(problems))


class _Known(NamedTuple):
    """J by what it is computed from, a bound given J, and whether this must be near."""

    objectives: dict
    bound: Callable
    claimed: bool


def _network(minimum, moments):
    noise, gamma, M = minimum.noise, minimum.weight_decay, minimum.coef
    problem = Problem.checked(moments, minimum.depth, minimum.width, gamma, noise)
    objectives = {}
    if not noise.any():
        objectives["map"] = _loss(moments, M) + _penalty(M, gamma)
    if minimum.kind != "unattained":
        weights = minimum.weights()
        objectives["weights"] = noisy_loss(weights, moments, noise) + _decay(weights, gamma)
    claimed = _claims_to_be_least(minimum)
    objectives = objectives or {"report": minimum.objective}
    # Of stationary points with noise it is not to be expected that branching closes the gap.
    branching = claimed or not noise.any()
    return _Known(objectives, lambda J: proven_bound(problem, M, J if branching else None), claimed)


def _pathways(minimum, moments):
    maps, gamma = minimum.pathway_coefs, minimum.weight_decay
    race = Race(moments, minimum.depths, minimum.widths, gamma)
    penalty = sum(map(_penalty, maps, gamma))
    objectives = {"maps": _loss(moments, sum(maps)) + penalty}
    if minimum.kind != "unattained":
        weights = minimum.weights()
        decay = sum(map(_decay, weights, gamma))
        objectives["weights"] = _loss(moments, sum(map(end_to_end, weights))) + decay
    deep = race.deep(maps)
    claimed = _claims_to_be_least(minimum)
    return _Known(objectives, lambda J: proven_pathway_bound(race, deep, J), claimed)


def _claims_to_be_least(minimum):
    """Whether nothing is said to lie below: what is not attained may be no infimum either."""
    if minimum.kind == "unattained":
        return minimum.objective - minimum.lower_bound <= _CLOSED * minimum.objective
    return minimum.kind != "stationary"


def _loss(moments, M):
    return float(np.sum((moments.input_factor @ M.T - moments.output_factor) ** 2))


def _penalty(M, gamma):
    """What the cheapest factors of a map cost, not counting modes that are rounding."""
    L = len(gamma)
    s = np.linalg.svd(M, compute_uv=False)
    s = s[s > max(M.shape) * np.finfo(float).eps * s[0]]
    log_g = np.mean(np.log(gamma)) if np.all(gamma) else -np.inf
    return L * float(np.sum(np.exp(log_g + 2 / L * np.log(s))))


def _decay(weights, gamma):
    return float(sum(np.sum((np.sqrt(c) * W) ** 2) for c, W in zip(gamma, weights, strict=True)))
