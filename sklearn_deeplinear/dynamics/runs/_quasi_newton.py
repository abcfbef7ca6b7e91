"""Quasi-Newton minimisation of any dynamics by scipy's L-BFGS-B, recorded like every run."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch

from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._descent import warn_of_ending
from sklearn_deeplinear.dynamics.runs._records import Log
from sklearn_deeplinear.nn._norms import norms

# Iterations without a decrease beyond rounding, in units of eps, after which there will be none.
_STALLED, _ROUNDING = 20, 4
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
        `time` repeats `iteration`: the path follows no flow. A run that rounding errors keep
        from going down any further has converged.
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
    return run


class _Search:
    """A search that starts anew where a line search fails, and ends where that does not help.

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
        self.size = float(norms(dynamics.state)) or 1.0
        self.unit = float(first["objective"][0]) or 1.0
        self.enough = max(log.tol * float(first["gradient_norm"][0]), float(log.rounding))

    def run(self):
        """Search from the current state until `reason` is known or a line search fails."""
        before = self.iteration
        self._announce()
        with flushed_denormals():
            scipy.optimize.minimize(
                self._evaluate,
                self.dynamics.state.numpy(force=True).astype(np.float64) / self.size,
                jac=True,
                method="L-BFGS-B",
                callback=self._after_iteration,
                options={**_OPTIONS, "maxiter": self.max_iter - before, "maxfun": _NO_LIMIT},
            )
        if self.reason is None and self.iteration == before:
            self.reason = "converged"
        self._record()

    @property
    def stalled(self):
        """Whether only rounding errors have moved the objective for a while."""
        return self.iteration - self.lowest_iteration >= _STALLED

    def _place(self, x):
        state = self.dynamics.state
        state.copy_(torch.as_tensor(x * self.size, dtype=state.dtype))

    def _evaluate(self, x):
        """Objective and gradient in the units of the search, large where they overflow."""
        self._place(x)
        value = self.dynamics.measure(self.dynamics.state[None])["objective"][0]
        gradient = self.dynamics.gradient.numpy(force=True).astype(np.float64)
        value, gradient = float(value) / self.unit, gradient * (self.size / self.unit)
        value = np.nan_to_num(min(value, _LARGE), nan=_LARGE)
        if value < self.lowest - _ROUNDING * self.eps * abs(value):
            self.lowest, self.lowest_iteration = value, self.iteration
        return value, np.nan_to_num(gradient)

    def _after_iteration(self, x):
        self.iteration += 1
        small = self.log.tol > 0 and float(norms(self.dynamics.gradient)) <= self.enough
        if small or self.stalled or self.iteration in self.marks:
            self._place(x)
            self._record()
            if self.stalled:
                self.reason = self.reason or "converged"
            if self.reason is not None:
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
