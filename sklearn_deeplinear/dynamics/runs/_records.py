"""When a run is recorded, what is measured then, and what is kept of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch

from sklearn_deeplinear._results import BalanceHistory, Trajectory
from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.runs._meters import meters_of

_MAX_RECORDS = 1000
# Time that measuring may take, in that of training. A run of fewer steps than the second number
# may spend as much on it as one of so many, the less so the nearer the cost of a record is to
# the third number of steps.
_MEASURING, _SHORT_RUN, _DEAR_RECORD = 1 / 4, 1200, 80
# Steps between two looks at what was recorded, and memory for the states kept until then.
_CHUNK_STEPS = 200
_CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Run:
    """Outcome of a training run; the dynamics' state is that of the last record."""

    trajectory: Trajectory
    balance: BalanceHistory | list[BalanceHistory] | None
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
        allowance = max(max_iter / _SHORT_RUN, record_cost / _DEAR_RECORD)
        spacing = record_cost / _MEASURING * min(1.0, allowance)
        record_every = max(1, -(-max_iter // (_MAX_RECORDS - 1)), math.ceil(spacing))
    iterations = np.arange(0, max_iter + 1, record_every)
    return iterations if iterations[-1] == max_iter else np.append(iterations, max_iter)


def chunks(iterations, state):
    """Split the records after the first into the chunks that are measured together."""
    spacing = max(1, int(iterations[1] - iterations[0])) if len(iterations) > 1 else 1
    fitting = _CHUNK_BYTES // (state.numel() * state.element_size())
    size = int(np.clip(_CHUNK_STEPS // spacing, 1, max(1, fitting)))
    return [iterations[i : i + size] for i in range(1, len(iterations), size)]


class Log:
    """Measured records of a run, cut off at the first one that ends it.

    Parameters
    ----------
    dynamics : Dynamics
        The network.
    meters : sequence of Meter, optional
        What else is recorded; None takes the balance of the layers.
    tol : float
        The run has converged when the norm of the gradient is at most `tol` times the
        first one, or its own rounding error; 0 never ends it.
    record_weights : bool
        Keep the weights of every record.

    Attributes
    ----------
    kept : tensor
        State of the last good record.
    """

    def __init__(self, dynamics, meters=None, tol=0.0, record_weights=False):
        meters = meters_of(dynamics) if meters is None else meters
        self.dynamics, self.tol, self.record_weights = dynamics, tol, record_weights
        self.readings = [(meter, []) for meter in meters]
        self.kept = dynamics.state.clone()
        # A gradient of the size of its own rounding error cannot become much smaller.
        self.rounding = dynamics.rounding
        self.parts: list[dict[str, np.ndarray]] = []
        self.states: list[torch.Tensor] = []

    def add(self, states, iterations, times):
        """Append records; return the reason to stop, if there is one."""
        if not times:
            return None
        measured = {k: v.numpy(force=True) for k, v in self.dynamics.measure(states).items()}
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
            for meter, parts in self.readings:
                parts.append(meter.measure(states[:good]))
            if self.record_weights:
                self.states.append(states[:good].cpu())
        return reason

    def run(self, reason):
        """Return the run as immutable results."""
        axis = {name: self._joined(name) for name in ("iteration", "time")}
        others = self.parts[0].keys() - axis.keys()
        recorded = {name: self._joined(name).astype(np.float64) for name in others}
        for meter, parts in self.readings:
            recorded |= meter.result(axis, parts)
        if self.record_weights:
            recorded |= self._parameters()
        balance = recorded.pop("balance", None)
        names = {field.name for field in fields(Trajectory)}
        known = {name: recorded.pop(name) for name in names & recorded.keys()}
        return Run(Trajectory(**axis, **known, others=recorded), balance, reason)

    def _joined(self, name):
        return np.concatenate([part[name] for part in self.parts])

    def _parameters(self):
        like = self.dynamics.state
        unpacked = [
            arrays(self.dynamics.unpacked(state.to(like.device)))
            for part in self.states
            for state in part
        ]
        return {name: [parts[name] for parts in unpacked] for name in unpacked[0]}
