"""Every estimator with each of its solvers, in every display and tool that takes an estimator."""

import copy
import pickle
from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics import compare_step_sizes, hessian_eigenvalues
from sklearn_deeplinear.inspection import BalanceDisplay, TrajectoryDisplay

RNG = np.random.RandomState(0)
X, Y = RNG.standard_normal((14, 3)), RNG.standard_normal((14, 2))
CLASSES = np.repeat(["a", "b", "c"], [5, 4, 5])
TWO_CLASSES = np.repeat(["a", "b"], [8, 6])
# Few steps, each recorded; of a size that suits all, and from weights that are no saddle.
RUN = {
    "width": 4,
    "init": "normal",
    "init_scale": 0.4,
    "weight_decay": 0.05,
    "step_size": 0.02,
    "max_iter": 3,
    "tol": 0.0,
    "batch_size": 5,
    "record_every": 1,
    "record_weights": True,
    "record_sharpness": True,
    "random_state": 0,
}
MODELS = {
    "linear": DeepLinearRegressor(depth=3),
    "linear, one layer": DeepLinearRegressor(depth=1),
    "linear, float32": DeepLinearRegressor(depth=2, dtype="float32"),
    "noisy": DeepLinearRegressor(depth=3, noise=0.1),
    "pathways": MultiPathwayRegressor(depth=2, n_pathways=2),
    "unequal pathways": MultiPathwayRegressor(depth=(1, 2, 3), n_pathways=3),
    "compressed pathways": MultiPathwayRegressor(depth=2, width=40),
    "relu pathways": MultiPathwayRegressor(depth=(2, 3), activation="relu"),
    "leaky pathways": MultiPathwayRegressor(depth=1, activation="leaky_relu", activate_output=True),
    "gelu pathways": MultiPathwayRegressor(depth=2, activation="gelu", activate_output=True),
    "tanh pathways": MultiPathwayRegressor(depth=(3, 2), activation="tanh"),
    "perceptron": HomogeneousMLPRegressor(depth=3),
    "perceptron, no biases": HomogeneousMLPRegressor(fit_bias=False, activation="leaky_relu"),
    "linear perceptron": HomogeneousMLPRegressor(activation="identity", dtype="float32"),
    "linear classifier": DeepLinearClassifier(depth=3),
    "linear classifier of two classes": DeepLinearClassifier(depth=2),
    "classifier": HomogeneousMLPClassifier(depth=2),
    "classifier of squared error": HomogeneousMLPClassifier(depth=2, loss="squared_error"),
}
KINKED = {
    "relu pathways",
    "leaky pathways",
    "perceptron",
    "perceptron, no biases",
    "classifier",
    "classifier of squared error",
}


def solvers_of(name):
    """Solvers that the model of that name takes."""
    (options,) = type(MODELS[name])._parameter_constraints["solver"]
    nothing_known = MODELS[name].get_params().get("activation", "identity") != "identity"
    excluded = {"analytic"} if nothing_known else set()
    return sorted(options.options - excluded - ({"sgd", "adam"} if name == "noisy" else set()))


CASES = [(name, solver) for name in MODELS for solver in solvers_of(name)]


def model_of(name, solver):
    given = {"width": 40} if "compressed" in name else {}
    return clone(MODELS[name]).set_params(**RUN | given, solver=solver)


def data_of(name):
    if not is_classifier(MODELS[name]):
        return X, Y
    return X, TWO_CLASSES if "two classes" in name else CLASSES


# What does not ask how weights were found: each model with one solver, and each solver with one.
DRAWN = [(name, solver) for name, solver in CASES if solver == "gd" or name == "perceptron"]


@lru_cache
def fitted(name, solver):
    return model_of(name, solver).fit(*data_of(name))


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """A model that was fitted, and its data."""
    return fitted(*request.param), *data_of(request.param[0])


drawn = pytest.mark.parametrize("case", DRAWN, ids=str, indirect=True)


@pytest.fixture(scope="module")
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def flat(nested):
    """All entries of arrays in lists of any depth."""
    if isinstance(nested, list):
        return np.concatenate([flat(part) for part in nested]) if nested else np.empty(0)
    return np.ravel(nested)


def histories(model):
    found = model.balance_history_
    return found if isinstance(found, list) else [found]


@drawn
def test_trajectories_are_drawn(case, axes):
    model, *_ = case
    known = hasattr(model, "global_minimum_")
    curves = ("objective", "loss", "gradient_norm", "sharpness", *(["gap"] * known))
    for curve in curves if model.solver == "gd" else ("objective",):
        axes.clear()
        display = TrajectoryDisplay.from_estimator(model, curve=curve, ax=axes)
        assert len(display.line_.get_ydata()) == len(model.trajectory_)
        assert (display.minimum_line_ is not None) == (known and curve == "objective")
    if not known:
        with pytest.raises(ValueError, match="minimum of the objective"):
            TrajectoryDisplay.from_estimator(model, curve="gap")


@drawn
def test_balance_is_drawn(case, axes):
    model, *_ = case
    for quantity in (
        ("layer", "neuron", "matrix", "change") if model.solver == "gd" else ("change",)
    ):
        columns = [getattr(history, quantity) for history in histories(model)]
        if any(values is None for values in columns):
            with pytest.raises(ValueError, match="matrix"):
                BalanceDisplay.from_estimator(model, quantity=quantity)
            continue
        axes.clear()
        display = BalanceDisplay.from_estimator(model, quantity=quantity, against="time", ax=axes)
        drawn = [line.get_ydata() for line in display.lines_]
        assert_array_equal(flat(drawn), flat([values.T for values in columns]))
    if model.solver == "gd":
        axes.figure.canvas.draw()


@drawn
def test_steps_are_compared(case):
    model, X, y = case
    result = compare_step_sizes(model, X, y, step_size=0.01, max_iter=2, divisors=(2,))
    assert set(result.loss) == {1, 2, "flow"} and len(result) == 3
    assert np.isfinite(flat(list(result.loss.values()))).all()
    # Smaller steps are nearer to the flow than large ones.
    assert result.distance[2][-1] < result.distance["flow"][-1] < result.distance_from_init[-1]


@pytest.mark.parametrize("name", MODELS)
def test_the_method_for_kinks_is_for_networks_that_have_them(name):
    model, data = model_of(name, "gd"), data_of(name)
    options = {"step_size": 0.01, "max_iter": 2, "divisors": (), "method": "trapezoidal"}
    if name in KINKED:
        assert np.isfinite(compare_step_sizes(model, *data, **options).loss["flow"]).all()
        return
    with pytest.raises(ValueError, match='"trapezoidal".*activation "relu" or "leaky_relu"'):
        compare_step_sizes(model, *data, **options)


def test_curvature_is_that_of_the_last_record(case):
    model, X, y = case
    found = hessian_eigenvalues(model, X, y, k=3)
    assert found.shape == (3,) and (np.diff(found) <= 0).all()
    recorded = model.trajectory_.sharpness
    assert recorded.shape == (len(model.trajectory_),)
    # Iterations end at 1e-9 of an eigenvalue, or at a hundred roundings of the precision.
    eps = np.finfo(flat(model.weights_).dtype).eps
    assert_allclose(recorded[-1], found[0], rtol=max(1e-8, 1000 * eps))


def test_weights_are_recorded_and_biases_beside_them(case):
    model, *_ = case
    run, biases = model.trajectory_, getattr(model, "biases_", None)
    assert len(run.weights) == len(run)
    assert_array_equal(flat(run.weights[-1]), flat(model.weights_))
    assert (run.biases is None) == (biases is None)
    if biases is not None:
        assert len(run.biases) == len(run)
        assert_array_equal(flat(run.biases[-1]), flat(biases))
        assert [b.shape for b in run.biases[0]] == [(len(W),) for W in run.weights[0]]


@drawn
def test_pickles_are_as_good_as_the_model(case):
    model, X, y = case
    other = pickle.loads(pickle.dumps(model))
    assert_array_equal(other.predict(X), model.predict(X))
    assert_array_equal(other.trajectory_.objective, model.trajectory_.objective)
    assert_array_equal(flat(other.trajectory_.weights), flat(model.trajectory_.weights))
    for before, after in zip(histories(model), histories(other), strict=True):
        assert_array_equal(after.change, before.change)
    if model.solver == "gd":
        assert_allclose(hessian_eigenvalues(other, X, y), hessian_eigenvalues(model, X, y))


@drawn
def test_clones_forget_the_fit_and_repeat_it(case):
    model, X, y = case
    other = clone(model)
    assert not hasattr(other, "weights_") and other.get_params() == model.get_params()
    assert_array_equal(flat(other.fit(X, y).weights_), flat(model.weights_))
    assert_array_equal(other.predict(X), model.predict(X))


def test_copies_are_independent(case):
    model, X, _ = case
    other, before = copy.deepcopy(model), model.predict(X)
    assert_array_equal(other.predict(X), before)
    first = other.weights_[0]
    (first[0] if isinstance(first, list) else first)[:] = 0.0
    other.trajectory_.loss[:] = -1.0
    assert_array_equal(model.predict(X), before)
    assert (model.trajectory_.loss >= 0).all()


@pytest.mark.parametrize(("name", "solver"), CASES)
def test_no_steps_are_no_iterations(name, solver):
    """A run of no steps is how one gets initial weights; only "analytic" ends where it began."""
    model = model_of(name, solver).set_params(max_iter=0).fit(*data_of(name))
    assert model.n_iter_ == (solver == "analytic") and len(model.trajectory_) == 1
    assert_array_equal(flat(model.trajectory_.weights[0]), flat(model.weights_))
    assert [len(history) for history in histories(model)] == [1] * len(histories(model))


@pytest.mark.parametrize("name", MODELS)
def test_arrays_in_reverse_are_data_like_others(name):
    X, y = data_of(name)
    data, weight = (X[::-1], y[::-1]), np.arange(1.0, 15.0)[::-1]
    copies = tuple(part.copy() for part in data)
    for solver in ["adam" if "adam" in solvers_of(name) else "gd"]:
        fit = model_of(name, solver).fit(*data, weight, *data, weight)
        other = model_of(name, solver).fit(*copies, weight.copy(), *copies, weight.copy())
        assert_allclose(flat(fit.weights_), flat(other.weights_), rtol=1e-6)
        found, wanted = (model.trajectory_.validation_loss for model in (fit, other))
        assert_allclose(found, wanted, rtol=1e-6)
