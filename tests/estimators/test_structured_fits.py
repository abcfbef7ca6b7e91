"""Fits of structured and degenerate data; benchmarks/check_fits.py draws a thousand of them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.nn._losses import nearest_distribution
from tests.estimators.fit_checks import check
from tests.estimators.structured_fits import DATA, FAMILIES

# Runs are cut short: the claims are about every iterate.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SEED = 3
SHARES = {"linear": 1, "pathways": 1, "perceptron": 1}  # of all data sets
CASES = [
    case
    for family, share in SHARES.items()
    for case in (FAMILIES[family](index, SEED) for index in range(share * len(DATA)))
    # Minima of several outputs with noise and many layers take seconds.
    if case is not None and not (case.estimator.depth in (4, 5, 10) and family == "linear")
]


@pytest.mark.parametrize("case", CASES[::2], ids=lambda case: f"{case.family}-{case.index}")
def test_all_claims_hold(case):
    """What a fit reports is what plain numpy finds on the samples."""
    claims = check(case)
    broken = {
        claim: deviation
        for claim, deviation in claims.items()
        if not deviation <= 1 and not claim.startswith("(")
    }
    assert not broken, case


@pytest.mark.parametrize("tol", [0, 1e-6])
@pytest.mark.parametrize("kind", [DeepLinearRegressor, MultiPathwayRegressor])
def test_the_flow_of_zero_weights_rests(kind, tol):
    """Without a warning: there is no scale in a state of zeros."""
    X = np.random.RandomState(0).standard_normal((8, 3))
    model = kind(solver="flow", init="spectral", tol=tol, max_iter=5).fit(X, np.zeros(8))
    assert not model.coef_.any() and model.objective_ == 0


def test_the_flow_leaves_zero_weights_of_one_layer():
    """Linear regression starts at zero like anywhere else."""
    X = np.random.RandomState(0).standard_normal((8, 3))
    y = X @ [1.0, -2.0, 0.5]
    model = DeepLinearRegressor(1, solver="flow", init=[np.zeros((1, 3))], flow_time=1e3).fit(X, y)
    assert_allclose(model.coef_, [1, -2, 0.5], rtol=1e-4)


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
@pytest.mark.parametrize(("depth", "unit"), [(1, 1e-6), (1, 1.0), (1, 1e6), (3, 1.0)])
def test_the_flow_of_zero_weights_moves_biases(activation, depth, unit):
    """With zero weights below them the output biases obey b' = 2 (mean y - b)."""
    X = np.array([[-1.0], [1.0], [0.0]])
    y = unit * np.array([1.0, 1.0, 4.0])
    init = [np.zeros((1, 1))] * depth
    model = HomogeneousMLPRegressor(
        depth, 1, activation=activation, solver="flow", init=init, flow_time=0.5, tol=0
    ).fit(X, y)
    # The method of second order that the others take is off by 7e-5.
    rtol = 1e-5 if activation == "identity" else 1e-3
    assert_allclose(model.biases_[-1], 2 * unit * (1 - np.exp(-1)), rtol=rtol)


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
def test_the_flow_of_a_perceptron_of_zeros_rests(activation):
    X = np.random.RandomState(0).standard_normal((8, 3))
    init = [np.zeros((4, 3)), np.zeros((1, 4))]
    model = HomogeneousMLPRegressor(
        2, 4, activation=activation, solver="flow", init=init, fit_bias=False, tol=0, max_iter=5
    ).fit(X, X[:, 0])
    assert not any(W.any() for W in model.weights_)


@pytest.mark.parametrize("width", [8, 20, 33, 64])
@pytest.mark.parametrize("depth", [3, 10])
def test_orthogonal_weights_have_an_automatic_step(depth, width):
    """Their Gram matrices are the identity and rounding, which not all solvers can digest."""
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((4, 9)), rng.standard_normal((4, 2))
    for seed in range(20):
        model = DeepLinearRegressor(depth, width, init="orthogonal", max_iter=1, random_state=seed)
        assert 0 < model.fit(X, y).step_size_ < np.inf


@pytest.mark.parametrize("depth", [2, [2, 3], [1, 4]])
def test_pathways_without_inputs_have_a_minimum(depth):
    """One sample is all mean; decay leaves no reason for a weight."""
    model = MultiPathwayRegressor(depth, 2, weight_decay=0.1, max_iter=3)
    for X, Y in [([[1.0, 2.0]], [[1.0, 2.0]]), (np.zeros((6, 2)), np.eye(6)[:, :2])]:
        least = model.fit(X, Y).global_minimum_
        variance = np.sum(np.var(Y, axis=0))
        assert least.objective == pytest.approx(variance, rel=1e-12, abs=1e-15)
        assert not least.coef.any()


WITHOUT_INPUTS = {
    "zeros": (np.zeros((6, 2)), np.eye(6)[:, :2]),
    "constants": (np.full((6, 2), [0.1, -1e6]), np.eye(6)[:, :2]),
    "one sample": ([[1.0, 2.0]], [[1.0, 2.0]]),
    "one target": (np.zeros((6, 2)), np.arange(6.0)),
}


@pytest.mark.parametrize("data", WITHOUT_INPUTS.values(), ids=WITHOUT_INPUTS)
@pytest.mark.parametrize("solver", ["gd", "flow", "sgd", "adam", "analytic"])
@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(1, (), weight_decay=0.1),
        DeepLinearRegressor(3, 4, weight_decay=0.1),
        MultiPathwayRegressor([1, 3], 2, weight_decay=0.1),
    ],
    ids=["one layer", "three layers", "pathways"],
)
def test_linear_fits_without_inputs(model, solver, data):
    """Inputs that do not vary explain nothing: the mean is predicted, and zero is the minimum."""
    X, Y = map(np.asarray, data)
    model = clone(model).set_params(solver=solver, max_iter=50, random_state=0).fit(X, Y)
    assert_allclose(model.predict(X), np.broadcast_to(Y.mean(axis=0), Y.shape), atol=1e-12)
    variance = np.sum(np.var(Y, axis=0))
    assert_allclose(model.loss_, variance, rtol=1e-12, atol=1e-15)
    assert_allclose(model.global_minimum_.objective, variance, rtol=1e-12, atol=1e-15)
    assert model.optimality_gap_ >= 0


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
@pytest.mark.parametrize("unit", [1e-5, 0.1, 1e3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_automatic_step_knows_the_biases(depth, unit, activation):
    """On centred inputs the outputs of the first network are orthogonal to what b_L moves."""
    x = unit * np.linspace(-1, 1, 21)[:, None]
    y = 5 + x[:, 0] / unit
    model = HomogeneousMLPRegressor(
        depth, 20, activation=activation, random_state=0, tol=0, record_every=1, max_iter=0
    )
    left = y - model.fit(x, y).predict(x)
    objective = model.set_params(max_iter=300).fit(x, y).trajectory_.objective
    assert np.all(np.diff(objective) <= 1e-9 * objective[0])
    # Beside inputs of size 1e3 a constant is learned as slowly as x beside it at 1e-3.
    assert objective[-1] < (1.05 * np.var(left) if unit <= 1 else objective[0])


@pytest.mark.parametrize("width", [3, 30])
@pytest.mark.parametrize("data", ["standardised", "raw", "one sample", "zeros"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_fits_with_the_automatic_step_go_down(activation, depth, data, width):
    """In any units."""
    rng = np.random.RandomState(depth)
    X = rng.standard_normal((20, 3))
    Y = np.tanh(X @ rng.standard_normal((3, 2))) + rng.choice([0, 3])
    if data == "raw":
        X = X * [0.3, 1, 3] + [3, 0, -1]
    X = {"standardised": (X - X.mean(axis=0)) / X.std(axis=0), "zeros": 0 * X}.get(data, X)
    n = 1 if data == "one sample" else len(X)
    model = HomogeneousMLPRegressor(
        depth, width, activation=activation, random_state=0, tol=0, max_iter=100
    )
    for unit_x, unit_y in [(1.0, 1.0), (1e-6, 1.0), (1e3, 1e-6), (1.0, 1e6)]:
        model.fit(unit_x * X[:n], unit_y * Y[:n])
        assert model.stop_reason_ != "diverged"
        objective = model.trajectory_.objective
        assert objective[-1] < objective[0]


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_the_automatic_step_knows_the_biases_of_dead_networks(loss, weight_decay):
    """Output biases alone are left to learn, as fast as in linear regression on a constant."""
    X, y = np.zeros((6, 2)), [0, 1, 0, 1, 1, 1]
    options = {"weight_decay": weight_decay, "random_state": 0, "max_iter": 300, "tol": 0}
    if loss == "cross_entropy":
        model = HomogeneousMLPClassifier(3, 5, **options).fit(X, y)
        wanted = -np.log(1 / 3) / 3 - np.log(2 / 3) * 2 / 3
    else:
        model = HomogeneousMLPRegressor(3, 5, **options).fit(X, np.multiply(1e3, y))
        wanted = 1e6 * np.var(y)
    assert_allclose(model.loss_, wanted, rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_biases_alone_learn_a_constant(unit, activation, depth):
    """Without inputs hidden biases take their part, and grow to the root of the unit."""
    model = HomogeneousMLPRegressor(depth, 20, activation=activation, random_state=0)
    model.fit(np.zeros((4, 2)), unit * np.array([2.0, 3.0, 3.0, 4.0]))
    assert_allclose(model.loss_, 0.5 * unit**2, rtol=1e-3)


@pytest.mark.parametrize("size", [1.0, 1e8, 1e13, 1e40])
def test_nearest_distributions_are_distributions(size):
    """Adding the same number to all classes changes nothing."""
    outputs = size + np.array([[0.2, 0.5, -1.0], [-3.0, 0.0, 0.0]]) * (size < 1e9)
    assert_allclose(nearest_distribution(torch.from_numpy(outputs)).sum(dim=1), 1, rtol=1e-12)
