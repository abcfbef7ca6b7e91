"""What is measured where a run is recorded, what is kept of it, and when that ends the run."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from sklearn_deeplinear._results import BalanceHistory, Trajectory
from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.runs._checkpoint import memory_of, recall
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from sklearn_deeplinear.dynamics.runs._validation import EarlyStopping

# Share of a batch from which on it is left as it is: to make one of fewer networks takes the time
# of some steps.
_CROWDED = 3 / 4

# Growth of the objective from which on a run has diverged: scores may still be squared then.
_LOST = 1e100

NOT_FINITE = (
    "init gives a network whose objective, or the square of its gradient, is not finite: use a "
    "smaller one, or X and y in units in which they are of size 1."
)


@dataclass(frozen=True)
class Run:
    """Outcome of a training run; the dynamics' state is that of the record that was kept.

    This is the last one, or that of the least validation loss of a run that may stop early.
    """

    trajectory: Trajectory
    balance: BalanceHistory | list[BalanceHistory] | None
    stop_reason: str
    record: int = -1

    @property
    def n_iter(self):
        """Number of steps that led to the state that was kept."""
        return int(self.trajectory.iteration[self.record])


class Log:
    """Measured records of a run, cut off at the first one that ends it.

    The networks of a batch end one by one: what is recorded of one after its end is left out.

    Parameters
    ----------
    dynamics : Dynamics
        The network, or a batch of them.
    meters : sequence of Meter, optional
        What else is recorded; None takes the balance of the layers. One may be an
        `EarlyStopping`, which ends the run, too.
    tol : float, or ndarray of the shape of the batch
        The run has converged when the norm of the gradient is at most `tol` times the
        first one, or its own rounding error; 0 never ends it.
    record_weights : bool
        Keep the weights of every record.
    ends : ndarray of int of the shape of the batch, optional
        Iterations at which networks end, whatever their gradient.

    Attributes
    ----------
    moving : Dynamics
        The network, or what moves on of a batch.
    rows : tuple
        Index of `moving` in the batch.
    kept : tensor
        State of the last good record.
    best : tensor
        State that the run leaves: the same, or that of the least validation loss.
    reasons : ndarray of the shape of the batch, of str or None
        Why networks have ended.
    """

    def __init__(self, dynamics, meters=None, tol=0.0, record_weights=False, ends=None):
        meters = meters_of(dynamics) if meters is None else meters
        self.dynamics, self.tol, self.record_weights = dynamics, tol, record_weights
        self.ends = ends
        self.moving, self.rows = dynamics, (...,)
        self.readings = [(meter, []) for meter in meters]
        self.stopping = next((m for m in meters if isinstance(m, EarlyStopping)), None)
        self.kept = dynamics.state.clone()
        self.best = self.kept if self.stopping is None else self.kept.clone()
        self.batch = tuple(dynamics.state.shape[:-1])
        self.running = np.ones(self.batch, dtype=bool)
        self.reasons = np.full(self.batch, None, dtype=object)
        # A gradient of the size of its own rounding error cannot become much smaller.
        self.rounding = dynamics.rounding
        self.parts: list[dict[str, np.ndarray]] = []
        self.good: list[np.ndarray] = []  # records of each part that belong to a network
        self.states: list[torch.Tensor] = []

    def begin(self):
        """Record the initial network; return the reason to stop there, if there is one."""
        reason = self.add(self.dynamics.state[None].clone(), [0], [0.0])
        if "diverged" in self.reasons:
            raise ValueError(NOT_FINITE)
        return reason

    def add(self, states, iterations, times):
        """Append records; return the reason to stop once all networks have one.

        A call that raises, as one does that is interrupted, has appended nothing.
        """
        if not times:
            return None
        undo = self._undo()
        try:
            return self._add(states, iterations, times)
        except BaseException:
            undo()
            raise

    def _add(self, states, iterations, times):
        measured = arrays(self.moving.measure(states[(slice(None), *self.rows)]))
        measured = {name: self._in_batch(values) for name, values in measured.items()}
        measured |= {"iteration": np.asarray(iterations), "time": self._column(times)}
        losses = None if self.stopping is None else self.stopping.measure(states)
        good = self._end(measured, losses)
        if good.any():
            self._keep(states, good, self.kept)
            if self.stopping is not None:
                self._keep(states, self.stopping.accept(losses, good), self.best)
            rows = good.max()
            self.good.append(good)
            self.parts.append({name: values[:rows] for name, values in measured.items()})
            for meter, parts in self.readings:
                known = meter is self.stopping
                parts.append(losses[:rows] if known else meter.measure(states[:rows]))
            if self.record_weights:
                self.states.append(states[:rows].cpu())
        return None if self.running.any() else self.reasons.flat[-1]

    def _undo(self):
        """Return a function that takes back what is added from now on."""
        lists: list[list] = [self.parts, self.good, self.states]
        lists += [parts for _, parts in self.readings]
        lengths = [len(part) for part in lists]
        kept, best = self.kept.clone(), self.best.clone()
        running, reasons = self.running, self.reasons.copy()
        stopping = self.stopping
        seen = None if stopping is None else stopping.memory()

        def undo():
            for part, length in zip(lists, lengths, strict=True):
                del part[length:]
            self.kept.copy_(kept)
            self.best.copy_(best)
            self.running, self.reasons = running, reasons
            if stopping is not None:
                stopping.recall(seen)

        return undo

    def _in_batch(self, values):
        """Values of what moves (n_records, n_moving, ...) in their places, and nan in others."""
        if self.moving is self.dynamics:
            return values
        whole = np.full((len(values), *self.batch, *values.shape[2:]), np.nan, values.dtype)
        whole[(slice(None), *self.rows)] = values
        return whole

    def whole_state(self):
        """The state of the dynamics, which that of what moves is written into."""
        if self.moving is not self.dynamics:
            self.dynamics.state[self.rows] = self.moving.state
        return self.dynamics.state

    def close_up(self):
        """Let those that have ended leave a batch, once they are many."""
        if self.running.sum() <= _CROWDED * self.moving.state[..., 0].numel():
            self.dynamics.state.copy_(self.kept)
            rows = np.nonzero(self.running)
            self.moving, self.rows = self.dynamics.part(rows), rows

    def memory(self):
        """All that is to be known to go on with the log of a single network, as a tree."""
        return {
            "parts": list(self.parts),
            "good": list(self.good),
            "states": list(self.states),
            "readings": [list(parts) for _, parts in self.readings],
            "kept": self.kept.clone(),
            "best": self.best.clone(),
            "stopping": None if self.stopping is None else self.stopping.memory(),
            "network": memory_of(self.dynamics),
        }

    def recall(self, memory):
        """Take over what :meth:`memory` was, and put the network there."""
        self.parts, self.good, self.states = (memory[name] for name in ("parts", "good", "states"))
        meters = [meter for meter, _ in self.readings]
        self.readings = list(zip(meters, memory["readings"], strict=True))
        self.kept.copy_(memory["kept"])
        self.dynamics.state.copy_(self.kept)
        if self.stopping is not None:
            self.best.copy_(memory["best"])
            self.stopping.recall(memory["stopping"])
        recall(self.dynamics, memory["network"])

    def _column(self, times):
        """Times of the records (n_records, ...), which a batch may share."""
        if not self.batch:
            return np.asarray(times)
        each = [t.numpy(force=True) if torch.is_tensor(t) else t for t in times]
        return np.array([np.broadcast_to(t, self.batch) for t in each])

    def _end(self, measured, losses):
        """How many of the records are good, by network, and the reasons where one ends."""
        norm, running = measured["gradient_norm"], self.running
        good = _first(
            ~(np.isfinite(measured["objective"]) & np.isfinite(norm)) | self._lost(measured)
        )
        end = settled = stopped = len(norm)
        if np.any(self.tol):
            first = self.parts[0]["gradient_norm"][0] if self.parts else norm[0]
            with np.errstate(invalid="ignore"):
                small = norm <= np.maximum(self.tol * first, self.rounding)
            end = settled = _first(small & (np.asarray(self.tol) > 0))
        if self.ends is not None:
            late = measured["iteration"].reshape(-1, *(1 for _ in self.batch)) >= self.ends
            end = np.minimum(end, _first(np.broadcast_to(late, norm.shape)))
        if self.stopping is not None:
            stopped = _first(self.stopping.has_ended(losses))
            end = np.minimum(end, stopped)
        ended = running & (end < good)
        diverged = running & (good < len(norm)) & ~ended
        if ended.any() or diverged.any():
            self.reasons[ended] = "max_iter"
            self.reasons[ended & (stopped == end)] = "early_stopping"
            self.reasons[ended & (settled == end)] = "converged"
            self.reasons[diverged] = "diverged"
            self.running = running & ~ended & ~diverged
        return np.where(running, np.where(ended, end + 1, good), 0)

    def _lost(self, measured):
        """Which records are so far above the first that nothing can be made of their weights."""
        first = (self.parts[0] if self.parts else measured)["objective"][0]
        with np.errstate(over="ignore", invalid="ignore"):
            return measured["objective"] > np.where(first > 0, first, np.inf) * _LOST

    def _keep(self, states, counts, into):
        """Write the last of so many records of each network `into` a state."""
        if not self.batch:
            if counts:
                into.copy_(states[counts - 1])
            return
        rows, n = counts.reshape(-1), states.shape[-1]
        (networks,) = np.nonzero(rows)
        last = states.reshape(len(states), -1, n)[rows[networks] - 1, networks]
        into.view(-1, n)[networks] = last

    def run(self, reason):
        """Return the run as immutable results, or an array of runs of the shape of a batch.

        Networks that have not ended stop for the given reason. The state becomes that of the
        record that is kept.
        """
        self.dynamics.state.copy_(self.best)
        runs = np.empty(self.batch, dtype=object)
        for index in np.ndindex(*self.batch):
            runs[index] = self._run(index, self.reasons[index] or reason)
        return runs[()]

    def _run(self, index, reason):
        """The run of one network."""
        axis = {name: self._joined(name, index) for name in ("iteration", "time")}
        others = self.parts[0].keys() - axis.keys()
        recorded = {name: self._joined(name, index).astype(np.float64) for name in others}
        for meter, parts in self.readings:
            recorded |= meter.result(axis, self._of_network(parts, index))
        if self.record_weights:
            recorded |= self._parameters(index)
        balance = recorded.pop("balance", None)
        names = {field.name for field in fields(Trajectory)}
        known = {name: recorded.pop(name) for name in names & recorded.keys()}
        record = -1 if self.stopping is None else int(self.stopping.record[index])
        return Run(Trajectory(**axis, **known, others=recorded), balance, reason, record)

    def _of_network(self, parts, index):
        """What was measured of one network while it ran."""
        counts = [int(good[index]) for good in self.good]
        return [_cut(part, rows, index) for part, rows in zip(parts, counts, strict=True) if rows]

    def _joined(self, name, index):
        own = () if name == "iteration" else index
        columns = [part[name] for part in self.parts]
        counts = [int(good[index]) for good in self.good]
        return np.concatenate(
            [column[(slice(rows), *own)] for column, rows in zip(columns, counts, strict=True)]
        )

    def _parameters(self, index):
        like = self.dynamics.state
        unpacked = [
            arrays(self.dynamics.unpacked(state.to(like.device)))
            for part in self._of_network(self.states, index)
            for state in part
        ]
        return {name: [parts[name] for parts in unpacked] for name in unpacked[0]}


def _first(marks):
    """Index of the first mark in each column, the number of rows where there is none."""
    return np.where(marks.any(axis=0), marks.argmax(axis=0), len(marks))


def _cut(measured, rows, index):
    """The first rows of one network, of arrays (n_records, ...) in lists or dicts."""
    if isinstance(measured, dict):
        return {name: _cut(part, rows, index) for name, part in measured.items()}
    if isinstance(measured, list):
        return [_cut(part, rows, index) for part in measured]
    return measured[(slice(rows), *index)]
