"""Gradient flow of any dynamics, recorded like a run of gradient descent."""

from __future__ import annotations

from functools import partial

import torch

from sklearn_deeplinear.dynamics.runs._checkpoint import NO_CHECKPOINT, memory_of, recall, snapshot
from sklearn_deeplinear.dynamics.runs._descent import warn_of
from sklearn_deeplinear.dynamics.runs._integrators import FlowError, as_state, flow_states
from sklearn_deeplinear.dynamics.runs._log import Log
from sklearn_deeplinear.dynamics.runs._records import chunks


@torch.no_grad()
def flow(
    dynamics,
    times,
    *,
    meters=None,
    tol=0.0,
    record_weights=False,
    watch=None,
    method,
    rtol,
    atol,
    checkpoint=NO_CHECKPOINT,
):
    """Move a network along the gradient flow of its objective, and record the run.

    Parameters
    ----------
    dynamics : Dynamics
        The network, moved in place.
    times : ndarray of shape (n_records,)
        Increasing times to record, from 0 to the end of the flow.
    meters, tol, record_weights, watch, checkpoint
        As in :func:`sklearn_deeplinear.dynamics.runs._descent.descend`.
    method, rtol, atol
        As in :func:`sklearn_deeplinear.dynamics.gradient_flow`.

    Returns
    -------
    run : Run
        `iteration` counts the gradient evaluations made up to each record.
    """
    log = Log(dynamics, meters, tol, record_weights)
    reason = log.begin()
    done, known, memory, trouble = 0, 1, {}, None  # time 0 has been recorded
    place = checkpoint.resume(log)
    if place is not None:
        done, known, memory, reason = (
            place[name] for name in ("done", "known", "memory", "reason")
        )
    options = {"rtol": rtol, "atol": atol, "method": method}
    if checkpoint is not NO_CHECKPOINT:  # not all solvers have a memory that is known
        options["memory"] = memory
    states = flow_states(dynamics, times, float(times[-1]), **options)
    for _ in range(known - memory.get("done", 0)):
        next(states)
    if place is not None:
        recall(dynamics, place["network"])
    for index, marks in enumerate(chunks(times, dynamics.state)):
        if reason is not None:
            break
        if index < done:
            continue
        records = []
        try:
            if watch is not None:
                watch(index, None)
            for _ in marks:
                n_evaluations, t, y = next(states)
                records.append((n_evaluations, t, as_state(y, dynamics.state)))
        except KeyboardInterrupt:
            reason = "interrupted"
        except FlowError as error:
            reason, trouble = "diverged", str(error)
        try:
            if records:
                iterations, reached, rows = zip(*records, strict=True)
                reason = log.add(torch.stack(rows), iterations, reached) or reason
            dynamics.state.copy_(log.kept)
            known += len(records)
            if watch is not None and watch(index, log) and reason is None:
                reason = "callback"
            where = {"done": index + 1, "known": known, "network": memory_of(dynamics)}
            checkpoint.keep(log, reason, partial(dict, **where, memory=snapshot(memory)))
        except KeyboardInterrupt:
            reason = "interrupted"
    checkpoint.close()
    run = log.run(reason or "max_iter")
    if reason in ("interrupted", "diverged"):
        cause = trouble or ("it was interrupted" if reason == "interrupted" else "it diverged")
        warn_of(run, f"The gradient flow stopped early: {cause}. Its last record is kept.")
    return run
