"""Many estimators fitted at once: networks of one shape make their steps in the same operations.

What each of them is left with is what its own `fit` would leave, up to rounding; but the balance
of layers is not recorded, and where no run may end early only its first and its last step are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn import get_config

from sklearn_deeplinear.dynamics.runs._descent import descend, warn_of_ending
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._threads import suitable_threads
from sklearn_deeplinear.estimators._run_options import RunOptions
from sklearn_deeplinear.estimators._solvers import (
    Outcome,
    descent_iterations,
    descent_start,
)

# Copies of a state that a run holds: itself, buffers of a step, and records.
_COPIES = 8


@dataclass(frozen=True, eq=False)
class Member:
    """One fit among many: what is minimised, from where, and in which steps."""

    estimator: Any
    problem: Any
    options: RunOptions
    start: Any
    schedule: Any
    step_size: Any

    @classmethod
    def of(cls, estimator, X, y, sample_weight=None):
        """Check the parameters and the data, as `fit` does, and pose the problem."""
        estimator._validate_params()
        options = RunOptions.of(estimator)
        problem = estimator._problem_of(*estimator._check_data(X, y, sample_weight), options)
        return cls(estimator, problem, options, *descent_start(problem, options))

    @property
    def kind(self):
        """What members of a stack have in common."""
        options = self.options
        run = options.max_iter, options.record_every, str(options.device), str(options.dtype)
        return type(self.estimator), self.problem.stack_kind, run

    @property
    def size(self):
        """Bytes that it takes in a stack, roughly."""
        width = torch.empty(0, dtype=self.options.dtype).element_size()
        return width * (_COPIES * self.problem.n_parameters + self.problem.stack_values)


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
    ):
        value = getattr(estimator, name, good)
        if value != good:
            return f"{name}={value!r}"
    if len(estimator.record):
        return "record= asks for more than stacks keep"
    if estimator.callbacks or hasattr(estimator, "_skl_callbacks"):
        return "callbacks follow each fit"
    return None


_STACKED = {
    "DeepLinearRegressor",
    "MultiPathwayRegressor",
    "HomogeneousMLPRegressor",
    "HomogeneousMLPClassifier",
}


def fit_together(members, memory):
    """Fit the estimators of members that are of one kind, in stacks that fit into memory.

    Parameters
    ----------
    members : list of Member
        Of one :attr:`Member.kind`.
    memory : float
        Bytes that a stack may take.

    Returns
    -------
    failed : list of Member
        Those whose initial network is not finite, which were left alone.
    seconds : float
        Time that a member took, in the mean.
    """
    begin, size = time.perf_counter(), max(member.size for member in members)
    count, failed = max(1, int(memory // size)), []
    for first in range(0, len(members), count):
        failed += _fit_stack(members[first : first + count])
    return failed, (time.perf_counter() - begin) / len(members)


def _fit_stack(members):
    batch = _stack(members)
    measured = batch.measure(batch.state[None])
    finite = torch.isfinite(measured["objective"] + measured["gradient_norm"])[0].tolist()
    failed = [member for member, good in zip(members, finite, strict=True) if not good]
    if failed:
        members = [member for member, good in zip(members, finite, strict=True) if good]
        batch = _stack(members) if members else None
    if members:
        _train(batch, members)
    return failed


def _stack(members):
    starts, first = [member.start for member in members], members[0]
    return first.problem.stack([member.problem for member in members], starts, first.options)


def _train(batch, members):
    first = members[0]
    schedules = [member.schedule for member in members]

    def schedule(t):
        return batch.state.new_tensor([eta(t) for eta in schedules])

    with suitable_threads(len(members) * first.problem.step_flops(None)):
        runs = descend(
            batch,
            _constant(members, batch) or schedule,
            _records(members),
            meters=[],
            tol=np.array([member.options.tol for member in members]),
        )
    for i, (member, run) in enumerate(zip(members, runs, strict=True)):
        part = batch.part((i,))
        outcome = Outcome(part, run, member.step_size, run.n_iter, to_rest=True)
        warn_of_ending(run)
        member.estimator._keep(member.problem, outcome)


def _records(members):
    """Iterations to record: those of a single fit, which may end at any of them."""
    first, options = members[0], members[0].options
    if not any(member.options.tol for member in members):
        return record_iterations(options.max_iter, max(options.max_iter, 1))
    alone = first.problem.dynamics(first.start, options, compress=True)
    return descent_iterations(options, alone, meters_of(alone, options.meters))


def _constant(members, batch):
    """The schedule of steps that stay the same, or None."""
    if any(callable(member.step_size) for member in members):
        return None
    etas = batch.state.new_tensor([member.step_size for member in members])
    return lambda t: etas
