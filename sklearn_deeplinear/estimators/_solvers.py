"""Solvers of all estimators: each turns a problem and the options of a run into an outcome.

To add a solver, write a function of the same signature and give it a name in `SOLVERS`. The
equations that it runs belong in `dynamics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from sklearn_deeplinear.dynamics._comparison import times_of
from sklearn_deeplinear.dynamics.compression._krylov import krylov_run
from sklearn_deeplinear.dynamics.networks._protocol import Dynamics
from sklearn_deeplinear.dynamics.runs._batch_epochs import record_cost as batch_record_cost
from sklearn_deeplinear.dynamics.runs._checkpoint import Checkpoint
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._flow import flow
from sklearn_deeplinear.dynamics.runs._log import Run
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from sklearn_deeplinear.dynamics.runs._optimizers import OPTIMIZERS
from sklearn_deeplinear.dynamics.runs._quasi_newton import minimise
from sklearn_deeplinear.dynamics.runs._records import chunks, record_iterations
from sklearn_deeplinear.dynamics.runs._resident_data import batch_sizes
from sklearn_deeplinear.dynamics.runs._updates import UPDATES
from sklearn_deeplinear.dynamics.runs._validation import EarlyStopping, ValidationMeter
from sklearn_deeplinear.estimators._options import check_step_size, torch_generator
from sklearn_deeplinear.estimators._run_key import run_key
from sklearn_deeplinear.nn._norms import norms

# Root mean square of the gradient beside the least entry whose square Adam has to keep, a 1e-3 of
# it: 1e5 times smaller ones are below the `eps` that it adds.
_KEPT_SHARE = 1e5 * 1e3**0.5
# Size of weights below which a flow need not know them, in that of the largest weight.
_SMALL_WEIGHT = 1e-3


@dataclass(frozen=True)
class Outcome:
    """The network as it was left, the run that led there, and what it used.

    `to_rest` says that the solver goes on until the gradient is small.
    """

    dynamics: Dynamics
    run: Run
    step_size: object
    n_iter: int
    net: object = None
    compression_error: float = 0.0
    to_rest: bool = False


def solve(problem, options, listener):
    """Run the solver that `options` names.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    options : RunOptions
        How to train and what to record.
    listener : FitListener
        Told of the progress.

    Returns
    -------
    outcome : Outcome
    """
    name = "krylov" if options.compression == "krylov" else options.solver
    return SOLVERS[name](problem, options, listener)


def initial_dynamics(problem, options):
    """Return a function that makes the initial network anew at each call."""
    start = _start(problem, options, torch_generator(options.random_state))
    return lambda: problem.dynamics(start, options)


def descent(problem, options, listener):
    """Full-batch descent, by the update rule that the solver names."""
    start, schedule, step_size = descent_start(problem, options)
    dynamics = problem.dynamics(start, options, compress=True)
    meters = _meters(dynamics, options)
    iterations = descent_iterations(options, dynamics, meters)
    n_chunks = len(chunks(iterations, dynamics.state))
    watch = listener.start(n_chunks, lambda: problem.attributes(dynamics))
    step = UPDATES[options.solver](dynamics, options)
    kept = _resumed(problem, options, meters)
    run = descend(dynamics, schedule, iterations, step=step, watch=watch, **kept)
    return Outcome(dynamics, run, step_size, run.n_iter, to_rest=True)


def gradient_flow(problem, options, listener):
    """Gradient flow, recorded at the times of the records of gradient descent."""
    start, schedule, step_size = descent_start(problem, options)
    dynamics = problem.dynamics(start, options, compress=True)
    meters = _meters(dynamics, options)
    times = times_of(schedule, descent_iterations(options, dynamics, meters))
    if options.flow_time is not None:
        times = np.linspace(0.0, options.flow_time, max(len(times), 2))
    n_chunks = len(chunks(times, dynamics.state))
    watch = listener.start(n_chunks, lambda: problem.attributes(dynamics))
    method = dynamics.flow_options
    atol = flow_atol(dynamics, schedule)
    kept = _resumed(problem, options, meters)
    run = flow(dynamics, times, watch=watch, **method, atol=atol, **kept)
    return Outcome(dynamics, run, step_size, run.n_iter)


def flow_atol(dynamics, schedule):
    """Absolute tolerance of a flow, from the largest weight; after a step if all are zero."""
    size = float(dynamics.state.abs().max())
    if size == 0:
        dynamics.evaluate()
        size = schedule(0) * float(dynamics.gradient.abs().max())
    # Any number will do for a flow at rest.
    return _SMALL_WEIGHT * dynamics.flow_options["rtol"] * (size or 1.0)


def mini_batches(problem, options, listener):
    """Mini-batches of the centred data in a skorch net."""
    from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch

    generator = torch_generator(options.random_state)
    start = _start(problem, options, generator)
    automatic = partial(_batch_step_size, problem, start, options)
    schedule, step_size = check_step_size(options.step_size, automatic)
    if options.continued is not None:
        schedule = options.continued.schedule(schedule)
    dynamics = problem.dynamics(start, options)
    _check_squares(dynamics, options)
    meters = _meters(dynamics, options)
    network = problem.batch_network(start, options, dynamics)
    iterations = _epochs(problem, options, meters, len(network.data))
    run, net = train_minibatch(
        dynamics,
        network.module,
        network.data,
        loss=problem.loss,
        solver=options.solver,
        schedule=schedule,
        weight_decay=network.weight_decay,
        batch_size=options.batch_size,
        generator=generator,
        iterations=iterations,
        callbacks=options.callbacks,
        watch=listener.start(len(iterations) - 1, lambda: problem.attributes(dynamics)),
        before_epoch=network.renew,
        **_resumed(problem, options, meters),
    )
    network.renew()
    return Outcome(dynamics, run, step_size, run.n_iter, net)


def quasi_newton(problem, options, listener):
    """L-BFGS on all data, in full: the coordinates of compressed networks are not orthonormal."""
    start = _start(problem, options, torch_generator(options.random_state))
    dynamics = problem.dynamics(start, options)
    meters = _meters(dynamics, options)
    iterations = record_iterations(options.max_iter, options.record_every)
    watch = listener.start(len(iterations) - 1, lambda: problem.attributes(dynamics))
    run = minimise(dynamics, iterations, watch=watch, **_kept(options, meters))
    return Outcome(dynamics, run, None, run.n_iter, to_rest=True)


def analytic(problem, options, listener):
    """Weights at the global minimum, as a run of a single record."""
    dynamics = problem.dynamics(problem.optimum(), options)
    listener.start(0, None)
    kept = {**_kept(options, _meters(dynamics, options)), "tol": 0.0}
    run = descend(dynamics, None, record_iterations(0), **kept)
    return Outcome(dynamics, replace(run, stop_reason="converged"), None, 1)


def krylov_descent(problem, options, listener):
    """Gradient descent in Krylov spaces, one run after the other: without callbacks."""
    start, schedule, step_size = descent_start(problem, options)
    listener.start(0, None)

    def train(dynamics):
        meters = _meters(dynamics, options)
        iterations = descent_iterations(options, dynamics, meters)
        return descend(dynamics, schedule, iterations, **_kept(options, meters))

    term = problem.data_term(options)
    dynamics, run, error = krylov_run(start, term, problem.weight_decay, train)
    return Outcome(dynamics, run, step_size, run.n_iter, compression_error=error, to_rest=True)


SOLVERS: dict[str, Callable[..., Outcome]] = {
    **dict.fromkeys(UPDATES, descent),
    "lbfgs": quasi_newton,
    "flow": gradient_flow,
    **dict.fromkeys(OPTIMIZERS, mini_batches),
    "analytic": analytic,
    "krylov": krylov_descent,
}
# The names that users choose from; not every network has a minimum that is known.
TRAINING = {*UPDATES, "lbfgs", "flow", *OPTIMIZERS}


def _start(problem, options, generator):
    if options.former is not None:
        name = "warm_start" if options.continued is None else "partial_fit"
        return problem.given(options.former, name)
    return problem.initial(options, generator)


def descent_start(problem, options):
    """The start, the schedule, and the step size to report."""
    start = _start(problem, options, torch_generator(options.random_state))
    automatic = partial(problem.descent_step_size, start, options)
    return start, *check_step_size(options.step_size, automatic)


def descent_iterations(options, dynamics, meters):
    cost = dynamics.record_cost(sum(meter.cost for meter in meters))
    return record_iterations(options.max_iter, options.record_every, cost)


def _epochs(problem, options, meters, n_samples):
    """Epochs to record: all of them where the loss on validation data may end the run."""
    if options.patience is not None:
        return record_iterations(options.max_iter, options.record_every, 0)
    sizes = batch_sizes(n_samples, options.batch_size)
    flops = problem.step_flops(sizes[0]), problem.step_flops(None)
    cost = batch_record_cost(*flops, sum(meter.cost for meter in meters))
    return record_iterations(options.max_iter, options.record_every, cost, len(sizes))


def _batch_step_size(problem, start, options):
    """Automatic step of mini-batches."""
    rescales = OPTIMIZERS[options.solver].rescales
    automatic = problem.rescaled_step_size if rescales else problem.batch_step_size
    if options.continued is None:
        return automatic(start, options)
    return automatic(start, replace(options, max_iter=options.continued.max_iter))


def _check_squares(dynamics, options):
    """Raise a ValueError if squares of the first gradient overflow or vanish in PyTorch."""
    dynamics.evaluate()
    size, limits = float(norms(dynamics.gradient)), torch.finfo(dynamics.state.dtype)
    least = limits.tiny**0.5
    if OPTIMIZERS[options.solver].rescales:  # what is divided by nothing makes endless steps
        least *= _KEPT_SHARE * dynamics.state.numel() ** 0.5
    if size and not least < size < limits.max**0.5:
        raise ValueError(
            f'X and y must be in other units with solver="{options.solver}": the first gradient '
            f"is of the size of {size:.1g}, the square of which is no {dynamics.state.dtype} "
            'number. Other solvers, as "lbfgs", take none.'
        )


def _meters(dynamics, options):
    """What is recorded besides loss, objective and gradient norm."""
    meters = meters_of(dynamics, options.meters)
    if options.validation is None:
        return meters
    if options.patience is None:
        return [*meters, ValidationMeter(dynamics, options.validation)]
    return [*meters, EarlyStopping(dynamics, options.validation, options.patience)]


def _kept(options, meters):
    return {"tol": options.tol, "meters": meters, "record_weights": options.record_weights}


def _resumed(problem, options, meters):
    """The same, of a run that goes on from its checkpoint."""
    kept = _kept(options, meters)
    if options.continued is not None:
        kept["checkpoint"] = options.continued
    elif options.checkpoint is not None:
        kept["checkpoint"] = Checkpoint(options.checkpoint, run_key(problem, options))
    return kept
