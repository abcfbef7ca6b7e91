"""Gradient descent with records: the one loop that trains every full-batch network.

Between records nothing but steps is done. Recorded states are copied into a buffer and
measured together, a chunk at a time, so that measuring small networks at every step costs
little more than copying them.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate

import numpy as np
import torch

from sklearn_deeplinear._training_warning import TrainingWarning
from sklearn_deeplinear._warnings import warn_user
from sklearn_deeplinear.dynamics.runs._checkpoint import NO_CHECKPOINT, snapshot
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._log import Log, Run
from sklearn_deeplinear.dynamics.runs._records import CHUNK_STEPS, chunks


@torch.no_grad()
def descend(
    dynamics,
    schedule,
    iterations,
    *,
    step=None,
    meters=None,
    tol=0.0,
    record_weights=False,
    watch=None,
    ends=None,
    checkpoint=NO_CHECKPOINT,
):
    """Train by gradient descent and record the run.

    Parameters
    ----------
    dynamics : Dynamics
        The network, or a batch of them, trained in place.
    schedule : callable
        Step size eta at iteration t = 0, 1, ...: a float, or a tensor of the shape of the
        batch.
    iterations : ndarray of int
        Iterations to record, from :func:`record_iterations`.
    step : callable, optional
        ``step(eta)`` moves the network, by a rule that keeps what it remembers in tensors of
        ``step.kept``; None makes steps of gradient descent.
    meters : sequence of Meter, optional
        What else is recorded; None takes the balance of the layers.
    tol : float, or ndarray of the shape of the batch
        Stop at the first record whose gradient norm is at most `tol` times the first
        one, or rounding error; 0 makes all steps. A network of a batch that has converged,
        diverged or come to its end is kept as it is, while the others go on without it.
    record_weights : bool
        Keep the weights of every record.
    watch : callable, optional
        Called before each chunk of steps as ``watch(index, None)`` and after it as
        ``watch(index, curves)``; training stops when it returns True.
    ends : ndarray of int of the shape of the batch, optional
        Last iteration of each network, which is recorded; None makes all steps.
    checkpoint : Checkpoint, optional
        Where the run of a single network goes on from, and what it leaves there.

    Returns
    -------
    run : Run, or ndarray of them of the shape of the batch
        `stop_reason` is "converged", "max_iter", "early_stopping" (by a meter), "diverged",
        "interrupted" or "callback". A run that diverges or is interrupted keeps its last good
        record, and warns; what it means that all steps were made is for the caller to judge, as
        is what to say of the networks of a batch.

    Raises
    ------
    KeyboardInterrupt
        If a batch is interrupted: networks that are compared are of no use half-trained.
    """
    if ends is not None:
        iterations = np.union1d(iterations[iterations <= np.max(ends)], ends)
    log = Log(dynamics, meters, tol, record_weights, ends)
    reason = log.begin()
    remembered = getattr(step, "kept", {})
    iteration, time, done, reason = _resumed(checkpoint.resume(log), remembered, reason)
    iterations = iterations[iterations >= iteration]
    parts = chunks(iterations, dynamics.state, _chunk_steps(dynamics, step, watch))
    for index, marks in enumerate(parts, start=done):
        if reason is not None:
            break
        states = dynamics.state.new_empty((len(marks), *dynamics.state.shape))
        times: list[float | torch.Tensor] = []
        try:
            if step is None:  # a rule of another kind may remember what each network did
                log.close_up()
            together = _together(log.moving, step)
            move = _mover(log, step, together)
            if watch is not None:
                watch(index, None)
            with flushed_denormals():
                for rows in _calls(len(marks), together):
                    etas, complete = _asked(schedule, iteration, int(marks[rows][-1]))
                    counts = marks[rows] - iteration
                    counts = counts[counts <= len(etas)]
                    if len(counts):
                        move(etas[: counts[-1]], counts, states[rows][: len(counts)])
                        reached = list(accumulate(etas, initial=time))
                        times += [reached[count] for count in counts]
                        iteration, time = iteration + int(counts[-1]), times[-1]
                    if not complete:
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            reason = _interrupted(log)
        try:
            reason = log.add(states[: len(times)], marks[: len(times)], times) or reason
            if reason is not None:
                dynamics.state.copy_(log.kept)
            if watch is not None and watch(index, log) and reason is None:
                reason = "callback"
            where = {"iteration": int(iteration), "time": time, "done": index + 1}
            checkpoint.keep(log, reason, partial(dict, **where, remembered=snapshot(remembered)))
        except KeyboardInterrupt:
            reason = _interrupted(log)
    checkpoint.close()
    run = log.run(reason or "max_iter")
    if isinstance(run, Run):
        warn_of_ending(run)
    return run


def _interrupted(log):
    """Why a run ends that is interrupted; to be called where that is caught."""
    if log.batch:
        raise  # noqa: PLE0704
    return "interrupted"


def _resumed(place, remembered, reason):
    """Iteration, time, chunks done, and the reason to stop, where a run goes on or begins."""
    if place is None:
        return 0, 0.0, 0, reason
    for name, tensor in remembered.items():
        tensor.copy_(place["remembered"][name])
    return tuple(place[name] for name in ("iteration", "time", "done", "reason"))


def _together(dynamics, step):
    """What makes many steps in one call, of descent where the network has it."""
    return None if step else getattr(dynamics, "steps", None)


def _chunk_steps(dynamics, step, watch):
    """Steps of a chunk: more of them where they are fast and nobody waits for its end."""
    together = _together(dynamics, step)
    # The networks of a batch leave it between chunks, and listeners are told of these.
    if together is None or watch is not None or dynamics.state.ndim > 1:
        return CHUNK_STEPS
    return max(CHUNK_STEPS, together.at_once)


def _calls(n_marks, together):
    """The records that are reached in one call: those of a chunk at once, if steps can be."""
    return [slice(0, n_marks)] if together else [slice(i, i + 1) for i in range(n_marks)]


def _asked(schedule, begin, end):
    """Step sizes of the iterations from `begin` to `end`, and whether these are all of them."""
    etas: list[float | torch.Tensor] = []
    try:
        for t in range(begin, end):
            etas.append(schedule(t))
    except KeyboardInterrupt:
        return etas, False
    return etas, True


def _mover(log, step, together):
    """Return ``move(etas, counts, states)``, which keeps the states after so many steps."""
    moving, rows = log.moving, log.rows
    one = step or moving.step

    def own(eta):
        whole = log.moving is log.dynamics or not torch.is_tensor(eta)
        return eta if whole else eta[rows]

    def move(etas, counts, states):
        etas = [own(eta) for eta in etas] if log.batch else etas
        if together is None:
            for eta in etas:
                one(eta)
            states.copy_(log.whole_state())
        elif moving is log.dynamics:
            together(etas, counts, states)
        else:
            records = moving.state.new_empty((len(counts), *moving.state.shape))
            together(etas, counts, records)
            states.copy_(log.whole_state())
            states[(slice(None), *rows)] = records

    return move


_ENDINGS = {
    "diverged": (
        "Gradient descent diverged: the weights of the last finite record are kept. Take a "
        'smaller step_size; estimators find one with step_size="auto".'
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
    return tol > 0 and run.stop_reason == "max_iter" and run.trajectory.iteration[-1] > 0


def warn_unfinished(run, advice):
    """Warn that a run is unfinished, with the `advice` what to do about it."""
    warn_of(run, f"Training made max_iter steps without reaching tol. {advice}")


def warn_of(run, message):
    """Warn with the numbers of the run as attributes of the warning."""
    norm = run.trajectory.gradient_norm
    ratio = float(norm[-1] / norm[0]) if norm[0] > 0 else 0.0
    warn_user(TrainingWarning(message, n_iter=run.n_iter, gradient_ratio=ratio))
