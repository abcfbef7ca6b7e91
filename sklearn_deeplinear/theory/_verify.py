"""Check a reported minimum without the solver that found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._certify import proven_bound
from sklearn_deeplinear.theory._noise import noisy_loss
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
        "certified" minimum is confirmed by a bound that was computed anew.
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
    minimum : GlobalMinimum
        Result of :func:`global_minimum` for `moments`.
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
    shape = (moments.n_outputs, moments.n_inputs)
    if minimum.coef.shape != shape or not np.isfinite(minimum.coef).all():
        return Verification(False, np.inf, np.inf, 0.0, (f"coef is no finite map {shape}",))
    problem = Problem.checked(
        moments, minimum.depth, minimum.width, minimum.weight_decay, minimum.noise
    )
    objectives = dict(_objectives(minimum, problem))
    objective = next(iter(objectives.values()))
    tolerance = _EQUAL * abs(objective) + _ROUNDING * moments.output_moment
    bound = proven_bound(problem, minimum.coef, objective)
    gap = (objective - bound) / objective if objective > 0 else 0.0
    problems = [
        f"objective is {minimum.objective:g}, but {value:g} from the {name}"
        for name, value in objectives.items()
        if not abs(value - minimum.objective) <= tolerance
    ]
    if not minimum.lower_bound <= minimum.objective:
        problems.append("lower_bound exceeds the objective")
    if bound > objective + tolerance:
        problems.append("the objective lies below a proven bound")
    if _is_claimed(minimum, problem) and not objective - bound <= _CLOSED * objective + tolerance:
        problems.append(f"{minimum.kind}, but the gap to a proven bound is {gap:.1e}")
    return Verification(not problems, float(gap), float(objective), bound, tuple(problems))


def _objectives(minimum, problem):
    """J by what it is computed from."""
    moments, L, gamma = problem.moments, problem.depth, problem.gamma
    if not problem.noise.any():
        loss = np.sum((moments.input_factor @ minimum.coef.T - moments.output_factor) ** 2)
        s = np.linalg.svd(minimum.coef, compute_uv=False)
        s = s[s > max(minimum.coef.shape) * np.finfo(float).eps * s[0]]
        penalty = np.sum(np.exp(np.log(s) * 2 / L + problem.mean_log_decay)) * L
        yield "map", float(loss + penalty)
    if minimum.kind == "unattained":
        if problem.noise.any():
            yield "report", minimum.objective
        return
    weights = minimum.weights(minimum.width)
    loss = noisy_loss(weights, moments, problem.noise)
    decayed = sum(np.sum((np.sqrt(c) * W) ** 2) for c, W in zip(gamma, weights, strict=True))
    yield "weights", float(loss + decayed)


def _is_claimed(minimum, problem):
    """Whether the minimum is said to be global; with noise no infimum of several outputs is."""
    known = not problem.noise.any() or problem.direction is not None
    return minimum.kind in ("exact", "certified") or (minimum.kind == "unattained" and known)
