"""Steps in compiled code are those of the products, and are there only where they pay."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.networks import _compiled_steps
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._log import Log
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.theory import SecondMoments
from tests.dynamics.networks.every_batch import KINDS, Kind, Sweep
from tests.dynamics.networks.every_batch import linear as linear_batch

pytest.importorskip("numba", reason="compiled steps are an optional extra")

RNG = np.random.RandomState(0)


def drawn(*sizes, n=50):
    X = RNG.standard_normal((n, sizes[0]))
    Y = RNG.standard_normal((n, sizes[-1]))
    weights = [RNG.standard_normal((h, k)) / k**0.5 for h, k in zip(sizes[1:], sizes, strict=False)]
    return list(map(torch.from_numpy, weights)), SecondMoments.from_data(X, Y)


def shrinking(t):
    return 0.02 / (1 + t / 50)


def moved_alike(make, steps, etas):
    one, other, third = make(), make(), make()
    assert one.steps is not None
    for begin in range(0, len(etas), steps):
        one.steps(etas[begin : begin + steps])
    ends = np.arange(steps, len(etas) + 1, steps)
    records = third.state.new_empty((len(ends), *third.state.shape))
    third.steps(etas, ends, records)
    records = iter(records)
    for t, eta in enumerate(etas, start=1):
        other.step(eta)
        if t in ends:
            torch.testing.assert_close(next(records), other.state, rtol=1e-12, atol=1e-13)
    for moved in (one, third):
        torch.testing.assert_close(moved.state, other.state, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    "sizes", [(3, 1), (4, 4), (5, 7, 1), (6, 2, 3), (5, 3, 8, 2), (1, 1, 1, 1), (7, 2, 2, 9, 3, 4)]
)
def test_they_are_the_steps_of_products(sizes, decay):
    weights, moments = drawn(*sizes)
    decays = [decay * (1 + layer) for layer in range(len(weights))]
    noise = [0.0] * (len(weights) - 1)

    def make():
        return LinearDynamics.from_moments(weights, moments, decays, noise)

    moved_alike(make, 5, list(0.05 / (1 + np.arange(23.0))))


@pytest.mark.parametrize("shared", [True, False])
def test_batches_have_step_sizes_of_their_own(shared):
    kind = Kind(linear_batch)
    etas = [torch.from_numpy(RNG.uniform(0, 0.05, (4, 3))) for _ in range(9)]
    moved_alike(lambda: Sweep(kind).batch, 4, [0.03] * 9 if shared else etas)


@pytest.mark.parametrize("name", ["two layers", "one pathway"])
def test_pathways_that_are_one_network_make_them(name):
    if name == "one pathway":
        moved_alike(lambda: Sweep(KINDS[name]).batch, 3, [0.02] * 7)
        return
    weights = [drawn(5, 4, 2)[0], drawn(5, 3, 2)[0]]
    moments = drawn(5, 2)[1]
    like = torch.empty(0, dtype=torch.float64)
    term = LinearPathways.from_moments(moments, like)
    apart = pathway_dynamics(weights, term, [[0.1, 0.1], [0.1, 0.1]])
    assert apart.steps is None  # one after the other they are two chains


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("layers", [2, 3])
def test_compressed_networks_make_them_and_shrink_what_is_left_out(layers, decay):
    weights, moments = drawn(3, *[64] * (layers - 1), 2)
    weights = [torch.linalg.qr(W if len(W) >= W.shape[1] else W.mT).Q for W in weights]
    weights[-1] = weights[-1].mT
    decays, like = [decay] * layers, torch.empty(0, dtype=torch.float64)

    def make():
        return CompressedNetwork.from_moments(weights, moments, decays, like, 10**5)

    assert any(N is not None for N in make().pathway.compressions[0].rests) == (layers == 3)
    moved_alike(make, 4, list(0.2 / (1 + np.arange(23.0))))


def test_runs_look_at_fast_steps_less_often(monkeypatch):
    weights, moments = drawn(5, 1, 1)
    looks = []
    add = Log.add
    monkeypatch.setattr(
        Log, "add", lambda log, states, *rest: looks.append(len(states)) or add(log, states, *rest)
    )
    for watch in (None, lambda index, log: False):
        network = LinearDynamics.from_moments(weights, moments, [0.0, 0.0], [0.0])
        assert network.steps.at_once > 1000
        descend(network, lambda t: 0.01, record_iterations(1000, 2), watch=watch)
    assert looks == [1, 500, 1, 100, 100, 100, 100, 100]


def test_runs_end_at_the_same_record_however_long_their_chunks_are():
    weights, moments = drawn(5, 4, 1)

    def run(watch=None):
        network = LinearDynamics.from_moments(weights, moments, [0.0, 0.0], [0.0])
        options = {"tol": 1e-3, "watch": watch}
        return network, descend(network, lambda t: 0.05, record_iterations(5000, 1), **options)

    (one, long), (other, short) = run(), run(lambda index, log: False)
    assert long.stop_reason == "converged" and long.n_iter == short.n_iter < 1000
    torch.testing.assert_close(one.state, other.state, rtol=0, atol=0)
    np.testing.assert_array_equal(long.trajectory.time, short.trajectory.time)


@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(2, 100, max_iter=300, tol=0),  # compressed
        DeepLinearRegressor(3, 100, weight_decay=0.02, max_iter=300, tol=0),
        DeepLinearRegressor(2, 80, init="normal", weight_decay=0.1, max_iter=300, random_state=0),
        DeepLinearRegressor(3, 8, weight_decay=0.02, max_iter=300, tol=0),
        DeepLinearRegressor(3, 8, step_size=shrinking, max_iter=300, tol=0),
        DeepLinearRegressor(3, 8, max_iter=5000),
        MultiPathwayRegressor(2, 100, max_iter=300, tol=0, random_state=0),
    ],
    ids=lambda model: f"{model.depth} {model.width} {model.max_iter} {model.weight_decay}",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_are_the_same_without_them(model, monkeypatch):
    X = RNG.standard_normal((40, 5))
    Y = X @ RNG.standard_normal((5, 2)) + 0.1 * RNG.standard_normal((40, 2))
    compiled = model.fit(X, Y).trajectory_
    coef = model.coef_
    monkeypatch.setattr(_compiled_steps, "find_spec", lambda name: None)
    plain = model.fit(X, Y).trajectory_
    np.testing.assert_array_equal(compiled.iteration, plain.iteration)
    np.testing.assert_array_equal(compiled.time, plain.time)
    np.testing.assert_allclose(compiled.objective, plain.objective, rtol=1e-11)
    np.testing.assert_allclose(coef, model.coef_, rtol=1e-9, atol=1e-11)


def test_divergence_is_seen():
    X, Y = RNG.standard_normal((40, 5)), RNG.standard_normal(40)
    with pytest.warns(UserWarning, match="diverged"):
        model = DeepLinearRegressor(3, 8, step_size=1e3, max_iter=2000, tol=0).fit(X, Y)
    assert model.stop_reason_ == "diverged" and np.isfinite(model.coef_).all()


def test_where_they_do_not_pay_there_are_none():
    weights, moments = drawn(4, 6, 2)
    zero = [0.0, 0.0]
    single = [W.float() for W in weights]
    assert LinearDynamics.from_moments(single, moments, zero, [0.0]).steps is None
    assert LinearDynamics.from_moments(weights, moments, zero, [0.5]).steps is None
    weights, moments = drawn(2, 6, 4)  # fewer inputs than outputs: from the other end
    assert LinearDynamics.from_moments(weights, moments, zero, [0.0]).steps is None
    weights, moments = drawn(40, 6, 1, n=10)  # few rows: through the factor
    assert LinearDynamics.from_moments(weights, moments, zero, [0.0]).steps is None
    weights, moments = drawn(300, 600, 2)
    assert LinearDynamics.from_moments(weights, moments, zero, [0.0]).steps is None


def test_the_loops_are_right_uncompiled():
    weights, moments = drawn(4, 3, 2)
    make = lambda: LinearDynamics.from_moments(weights, moments, [0.1, 0.2], [0.0])  # noqa: E731
    one, other = make(), make()
    A, S = other.data_term.input_moment[None].numpy(), other.data_term.cross_moment[None].numpy()
    begin, sizes, strides = np.array([0, 12]), np.array([4, 3, 2]), np.array([3, 1])
    decays, etas = np.array([[0.1, 0.2]]), np.array([[0.05, 0.02]])
    network = (one.state[None].numpy(), begin, sizes, strides, A, S, decays)
    records = np.zeros((2, *one.state[None].shape))
    _compiled_steps._descend(*network, etas, np.array([1, 2]), records)
    for eta, record in zip(etas[0], records, strict=True):
        other.step(eta)
        torch.testing.assert_close(torch.from_numpy(record[0]), other.state, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(one.state, other.state, rtol=1e-13, atol=1e-14)
