"""Validation data beside a fit: what is recorded is the loss of the predictions there."""

import copy

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.inspection import TrajectoryDisplay
from tests.test_crossing import CASES, MODELS, data_of, flat, model_of

RNG = np.random.RandomState(1)
WEIGHT, WEIGHT_VAL = RNG.uniform(0.5, 2, 14), RNG.uniform(0.5, 2, 9)
WEIGHT_VAL[3] = 0.0
LINEAR = ["linear", "noisy", "pathways", "compressed pathways", "linear classifier"]
NONLINEAR = ["relu pathways", "tanh pathways", "perceptron", "classifier"]


def validation_of(name, shift=0.5):
    """Other inputs, of another mean, and targets like those of the model's data."""
    X, y = data_of(name)
    rng = np.random.RandomState(2)
    inputs = rng.standard_normal((9, X.shape[1])) + shift
    if is_classifier(MODELS[name]):
        return inputs, rng.choice(np.unique(y), 9)
    return inputs, rng.standard_normal((9, *y.shape[1:])) - 2 * shift


def losses(model, data, X, y, weight=None):
    """Loss of the predictions of each record, by `predict` of fits that end there."""
    run = model.trajectory_
    return [_loss(at_record(model, data, r), X, y, weight) for r in range(len(run))]


def at_record(model, data, r):
    """The model with the weights of a record, and the intercept that goes with them."""
    run = model.trajectory_
    if hasattr(model, "biases_"):
        other = copy.copy(model)
        other.weights_, other.biases_ = run.weights[r], run.biases and run.biases[r]
        return other
    start = {"init": run.weights[r], "init_scale": None, "max_iter": 0, "record_sharpness": False}
    return clone(model).set_params(**start, solver="gd").fit(*data)


def _loss(model, X, y, weight):
    if not is_classifier(model):
        square = np.square(y - model.predict(X)).reshape(len(X), -1).sum(axis=1)
        return np.average(square, weights=weight)
    outputs, targets = model._outputs(X), y[:, None] == model.classes_
    if outputs.shape[1] == 1:  # the log odds of the second class
        outputs = np.hstack([np.zeros_like(outputs), outputs])
    if model.loss == "squared_error":
        return np.average(np.square(targets - outputs).sum(axis=1), weights=weight)
    return np.average(-log_softmax(outputs, axis=1)[targets], weights=weight)


# Every second: all models, and all solvers with half of them.
@pytest.mark.parametrize(("name", "solver"), CASES[::2])
def test_every_record_holds_the_loss_of_its_predictions(name, solver):
    data, validation = (*data_of(name), WEIGHT), (*validation_of(name), WEIGHT_VAL)
    model = model_of(name, solver).set_params(record_sharpness=False)
    model.fit(*data, *validation)
    recorded = model.trajectory_.validation_loss
    assert recorded.shape == (len(model.trajectory_),)
    # Sums of some dozen terms; classifiers differ by the error of the best intercept, too.
    single = flat(model.weights_).dtype == np.float32
    assert_allclose(recorded, losses(model, data, *validation), rtol=1e-5 if single else 1e-10)
    # Nor does it do anything to the run.
    without = clone(model).fit(*data)
    assert without.trajectory_.validation_loss is None
    assert_array_equal(flat(without.weights_), flat(model.weights_))
    assert_array_equal(without.trajectory_.loss, model.trajectory_.loss)


def far(X, y, X_val, y_val):
    return X, y, X_val + 1e6, y_val


def far_targets(X, y, X_val, y_val):
    return X, y, X_val, y_val if y_val.dtype.kind in "OU" else y_val - 1e6


def all_far(X, y, X_val, y_val):
    return X + 1e6, y, X_val + 1e6, y_val


def constant_column(X, y, X_val, y_val):
    return np.column_stack([X, np.full(len(X), 3.1)]), y, np.c_[X_val, X_val[:, 0]], y_val


def one_row(X, y, X_val, y_val):
    return X, y, X_val[:1], y_val[:1]


def one_sample(X, y, X_val, y_val):
    few = slice(0, 1) if y.dtype.kind == "f" else [0, 6, -1]
    return X[few], y[few], X_val, y_val


def one_target(X, y, X_val, y_val):
    return X, y if y.ndim == 1 else y[:, 0], X_val, y_val if y.ndim == 1 else y_val[:, 0]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "change", [far, far_targets, all_far, constant_column, one_row, one_sample, one_target]
)
@pytest.mark.parametrize("name", [*LINEAR, *NONLINEAR])
def test_data_may_lie_anywhere(name, change, intercept):
    X, y, *validation = change(*data_of(name), *validation_of(name))
    model = model_of(name, "gd").set_params(record_sharpness=False, step_size=1e-15)
    parameters = model.get_params()
    model.set_params(
        **{"fit_intercept" if "fit_intercept" in parameters else "fit_bias": intercept}
    )
    model.fit(X, y, None, *validation)
    # Inputs of size 1e6 have roundings of 1e-10, beside which targets are of size one.
    wanted = losses(model, (X, y), *validation)
    assert_allclose(model.trajectory_.validation_loss, wanted, rtol=1e-8)


@pytest.mark.parametrize("solver", ["gd", "adam"])
@pytest.mark.parametrize("name", [*LINEAR[2:], *NONLINEAR])
def test_on_the_training_data_it_is_their_loss(name, solver):
    """But for noise, of which the loss is the expected one."""
    data = *data_of(name), WEIGHT
    model = model_of(name, solver).fit(*data, *data)
    assert_allclose(model.trajectory_.validation_loss, model.trajectory_.loss, rtol=1e-13)


def test_krylov_spaces_give_the_loss_of_the_full_network():
    data = data_of("pathways")
    model = MultiPathwayRegressor(
        3, 40, compression="krylov", record_weights=True, max_iter=30, tol=0, random_state=0
    ).fit(*data, None, *validation_of("pathways"))
    wanted = losses(model.set_params(compression="exact"), data, *validation_of("pathways"))
    assert_allclose(model.trajectory_.validation_loss, wanted, rtol=1e-10)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 2.0, "b": 1.0, "c": 0.5}])
def test_class_weights_hold_for_validation_data_too(class_weight):
    X, y = data_of("linear classifier")
    model = DeepLinearClassifier(class_weight=class_weight, tol=0, max_iter=5).fit(
        X, y, X_val=X, y_val=y
    )
    assert_allclose(model.trajectory_.validation_loss, model.trajectory_.loss, rtol=1e-13)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y_val": None}, "X_val and y_val must be given together"),
        ({"X_val": None}, "X_val and y_val must be given together"),
        ({"X_val": None, "y_val": None, "sample_weight_val": np.ones(9)}, "given together"),
        ({"X_val": np.ones((9, 5))}, "X_val.*5 features"),
        ({"X_val": np.ones((8, 3))}, "X_val.*inconsistent numbers of samples"),
        ({"X_val": np.full((9, 3), np.nan)}, "X_val.*NaN"),
        ({"sample_weight_val": -np.ones(9)}, "sample_weight_val.*[Nn]egative"),
        ({"sample_weight_val": np.zeros(9)}, "sample_weight_val.*non-zero"),
        ({"sample_weight_val": np.ones(8)}, "sample_weight_val.*shape"),
    ],
)
@pytest.mark.parametrize("name", [*LINEAR, *NONLINEAR])
def test_what_does_not_fit_is_named(name, given, message):
    X_val, y_val = validation_of(name)
    with pytest.raises(ValueError, match=message):
        model_of(name, "gd").fit(*data_of(name), **{"X_val": X_val, "y_val": y_val} | given)


@pytest.mark.parametrize("name", ["linear", "relu pathways", "perceptron"])
def test_validation_targets_have_the_columns_of_the_training_targets(name):
    X_val, y_val = validation_of(name)
    with pytest.raises(ValueError, match="y_val.*must hold 2 columns, got 1"):
        model_of(name, "gd").fit(*data_of(name), X_val=X_val, y_val=y_val[:, 0])


@pytest.mark.parametrize("name", ["linear classifier", "classifier"])
def test_validation_classes_are_those_of_the_training_data(name):
    X_val, y_val = validation_of(name)
    with pytest.raises(ValueError, match="y_val.*classes seen by fit, got .*z"):
        model_of(name, "gd").fit(*data_of(name), X_val=X_val, y_val=["z", *y_val[1:]])


@pytest.mark.parametrize(
    "cls",
    [
        DeepLinearRegressor,
        DeepLinearClassifier,
        MultiPathwayRegressor,
        HomogeneousMLPRegressor,
        HomogeneousMLPClassifier,
    ],
)
def test_validation_data_are_routed(cls):
    name = {True: "classifier", False: "linear"}["Classifier" in cls.__name__]
    with sklearn.config_context(enable_metadata_routing=True):
        model = cls(max_iter=3, tol=0).set_fit_request(X_val=True, y_val=True)
        search = GridSearchCV(model, {"weight_decay": [0.0, 0.1]}, cv=2)
        X_val, y_val = validation_of(name)
        search.fit(*data_of(name), X_val=X_val, y_val=y_val)
    assert search.best_estimator_.trajectory_.validation_loss.shape == (4,)


def test_the_curve_is_drawn_and_tabulated():
    model = DeepLinearRegressor(max_iter=5, tol=0)
    model.fit(*data_of("linear"), None, *validation_of("linear"))
    display = TrajectoryDisplay.from_estimator(model, curve="validation_loss")
    recorded = model.trajectory_.validation_loss
    assert_array_equal(display.line_.get_ydata(), recorded)
    assert display.ax_.get_ylabel() == "validation loss"
    assert_array_equal(model.trajectory_.to_frame()["validation_loss"], recorded)
    assert "validation_loss" not in model.fit(*data_of("linear")).trajectory_.curves()
