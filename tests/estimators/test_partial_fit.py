"""Batches one after the other: moments add up to those of all data, epochs go on."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.theory import SecondMoments

rng = np.random.RandomState(0)
N = 60
X = rng.standard_normal((N, 4)) * [1.0, 3.0, 0.2, 1.0] + [0.0, 5.0, -1.0, 100.0]
Y = X @ rng.standard_normal((4, 2)) + rng.standard_normal((N, 2))
CLASSES = np.digitize(Y[:, 0], np.quantile(Y[:, 0], [0.3, 0.7]))
WEIGHT = rng.choice([0.0, 0.5, 1.0, 3.0], N)
CUTS = {
    "halves": [0, 30, 60],
    "single rows": [0, 1, 2, 3, 60],
    "many": [0, *range(7, 60, 5), 60],
}
LINEAR = {
    "analytic": DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic"),
    "gd": DeepLinearRegressor(depth=2, weight_decay=0.1, max_iter=50, tol=0),
    "normal weights": DeepLinearRegressor(
        width=5, init="normal", max_iter=30, tol=0, random_state=0
    ),
    "noise": DeepLinearRegressor(noise=0.1, max_iter=30, tol=0),
    "no intercept": DeepLinearRegressor(weight_decay=0.1, fit_intercept=False, solver="analytic"),
    "pathways": MultiPathwayRegressor(width=5, max_iter=30, tol=0, random_state=0),
}
SHARED = {"solver": "adam", "random_state": 0, "batch_size": 10, "width": 6}
STEPPED = {
    "linear, sgd": (DeepLinearRegressor(**SHARED | {"solver": "sgd"}), Y),
    "linear": (DeepLinearRegressor(**SHARED), Y[:, 0]),
    "pathways": (MultiPathwayRegressor(**SHARED), Y),
    "relu pathways": (MultiPathwayRegressor(activation="relu", **SHARED), Y),
    "perceptron": (HomogeneousMLPRegressor(**SHARED), Y),
    "perceptron, sgd": (HomogeneousMLPRegressor(**SHARED | {"solver": "sgd"}), Y),
    "classifier": (HomogeneousMLPClassifier(**SHARED), CLASSES),
    "linear classifier": (DeepLinearClassifier(fit_intercept=False, **SHARED), CLASSES),
}


def copied(estimator, **params):
    return pickle.loads(pickle.dumps(estimator)).set_params(**params)


def all_classes(y):
    return {"classes": [0, 1, 2]} if y is CLASSES else {}


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("target", ["one", "several"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LINEAR)
def test_moments_of_batches_add_up_to_one_fit(name, weighted, target, cuts):
    y = Y[:, 0] if target == "one" else Y
    weight = np.where(np.arange(N) < 4, 1.0, WEIGHT) if weighted else None
    whole = copied(LINEAR[name]).fit(X, y, weight)
    model = copied(LINEAR[name])
    for start, end in zip(CUTS[cuts][:-1], CUTS[cuts][1:], strict=True):
        part = None if weight is None else weight[start:end]
        model.partial_fit(X[start:end], y[start:end], part)
    size = np.abs(whole.coef_).max()
    assert_allclose(model.coef_, whole.coef_, rtol=0, atol=1e-12 * size)
    assert_allclose(model.predict(X), whole.predict(X), rtol=1e-12)
    assert model.objective_ == pytest.approx(whole.objective_, rel=1e-12)
    assert model.moments_.n_samples == N
    assert model.n_iter_ == whole.n_iter_
    assert np.shape(model.intercept_) == np.shape(whole.intercept_)


def test_batches_of_structured_data_add_up():
    integers = np.round(2 * X).clip(-3, 3)
    integers[:, 1] = 7.0  # constant
    for inputs in (integers, X + 1e6, X.astype(np.float32), np.eye(4)[np.arange(N) % 4]):
        whole = DeepLinearRegressor(weight_decay=0.1, solver="analytic").fit(inputs, Y)
        model = DeepLinearRegressor(weight_decay=0.1, solver="analytic")
        for rows in np.array_split(np.arange(N), 7):
            model.partial_fit(inputs[rows], Y[rows])
        # A mean of 1e6 costs six digits of what varies by one.
        tolerance = 1e-9 if inputs.max() > 1e5 else 1e-12
        assert_allclose(model.predict(inputs), whole.predict(inputs), rtol=tolerance)


@pytest.mark.parametrize("kind", ["memory map", "dask"])
def test_batches_that_are_streamed_stay_so(kind, tmp_path, monkeypatch):
    if kind == "dask":
        array = pytest.importorskip("dask.array")
        inputs, targets = (array.from_array(part, chunks=7) for part in (X, Y))
    else:
        inputs = np.memmap(tmp_path / "X", dtype=np.float64, mode="w+", shape=X.shape)
        inputs[:], targets = X, Y
    model = DeepLinearRegressor(weight_decay=0.1, solver="analytic")
    model.partial_fit(inputs[:25], targets[:25])
    monkeypatch.setattr(DeepLinearRegressor, "_check_data", None)  # which makes arrays
    model.partial_fit(inputs[25:], targets[25:])
    monkeypatch.undo()
    whole = DeepLinearRegressor(weight_decay=0.1, solver="analytic").fit(X, Y)
    assert_allclose(model.coef_, whole.coef_, rtol=1e-11)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(inputs[:, :2], targets)


def test_it_goes_on_from_fit_and_from_moments():
    model = DeepLinearRegressor(solver="analytic", weight_decay=0.1)
    whole = model.fit(X, Y).coef_
    first = model.fit(X[:30], Y[:30]).partial_fit(X[30:], Y[30:]).coef_
    assert_allclose(first, whole, rtol=1e-12)
    half = SecondMoments.from_data(X[:30], Y[:30])
    assert_allclose(model.fit_moments(half).partial_fit(X[30:], Y[30:]).coef_, whole, rtol=1e-12)
    assert_allclose(model.fit(X, Y).coef_, whole, rtol=0)  # starts anew


@pytest.mark.parametrize("name", STEPPED)
def test_epochs_are_those_of_one_fit(name):
    """Calls on the same data make the epochs of `fit`, up to the rounding of merged moments."""
    estimator, y = STEPPED[name]
    n_epochs = 4
    options = {"max_iter": n_epochs, "tol": 0.0, "step_size": 1e-4}
    whole = copied(estimator, **options).fit(X, y)
    model = copied(estimator, **options)
    for _ in range(n_epochs):
        model.partial_fit(X, y, **all_classes(y))
        model = pickle.loads(pickle.dumps(model))
    for W, V in zip(flat(model.weights_), flat(whole.weights_), strict=True):
        assert_allclose(W, V, rtol=1e-9, atol=1e-12)
    assert_allclose(model.predict(X), whole.predict(X), rtol=1e-9)
    assert model.n_iter_ == n_epochs
    assert len(model.trajectory_) == 2


def flat(weights):
    """Layers of one network, or of all pathways."""
    return [W for part in weights for W in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("name", STEPPED)
def test_epochs_over_batches_learn_as_much_as_a_fit(name):
    estimator, y = STEPPED[name]
    inputs = (X - X.mean(0)) / X.std(0)
    if y is not CLASSES:
        y = (y - y.mean(0)) / y.std(0)
    whole = copied(estimator, max_iter=20).fit(inputs, y)
    model = copied(estimator, max_iter=20)
    for _ in range(20):
        for rows in np.arange(N).reshape(2, 30):
            model.partial_fit(inputs[rows], y[rows], **all_classes(y))
    assert model.score(inputs, y) > whole.score(inputs, y) - 0.05
    assert model.n_iter_ == 40


def test_automatic_steps_are_those_of_the_batch():
    """So that a batch in larger units does not make the network diverge, nor for long slower."""
    model = HomogeneousMLPRegressor(solver="sgd", random_state=0)
    steps = []
    for scale in (1.0, 30.0, 1.0):
        model.partial_fit(scale * X[:, :3], scale * Y)
        steps.append(model.step_size_)
        assert model.stop_reason_ == "max_iter"
    assert steps[1] < min(steps[0], steps[2]) / 10


@pytest.mark.parametrize(
    ("kind", "solver"), [(DeepLinearRegressor, "sgd"), (MultiPathwayRegressor, "adam")]
)
@pytest.mark.parametrize("first", ["one row", "constant inputs", "constant targets"])
def test_a_first_batch_of_no_use_is_no_saddle_for_ever(first, kind, solver):
    inputs = (X - X.mean(0)) / X.std(0)
    rows = slice(1) if first == "one row" else slice(None)
    model = kind(solver=solver, init="spectral", random_state=0)
    X_first = np.ones_like(inputs) if first == "constant inputs" else inputs
    y_first = np.ones_like(Y) * Y.mean(0) if first == "constant targets" else Y
    model.partial_fit(X_first[rows], y_first[rows])
    for _ in range(40):
        model.partial_fit(inputs, Y)
    assert model.score(inputs, Y) > 0.5


@pytest.mark.parametrize("name", ["linear", "perceptron", "classifier"])
def test_batches_without_weight_change_nothing(name):
    estimator, y = STEPPED[name]
    model = copied(estimator).partial_fit(X, y, **all_classes(y))
    before = pickle.dumps(model)
    model.partial_fit(X, y, sample_weight=np.zeros(N))
    assert pickle.dumps(model) == before
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], y, sample_weight=np.zeros(N))


def test_the_optimizer_may_change():
    model = DeepLinearRegressor(solver="sgd", random_state=0).partial_fit(X, Y)
    model.set_params(solver="adam").partial_fit(X, Y).set_params(solver="sgd").partial_fit(X, Y)
    model.set_params(solver="adam").partial_fit(X, Y).set_params(solver="analytic")
    model.partial_fit(X, Y)
    assert_allclose(model.coef_, DeepLinearRegressor(solver="analytic").fit(X, Y).coef_, rtol=1e-9)


def test_changed_parameters_are_those_of_the_next_batch():
    """Of classifiers, too, whose problem once stayed that of the first batch."""
    first, second = slice(30), slice(30, N)
    for name in ("linear", "relu pathways", "perceptron", "classifier", "linear classifier"):
        estimator, y = STEPPED[name]
        model = copied(estimator).partial_fit(X[first], y[first], **all_classes(y))
        plain = copied(model).partial_fit(X[second], y[second])
        decayed = copied(model, weight_decay=100.0).partial_fit(X[second], y[second])
        squares = sum(np.sum(W**2) for W in flat(decayed.weights_))
        assert decayed.objective_ - decayed.loss_ == pytest.approx(100 * squares, rel=1e-9)
        assert not np.array_equal(flat(decayed.weights_)[0], flat(plain.weights_)[0])
        with pytest.raises(ValueError, match="partial_fit.* must hold .* Keep the depth"):
            copied(model, width=7).partial_fit(X[second], y[second])
    for name in ("perceptron", "perceptron, sgd", "classifier"):
        estimator, y = STEPPED[name]
        model = copied(estimator).partial_fit(X, y, **all_classes(y)).set_params(fit_bias=False)
        with pytest.raises(ValueError, match="fit_bias must be what it was in former calls"):
            model.partial_fit(X, y)
    model = DeepLinearClassifier(2, 6, weight_decay=0.1).fit(X, CLASSES)
    model.set_params(solver="adam", fit_intercept=False)
    with pytest.raises(ValueError, match="fit_intercept must be what it was"):
        model.partial_fit(X, CLASSES)


def test_schedules_count_epochs_of_all_calls():
    asked = []
    model = HomogeneousMLPRegressor(solver="sgd", step_size=lambda t: asked.append(t) or 1e-6)
    for _ in range(3):
        model.partial_fit(X, Y)
    assert set(asked) >= {0, 1, 2}


def test_where_there_is_none():
    for estimator in (
        HomogeneousMLPRegressor(),
        HomogeneousMLPClassifier(solver="lbfgs"),
        DeepLinearClassifier(),
        DeepLinearClassifier(solver="adam"),
        MultiPathwayRegressor(activation="relu"),
    ):
        assert not hasattr(estimator, "partial_fit")
    for estimator in (DeepLinearRegressor(), MultiPathwayRegressor()):
        assert hasattr(estimator, "partial_fit")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"early_stopping": True}, "early_stopping must be False in partial_fit"),
        ({"checkpoint": "run.npz"}, "checkpoint must be None in partial_fit"),
        ({"solver": "adam", "compression": "krylov"}, "compression"),
        ({"solver": "adam", "callbacks": [object()]}, "callbacks must be None in partial_fit"),
    ],
)
def test_what_has_no_meaning_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        MultiPathwayRegressor(**params).partial_fit(X, Y)


@pytest.mark.parametrize("solver", ["analytic", "adam"])
def test_batches_must_fit_each_other(solver):
    model = DeepLinearRegressor(solver=solver).partial_fit(X, Y)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], Y)
    with pytest.raises(ValueError, match="y must have as many dimensions"):
        model.partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="columns as in fit"):
        model.partial_fit(X, Y[:, :1])
    with pytest.raises(ValueError, match="fit_intercept must be what it was"):
        copied(model, fit_intercept=False).partial_fit(X, Y)
    assert_array_equal(model.coef_, before)


def test_classes_are_announced():
    few = CLASSES != 2
    model = HomogeneousMLPClassifier(solver="adam", random_state=0)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        model.partial_fit(X, CLASSES)
    model.partial_fit(X[few], CLASSES[few], classes=[0, 1, 2])
    assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(X, CLASSES)
    with pytest.raises(ValueError, match="classes must be those of former calls"):
        model.partial_fit(X, CLASSES, classes=[0, 1])
    with pytest.raises(ValueError, match="y must hold classes seen by fit"):
        model.partial_fit(X, CLASSES + 1)
    with pytest.raises(ValueError, match="class_weight must be None or a dict"):
        model.set_params(class_weight="balanced").partial_fit(X, CLASSES)
    model.set_params(class_weight={0: 2.0, 1: 1.0, 2: 1.0}).partial_fit(X, CLASSES)
