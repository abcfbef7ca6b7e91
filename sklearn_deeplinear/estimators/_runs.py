"""Full-batch runs as the constructor parameters ask for them, whatever the network."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.dynamics._comparison import times_of
from sklearn_deeplinear.dynamics.runs._descent import chunks, descend, record_iterations
from sklearn_deeplinear.dynamics.runs._flow import flow


def run_descent(estimator, dynamics, schedule, listener, weights):
    """Train `dynamics` by gradient descent.

    Parameters
    ----------
    estimator : estimator
        Says how long to train and what to record.
    dynamics : object with `state`, `step(eta)`, `measure(states)` and `record_cost()`
        The network, trained in place.
    schedule : callable
        Step size at iteration t.
    listener : FitListener
        Told of the progress.
    weights : callable
        Returns the weights as they are, for the listener.

    Returns
    -------
    run : Run
    """
    iterations = _iterations(estimator, dynamics)
    watch = listener.start(len(chunks(iterations, dynamics.state)), weights)
    return descend(dynamics, schedule, iterations, watch=watch, **_kept(estimator))


def run_flow(estimator, dynamics, schedule, listener, weights, *, method, rtol):
    """Move `dynamics` along its gradient flow, over the time of the descent.

    Parameters as in :func:`run_descent`, with the `method` and the relative tolerance of
    the solver.
    """
    times = times_of(schedule, _iterations(estimator, dynamics))
    if estimator.flow_time is not None:
        times = np.linspace(0.0, estimator.flow_time, max(len(times), 2))
    watch = listener.start(len(chunks(times, dynamics.state)), weights)
    # The least weight that matters is small beside the largest, in whatever units.
    atol = 1e-3 * rtol * float(dynamics.state.abs().max())
    options = {"method": method, "rtol": rtol, "atol": atol}
    return flow(dynamics, times, watch=watch, **options, **_kept(estimator))


def run_nothing(estimator, dynamics, listener):
    """Record `dynamics` as it is."""
    listener.start(0, None)
    record_weights = estimator.record_weights
    return descend(dynamics, None, record_iterations(0), record_weights=record_weights)


def check_attained(minimum):
    """Refuse a minimum that no weights attain."""
    if minimum.kind == "unattained":
        raise ValueError(
            'weight_decay must be positive on all layers or zero on all with solver="analytic": '
            "with some layers undecayed the infimum of the objective is not attained."
        )


def check_samples(data, solver):
    """Refuse to make mini-batches where only the moments of the samples are known."""
    if data is None:
        raise ValueError(
            f'solver must be "gd", "flow" or "analytic" in fit_moments, got "{solver}": '
            "mini-batches are made of samples, which moments do not hold."
        )


def _iterations(estimator, dynamics):
    return record_iterations(estimator.max_iter, estimator.record_every, dynamics.record_cost())


def _kept(estimator):
    return {"tol": estimator.tol, "record_weights": estimator.record_weights}
