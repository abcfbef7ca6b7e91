"""Many estimators fitted at once: networks of one shape make their steps in the same operations.

What each of them is left with is what its own `fit` would leave, up to rounding; but the balance
of layers is not recorded, and where no run is to end early only its first and its last step are.
Those that diverge nevertheless are trained again, with the records of their own fits.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from sklearn import get_config

from sklearn_deeplinear.dynamics.runs._descent import descend, warn_of_ending
from sklearn_deeplinear.dynamics.runs._log import NOT_FINITE
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._threads import suitable_threads
from sklearn_deeplinear.estimators._solvers import Outcome, descent_iterations


def why_alone(estimator):
    """Why an estimator cannot be fitted together with others, or None."""
    if not hasattr(estimator, "_problem_of") or not hasattr(estimator, "solver"):
        return f"{type(estimator).__name__} is not trained by descent"
    if type(estimator).__name__ not in _STACKED:
        return f"networks of {type(estimator).__name__} have no batch axis"
    if get_config()["array_api_dispatch"]:
        return "arrays of other libraries are dispatched"
    for name, good in (
        ("solver", "gd"),
        ("warm_start", False),
        ("early_stopping", False),
        ("compression", "exact"),
        ("record_weights", False),
        ("record_sharpness", False),
        ("checkpoint", None),
    ):
        value = getattr(estimator, name, good)
        if value != good:
            return f"{name}={value!r}"
    if len(estimator.record):
        return "record= asks for more than stacks keep"
    if estimator.callbacks or hasattr(estimator, "_skl_callbacks"):
        return "callbacks follow each fit"
    return None


# Bytes of a stack that caches of the CPU keep between its steps. Perceptrons of 16 and of 100
# units, 108 of them on 295 samples, took 1.0 and 5.2 s in stacks of 15 MB, 1.7 and 7.5 s in one,
# and 1.1 and 6.2 s in stacks of 4 MB.
_CACHE = 15e6

_STACKED = {
    "DeepLinearRegressor",
    "MultiPathwayRegressor",
    "HomogeneousMLPRegressor",
    "HomogeneousMLPClassifier",
}


def stacks(members, memory):
    """Members of one kind, as lists of those that train well together in so many bytes."""
    size = max(member.size for member in members)
    # Of an accelerator, which waits for calls rather than for memory, few calls ask the most.
    cache = _CACHE if members[0].options.device.type == "cpu" else np.inf
    count = max(1, int(min(memory, cache) // size))
    return [members[first : first + count] for first in range(0, len(members), count)]


def fit_together(members):
    """Fit the estimators of members of one kind, in a stack.

    Parameters
    ----------
    members : list of Member
        Of one :attr:`Member.kind`.

    Returns
    -------
    fits : list
        The estimators, fitted, or the error that the fit of one raises.
    seconds : float
        Time that a member took, in the mean.
    """
    begin = time.perf_counter()
    batch = _stack(members)
    measured = batch.measure(batch.state[None])
    finite = torch.isfinite(measured["objective"] + measured["gradient_norm"])[0].tolist()
    if not all(finite):
        good = [member for member, fine in zip(members, finite, strict=True) if fine]
        batch = _stack(good) if good else None
    else:
        good = members
    if good:
        _train(batch, good)
    fits = [
        member.estimator if fine else ValueError(NOT_FINITE)
        for member, fine in zip(members, finite, strict=True)
    ]
    return fits, (time.perf_counter() - begin) / len(members)


def _stack(members):
    cores, first = [member.core for member in members], members[0]
    return first.problem.stack([member.problem for member in members], cores, first.options)


def _train(batch, members, all_records=False):
    first = members[0]
    schedules = [member.schedule for member in members]

    def schedule(t):
        return batch.state.new_tensor([eta(t) for eta in schedules])

    with suitable_threads(len(members) * first.problem.step_flops(None)):
        runs = descend(
            batch,
            _constant(members, batch) or schedule,
            _records(members, all_records),
            meters=[],
            tol=np.array([member.options.tol for member in members]),
        )
    left = first.problem.unstacked(batch, [member.start for member in members])
    again = []
    for member, run, network in zip(members, runs, left, strict=True):
        if run.stop_reason == "diverged" and not all_records:
            again.append(member)  # it keeps the last good record, which was not made
            continue
        outcome = Outcome(network, run, member.step_size, run.n_iter, to_rest=True)
        warn_of_ending(run)
        member.estimator._keep(member.problem, outcome)
    if again:
        _train(_stack(again), again, all_records=True)


def _records(members, all_of_them):
    """Iterations to record: those of a single fit, which may end at any of them."""
    first, options = members[0], members[0].options
    if not all_of_them and not any(member.options.tol for member in members):
        return record_iterations(options.max_iter, max(options.max_iter, 1))
    alone = first.problem.dynamics(first.start, options, compress=True)
    return descent_iterations(options, alone, meters_of(alone, options.meters))


def _constant(members, batch):
    """The schedule of steps that stay the same, or None."""
    if any(callable(member.step_size) for member in members):
        return None
    etas = batch.state.new_tensor([member.step_size for member in members])
    return lambda t: etas
