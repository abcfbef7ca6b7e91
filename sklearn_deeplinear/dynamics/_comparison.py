"""Gradient descent against smaller steps and against gradient flow, from one start."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from time import monotonic

import numpy as np
import torch

from sklearn_deeplinear._parameters import check_integer
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear._training_warning import TrainingWarning
from sklearn_deeplinear._warnings import warn_user
from sklearn_deeplinear.dynamics.networks._data_loss import data_loss, is_module
from sklearn_deeplinear.dynamics.networks._module import module_dynamics
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._integrators import FlowError, as_state, flow_states
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._schedules import step_size_schedule
from sklearn_deeplinear.dynamics.runs._threads import evaluation_flops, suitable_threads

# Records that are made by default, besides the first.
_INTERVALS = 100


@dataclass(frozen=True, eq=False)
class StepSizeComparison:
    """Runs of one network from the same weights with ever smaller steps.

    The keys of the dictionaries are the divisors r of the step size, and "flow" for the
    gradient flow. `loss` and `n_gradients` also have the key 1, the run that the others
    are held against.

    Attributes
    ----------
    iteration : ndarray of shape (n_records,), int
        Iterations of the run with step size eta_0 at which all runs were recorded.
    time : ndarray of shape (n_records,)
        Sum of the step sizes up to each record, the same for all runs.
    loss : dict of ndarray of shape (n_records,)
        Loss, without the penalty.
    distance_from_init : ndarray of shape (n_records,)
        ``||theta_eta0 - theta(0)||`` over all trainable parameters.
    distance : dict of ndarray of shape (n_records,)
        ``||theta_eta0 - theta_r||``, where theta_r made r steps of size eta_0 / r for
        each step of size eta_0.
    n_gradients : dict of int
        Gradient evaluations that each run spent on moving; its records cost one more
        each.
    """

    iteration: np.ndarray
    time: np.ndarray
    loss: dict
    distance_from_init: np.ndarray
    distance: dict
    n_gradients: dict

    def __repr__(self):
        return one_line(self, "iteration", "time", "distance_from_init", "distance")

    def __len__(self) -> int:
        return len(self.iteration)


def compare_step_sizes(
    estimator_or_module,
    X,
    y,
    *,
    step_size,
    divisors=(2, 5, 10, 20),
    flow=True,
    max_iter=None,
    loss=None,
    weight_decay=0.0,
    record_every=None,
    rtol=None,
    atol=1e-9,
    method=None,
    verbose=0,
) -> StepSizeComparison:
    """Compare full-batch gradient descent with smaller steps and with gradient flow.

    All runs start from the same weights: those of a module, or the initial weights of an
    estimator. Neither is changed.

    Parameters
    ----------
    estimator_or_module : estimator or torch.nn.Module
        Network. The outputs ``module(X)`` of a module go to the loss; an estimator need
        not be fitted, and brings its own loss and weight decay.
    X : array-like or tensor of shape (n_samples, ...)
        Inputs, in the shape that the network takes.
    y : array-like or tensor of shape (n_samples,) or (n_samples, m)
        Targets: integers for classes, floats otherwise.
    step_size : float or callable
        eta_0, or a function of the iteration t that returns it.
    divisors : sequence of int, default=(2, 5, 10, 20)
        The other runs make r steps of size eta_0 / r for each step of size eta_0.
    flow : bool, default=True
        Also follow the gradient flow by an adaptive method. For a smooth network, or a
        large one with kinks, that is far cheaper than a large divisor, and more accurate;
        where a small ReLU network slides along its kinks it can cost as much as one.
    max_iter : int, default=None
        Number of steps of size eta_0; None takes that of the estimator, or 1,000.
    loss : callable, default=None
        ``loss(module(X), y)`` returns the mean loss, a tensor of one element; modules
        only. None takes cross-entropy if y holds integers, and otherwise the squared
        error, summed over the outputs and averaged over the samples.
    weight_decay : float or sequence of floats, default=0.0
        As in :func:`gradient_descent`; modules only.
    record_every : int, default=None
        Number of eta_0-steps between records; None makes about 100 records.
    rtol : float, default=None
        Relative tolerance of the flow, as in :func:`gradient_flow`. None takes that of
        ``solver="flow"`` for an estimator, and 1e-6 for a module.
    atol : float, default=1e-9
        Absolute tolerance of the flow.
    method : str, default=None
        Method of the flow, as in :func:`gradient_flow`. None takes that of
        ``solver="flow"`` for an estimator, and that of :func:`gradient_flow` for a module.
    verbose : int, default=0
        1 prints how far the comparison is, every tenth of the way.

    Returns
    -------
    comparison : StepSizeComparison

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Warns
    -----
    TrainingWarning
        If a run diverges; the comparison ends before that record.

    References
    ----------
    .. [1] Elkabetz, O., Cohen, N. (2021). "Continuous vs. discrete optimization of deep
       neural networks." NeurIPS 34, Figure 1.
    """
    schedule = step_size_schedule(step_size)
    if not np.iterable(divisors):
        raise TypeError(f"divisors must be a sequence of ints, got {divisors!r}.")
    divisors = [check_integer(r, "divisors", low=2) for r in divisors]
    if max_iter is None:
        max_iter = getattr(estimator_or_module, "max_iter", 1000)
    max_iter = check_integer(max_iter, "max_iter")
    if record_every is None:
        record_every = max(1, -(-max_iter // _INTERVALS))
    iterations = record_iterations(max_iter, check_integer(record_every, "record_every", low=1))
    start = _starter(estimator_or_module, X, y, loss, weight_decay)
    runs = {r: descent_run(start(), schedule, iterations, r) for r in (1, *divisors)}
    times = times_of(schedule, iterations)
    dynamics = start()
    if flow:
        rtol = dynamics.flow_options["rtol"] if rtol is None else rtol
        runs["flow"] = flow_run(dynamics, times, rtol=rtol, atol=atol, method=method)
    with suitable_threads(evaluation_flops(dynamics)):
        return compare_runs(runs, iterations, times, verbose=verbose)


def _starter(estimator, X, y, loss, weight_decay):
    """Return a function that makes the same network anew at each call."""
    if is_module(estimator, "estimator_or_module", "_dynamics_starter", loss, weight_decay):
        closure = data_loss(estimator, X, y, loss)

        def start():
            dynamics = module_dynamics(copy.deepcopy(estimator), closure, weight_decay)
            dynamics.check_start()
            return dynamics

        return start
    return estimator._dynamics_starter(X, y)


def times_of(schedule, iterations):
    """Time of each of `iterations`: the sum of the step sizes made before it."""
    steps = [schedule(t) for t in range(iterations[-1])]
    return np.concatenate([[0.0], np.cumsum(steps)])[iterations]


def descent_run(dynamics, schedule, iterations, divisor=1):
    """Yield (loss, state, n_gradients) of steps eta / divisor at each of `iterations`.

    The state is the running one: it is overwritten when the next record is asked for.

    Parameters
    ----------
    dynamics : object with `state`, `step(eta)` and `measure(states)`
        The network.
    schedule : callable
        Step size eta at iteration t of the run with divisor 1.
    iterations : ndarray of int
        Iterations to record, counted in steps of the run with divisor 1.
    divisor : int
        Number of steps made in place of each step.
    """
    done = 0
    for mark in iterations:
        for t in range(done, mark):
            eta = schedule(t) / divisor
            for _ in range(divisor):
                dynamics.step(eta)
        done = mark
        yield _loss(dynamics), dynamics.state, int(mark) * divisor


def flow_run(dynamics, times, *, rtol, atol, method):
    """Yield (loss, state, n_gradients) of the gradient flow at each of `times`."""
    states = flow_states(dynamics, times, times[-1], rtol=rtol, atol=atol, method=method)
    try:
        for (n_gradients, _, y), _ in zip(states, times, strict=False):
            dynamics.state.copy_(as_state(y, dynamics.state))
            yield _loss(dynamics), dynamics.state, n_gradients
    except FlowError:
        yield float("nan"), dynamics.state, 0


def _loss(dynamics):
    return float(dynamics.measure(dynamics.state[None])["loss"])


def compare_runs(runs, iterations, times, *, verbose=0) -> StepSizeComparison:
    """Advance runs record by record, side by side, and measure how far apart they are.

    Parameters
    ----------
    runs : dict of iterators
        By key (1 first, then divisors and "flow"), iterators over records
        ``(loss, state, n_gradients)``, the state as a flat tensor. One state of each run
        is held at a time.
    iterations, times : ndarray of shape (n_records,)
        Axes of the records.
    verbose : int
        Whether to print the progress.

    Returns
    -------
    comparison : StepSizeComparison
    """
    kept: list[tuple] = []
    start = monotonic()
    with flushed_denormals():
        for records in zip(*runs.values(), strict=False):
            loss, states, n_gradients = zip(*records, strict=True)
            if not kept:
                init = states[0].clone()
            others = (init, *states[1:])
            distance = [torch.dist(states[0], s).item() for s in others]
            if not np.isfinite([*loss, *distance]).all():
                _warn_of_divergence(dict(zip(runs, loss, strict=True)), iterations[len(kept)])
                break
            kept.append((loss, distance, n_gradients))
            if verbose:
                _print_progress(iterations[: len(kept)], iterations[-1], monotonic() - start)
    losses, distances, counts = zip(*kept, strict=True)
    from_init, *between = np.transpose(distances)
    return StepSizeComparison(
        iterations[: len(kept)],
        times[: len(kept)],
        dict(zip(runs, np.transpose(losses), strict=True)),
        from_init,
        dict(zip(list(runs)[1:], between, strict=True)),
        dict(zip(runs, counts[-1], strict=True)),
    )


def _warn_of_divergence(loss, iteration):
    if iteration == 0:
        raise ValueError("estimator_or_module must have a finite loss at the start.")
    diverged = [key for key, value in loss.items() if not np.isfinite(value)] or list(loss)
    warn_user(
        TrainingWarning(
            f"The runs {diverged} (divisors of the step size, or the flow) diverged before "
            f"iteration {iteration}; the comparison ends there.",
            n_iter=int(iteration),
        )
    )


def _print_progress(done, last, spent):
    """Tell, about ten times, how far a comparison is and how long it will take."""
    if len(done) > 1 and 10 * done[-1] // last > 10 * done[-2] // last:
        print(
            f"compare_step_sizes: iteration {done[-1]} of {last}, {spent:.0f} s, about "
            f"{spent * (last / done[-1] - 1):.0f} s to go",
            flush=True,
        )
