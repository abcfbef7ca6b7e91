"""States along the gradient flow of a network, by an adaptive method."""

from __future__ import annotations

import numpy as np
import scipy.integrate
import torch

from sklearn_deeplinear._parameters import check_real
from sklearn_deeplinear.dynamics.networks._protocol import KinkedDynamics
from sklearn_deeplinear.dynamics.runs._checkpoint import memory_of, recall
from sklearn_deeplinear.dynamics.runs._trapezoidal import TrapezoidalFlow
from sklearn_deeplinear.nn._activations import ACTIVATIONS

_METHODS = ("DOP853", "RK45", "RK23", "LSODA", "Radau", "BDF", "trapezoidal")


# What scipy's solvers of Runge and Kutta's kind know between steps.
_REMEMBERED = ("t", "y", "f", "h_abs", "nfev")


class FlowError(RuntimeError):
    """The solver could not go on."""


def flow_states(dynamics, times, end, *, rtol, atol, method, memory=None):
    """States along the gradient flow, one at a time, so that none need be kept.

    Parameters
    ----------
    dynamics : Dynamics
        The network; its state is overwritten at every evaluation.
    times : ndarray
        Increasing times in [0, end].
    end : float
        Time at which to stop.
    rtol, atol, method
        As in :func:`sklearn_deeplinear.dynamics.gradient_flow`.
    memory : dict, optional
        Gets what an explicit solver knew before the step that led to the last state, and
        how many of `times` were ``done`` by then. From one that is not empty the solver goes on:
        it makes that step once more.

    Yields
    ------
    n_evaluations : int
        Gradient evaluations made so far.
    time : float
        Each of `times`, and `end` once more.
    y : ndarray of shape (n_parameters,), float64
        State at that time.

    Raises
    ------
    ValueError
        If `method` is unknown, or does not suit the network, or no error is allowed.
    FlowError
        If the solver cannot keep the error below the tolerance.
    """
    state = dynamics.state

    def velocity(t, y):
        state.copy_(as_state(y, state))
        dynamics.evaluate()
        return -unit * dynamics.gradient.cpu().double().numpy()

    # Solvers choose a first step as if times of order one were natural: those of this flow are
    # as long as its curvature, which has the units of the data, is small. A power of two rounds
    # nothing.
    unit = 2.0 ** np.frexp(end)[1] if end > 0 else 1.0
    method = _checked_method(method, dynamics)
    rtol, atol = check_real(rtol, "rtol"), check_real(atol, "atol")
    y = state.cpu().double().numpy().copy()
    if method == "trapezoidal":
        solver = TrapezoidalFlow(dynamics, y, end / unit, rtol, atol, unit)
    elif atol == 0 and not y.all():
        raise ValueError(
            f'atol must be greater than 0 with method="{method}" where parameters are zero: there '
            "rtol allows no error at all."
        )
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # then the first step is the least one
            solver = getattr(scipy.integrate, method)(
                velocity, 0.0, y, end / unit, rtol=rtol, atol=atol
            )
    done = int(np.searchsorted(times, 0.0, side="right"))
    names = getattr(solver, "remembers", _REMEMBERED)
    if memory:
        for name in names:
            setattr(solver, name, _on(state.device, memory[name]))
        done = memory["done"]
        recall(dynamics, memory["network"])
    else:
        yield from ((solver.nfev, t, y) for t in times[:done])
    while solver.status == "running":
        if memory is not None:
            memory |= {name: getattr(solver, name) for name in names}
            memory |= {"done": done, "network": memory_of(dynamics)}
        with np.errstate(over="ignore", invalid="ignore"):  # a rejected step may overflow
            message = solver.step()
        if solver.status == "failed":
            raise FlowError(message.rstrip("."))
        reached = int(np.searchsorted(times, solver.t * unit, side="right"))
        if reached > done:
            curve = solver.dense_output()
            yield from ((solver.nfev, t, curve(t / unit)) for t in times[done:reached])
            done = reached
    yield solver.nfev, end, solver.y


def _checked_method(method, dynamics):
    """The method, by default that which suits the network."""
    method = dynamics.flow_options["method"] if method is None else method
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}.")
    if method == "trapezoidal" and not isinstance(dynamics, KinkedDynamics):
        names = " or ".join(f'"{name}"' for name, a in ACTIVATIONS.items() if a.leak is not None)
        raise ValueError(
            'method must not be "trapezoidal" for a network without kinks, like this one: kinks '
            f"have hidden units with activation {names}, and modules that call one of these. "
            'Take "DOP853".'
        )
    return method


def _on(device, known):
    """What a solver knew, with its tensors on a device."""
    if isinstance(known, list):
        return [_on(device, part) for part in known]
    return known.to(device) if torch.is_tensor(known) else known


def as_state(y, like):
    """Return an array as a tensor of the dtype and on the device of `like`."""
    # In this order: not every device knows float64.
    return torch.from_numpy(y).to(like.dtype).to(like.device)
