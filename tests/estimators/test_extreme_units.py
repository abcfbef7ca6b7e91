"""Networks are trained in units up to 2^480 and down to 2^-480, or an error says why not."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import gauss_newton_norm
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._initialisers import balanced

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

POWERS = (-480, 0, 480)
UNITS = [pair for pair in itertools.product(POWERS, repeat=2) if any(pair)] + [(240, -240)]
SIZES = "X and y must be in units nearer to 1"
BIASES = "X and y must be in larger units, or fit_bias=False"


def make_data(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((30, 4))
    X[:, 3] = 0.5  # constant
    X = np.hstack([X, np.zeros((30, 1))])
    return X, X[:, :3] @ rng.standard_normal((3, 2)) + 0.3 * rng.standard_normal((30, 2))


def attempt(call, *arguments):
    """What a call returns, or the text of its ValueError."""
    try:
        return call(*arguments)
    except ValueError as error:
        return str(error)


def is_alike(model, plain, x, y, solved=1e-9):
    """Whether a model fits data in other units as it does in plain ones; if not, it says why."""
    (X, Y), (new, _) = make_data(), make_data(seed=1)
    scaled = attempt(clone(model).fit, X * 2.0**x, Y * 2.0**y)
    if isinstance(scaled, str):
        assert SIZES in scaled
        return False
    assert scaled.stop_reason_ == plain.stop_reason_
    for given in (X, new):
        predicted = scaled.predict(given * 2.0**x) / 2.0**y
        assert_allclose(predicted, plain.predict(given), rtol=solved, atol=solved)
    return True


@pytest.mark.parametrize(
    ("solver", "activation", "depth"),
    [
        ("gd", "relu", 1),
        ("gd", "relu", 2),
        ("gd", "relu", 3),
        ("momentum", "relu", 2),
        ("flow", "identity", 3),
        ("lbfgs", "relu", 3),
    ],
)
def test_perceptrons_without_biases_are_the_same_in_all_units(solver, activation, depth):
    """All layers take the same part of the units, y / x: exactly, since the start does, too."""
    model = HomogeneousMLPRegressor(
        depth, 4, activation=activation, solver=solver, fit_bias=False, init="balanced",
        max_iter=8, random_state=0,
    )  # fmt: skip
    plain = clone(model).fit(*make_data())
    # Kinks and line searches multiply what the root of the units rounds.
    solved = 1e-7 if solver in ("lbfgs", "flow") else 1e-9
    refused = {pair for pair in UNITS if not is_alike(model, plain, *pair, solved)}
    assert refused == (set() if depth == 2 else {(480, -480), (-480, 480)})


def test_perceptrons_without_biases_predict_in_any_units():
    X, Y = make_data()
    model = HomogeneousMLPRegressor(3, 4, fit_bias=False, max_iter=8, random_state=0).fit(X, Y)
    for power in (-480, 480):
        assert_allclose(model.predict(X * 2.0**power) / 2.0**power, model.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("solver", "depth"), [("gd", 1), ("gd", 3), ("gd", 4), ("momentum", 3), ("flow", 3)]
)
def test_deep_linear_regressors_are_the_same_in_all_units(solver, depth):
    model = DeepLinearRegressor(depth, 4, solver=solver, max_iter=8)
    plain = clone(model).fit(*make_data())
    assert all(is_alike(model, plain, *pair) for pair in UNITS)


@pytest.mark.parametrize(("init", "depth"), [("spectral", 2), ("balanced", 3)])
def test_linear_pathways_are_the_same_in_all_units(init, depth):
    model = MultiPathwayRegressor(depth, 4, init=init, max_iter=8, random_state=0)
    plain = clone(model).fit(*make_data())
    assert all(is_alike(model, plain, *pair) for pair in UNITS)


@pytest.mark.parametrize("depth", [2, 3])
def test_rectifying_pathways_are_the_same_in_all_units(depth):
    model = MultiPathwayRegressor(
        depth, 4, activation="relu", init="balanced", max_iter=8, random_state=0
    )
    plain = clone(model).fit(*make_data())
    refused = {pair for pair in UNITS if not is_alike(model, plain, *pair)}
    assert refused == (set() if depth == 2 else {(480, -480), (-480, 480)})


@pytest.mark.parametrize("solver", ["gd", "momentum", "flow", "sgd"])
def test_deep_linear_classifiers_are_the_same_in_all_units_of_the_inputs(solver):
    X, Y = make_data()
    y = (Y[:, 0] > 0).astype(int)
    model = DeepLinearClassifier(1, solver=solver, max_iter=8, random_state=0)
    plain = clone(model).fit(X, y).predict_proba(X)
    for power in (-480, 480):
        scaled = clone(model).fit(X * 2.0**power, y).predict_proba(X * 2.0**power)
        assert_allclose(scaled, plain, rtol=1e-9)


def test_the_curvature_takes_the_square_of_the_units():
    X, _ = make_data()
    shapes, draw = [(3, 5), (2, 3)], np.random.RandomState(1).standard_normal
    network = HomogeneousNetwork(shapes, "relu", bias=False, dtype=torch.float64)
    network.fill([torch.from_numpy(draw(shape)) for shape in shapes])
    shares = torch.full((30,), 1 / 30, dtype=torch.float64)
    plain = gauss_newton_norm(network, torch.from_numpy(X), shares)
    assert plain > 0.1
    for power in POWERS:
        unit = 2.0**power
        assert gauss_newton_norm(network, torch.from_numpy(unit * X), shares) == unit**2 * plain


def test_balanced_starts_have_the_size_of_a_step_whose_square_is_no_number():
    shapes, step = [(3, 4), (2, 3)], torch.ones(2, 4, dtype=torch.float64)
    for power in (-960, 0, 960):
        W1, W2 = balanced(shapes, None, torch.Generator().manual_seed(0), 2.0**power * step)
        product = (W2 @ W1) / 2.0**power
        assert_allclose(float(torch.linalg.norm(product)), 8**0.5, rtol=1e-12)


def descent(start, eta, X, Y, steps):
    """Outputs after gradient descent from weights and biases, in extended precision."""
    weights, biases = ([part.astype(np.longdouble) for part in parts] for parts in start)
    X, Y, eta = (np.asarray(value, dtype=np.longdouble) for value in (X, Y, eta))
    for step in range(steps + 1):
        values, inputs = X, []
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
            inputs.append(np.maximum(values, 0) if layer else values)
            values = inputs[-1] @ W.T + b
        if step == steps:
            break
        slope = 2 * (values - Y) / len(X)
        for layer in reversed(range(len(weights))):
            below = (slope @ weights[layer]) * (inputs[layer] > 0)
            weights[layer] = weights[layer] - eta * slope.T @ inputs[layer]
            biases[layer] = biases[layer] - eta * slope.sum(axis=0)
            slope = below
    return values


@pytest.mark.skipif(np.finfo(np.longdouble).maxexp < 2**14, reason="no longer exponents here")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_biases_are_trained_as_in_extended_precision_or_refused(depth):
    """They have a unit of their own, so that another start and another step are right."""
    X, Y = make_data()
    model = HomogeneousMLPRegressor(depth, 4, max_iter=20, tol=0, random_state=0)
    small, trained = set(), set()
    for x, y in itertools.product((-480, -24, 0, 480), repeat=2):
        data = X * 2.0**x, Y * 2.0**y
        end = attempt(clone(model).fit, *data)
        if isinstance(end, str):
            assert BIASES in end or SIZES in end
            small |= {(x, y)} if BIASES in end else set()
            continue
        begin = clone(model).set_params(max_iter=0).fit(*data)
        expected = descent((begin.weights_, begin.biases_), end.step_size_, *data, 20) / 2.0**y
        predicted = end.predict(data[0]) / 2.0**y
        assert_allclose(predicted, expected.astype(float), rtol=1e-9, atol=1e-9)
        trained.add((x, y))
    assert {(0, 0), (480, 0), (0, 480), (480, 480)} <= trained
    least = {pair: min(pair[0], pair[1] - (pair[1] - pair[0]) / depth) for pair in small | trained}
    assert all(least[pair] < -18 for pair in small)
    assert all(least[pair] > -22 for pair in trained)


SMALL = [(2.0**-240, 1.0), (1e-7, 1.0), (2.0**-240, 2.0**240)]


@pytest.mark.parametrize(("x_unit", "y_unit"), [*SMALL, (1.0, 1e-10)])
def test_units_beside_which_only_biases_would_move_are_refused(x_unit, y_unit):
    X, Y = make_data()
    data = X * x_unit, Y * y_unit
    model = HomogeneousMLPRegressor(3, 4, max_iter=3, tol=0)
    with pytest.raises(ValueError, match=BIASES):
        model.fit(*data)
    with pytest.raises(ValueError, match=BIASES):
        clone(model).set_params(early_stopping=True).fit(*data)
    with pytest.raises(ValueError, match=BIASES):
        clone(model).set_params(solver="sgd").partial_fit(*data)
    with pytest.raises(ValueError, match=BIASES):
        BatchedGridSearchCV(model, {"weight_decay": [0.0]}, cv=2, error_score="raise").fit(*data)
    assert clone(model).set_params(fit_bias=False).fit(*data).stop_reason_ == "max_iter"
    if y_unit == 1:
        for loss in ("cross_entropy", "squared_error"):
            with pytest.raises(ValueError, match=r"^X must be in larger units(?!.*scale y)"):
                HomogeneousMLPClassifier(3, 4, loss=loss).fit(data[0], Y[:, 0] > 0)


def test_zeros_have_no_units():
    X, Y = make_data()
    model = HomogeneousMLPRegressor(2, 4, max_iter=3, tol=0)
    for zero in ((0 * X, Y), (X, 0 * Y), (0 * X, 0 * Y)):
        assert np.isfinite(clone(model).fit(*zero).predict(X)).all()
    # Weights of zero leave out what is large, and constants have the size that they have.
    X[0] *= 1e100
    weight = (np.arange(30) > 0).astype(float)
    assert np.isfinite(clone(model).fit(X, Y, weight).objective_)


def test_single_precision_has_fewer_units():
    X, Y = make_data()
    model = HomogeneousMLPRegressor(
        2, 4, fit_bias=False, init="balanced", dtype="float32", max_iter=8, tol=0, random_state=0
    )
    plain = clone(model).fit(X, Y).predict(X)
    for x, y in ((40, 0), (-40, 0), (40, 40), (0, -40)):
        scaled = clone(model).fit(X * 2.0**x, Y * 2.0**y).predict(X * 2.0**x) / 2.0**y
        assert_allclose(scaled, plain, rtol=1e-4, atol=1e-4)
    for x, y in ((240, 0), (-240, 0), (0, 240), (0, -240), (60, -60)):
        with pytest.raises(ValueError, match=SIZES):
            clone(model).fit(X * 2.0**x, Y * 2.0**y)


@pytest.mark.parametrize("solver", ["gd", "lbfgs", "flow", "adam"])
def test_linear_networks_in_single_precision_do_not_take_units_of_no_numbers(solver):
    """Where losses or gradients vanish they would be at rest, with weights that say nothing."""
    X, Y = make_data()
    options = {"solver": solver, "dtype": "float32", "max_iter": 8, "random_state": 0}
    for kind in (DeepLinearRegressor, MultiPathwayRegressor):
        model = kind(2, 4, init="spectral", **options)
        plain = clone(model).fit(X, Y).predict(X)
        for x, y in ((20, 0), (-20, 0), (20, 20), (0, -20)):
            scaled = clone(model).fit(X * 2.0**x, Y * 2.0**y).predict(X * 2.0**x) / 2.0**y
            assert_allclose(scaled, plain, rtol=1e-3, atol=1e-3)
        for x, y in ((-100, -100), (0, -85), (100, 0), (0, 85)):
            with pytest.raises(ValueError, match=SIZES):
                clone(model).fit(X * 2.0**x, Y * 2.0**y)


def test_adam_goes_down_or_says_that_squares_of_gradients_vanish():
    X, Y = make_data()
    model = DeepLinearRegressor(2, 4, solver="adam", dtype="float32", max_iter=20, tol=0)
    told = 'X and y must be in other units with solver="adam"'
    refused = set()
    for power in range(-50, 10, 5):
        run = attempt(clone(model).fit, X, Y * 2.0**power)
        if isinstance(run, str):
            assert told in run
            refused.add(power)
        else:
            assert run.objective_ < run.trajectory_.objective[0]
    assert -45 in refused and -20 not in refused


@pytest.mark.parametrize(("dtype", "power"), [("float64", 530), ("float32", 66)])
@pytest.mark.parametrize("solver", ["gd", "lbfgs", "flow", "sgd"])
def test_linear_classifiers_do_not_take_units_of_no_numbers(solver, dtype, power):
    X, Y = make_data()
    model = DeepLinearClassifier(1, solver=solver, dtype=dtype, max_iter=8, random_state=0)
    for sign in (-1, 1):
        with pytest.raises(ValueError, match="^X must be in units nearer to 1"):
            model.fit(X * 2.0 ** (sign * power), Y[:, 0] > 0)
    large = DeepLinearClassifier(2, 4, solver=solver, dtype="float32", max_iter=8, tol=0)
    plain = clone(large).fit(X, Y[:, 0] > 0).predict_proba(X)  # squares of rows are no numbers
    scaled = large.fit(X * 2.0**66, Y[:, 0] > 0).predict_proba(X * 2.0**66)
    assert_allclose(scaled, plain, atol=1e-4)


def test_batches_and_validation_data_may_be_small():
    """Later batches, like validation data, are measured by the network that there is."""
    X, Y = make_data()
    model = HomogeneousMLPRegressor(2, 4, solver="sgd", random_state=0)
    before = model.partial_fit(X, Y).predict(X)
    assert np.isfinite(model.partial_fit(1e-12 * X, Y).predict(X)).all()
    assert not np.array_equal(model.predict(X), before)
    held_out = {"X_val": 1e-100 * X, "y_val": Y}
    validated = HomogeneousMLPRegressor(2, 4, max_iter=3, tol=0, random_state=0).fit(
        X, Y, **held_out
    )
    outputs = validated.predict(1e-100 * X)
    assert_allclose(
        validated.trajectory_.validation_loss[-1], np.mean(np.sum((outputs - Y) ** 2, 1)), rtol=1e-9
    )
