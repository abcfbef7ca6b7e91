"""Solutions of autonomous equations at all scales of state and time, as far as asked for.

A flow from a tiny start waits for 1e100 units of time and then moves within one. No fixed
unit of either serves: an equation therefore comes in charts, in each of which the unknowns
and the unit of time are of the size of one. When a state has outgrown its chart, the next
one begins.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy

from sklearn_deeplinear._parameters import as_array

_RTOL = 1e-13  # errors per step; unknowns are logarithms or of the size of one
_STIFF_RTOL = 1e-10  # Radau's estimate is of third order, its solution of fifth
_MAX_STEPS = 100_000

# A solver counts from the start of its chart; when its steps become this short against the
# count it starts anew, so that the rounding of times stays below that of the state.
_SHORT = 1e-6

# An explicit step is at the edge of stability when it is this long against the fastest
# change (Hairer and Wanner 1996, section IV.2); so many in a row mean a stiff equation.
_EDGE, _IN_A_ROW = 4.0, 10
# Implicit steps need a Jacobian by finite differences and its LU factors.
_LARGEST_JACOBIAN = 500

# Logarithms beyond these are those of infinity and of zero.
_LOG_HUGE, _LOG_TINY = 709.0, -745.0


class Chart(Protocol):
    """An autonomous equation dy/dt = velocity(y) in units in which it is easy to solve.

    Attributes
    ----------
    start : ndarray of shape (n,)
        State at which the chart begins.
    atol : float or ndarray of shape (n,)
        Error per step in units of the solver's relative tolerance.
    log_unit : float
        Logarithm of the chart's unit of time.
    """

    start: np.ndarray
    atol: float | np.ndarray
    log_unit: float

    def velocity(self, t, y):
        """Change of the state `y` per unit of the chart's time; `t` is not used."""

    def at_rest(self, y):
        """Whether the flow has ended."""

    def renewed(self, y):
        """The next chart, which begins at `y`, or None while this one fits."""

    def moved(self, y):
        """The same chart, begun at `y`."""

    def decoded(self, states):
        """What the states of shape (n, k) stand for, with k as the first axis."""

    def limit(self, y):
        """What a flow that rests at `y` ends in."""


class LazySolution:
    """What an autonomous equation that starts in `chart` leads to, as a function of time."""

    def __init__(self, chart):
        self._times: list = [0.0]
        self._pieces: list = []
        self._limit, self._stiff = None, 0
        with np.errstate(over="ignore", invalid="ignore"):
            self._enter(chart, scipy.integrate.DOP853)

    def __call__(self, t):
        """Decoded states at the times `t` of shape (k,), with k as the first axis."""
        furthest = np.max(t, initial=0.0)
        while self._limit is None and self._times[-1] <= furthest:
            if len(self._pieces) >= _MAX_STEPS:
                raise RuntimeError(f"The flow takes more than {_MAX_STEPS} steps.")
            with np.errstate(over="ignore", invalid="ignore"):  # such steps are refused
                self._step()
        first = self._chart.decoded(self._chart.start[:, None])
        states = np.empty((t.size, *first.shape[1:]))
        index = np.searchsorted(self._times, t, side="right") - 1
        index[t == 0] = 0  # also where a float cannot hold the unit of time
        for k in np.unique(index):
            inside = index == k
            if k == len(self._pieces):
                states[inside] = self._limit
                continue
            chart, zero, unit, interpolant = self._pieces[k]
            with np.errstate(over="ignore"):
                local = (t[inside] - zero) / unit
            local = np.clip(local, interpolant.t_old, interpolant.t)
            states[inside] = chart.decoded(interpolant(local))
        return states

    def _step(self) -> None:
        solver, before = self._solver, self._solver.y
        message = solver.step()
        if solver.status == "failed":
            raise RuntimeError(f"The flow could not be integrated: {message}")
        y = solver.y
        self._pieces.append((self._chart, self._zero, self._unit, solver.dense_output()))
        self._times.append(self._zero + self._unit * solver.t)
        if self._chart.at_rest(y):
            self._limit = self._chart.limit(y)
            return
        renewed = self._chart.renewed(y)
        if renewed is not None:
            self._enter(renewed, scipy.integrate.DOP853)
            return
        self._stiff = self._stiff + 1 if _is_at_the_edge(solver, before) else 0
        if self._stiff >= _IN_A_ROW and y.size <= _LARGEST_JACOBIAN:
            self._enter(self._chart.moved(y), scipy.integrate.Radau)
        elif solver.h_abs < _SHORT * solver.t:
            self._enter(self._chart.moved(y), type(solver))

    def _enter(self, chart, method: type) -> None:
        self._chart, self._zero = chart, self._times[-1]
        self._stiff = 0
        self._unit: float = np.exp(np.clip(chart.log_unit, _LOG_TINY, _LOG_HUGE))
        rtol = _STIFF_RTOL if method is scipy.integrate.Radau else _RTOL
        self._solver: scipy.integrate.DOP853 | scipy.integrate.Radau = method(
            chart.velocity, 0.0, chart.start, np.inf, rtol=rtol, atol=rtol * chart.atol
        )
        if chart.at_rest(chart.start):
            self._limit = chart.limit(chart.start)


def _is_at_the_edge(solver, before):
    """Hairer's test: the last two slopes of a step against the last two states."""
    if not isinstance(solver, scipy.integrate.DOP853):
        return False
    step, K = solver.t - solver.t_old, solver.K
    last_stage = before + step * (K[:-2].T @ solver.A[-1, : len(K) - 2])
    return step * np.linalg.norm(K[-1] - K[-2]) > _EDGE * np.linalg.norm(solver.y - last_stage)


def check_time(t):
    """Return the times `t` as a float array, none of them before time 0."""
    t = as_array(t, "t")
    if np.isnan(t).any() or (t < 0).any():
        raise ValueError("t must be at least 0: the flow starts at time 0.")
    return t
