"""The training loop: what is recorded, and how a run ends."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._descent import descend, is_unfinished
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from sklearn_deeplinear.dynamics.runs._records import chunks, record_iterations
from sklearn_deeplinear.theory import SecondMoments, balance


def make_dynamics(scale=0.5, hidden=(5, 7)):
    rng = np.random.RandomState(0)
    moments = SecondMoments.from_data(rng.randn(40, 4), rng.randn(40, 2))
    sizes = [4, *hidden, 2]
    weights = [
        torch.from_numpy(scale * rng.randn(rows, columns))
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return LinearDynamics.from_moments(weights, moments, [0.0] * len(weights), [0.0] * len(hidden))


def constant(eta):
    return lambda t: eta


@pytest.mark.parametrize(
    ("max_iter", "record_every", "cost", "expected"),
    [
        (10, 4, 1, [0, 4, 8, 10]),
        (10, 5, 1, [0, 5, 10]),
        (0, None, 1, [0]),
        (3, None, 1, [0, 1, 2, 3]),
        (3000, None, 200.0, [0, 800, 1600, 2400, 3000]),
        (10, 100, 1, [0, 10]),
    ],
)
def test_first_and_last_iterate_are_recorded(max_iter, record_every, cost, expected):
    assert record_iterations(max_iter, record_every, cost).tolist() == expected


@pytest.mark.parametrize(
    ("epochs", "steps", "cost", "spacing"),
    [(3000, 1, 2.0, 8), (150, 20, 2.0, 1), (300, 10, 40.0, 16), (50, 9, 9.0, 2), (200, 9, 9.0, 4)],
)
def test_records_of_epochs_are_spaced_by_their_batches(epochs, steps, cost, spacing):
    # Four times the cost of a record in 1,200 steps or more, less in proportion before.
    iterations = record_iterations(epochs, None, cost, steps)
    assert set(np.diff(iterations)[:-1]) == {spacing}
    assert record_iterations(epochs, 7, cost, steps)[1] == 7


@pytest.mark.parametrize("max_iter", [998, 999, 1000, 12_345, 10**6])
def test_at_most_a_thousand_records_by_default(max_iter):
    iterations = record_iterations(max_iter)
    assert len(iterations) <= 1000
    assert iterations[-1] == max_iter


def test_chunks_partition_the_records_after_the_first():
    iterations = record_iterations(1000, 7)
    parts = chunks(iterations, torch.zeros(10))
    assert np.concatenate(parts).tolist() == iterations[1:].tolist()


def test_records_do_not_depend_on_how_they_are_spaced():
    every = descend(make_dynamics(), constant(0.01), record_iterations(60, 1), record_weights=True)
    some = descend(make_dynamics(), constant(0.01), record_iterations(60, 7), record_weights=True)
    rows = some.trajectory.iteration
    np.testing.assert_allclose(some.trajectory.objective, every.trajectory.objective[rows])
    np.testing.assert_allclose(some.balance.change, every.balance.change[rows], atol=1e-14)
    for record, row in enumerate(rows):
        for W, V in zip(
            some.trajectory.weights[record], every.trajectory.weights[row], strict=True
        ):
            np.testing.assert_array_equal(W, V)


@pytest.mark.parametrize("hidden", [(5, 7), (40,), (60, 3)])
def test_recorded_balance_is_that_of_the_recorded_weights(hidden):
    # Width 40 between 4 inputs and 2 outputs is measured through narrow factors.
    dynamics = make_dynamics(hidden=hidden)
    run = descend(dynamics, constant(0.01), record_iterations(30, 10), record_weights=True)
    start = balance(run.trajectory.weights[0])
    for record, weights in enumerate(run.trajectory.weights):
        reference = balance(weights)
        for name in ("layer", "neuron", "matrix"):
            np.testing.assert_allclose(
                getattr(run.balance, name)[record], getattr(reference, name), atol=1e-12
            )
        change = [
            np.linalg.norm(D - D_0)
            for D, D_0 in zip(reference.differences, start.differences, strict=True)
        ]
        np.testing.assert_allclose(run.balance.change[record], change, atol=1e-12)
    np.testing.assert_allclose(run.balance.drift, change, rtol=1e-6)


def test_time_is_the_sum_of_the_step_sizes():
    run = descend(make_dynamics(), lambda t: 0.01 / (t + 1), record_iterations(20, 5))
    expected = [sum(0.01 / (t + 1) for t in range(k)) for k in run.trajectory.iteration]
    np.testing.assert_allclose(run.trajectory.time, expected)


def test_tolerance_ends_a_run_at_the_first_record_below_it():
    dynamics = make_dynamics()
    run = descend(dynamics, constant(0.05), record_iterations(5000, 3), tol=1e-3)
    norm = run.trajectory.gradient_norm
    assert run.stop_reason == "converged"
    assert norm[-1] <= 1e-3 * norm[0] < norm[-2]
    measured = dynamics.measure(dynamics.state[None])
    assert measured["objective"].item() == run.trajectory.objective[-1]


def test_divergence_keeps_the_last_finite_record():
    dynamics = make_dynamics()
    with pytest.warns(ConvergenceWarning, match="diverged"):
        run = descend(dynamics, constant(2.0), record_iterations(500, 2))
    assert run.stop_reason == "diverged"
    assert 0 < run.n_iter < 500
    assert torch.isfinite(dynamics.state).all()
    assert np.isfinite(run.trajectory.objective).all()


def test_weights_too_large_to_start_from_are_refused():
    with pytest.raises(ValueError, match="init"):
        descend(make_dynamics(scale=1e100), constant(0.1), record_iterations(5))


def test_interruption_keeps_the_last_record():
    def schedule(t):
        if t == 25:
            raise KeyboardInterrupt
        return 0.01

    dynamics = make_dynamics()
    with pytest.warns(ConvergenceWarning, match="interrupted") as caught:
        run = descend(dynamics, schedule, record_iterations(100, 10))
    assert caught[0].message.n_iter == 20
    assert run.stop_reason == "interrupted"
    assert run.trajectory.iteration.tolist() == [0, 10, 20]
    reference = make_dynamics()
    descend(reference, constant(0.01), record_iterations(20))
    torch.testing.assert_close(dynamics.state, reference.state, rtol=0, atol=0)


def test_whether_an_unfinished_run_is_a_fault_is_left_to_the_caller():
    run = descend(make_dynamics(), constant(0.01), record_iterations(3), tol=1e-9)
    assert run.stop_reason == "max_iter"
    assert is_unfinished(run, tol=1e-9) and not is_unfinished(run, tol=0)
    start = descend(make_dynamics(), constant(0.01), record_iterations(0), tol=1e-9)
    assert not is_unfinished(start, tol=1e-9)


def test_a_watcher_sees_each_chunk_and_can_stop():
    seen = []

    def watch(index, log):
        if log is None:
            return False
        seen.append(int(log.parts[-1]["iteration"][-1]))
        return index == 1

    run = descend(make_dynamics(), constant(0.01), record_iterations(1000, 300), watch=watch)
    assert run.stop_reason == "callback"
    assert seen == [300, 600]
    assert run.n_iter == 600


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_inside_only(before):
    def flushed():
        return float(torch.tensor(1e-310, dtype=torch.float64) * 0.5) == 0

    if not torch.set_flush_denormal(before):
        pytest.skip("this processor cannot flush denormals")
    try:
        with flushed_denormals():
            assert flushed()
        assert flushed() == before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(("hidden", "least"), [((), 500), ((5, 7), 100), ((100, 100), 25)])
def test_a_default_run_has_enough_records_to_be_drawn(hidden, least):
    dynamics = make_dynamics(scale=0.05, hidden=hidden)
    assert (
        least
        <= len(record_iterations(1000, None, dynamics.record_cost(dynamics.balance_meter().cost)))
        <= 1000
    )


def make_batch(scales=((0.5, 0.4, 0.3), (0.2, 0.1, 0.6)), **options):
    """Networks of `make_dynamics` from starts of different sizes, and each by itself."""
    networks = [make_dynamics(scale, **options) for row in scales for scale in row]
    weights = [torch.stack(parts) for parts in zip(*(n.weights for n in networks), strict=True)]
    term = networks[0].data_term
    stacked = [W.unflatten(0, (2, 3)) for W in weights]
    return LinearDynamics(stacked, term, networks[0].weight_decay), networks


@pytest.mark.parametrize(("hidden", "every"), [((5, 7), 3), ((), 1), ((40,), 50), ((40,), 400)])
def test_runs_of_a_batch_are_those_of_its_networks(hidden, every):
    batch, networks = make_batch(hidden=hidden)
    # One network converges before the others, one stops at max_iter.
    etas = torch.tensor([[0.05, 0.02, 0.03], [0.08, 1e-6, 0.04]], dtype=torch.float64)
    etas *= min(1, 5 / max(hidden, default=1))  # stable in wide networks, too
    iterations = record_iterations(1200, every)
    options = {"tol": 1e-3, "record_weights": True}
    runs = descend(batch, lambda t: etas, iterations, **options)
    assert runs.shape == (2, 3)
    reasons = set()
    for index, network in zip(np.ndindex(2, 3), networks, strict=True):
        own, run = (
            descend(network, constant(float(etas[index])), iterations, **options),
            runs[index],
        )
        reasons.add(own.stop_reason)
        assert (run.stop_reason, run.n_iter) == (own.stop_reason, own.n_iter)
        np.testing.assert_array_equal(run.trajectory.iteration, own.trajectory.iteration)
        for name in ("time", "loss", "objective", "gradient_norm"):
            curve = getattr(own.trajectory, name)
            np.testing.assert_allclose(getattr(run.trajectory, name), curve, 1e-9, 1e-12)
        for name in ("layer", "neuron", "matrix", "change"):
            columns = getattr(own.balance, name)
            np.testing.assert_allclose(getattr(run.balance, name), columns, 0, 1e-12)
        torch.testing.assert_close(batch.state[index], network.state, rtol=0, atol=1e-12)
        for W, V in zip(run.trajectory.weights[-1], network.weights, strict=True):
            np.testing.assert_allclose(W, V, 0, 1e-12)
    assert reasons == {"converged", "max_iter"}


def test_a_diverged_network_of_a_batch_keeps_its_last_record_and_harms_no_other():
    (batch, networks), iterations = make_batch(), record_iterations(500, 2)
    etas = torch.full((2, 3), 0.01, dtype=torch.float64)
    etas[0, 1] = 2.0
    runs = descend(batch, lambda t: etas, iterations)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        own = descend(networks[1], constant(2.0), iterations)
    assert runs[0, 1].stop_reason == "diverged"
    assert runs[0, 1].n_iter == own.n_iter < 500
    assert torch.isfinite(batch.state).all()
    torch.testing.assert_close(batch.state[0, 1], networks[1].state, rtol=1e-9, atol=0)
    for index, network in zip(np.ndindex(2, 3), networks, strict=True):
        if index != (0, 1):
            run = descend(network, constant(0.01), iterations)
            assert runs[index].stop_reason == "max_iter"
            np.testing.assert_allclose(
                runs[index].trajectory.objective, run.trajectory.objective, 1e-12
            )


def test_a_batch_ends_with_its_last_network():
    batch, _ = make_batch()
    etas = torch.full((2, 3), 0.05, dtype=torch.float64)
    etas[1, 2] = 2.0
    steps = []

    def schedule(t):
        steps.append(t)
        return etas

    runs = descend(batch, schedule, record_iterations(10**5, 10), tol=1e-2)
    assert {run.stop_reason for run in runs.flat} == {"converged", "diverged"}
    # Records are measured in chunks of 200 steps.
    assert (
        max(run.n_iter for run in runs.flat)
        <= len(steps)
        < 200 + max(run.n_iter for run in runs.flat)
    )


def test_sharpness_of_a_batch_is_that_of_each_network():
    batch, networks = make_batch()
    meters = meters_of(batch, ["sharpness"])
    runs = descend(batch, constant(0.01), record_iterations(10, 5), meters=meters)
    own = descend(
        networks[4],
        constant(0.01),
        record_iterations(10, 5),
        meters=meters_of(networks[4], ["sharpness"]),
    )
    np.testing.assert_allclose(runs[1, 1].trajectory.sharpness, own.trajectory.sharpness, 1e-8)


def test_a_batch_that_cannot_start_is_refused():
    batch, _ = make_batch(((0.5, 0.5, 1e100), (0.5, 0.5, 0.5)))
    with pytest.raises(ValueError, match="init"):
        descend(batch, constant(0.1), record_iterations(5))
