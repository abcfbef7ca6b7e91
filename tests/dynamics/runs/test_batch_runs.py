"""Runs of a batch: its networks start, end, converge and diverge each on its own."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from tests.dynamics.networks.every_batch import BATCH, KINDS, Kind, Sweep, linear

EVERY = {"linear": Kind(linear), "noisy": Kind(linear, noise=0.3), **KINDS}
SOME = ["noisy", "linear pathways", "tanh pathways", "relu pathways", "relu perceptron"]
STEPS = 260  # more than a chunk of records


def constant(eta):
    return lambda t: eta


def alone(network, eta, iterations, **options):
    """The run of one network, which may warn that it diverges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return descend(network, constant(eta), iterations, **options)


def check_run(run, own, tolerance=1e-12):
    """Compare the run of a network in a batch to its own, to `tolerance`."""
    assert (run.stop_reason, run.n_iter) == (own.stop_reason, own.n_iter)
    np.testing.assert_array_equal(run.trajectory.iteration, own.trajectory.iteration)
    for name in ("time", "loss", "objective", "gradient_norm"):
        found, wanted = (getattr(r.trajectory, name) for r in (run, own))
        np.testing.assert_allclose(found, wanted, tolerance, tolerance)
    histories = [r.balance if isinstance(r.balance, list) else [r.balance] for r in (run, own)]
    for found, wanted in zip(*histories, strict=True):
        np.testing.assert_allclose(found.change, wanted.change, tolerance, tolerance)


@pytest.mark.parametrize("kind", ["linear", "classifier", *SOME])
def test_networks_end_each_on_its_own(kind):
    sweep, rng = Sweep(EVERY[kind]), np.random.RandomState(2)
    etas = torch.from_numpy(rng.uniform(0.005, 0.02, BATCH))
    ends, tol = rng.randint(20, STEPS, BATCH), np.zeros(BATCH)
    ends[0, 1], ends[2, 2] = 0, STEPS
    tol[3] = 0.9  # reached by some
    etas[1, 1] = 1e6
    iterations = record_iterations(STEPS, 7)
    marks = np.union1d(iterations, ends)
    runs = descend(sweep.batch, constant(etas), iterations, tol=tol, ends=ends)
    for index, network in sweep.networks.items():
        until = marks[marks <= ends[index]]
        own = alone(network, float(etas[index]), until, tol=tol[index])
        # What overflows grows rounding errors with it, step by step.
        check_run(runs[index], own, 1e-9 if own.stop_reason == "diverged" else 1e-12)
        torch.testing.assert_close(sweep.batch.state[index], network.state, rtol=1e-9, atol=1e-12)
    assert {run.stop_reason for run in runs.flat} == {"max_iter", "diverged", "converged"}
    assert torch.isfinite(sweep.batch.state).all()


@pytest.mark.parametrize("kind", SOME)
def test_those_that_have_ended_leave_the_batch(kind, monkeypatch):
    sweep, plain = (Sweep(EVERY[kind]) for _ in range(2))
    network, sizes = type(sweep.batch), [12]
    part = network.part

    def counted(self, index):
        sizes.append(len(index[0]))
        return part(self, index)

    monkeypatch.setattr(network, "part", counted)
    etas = torch.full(BATCH, 0.01, dtype=torch.float64)
    etas[0] = 1e6
    ends = np.arange(100, 1300, 100).reshape(BATCH)
    descend(sweep.batch, constant(etas), record_iterations(1200, 10), ends=ends)
    assert len(sizes) > 4
    assert all(after <= 0.75 * before for before, after in zip(sizes, sizes[1:], strict=False))
    for _ in range(400):
        plain.batch.step(0.01)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(sweep.batch.state[1, 0], plain.batch.state[1, 0], **close)


@pytest.mark.parametrize("kind", SOME)
def test_a_rule_with_a_memory_keeps_all_networks(kind):
    """Momentum, whose velocities have the shape of the whole batch."""
    sweep, etas = Sweep(EVERY[kind]), torch.full((*BATCH, 1), 0.01, dtype=torch.float64)
    velocity = torch.zeros_like(sweep.batch.state)

    def step(eta):
        sweep.batch.evaluate()
        velocity.mul_(0.5).add_(sweep.batch.gradient)
        sweep.batch.state.sub_(etas * velocity)

    ends = np.arange(10, 130, 10).reshape(BATCH)
    schedule, iterations = constant(etas[..., 0]), record_iterations(120, 10)
    runs = descend(sweep.batch, schedule, iterations, step=step, ends=ends)
    assert [run.n_iter for run in runs.flat] == ends.ravel().tolist()


def test_an_end_of_one_network_is_recorded():
    network = Sweep(Kind(linear)).networks[0, 0]
    run = descend(network, constant(0.01), record_iterations(100, 20), ends=np.array(50))
    assert run.trajectory.iteration.tolist() == [0, 20, 40, 50]
    assert run.stop_reason == "max_iter"
