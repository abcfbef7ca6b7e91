"""Default fits neither stall nor diverge, whatever the units of X and y."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor, MultiPathwayRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

INITS = ["balanced", "normal", "xavier_uniform", "xavier_normal", "orthogonal", "identity"]
# Units of the targets and of the inputs.
UNITS = [(1e10, 1.0), (1e-10, 1.0), (1.0, 1e6), (1.0, 1e-6), (1e10, 1e-8), (1e-10, 1e10)]
MODELS = {
    "linear": (DeepLinearRegressor, {}),
    "pathways": (MultiPathwayRegressor, {}),
    "relu pathways": (MultiPathwayRegressor, {"activation": "relu"}),
    "perceptron": (HomogeneousMLPRegressor, {"activation": "identity", "fit_bias": False}),
}


def make_data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 5))
    return X, X @ rng.standard_normal((5, 2)) + 0.3 * rng.standard_normal((60, 2))


def relative_objective(name, depth, init, X, y):
    """Objective at the end and at the start, in units of the variance of the targets."""
    Model, options = MODELS[name]
    model = Model(depth, 20, init=init, max_iter=1000, random_state=0, **options).fit(X, y)
    assert model.stop_reason_ != "diverged"
    objective = model.trajectory_.objective / np.var(y, axis=0).sum()
    return objective[-1], objective[0]


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(
    ("name", "depth"),
    [("linear", 3), ("linear", 4), ("pathways", 3), ("perceptron", 3), ("linear", 1)],
)
def test_linear_networks_learn_in_any_units(name, depth, init):
    """Without the factor on the weights objectives end at 1 - 2e-13 or at 1e20."""
    X, y = make_data()
    for y_unit, x_unit in UNITS:
        end, start = relative_objective(name, depth, init, X * x_unit, y * y_unit)
        assert start < 10 and end < 0.9 * min(start, 1)


@pytest.mark.parametrize("init", INITS)
def test_relu_pathways_learn_in_any_units(init):
    X, y = make_data()
    for y_unit, x_unit in UNITS[-1:]:
        end, start = relative_objective("relu pathways", 3, init, X * x_unit, y * y_unit)
        assert start < 10 and end < 0.9 * min(start, 1)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", ["linear", "pathways"])
def test_a_giant_feature_is_learned_and_the_others_wait(name, init):
    """The step suits the giant one: what it explains is found, the rest takes its square."""
    X, y = make_data()
    for giant, depth in itertools.product((1e4, 1e8), (2, 3)):
        scaled = X * [giant, 1, 1, 1, 1]
        end, start = relative_objective(name, depth, init, scaled, y)
        centred = y - y.mean(axis=0)
        x = X[:, 0] - X[:, 0].mean()
        explained = np.sum((x @ centred) ** 2) / (x @ x) / np.sum(centred**2)
        assert start < 10 and end < 1.01 * (1 - explained)


def test_usual_starts_are_left_as_they_are():
    """Outputs between a tenth and twice the size of the targets are right as they are."""
    X, y = make_data()
    model = DeepLinearRegressor(3, 20, init="orthogonal", max_iter=0, random_state=0)
    given = clone(model).set_params(init_scale=1.0).fit(X, y)
    size = np.linalg.norm((X - X.mean(axis=0)) @ given.coef_.T) / np.linalg.norm(y - y.mean(axis=0))
    assert 0.1 < size < 2
    assert_array_equal(model.fit(X, y).weights_[1], given.weights_[1])


@pytest.mark.parametrize("init", INITS)
def test_pathways_of_many_equal_singular_values(init):
    """The step size needs spectral norms of layers that are multiples of orthogonal ones."""
    X, y = make_data()
    for seed in range(5):
        model = MultiPathwayRegressor(3, 20, init=init, max_iter=10, random_state=seed)
        assert np.isfinite(model.fit(X, y).objective_)


@pytest.mark.parametrize("solver", ["analytic", "gd", "momentum", "lbfgs", "flow"])
@pytest.mark.parametrize("depth", [1, 2])
def test_fits_are_the_same_in_units_up_to_the_limits_of_numbers(solver, depth):
    """Squares of gradients there are none that exist, and times of flows are as large.

    By powers of four, of which the two layers take the root: nothing is rounded.
    """
    X, y = make_data()
    model = DeepLinearRegressor(depth, 5, solver=solver, max_iter=30)
    plain = clone(model).fit(X, y)
    for x_unit, y_unit in itertools.product((2.0**-480, 1.0, 2.0**480), repeat=2):
        scaled = clone(model).fit(X * x_unit, y * y_unit)
        assert scaled.stop_reason_ == plain.stop_reason_
        assert_allclose(scaled.predict(X * x_unit) / y_unit, plain.predict(X), rtol=1e-8)


@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize("solver", ["gd", "flow"])
def test_pathways_are_the_same_in_units_of_large_and_small_numbers(activation, solver):
    X, y = make_data()
    model = MultiPathwayRegressor(
        2, 5, activation=activation, solver=solver, max_iter=30, random_state=0
    )
    plain = clone(model).fit(X, y)
    for x_unit, y_unit in itertools.product((2.0**-240, 2.0**240), repeat=2):
        scaled = clone(model).fit(X * x_unit, y * y_unit)
        assert scaled.stop_reason_ == plain.stop_reason_
        assert_allclose(scaled.predict(X * x_unit) / y_unit, plain.predict(X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("unit", [2.0**-480, 2.0**480])
def test_mini_batches_say_where_units_are_too_large_or_small(solver, unit):
    """Adam divides by the root of squares that vanish; it left predictions 1e85 times too large."""
    X, y = make_data()
    model = DeepLinearRegressor(2, 5, solver=solver, max_iter=3, random_state=0)
    with pytest.raises(ValueError, match="X and y must be in other units"):
        model.fit(X, y * unit)
