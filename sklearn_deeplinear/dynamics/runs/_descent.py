"""Gradient descent with records: the one loop that trains every full-batch network.

Between records nothing but steps is done. Recorded states are copied into a buffer and
measured together, a chunk at a time, so that measuring small networks at every step costs
little more than copying them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_deeplinear._results import BalanceHistory, Trajectory
from sklearn_deeplinear._warnings import TrainingWarning, warn_user
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals

_MAX_RECORDS = 1000
_CHUNK_STEPS = 200
_CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Run:
    """Outcome of a training run; the dynamics' state is that of the last record."""

    trajectory: Trajectory
    balance: BalanceHistory
    stop_reason: str

    @property
    def n_iter(self):
        """Number of steps that led to the state that was kept."""
        return int(self.trajectory.iteration[-1])


def record_iterations(max_iter, record_every=None, record_cost=1):
    """Iterations at which a run is recorded, the first and the last always among them.

    Parameters
    ----------
    max_iter : int
        Number of steps.
    record_every : int or None
        Steps between records. None spaces at most 1,000 records evenly, so far apart
        that measuring them takes about a quarter of the time of training (of 1,200 steps,
        in a shorter run of a small network).
    record_cost : float
        Cost of measuring a record, in steps.

    Returns
    -------
    iterations : ndarray of int
    """
    if record_every is None:
        # Short runs of networks that are cheap to measure may spend more on it.
        spacing = record_cost * min(4, max(max_iter / 300, record_cost / 20))
        record_every = max(1, -(-max_iter // (_MAX_RECORDS - 1)), math.ceil(spacing))
    iterations = np.arange(0, max_iter + 1, record_every)
    return iterations if iterations[-1] == max_iter else np.append(iterations, max_iter)


def chunks(iterations, state):
    """Split the records after the first into the chunks that are measured together."""
    spacing = max(1, int(iterations[1] - iterations[0])) if len(iterations) > 1 else 1
    fitting = _CHUNK_BYTES // (state.numel() * state.element_size())
    size = int(np.clip(_CHUNK_STEPS // spacing, 1, max(1, fitting)))
    return [iterations[i : i + size] for i in range(1, len(iterations), size)]


@torch.no_grad()
def descend(dynamics, schedule, iterations, *, tol=0.0, record_weights=False, watch=None):
    """Train by gradient descent and record the run.

    Parameters
    ----------
    dynamics : object with `state`, `step(eta)` and `measure(states)`
        The network, trained in place.
    schedule : callable
        Step size eta at iteration t = 0, 1, ...
    iterations : ndarray of int
        Iterations to record, from :func:`record_iterations`.
    tol : float
        Stop at the first record whose gradient norm is at most `tol` times the first
        one, or rounding error; 0 makes all steps.
    record_weights : bool
        Keep the weights of every record.
    watch : callable, optional
        Called before each chunk of steps as ``watch(index, None)`` and after it as
        ``watch(index, curves)``; training stops when it returns True.

    Returns
    -------
    run : Run
        `stop_reason` is "converged", "max_iter", "diverged", "interrupted" or
        "callback". A run that diverges or is interrupted keeps its last good record, and
        warns; what it means that all steps were made is for the caller to judge.
    """
    log = Log(dynamics, tol, record_weights)
    reason = log.add(dynamics.state[None].clone(), [0], [0.0])
    if reason == "diverged":
        raise ValueError("init gives a network whose objective is not finite: use a smaller one.")
    iteration, time = 0, 0.0
    for index, marks in enumerate(chunks(iterations, dynamics.state)):
        if reason is not None:
            break
        states = dynamics.state.new_empty((len(marks), dynamics.state.numel()))
        times: list[float] = []
        try:
            if watch is not None:
                watch(index, None)
            with flushed_denormals():
                for row, mark in enumerate(marks):
                    for t in range(iteration, mark):
                        eta = schedule(t)
                        dynamics.step(eta)
                        time += eta
                    iteration = mark
                    states[row].copy_(dynamics.state)
                    times.append(time)
        except KeyboardInterrupt:
            reason = "interrupted"
        try:
            reason = log.add(states[: len(times)], marks[: len(times)], times) or reason
            if reason is not None:
                dynamics.state.copy_(log.kept)
            if watch is not None and watch(index, log) and reason is None:
                reason = "callback"
        except KeyboardInterrupt:
            reason = "interrupted"
    dynamics.state.copy_(log.kept)
    run = log.run(reason or "max_iter")
    warn_of_ending(run)
    return run


class Log:
    """Measured records of a run, cut off at the first one that ends it."""

    def __init__(self, dynamics, tol, record_weights):
        self.dynamics, self.tol, self.record_weights = dynamics, tol, record_weights
        self.kept = dynamics.state.clone()
        # A gradient of the size of its own rounding error cannot become much smaller.
        self.rounding = getattr(dynamics, "rounding", 0.0)
        self.parts: list[dict[str, np.ndarray]] = []
        self.states: list[np.ndarray] = []

    def add(self, states, iterations, times):
        """Append records; return the reason to stop, if there is one."""
        if not times:
            return None
        measured = {k: v.cpu().numpy() for k, v in self.dynamics.measure(states).items()}
        measured |= {"iteration": np.asarray(iterations), "time": np.asarray(times)}
        norm, reason = measured["gradient_norm"], None
        finite = np.isfinite(measured["objective"]) & np.isfinite(norm)
        good = len(times) if finite.all() else int(np.argmin(finite))
        if good < len(times):
            reason = "diverged"
        first = self.parts[0]["gradient_norm"][0] if self.parts else norm[0]
        small = norm[:good] <= max(self.tol * first, self.rounding)
        if self.tol > 0 and small.any():
            good, reason = int(np.argmax(small)) + 1, "converged"
        if good:
            self.kept.copy_(states[good - 1])
            self.parts.append({name: values[:good] for name, values in measured.items()})
            if self.record_weights:
                self.states.append(states[:good].cpu().numpy())
        return reason

    def run(self, reason):
        """Return the run as immutable results."""
        curves = {
            name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]
        }
        axis = {name: curves.pop(name) for name in ("iteration", "time")}
        curves = {name: values.astype(np.float64) for name, values in curves.items()}
        names = ("loss", "objective", "gradient_norm", "sharpness")
        scalars = {name: curves.pop(name) for name in names if name in curves}
        weights = [self.dynamics.unpacked(state) for part in self.states for state in part]
        recorded = {
            "weights": weights if self.record_weights else None,
            "mode_strengths": curves.pop("mode_strengths", None),
        }
        return Run(
            Trajectory(**axis, **scalars, **recorded),
            BalanceHistory(**axis, matrix=curves.pop("matrix", None), **curves),
            reason,
        )


_ENDINGS = {
    "diverged": (
        "Gradient descent diverged: the weights of the last finite record are kept. Take a "
        'smaller step_size, or step_size="auto".'
    ),
    "interrupted": "Training was interrupted: the weights of the last record are kept.",
}


def warn_of_ending(run):
    """Warn if the run diverged or was interrupted."""
    if run.stop_reason in _ENDINGS:
        warn_of(run, _ENDINGS[run.stop_reason])


def is_unfinished(run, tol):
    """Whether the run was to reach `tol` and did not in all its steps.

    A run of no steps is how one gets initial weights.
    """
    return tol > 0 and run.stop_reason == "max_iter" and run.n_iter > 0


def warn_unfinished(run, advice):
    """Warn that a run is unfinished, with the `advice` what to do about it."""
    warn_of(run, f"Gradient descent made max_iter steps without reaching tol. {advice}")


def warn_of(run, message):
    """Warn with the numbers of the run as attributes of the warning."""
    norm = run.trajectory.gradient_norm
    ratio = float(norm[-1] / norm[0]) if norm[0] > 0 else 0.0
    warn_user(TrainingWarning(message, n_iter=run.n_iter, gradient_ratio=ratio))
