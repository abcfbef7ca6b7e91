"""The perceptrons as scikit-learn estimators: their checks, and life among its tools."""

import pickle

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear.estimators._mlp_classifier import HomogeneousMLPClassifier
from sklearn_deeplinear.estimators._mlp_regressor import HomogeneousMLPRegressor
from sklearn_deeplinear.nn._losses import nearest_distribution

# The checks fit small data for few steps: not converging is no fault there.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CONFIGURATIONS = [
    HomogeneousMLPClassifier(width=10, max_iter=60),
    HomogeneousMLPClassifier(solver="adam", width=10, max_iter=60, step_size=0.02),
    HomogeneousMLPRegressor(width=10, solver="sgd", fit_bias=False, max_iter=50),
]


@parametrize_with_checks(CONFIGURATIONS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


SOLVERS = ("gd", "flow", "sgd", "adam")


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 4))
    Y = np.abs(X @ rng.standard_normal((4, 2))) + 0.1 * rng.standard_normal((60, 2))
    return X, Y, rng.randint(0, 3, size=60).astype(float)


def small(solver="gd", **options):
    return HomogeneousMLPRegressor(
        width=8, solver=solver, max_iter=20, tol=0, random_state=0, **options
    )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [HomogeneousMLPRegressor, HomogeneousMLPClassifier])
def test_fitted_attributes_say_how_the_run_ended(kind, solver, data):
    X, Y, _ = data
    y = Y if kind is HomogeneousMLPRegressor else np.where(Y[:, 0] > 1, "high", "low")
    model = kind(3, [7, 5], solver=solver, max_iter=15, weight_decay=0.01, random_state=0).fit(X, y)
    assert [W.shape for W in model.weights_] == [(7, 4), (5, 7), (2, 5)]
    assert [b.shape for b in model.biases_] == [(7,), (5,), (2,)]
    assert model.objective_ == model.trajectory_.objective[-1] < model.trajectory_.objective[0]
    penalty = 0.01 * sum(np.sum(W**2) for W in model.weights_)
    assert_allclose(model.objective_, model.loss_ + penalty)
    assert model.stop_reason_ == "max_iter" and not model.converged_
    assert model.n_iter_ == model.trajectory_.iteration[-1] > 0
    assert model.balance_history_.neuron.shape == (len(model.trajectory_), 2)
    assert hasattr(model, "net_") == (solver in ("sgd", "adam"))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_net_predicts_what_the_estimator_does(solver, data):
    X, Y, weight = data
    model = small(solver).fit(X, Y, sample_weight=weight)
    assert_allclose(model.net_.predict(X), model.predict(X), rtol=1e-12, atol=1e-12)
    assert len(model.net_.history) == 20
    assert not hasattr(model.set_params(solver="gd").fit(X, Y), "net_")


@pytest.mark.parametrize("solver", SOLVERS)
def test_weight_zero_removes_samples(solver, data):
    X, Y, weight = data
    model = small(solver)
    without = clone(model).fit(X[weight > 0], Y[weight > 0], weight[weight > 0])
    # the flow chooses its steps by rounding errors too
    tolerance = 1e-4 if solver == "flow" else 1e-9
    assert_allclose(model.fit(X, Y, weight).predict(X), without.predict(X), atol=tolerance)


def test_imbalanced_classes_are_balanced_by_weights():
    rng = np.random.RandomState(0)
    X = np.r_[rng.standard_normal((95, 2)), rng.standard_normal((5, 2)) + 1.5]
    y = np.r_[np.zeros(95), np.ones(5)]
    weight = np.where(y == 1, 19.0, 1.0)
    model = HomogeneousMLPClassifier(2, 10, max_iter=200, random_state=0)
    plain, weighted = clone(model).fit(X, y), clone(model).fit(X, y, weight)
    assert weighted.predict(X)[y == 1].mean() > plain.predict(X)[y == 1].mean()
    repeated = clone(model).fit(
        np.repeat(X, weight.astype(int), axis=0), np.repeat(y, weight.astype(int))
    )
    assert_allclose(weighted.decision_function(X), repeated.decision_function(X), rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_layer_of_identity_is_linear_regression(solver, data):
    X, Y, _ = data
    model = HomogeneousMLPRegressor(1, solver=solver, max_iter=1500, tol=1e-10)
    if solver == "adam":
        model.set_params(step_size=lambda t: 0.05 * 0.995**t)
    linear = LinearRegression().fit(X, Y)
    # 60 samples are one batch: no noise of mini-batches is left
    assert_allclose(model.fit(X, Y).weights_[0], linear.coef_, atol=1e-5)
    assert_allclose(model.biases_[0], linear.intercept_, atol=1e-5)


def test_step_size_may_be_a_schedule(data):
    X, Y, _ = data
    for solver in ("gd", "sgd"):
        model = small(solver, step_size=lambda t: 0.01 / (t + 1)).fit(X, Y)
        expected = np.cumsum(np.r_[0, 0.01 / np.arange(1, 21)])  # 60 samples: one batch
        assert_allclose(model.trajectory_.time, expected[model.trajectory_.iteration])


def test_the_flow_is_what_small_steps_approach(data):
    X, Y, _ = data
    coarse = small(step_size=0.01, activation="identity").fit(X, Y)
    flow = clone(coarse).set_params(solver="flow").fit(X, Y)
    assert_allclose(flow.trajectory_.time, coarse.trajectory_.time)
    fine = clone(coarse).set_params(step_size=0.001, max_iter=200).fit(X, Y)
    gaps = [np.abs(model.predict(X) - flow.predict(X)).max() for model in (coarse, fine)]
    assert_allclose(gaps[0] / gaps[1], 10, rtol=0.2)
    end = clone(coarse).set_params(solver="flow", flow_time=0.05).fit(X, Y)
    assert end.trajectory_.time[-1] == 0.05


@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_goes_on(solver, data):
    X, Y, _ = data
    model = small(solver, step_size=0.01, warm_start=True).fit(X, Y)
    weights, biases = model.weights_, model.biases_
    model.set_params(max_iter=0).fit(X, Y)
    for old, new in zip(weights + biases, model.weights_ + model.biases_, strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("solver", ["gd", "sgd"])
@pytest.mark.parametrize("x_unit", [1e-3, 1e3])
@pytest.mark.parametrize("y_unit", [1e-3, 1e3])
def test_units_of_the_data_do_not_matter_without_biases(solver, x_unit, y_unit, data):
    X, Y, _ = data
    model = HomogeneousMLPRegressor(width=20, solver=solver, fit_bias=False, random_state=0)
    assert model.fit(x_unit * X, y_unit * Y).score(x_unit * X, y_unit * Y) > 0.8


def test_biases_are_fitted_unless_told_not_to(data):
    """The outputs of a bias-free network are homogeneous; centred inputs, shifted targets."""
    X, Y, _ = data
    free = small(fit_bias=False).fit(X, Y)
    assert free.biases_ is None
    assert_allclose(free.predict(2 * X), 2 * free.predict(X), rtol=1e-12, atol=1e-12)
    assert_allclose(free.predict(0 * X), 0.0)
    assert [b.shape for b in small().fit(X, Y).biases_] == [(8,), (8,), (2,)]
    X, y = load_iris(return_X_y=True)
    scores = [
        HomogeneousMLPClassifier(random_state=0, **options).fit(scale(X), y).score(scale(X), y)
        for options in ({}, {"fit_bias": False})
    ]
    assert scores[0] > 0.96 > scores[1]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
def test_balance_counts_the_bias_on_the_incoming_side(activation, data):
    """Drifts are of the order of the step; of the weights alone they are not."""
    X, Y, _ = data

    def unit_differences(model, with_bias):
        return [
            np.sum(W**2, axis=1) + with_bias * b**2 - np.sum(W_next**2, axis=0)
            for W, b, W_next in zip(model.weights_, model.biases_, model.weights_[1:], strict=False)
        ]

    def drift(model, with_bias=1):
        start = clone(model).set_params(max_iter=0, record_every=None).fit(X, Y)
        pairs = zip(
            unit_differences(start, with_bias), unit_differences(model, with_bias), strict=True
        )
        return np.array([np.abs(end - begin).max() for begin, end in pairs])

    model = small(step_size=0.01, activation=activation, record_every=1).fit(X, Y)
    fine = clone(model).set_params(step_size=0.001, max_iter=200).fit(X, Y)
    if activation != "identity":  # which conserves, and records, more than the units
        assert_allclose(model.balance_history_.change[-1], drift(model), rtol=1e-9, atol=1e-13)
    assert_allclose(drift(fine) / drift(model), 0.1, rtol=0.5)
    assert (drift(fine) < 0.25 * drift(fine, with_bias=0)).all()


def test_labels_of_any_kind():
    X, y = load_wine(return_X_y=True)
    X = scale(X)
    model = HomogeneousMLPClassifier(2, 10, max_iter=50, random_state=0)
    reference = clone(model).fit(X, y)
    for names in (np.array(["red", "rose", "white"]), np.array([-5, 2, 7]), np.array([0.0, 1, 2])):
        named = clone(model).fit(X, names[y])
        assert_array_equal(named.classes_, names)
        assert_array_equal(named.predict(X), names[reference.predict(X)])
    assert_allclose(reference.predict_proba(X).sum(axis=1), 1)
    binary = clone(model).fit(X, y == 0)
    scores = binary.decision_function(X)
    assert scores.shape == (178,)
    assert_array_equal(binary.predict(X), scores > 0)
    assert_allclose(binary.predict_proba(X)[:, 1], 1 / (1 + np.exp(-scores)))


def test_probabilities_of_squared_error_are_the_nearest_distribution():
    """Optimality of a projection p of f: <f - p, e_k - p> <= 0 for every corner e_k."""
    outputs = np.random.RandomState(0).standard_normal((200, 4))
    p = nearest_distribution(torch.from_numpy(outputs)).numpy()
    assert_allclose(p.sum(axis=1), 1)
    assert (p >= 0).all()
    inner = (outputs - p) - np.sum((outputs - p) * p, axis=1, keepdims=True)
    assert inner.max() < 1e-12
    assert_array_equal(p.argmax(axis=1), outputs.argmax(axis=1))


def test_grid_search_and_pipeline():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), HomogeneousMLPClassifier(width=10, max_iter=30, random_state=0)
    )
    grid = {"homogeneousmlpclassifier__solver": ["gd", "adam"]}
    assert GridSearchCV(pipeline, grid, cv=2).fit(X, y).best_score_ > 0.9


@pytest.mark.parametrize("solver", SOLVERS)
def test_scikit_learn_callbacks_score_along_the_way(solver, data):
    callbacks = pytest.importorskip("sklearn.callback")
    X, Y, _ = data
    y = np.where(Y[:, 0] > 1, "high", "low")
    model = HomogeneousMLPClassifier(
        width=8, solver=solver, max_iter=300, tol=0, record_every=100, random_state=0
    )
    if solver == "flow":
        model.set_params(max_iter=30, record_every=10)
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    scored = clone(model).set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data
    scores = [row["accuracy"] for row in log if row["task_name"] == "steps"]
    assert len(scores) == {"gd": 2, "flow": 1}.get(solver, 3)  # chunks of 200 steps
    assert scores[-1] == scored.score(X, y)
    assert_allclose(scored.predict_proba(X), model.fit(X, y).predict_proba(X))


@pytest.mark.parametrize("solver", SOLVERS)
def test_fits_survive_pickle_and_skops(solver, data):
    X, Y, weight = data
    model = small(solver, record_weights=True).fit(X, Y, weight)
    dumped = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("sklearn_deeplinear.") for name in types)
    for copy in (pickle.loads(pickle.dumps(model)), skops.io.loads(dumped, trusted=types)):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert_array_equal(copy.trajectory_.weights[3][0], model.trajectory_.weights[3][0])
        if solver in ("sgd", "adam"):
            assert_array_equal(copy.net_.predict(X), model.net_.predict(X))


def test_global_state_is_left_alone_and_seeds_repeat(data):
    X, Y, _ = data
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    for solver in SOLVERS:
        first, second = (small(solver, batch_size=16).fit(X, Y).predict(X) for _ in range(2))
        assert_array_equal(first, second)
        other = small(solver, batch_size=16).set_params(random_state=1).fit(X, Y).predict(X)
        assert np.abs(first - other).max() > 1e-3
    assert torch.equal(before, torch.get_rng_state())
    assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_is_close_to_double(solver, data):
    X, Y, _ = data
    wanted = small(solver, activation="identity").fit(X, Y)
    here = small(solver, activation="identity", dtype="float32").fit(X, Y)
    assert here.weights_[0].dtype == np.float32
    assert_allclose(here.predict(X), wanted.predict(X), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "spectral"}, "init"),
        ({"activation": "tanh"}, "activation"),
        ({"width": [3, 3, 3]}, "width"),
        ({"init": [np.zeros((8, 4))]}, "init"),
        ({"callbacks": 3}, "callbacks"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_parameters_are_named(options, message, data):
    with pytest.raises(ValueError, match=message):
        small().set_params(**options).fit(*data[:2])


def test_bad_targets_and_weights_are_named(data):
    X, Y, _ = data
    with pytest.raises(ValueError, match="[Ss]ample.weights"):
        small().fit(X, Y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="y must hold numbers"):
        small().fit(X, ["low"] * 60)
    assert_array_equal(
        small().fit(X, Y[:, 0].astype(str)).predict(X), small().fit(X, Y[:, 0]).predict(X)
    )
    with pytest.raises(ValueError, match="one class"):
        HomogeneousMLPClassifier().fit(X, np.ones(60))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("solver", ["gd", "sgd"])
def test_class_weights_are_factors_on_sample_weights(loss, solver):
    X, y = load_iris(return_X_y=True)
    X, y = scale(X)[20:], y[20:]
    options = {"loss": loss, "solver": solver, "width": 10, "max_iter": 20, "random_state": 0}
    weight = np.random.RandomState(0).uniform(0.5, 2, len(y))
    for class_weight, factors in (
        ({0: 3.0, 2: 0.5}, compute_sample_weight({0: 3.0, 1: 1.0, 2: 0.5}, y)),
        ("balanced", 1 / np.bincount(y, weight)[y]),
    ):
        model = HomogeneousMLPClassifier(class_weight=class_weight, **options)
        model.fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight)
        wanted = HomogeneousMLPClassifier(**options).fit(X, y, weight * factors)
        assert_allclose(model.predict_proba(X), wanted.predict_proba(X), rtol=1e-10, atol=1e-12)
        assert_allclose(model.trajectory_.loss, wanted.trajectory_.loss, rtol=1e-10)
        assert_allclose(model.trajectory_.validation_loss, model.trajectory_.loss, rtol=1e-10)


@pytest.mark.parametrize(
    "class_weight",
    [{0: -1.0}, {0: np.nan}, {0: 0, 1: 0, 2: 0}, {"a": 1}, {0: "a"}, {0: [1, 2]}, {0: None}],
)
def test_class_weights_that_are_none_are_named(class_weight):
    with pytest.raises(ValueError, match="class_weight must"):
        HomogeneousMLPClassifier(class_weight=class_weight).fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_logarithms_of_probabilities(loss, n_classes):
    X, y = load_iris(return_X_y=True)
    X, y = scale(X)[y < n_classes], y[y < n_classes]
    model = HomogeneousMLPClassifier(loss=loss, width=10, max_iter=100, random_state=0).fit(X, y)
    with np.errstate(divide="ignore"):
        wanted = np.log(model.predict_proba(X))
    assert_allclose(model.predict_log_proba(X), wanted, rtol=1e-10, atol=1e-14)
    # Of sure predictions as well, whose other probabilities are no float64 numbers.
    far = model.predict_log_proba(1e5 * X)
    assert np.isfinite(far).all() == (loss == "cross_entropy")
    assert (far.min(axis=1) < -800).all()


def test_the_loss_of_one_output_is_not_for_perceptrons():
    with pytest.raises(ValueError, match="'loss' parameter"):
        HomogeneousMLPClassifier(loss="log_loss").fit(*load_iris(return_X_y=True))
