"""Full-batch gradient descent of any torch module."""

from __future__ import annotations

from sklearn_deeplinear._parameters import check_integer, check_real
from sklearn_deeplinear._results import Trajectory
from sklearn_deeplinear.dynamics.networks._module import attached
from sklearn_deeplinear.dynamics.runs._descent import (
    descend,
    is_unfinished,
    warn_unfinished,
)
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._schedules import step_size_schedule
from sklearn_deeplinear.dynamics.runs._threads import evaluation_flops, suitable_threads


def gradient_descent(
    module,
    loss,
    *,
    step_size,
    max_iter,
    weight_decay=0.0,
    record_every=None,
    record_weights=False,
    tol=0.0,
) -> Trajectory:
    """Train a torch module by full-batch gradient descent, and record the run.

    The module is trained in place; it ends at the last record. Iteration t makes the
    step ``theta <- theta - eta_t * grad J(theta)`` for all trainable parameters theta,
    with the objective J = ``loss + weight_decay * sum_l ||W_l||^2``.

    Parameters
    ----------
    module : torch.nn.Module
        Network, in the precision and on the device of your choice; whether it is in
        training or evaluation mode is left as it is.
    loss : callable
        ``loss(module)`` returns the loss on the training data, a tensor of one element.
        It must not be random, and must not change the module.
    step_size : float or callable
        eta, or a function of the iteration t = 0, 1, ... that returns it.
    max_iter : int
        Number of steps.
    weight_decay : float or sequence of floats, default=0.0
        gamma of the weight matrices W_l, which are the trainable parameters of two
        dimensions or more, in the order of ``module.parameters()``; biases are not
        decayed. The `weight_decay` of torch optimisers is twice as large.
    record_every : int, default=None
        Number of steps between records, each of which costs a gradient evaluation; None
        spaces at most 1,000 records evenly. The first and last iterate are always among
        them.
    record_weights : bool, default=False
        Keep the parameters of every record.
    tol : float, default=0.0
        Stop at the first record whose gradient norm is at most `tol` times the first
        one. 0 makes all steps.

    Returns
    -------
    trajectory : Trajectory
        Curves over iteration and time, the sum of the step sizes. A record describes the
        iterate before a step is made from it. With `record_weights`, ``weights[r]`` is
        the list of all trainable parameters in record r, biases included.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, if the loss is not a tensor
        of one element that depends on the parameters, or is not finite at the start.

    Warns
    -----
    TrainingWarning
        If training diverged, was interrupted or did not reach `tol`; the last finite record
        is kept.

    See Also
    --------
    gradient_flow : The continuous-time limit of ever smaller steps.

    Examples
    --------
    >>> import torch
    >>> from sklearn_deeplinear.dynamics import gradient_descent
    >>> net = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> _ = torch.nn.init.zeros_(net.weight)
    >>> run = gradient_descent(
    ...     net, lambda net: (net.weight - 3).square().sum(), step_size=0.25, max_iter=3
    ... )
    >>> run.loss
    array([9.      , 2.25    , 0.5625  , 0.140625])
    >>> net.weight.item()
    2.625
    """
    schedule = step_size_schedule(step_size)
    max_iter = check_integer(max_iter, "max_iter")
    if record_every is not None:
        record_every = check_integer(record_every, "record_every", low=1)
    tol = check_real(tol, "tol")
    with attached(module, loss, weight_decay) as dynamics:
        dynamics.check_start()
        iterations = record_iterations(max_iter, record_every, dynamics.record_cost())
        with suitable_threads(evaluation_flops(dynamics)):
            run = descend(dynamics, schedule, iterations, tol=tol, record_weights=record_weights)
    if is_unfinished(run, tol):
        warn_unfinished(run, "Raise max_iter, or set tol=0 to make max_iter steps on purpose.")
    return run.trajectory
