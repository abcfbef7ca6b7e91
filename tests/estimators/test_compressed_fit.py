"""Fits that are trained in a few dimensions are the fits of the full network."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.estimators import _solvers
from sklearn_deeplinear.nn._factors import truncated_factors
from tests.estimators.references import gradients

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

D, M, WIDTH = 4, 3, 70
CURVES = ("loss", "objective", "gradient_norm", "time", "iteration")
MEASURES = ("layer", "neuron", "matrix", "change")


def make_data(m=M):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((30, D)) + 1
    y = X @ rng.standard_normal((D, m)) + rng.standard_normal((30, m))
    return X, y[:, 0] if m == 1 else y, rng.uniform(0.5, 2, size=30)


def make_model(depth=2, init="spectral", **parameters):
    scale = 0.8 if init == "orthogonal" else None
    defaults = {"max_iter": 900, "record_every": 100, "tol": 0, "random_state": 0}
    return DeepLinearRegressor(
        depth,
        WIDTH,
        init=init,
        init_scale=scale,
        record_weights=True,
        **defaults | parameters,
    )


@pytest.fixture
def trained(monkeypatch):
    """Dynamics that the fits of a test have been trained with, one entry each."""
    kinds = []
    for name in ("descend", "flow"):
        run = getattr(_solvers, name)

        def spy(dynamics, *args, _run=run, **options):
            kinds.append(type(dynamics))
            return _run(dynamics, *args, **options)

        monkeypatch.setattr(_solvers, name, spy)
    return kinds


@pytest.fixture
def both(monkeypatch, trained):
    """A function that does the same with compression and without."""

    def do(work):
        narrow = work()
        with monkeypatch.context() as context:
            context.setattr(CompressedNetwork, "from_moments", lambda *problem: None)
            full = work()
        half = len(trained) // 2
        assert trained == [CompressedNetwork] * half + [LinearDynamics] * half
        trained.clear()
        return narrow, full

    return do


def assert_same_fit(narrow, full, tolerance=1e-9):
    """Compare all that a fit leaves; D_l are differences of squares of weights."""
    size = max(np.abs(W).max() for W in full.weights_)
    layers = [
        *zip(narrow.weights_, full.weights_, strict=True),
        *[
            pair
            for recorded in zip(narrow.trajectory_.weights, full.trajectory_.weights, strict=True)
            for pair in zip(*recorded, strict=True)
        ],
    ]
    for W, V in layers:
        assert W.dtype == V.dtype
        assert_allclose(W, V, rtol=0, atol=tolerance * size)
    for name in CURVES:
        curve = getattr(full.trajectory_, name)
        atol = tolerance * np.abs(curve).max()
        assert_allclose(getattr(narrow.trajectory_, name), curve, rtol=0, atol=atol)
    scale = max(np.square(W).sum() for W in full.weights_)
    for name in MEASURES:
        reference = getattr(full.balance_history_, name)
        measured = getattr(narrow.balance_history_, name)
        assert_allclose(measured, reference, rtol=0, atol=tolerance * scale)
    assert (narrow.n_iter_, narrow.stop_reason_) == (full.n_iter_, full.stop_reason_)
    assert narrow.step_size_ == full.step_size_


@pytest.mark.parametrize("decay", ["none", "equal", "own"])
@pytest.mark.parametrize(
    ("init", "depth"),
    [("normal", 2), ("spectral", 2), ("spectral", 4), ("balanced", 3), ("orthogonal", 4)],
)
def test_the_fit_is_that_of_the_full_network(both, init, depth, decay):
    X, y, _ = make_data()
    decays = {"none": 0.0, "equal": 0.02, "own": np.linspace(0, 0.05, depth)}[decay]
    model = make_model(depth, init, weight_decay=decays)
    narrow, full = both(lambda: clone(model).fit(X, y))
    assert_same_fit(narrow, full)
    assert full.objective_ < 0.9 * full.trajectory_.objective[0]  # it has learned


def test_weighted_samples_and_one_output(both):
    X, y, weight = make_data(m=1)
    assert_same_fit(*both(lambda: make_model(init="normal").fit(X, y, sample_weight=weight)), 1e-10)


def test_more_outputs_than_inputs(both):
    X, y, _ = make_data(m=9)
    assert_same_fit(*both(lambda: make_model(3, "orthogonal").fit(X, y)))


def test_the_rests_of_the_layers_shrink(both):
    """Under decay W_l outside the d + m dimensions shrinks by 1 - 2 eta gamma a step."""
    X, y, _ = make_data()
    model = make_model(3, "orthogonal", weight_decay=0.05, step_size=0.01)
    narrow, _ = both(lambda: clone(model).fit(X, y))
    first, last = (W[1] for W in (narrow.trajectory_.weights[0], narrow.weights_))
    outside = np.linalg.svd(last, compute_uv=False)
    wanted = 0.8 * (1 - 2 * 0.01 * 0.05) ** 900
    assert_allclose(np.linalg.svd(first, compute_uv=False), 0.8, rtol=1e-12)
    assert np.isclose(outside, wanted, rtol=1e-10).sum() == WIDTH - (D + M)


@pytest.mark.parametrize(("init", "depth"), [("normal", 2), ("spectral", 3)])
def test_single_precision(both, init, depth):
    """Rounding of single steps, 6e-8 of the weights, adds up over 900 of them at most."""
    X, y, _ = make_data()
    model = make_model(depth, init, dtype="float32", weight_decay=0.01)
    narrow, full = both(lambda: clone(model).fit(X, y))
    assert narrow.weights_[0].dtype == np.float32
    assert_same_fit(narrow, full, 900 * 6e-8)


@pytest.mark.parametrize(("init", "depth"), [("normal", 2), ("orthogonal", 3)])
def test_a_warm_start_goes_on(both, init, depth):
    X, y, _ = make_data()
    model = make_model(depth, init, step_size=0.001, warm_start=True)
    narrow, full = both(lambda: clone(model).fit(X, y).fit(X, y))
    assert_same_fit(narrow, full)
    whole = make_model(depth, init, step_size=0.001, max_iter=1800).fit(X, y)
    assert_allclose(narrow.weights_[0], whole.weights_[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("decay", "init_scale", "time"), [(0.01, 0.8, 3.0), (1e-5, 0.01, 60.0)])
@pytest.mark.parametrize(("init", "depth"), [("normal", 2), ("orthogonal", 3)])
def test_the_flow_has_the_same_accuracy(both, init, depth, decay, init_scale, time):
    """The solver keeps the error of a step below 1e-6, in other coordinates for each."""
    X, y, _ = make_data()
    model = make_model(depth, init, solver="flow", weight_decay=decay, flow_time=time)
    narrow, full = both(lambda: clone(model).set_params(init_scale=init_scale).fit(X, y))
    for W, V in zip(narrow.weights_, full.weights_, strict=True):
        assert_allclose(W, V, rtol=0, atol=2e-5 * np.abs(V).max())
    scale = max(np.square(W).sum() for W in full.weights_)
    for name in ("matrix", "layer"):
        reference = getattr(full.balance_history_, name)
        assert_allclose(getattr(narrow.balance_history_, name), reference, atol=2e-5 * scale)
    assert full.loss_ < 0.5 * full.trajectory_.loss[0]  # it has learned


@pytest.mark.parametrize("init", ["normal", "spectral"])
def test_tol_and_rounding_stop_at_the_same_record(both, init):
    X, y, _ = make_data()
    parameters = {"weight_decay": 0.1, "max_iter": 20_000}
    narrow, full = both(lambda: make_model(init=init, tol=1e-6, **parameters).fit(X, y))
    assert narrow.stop_reason_ == full.stop_reason_ == "converged"
    assert narrow.n_iter_ == full.n_iter_ < 20_000
    if init == "normal":  # layers at the minimum are balanced, and not compressed once more
        return
    done = full.weights_
    again = both(lambda: make_model(init=done, tol=1e-15, **parameters).fit(X, y))
    assert again[0].stop_reason_ == again[1].stop_reason_ == "converged"


@pytest.mark.parametrize("depth", [2, 4])
def test_rounding_is_that_of_the_full_network(depth):
    X, y, _ = make_data()
    model = make_model(depth, "orthogonal", max_iter=0).fit(X, y)
    weights = [torch.from_numpy(W) for W in model.weights_]
    decays = [0.1] * depth
    narrow = CompressedNetwork.from_moments(weights, model.moments_, decays, weights[0], 10**5)
    full = LinearDynamics.from_moments(weights, model.moments_, decays, [0.0] * (depth - 1))
    assert_allclose(narrow.rounding, full.rounding, rtol=1e-12)


def test_padded_factors_wider_than_the_data_are_compressed(trained):
    """A hidden layer may be narrower than d + m, and most of its units unused."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((120, 100))
    y = X @ rng.standard_normal((100, 2))
    model = DeepLinearRegressor(3, 80, max_iter=900, step_size=1e-3, tol=0).fit(X, y)
    assert trained == [CompressedNetwork]
    weights = truncated_factors(torch.from_numpy(model.coef_), [(80, 100), (80, 80), (2, 80)])
    for W, V in zip(model.weights_, weights, strict=True):
        unused = (V.abs().sum(1) == 0).numpy()
        assert_array_equal(W[unused], 0)
    J = gradients(model.weights_, X, y)[0]
    assert_allclose(model.objective_, J, rtol=1e-12)


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise": 0.1},
        {"init": "normal", "depth": 3},
        {"init": "orthogonal", "max_iter": 10},
    ],
    ids=["noise", "not exact", "short"],
)
def test_other_fits_are_trained_in_full(trained, parameters):
    X, y, _ = make_data()
    make_model(**parameters).fit(X, y)
    assert trained == [LinearDynamics]


@pytest.mark.parametrize("max_iter", [0, 1, 20])
@pytest.mark.parametrize("depth", [2, 3])
def test_a_few_live_units_are_trained_alone_however_short_the_run(both, depth, max_iter):
    X, y, weight = make_data()
    model = make_model(depth, max_iter=max_iter, record_every=1, weight_decay=0.1)
    narrow, full = both(lambda: clone(model).fit(X, y, sample_weight=weight))
    assert_same_fit(narrow, full)
