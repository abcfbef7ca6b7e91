"""Gradient flow of any torch module: the limit of gradient descent for small steps."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_real
from sklearn_deeplinear._results import Trajectory
from sklearn_deeplinear.dynamics.networks._module import attached
from sklearn_deeplinear.dynamics.runs._flow import flow
from sklearn_deeplinear.dynamics.runs._threads import evaluation_flops, suitable_threads

_CURVES = ("iteration", "time", "loss", "objective", "gradient_norm")
_DEFAULT_RECORDS = 101  # a hundred equal intervals


def gradient_flow(
    module,
    loss,
    *,
    time,
    weight_decay=0.0,
    rtol=1e-6,
    atol=1e-9,
    times=None,
    method=None,
    record_weights=False,
) -> Trajectory:
    """Move a torch module along the gradient flow of its objective, and record the run.

    Solves ``d theta / dt = - grad J(theta)`` for all trainable parameters theta by an
    adaptive method, with the objective J = ``loss + weight_decay * sum_l ||W_l||^2``.
    The module is moved in place; it ends in the state of `time`.

    Parameters
    ----------
    module : torch.nn.Module
        Network. Gradients are evaluated in its precision and on its device; the solver
        works in float64, and tolerances below 1e-6 ask for a float64 module.
    loss : callable
        ``loss(module)`` returns the loss on the training data, a tensor of one element.
        It must not be random, and must not change the module.
    time : float
        End of the flow. Gradient descent reaches time ``step_size * iteration``.
    weight_decay : float or sequence of floats, default=0.0
        gamma of the weight matrices W_l, which are the trainable parameters of two
        dimensions or more, in the order of ``module.parameters()``; biases are not
        decayed.
    rtol, atol : float, default=1e-6 and 1e-9
        Each step keeps the error of each parameter below ``atol + rtol * |parameter|``,
        in the root mean square; "trapezoidal" compares the root mean squares of both.
        `atol` may be 0 with it, and where no parameter is zero.
    times : array-like of shape (n_records,), default=None
        Times to record, increasing, from 0 to `time`. None takes 101, evenly spaced.
    method : {"DOP853", "RK45", "RK23", "LSODA", "Radau", "BDF", "trapezoidal"}, default=None
        None takes "trapezoidal" if the network calls ReLU or leaky ReLU, else "DOP853".
        All but "trapezoidal" are those of :func:`scipy.integrate.solve_ivp`. The gradient
        of a network with ReLU jumps wherever the input of a unit changes sign, and the
        flow can slide along a jump: high orders gain nothing there, and "DOP853" may all
        but stop. "trapezoidal", of second order, takes for the derivative of each unit its
        mean over the step, and so can step over any number of jumps; a step costs one
        forward and two backward passes. It is for networks that call ReLU or leaky ReLU;
        jumps of other origin, as of max-pooling, are not treated so. "Radau" and "BDF"
        build the Hessian one column at a time and are for a few hundred parameters at most.
    record_weights : bool, default=False
        Keep the parameters of every record.

    Returns
    -------
    trajectory : Trajectory
        Curves at `times`. ``iteration`` counts the gradients (backward passes) that the
        solver had taken by then, the unit of cost that it shares with gradient descent; the
        one that measures each record comes on top.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, if the loss is not a tensor
        of one element that depends on the parameters, or is not finite at the start.

    Warns
    -----
    TrainingWarning
        If the solver fails or is interrupted; the module then is in the state of the
        last record.

    See Also
    --------
    gradient_descent : Steps of a given size along the same gradient.

    References
    ----------
    .. [1] Elkabetz, O., Cohen, N. (2021). "Continuous vs. discrete optimization of deep
       neural networks." NeurIPS 34.

    Examples
    --------
    The flow of (w - 3)^2 from zero is w(t) = 3 - 3 exp(-2 t).

    >>> import torch
    >>> from sklearn_deeplinear.dynamics import gradient_flow
    >>> net = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> _ = torch.nn.init.zeros_(net.weight)
    >>> run = gradient_flow(net, lambda net: (net.weight - 3).square().sum(), time=0.5)
    >>> round(net.weight.item(), 6)
    1.896362
    """
    time = check_real(time, "time")
    times = _check_times(times, time)
    grid = np.unique([0.0, *times, time])  # from the start to the end, recorded or not
    options = {"rtol": rtol, "atol": atol, "method": method, "record_weights": record_weights}
    with attached(module, loss, weight_decay) as dynamics:
        dynamics.check_start()
        with suitable_threads(evaluation_flops(dynamics)):
            run = flow(dynamics, grid, **options).trajectory
    rows = np.searchsorted(grid, times)
    rows = rows[rows < len(run)]
    weights = None if run.weights is None else [run.weights[row] for row in rows]
    return Trajectory(**{name: getattr(run, name)[rows] for name in _CURVES}, weights=weights)


def _check_times(times, end):
    if times is None:
        return np.linspace(0.0, end, _DEFAULT_RECORDS) if end > 0 else np.zeros(1)
    times = as_array(times, "times")
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all():
        raise ValueError(f"times must be a list of finite times, got shape {times.shape}.")
    if (np.diff(times) < 0).any() or times[0] < 0 or times[-1] > end:
        raise ValueError(f"times must increase from 0 to at most time={end:g}.")
    return times
