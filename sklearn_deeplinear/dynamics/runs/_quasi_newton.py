"""Quasi-Newton minimisation of any dynamics by scipy's L-BFGS-B, recorded like every run."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch

from sklearn_deeplinear.dynamics.networks._protocol import KinkedDynamics
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._descent import warn_of, warn_of_ending
from sklearn_deeplinear.dynamics.runs._log import Log
from sklearn_deeplinear.nn._norms import norms

# Iterations without a decrease beyond rounding, in units of eps, after which there will be none.
_LAST, _ROUNDING = 20, 4
# Between the least and the largest number.
_DOUBLINGS = 2100
_STALLS = (
    "L-BFGS found no way down from a kink of the units, where the gradient is above tol. "
    'solver="gd" or "adam", with warm_start=True, may go on; tol=0 stays there without a warning.'
)
# Pairs of steps and gradients that stand for the Hessian, and evaluations in a line search.
_NO_LIMIT, _LARGE = 2**31 - 1, 1e100
_OPTIONS = {"maxcor": 20, "maxls": 50, "ftol": 0.0, "gtol": 0.0}


@torch.no_grad()
def minimise(dynamics, iterations, *, meters=None, tol=0.0, record_weights=False, watch=None):
    """Minimise the objective by L-BFGS and record the run.

    Parameters
    ----------
    dynamics : Dynamics
        The network, moved in place.
    iterations : ndarray of int
        Iterations to record, the last of them the largest number of them. The last one that
        is made is recorded, too.
    meters, tol, record_weights, watch
        As in :func:`sklearn_deeplinear.dynamics.runs._descent.descend`.

    Returns
    -------
    run : Run
        `time` repeats `iteration`: the path follows no flow. A run that finds no way down has
        converged, for it is rounding errors that keep it; but where units have kinks these may
        do so at any gradient, and it has "stalled", which warns unless `tol` is 0.
    """
    log = Log(dynamics, meters, tol, record_weights)
    log.begin()
    search = _Search(dynamics, log, iterations, watch)
    try:
        while search.reason is None and search.iteration < search.max_iter:
            search.run()
    except KeyboardInterrupt:
        search.reason = "interrupted"
    run = log.run(search.reason or "max_iter")
    warn_of_ending(run)
    if run.stop_reason == "stalled" and tol > 0:
        warn_of(run, _STALLS)
    return run


class _Search:
    """A search that starts anew where it gets no further, and ends where that does not help.

    The state is in units of its size and the objective in units of its first value, on which
    the first step of L-BFGS depends.
    """

    def __init__(self, dynamics, log, iterations, watch):
        self.dynamics, self.log, self.watch = dynamics, log, watch
        self.marks, self.max_iter = set(iterations.tolist()), int(iterations[-1])
        self.iteration = self.recorded = self.chunk = 0
        self.announced, self.reason = False, log.reasons[()]
        self.lowest, self.lowest_iteration = np.inf, 0
        first, self.eps = log.parts[0], torch.finfo(dynamics.state.dtype).eps
        self.unit = float(first["objective"][0]) or 1.0
        self.at_rest = "stalled" if isinstance(dynamics, KinkedDynamics) else "converged"
        self.enough = max(log.tol * float(first["gradient_norm"][0]), float(log.rounding))
        self._measure_size()

    def _measure_size(self):
        self.size = float(norms(self.dynamics.state)) or 1.0

    def run(self):
        """Search from the current state until `reason` is known or L-BFGS gets no further."""
        before = self.iteration
        self._announce()
        self._measure_size()
        with flushed_denormals():
            if self._sees_descent():
                self._minimise()
            stuck = self.iteration == before or (self.stalled and self.iteration < self.max_iter)
            if self.reason is None and stuck:
                if self._leave_plateau():
                    self.iteration += 1
                else:
                    self.reason = self.at_rest
        self._record()

    def _minimise(self):
        found = scipy.optimize.minimize(
            self._evaluate,
            self.dynamics.state.numpy(force=True).astype(np.float64) / self.size,
            jac=True,
            method="L-BFGS-B",
            callback=self._after_iteration,
            options={**_OPTIONS, "maxiter": self.max_iter - self.iteration, "maxfun": _NO_LIMIT},
        )
        if self.reason is None:  # where a line search has failed it has been elsewhere
            self._place(found.x)

    @property
    def stalled(self):
        """Whether only rounding errors have moved the objective for a while."""
        return self.iteration - self.lowest_iteration >= _LAST

    def _is_lower(self, value):
        """Whether an objective is below the lowest one by more than rounding."""
        return value < self.lowest - _ROUNDING * self.eps * abs(value)

    def _sees_descent(self):
        """Whether the slope over the size of the state is more than rounding of the objective."""
        value = self._objective()
        slope = float(norms(self.dynamics.gradient)) * self.size / self.unit
        return slope > self.eps * value

    def _leave_plateau(self):
        """Go down where objectives are equal numbers over many sizes of the state.

        So they are near the saddle at zero, where gradients still tell the way: steps along them
        of the size of the state double that, once they are aligned. Elsewhere the first one leads
        up. Returns whether the objective has fallen.
        """
        state, value, best = self.dynamics.state, self._objective(), None
        start, self.lowest_iteration = state.clone(), self.iteration
        self.lowest = min(value, self.lowest)
        for _ in range(_DOUBLINGS):
            gradient = self.dynamics.gradient
            slope = norms(gradient)
            if not slope > 0:
                break
            state.sub_(gradient / slope, alpha=float(norms(state)))
            former, value = value, self._objective()
            if value > former * (1 + _ROUNDING * self.eps):
                break
            if self._is_lower(value):
                self.lowest, best = value, state.clone()
        state.copy_(start if best is None else best)
        return best is not None

    def _place(self, x):
        state = self.dynamics.state
        state.copy_(torch.as_tensor(x * self.size, dtype=state.dtype))

    def _evaluate(self, x):
        """Objective and gradient in the units of the search, large where they overflow."""
        self._place(x)
        value = self._objective()
        gradient = self.dynamics.gradient.numpy(force=True).astype(np.float64)
        if self._is_lower(value):
            self.lowest, self.lowest_iteration = value, self.iteration
        return value, np.nan_to_num(gradient * (self.size / self.unit))

    def _objective(self):
        """Objective of the current state in units of its first value; large if it overflows."""
        value = float(self.dynamics.measure(self.dynamics.state[None])["objective"][0]) / self.unit
        return np.nan_to_num(min(value, _LARGE), nan=_LARGE)

    def _after_iteration(self, x):
        self.iteration += 1
        small = self.log.tol > 0 and float(norms(self.dynamics.gradient)) <= self.enough
        if small or self.stalled or self.iteration in self.marks:
            self._place(x)
            self._record()
            if self.reason is not None or self.stalled:
                raise StopIteration
            self._announce()

    def _record(self):
        """Record the state, if that is not done."""
        if self.recorded == self.iteration:
            return
        self.recorded = self.iteration
        state = self.dynamics.state[None].clone()
        self.reason = self.log.add(state, [self.iteration], [float(self.iteration)]) or self.reason
        self.dynamics.state.copy_(self.log.kept)
        if self.watch is not None:
            stop = self.watch(self.chunk, self.log)
            self.reason = self.reason or ("callback" if stop else None)
        self.chunk, self.announced = self.chunk + 1, False

    def _announce(self):
        if self.watch is not None and not self.announced and self.iteration < self.max_iter:
            self.watch(self.chunk, None)
            self.announced = True
