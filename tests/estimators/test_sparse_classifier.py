"""Deep linear classifiers on sparse samples: products with them do what arrays do."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from sklearn_deeplinear import DeepLinearClassifier
from sklearn_deeplinear.estimators import _deep_linear_classifier
from sklearn_deeplinear.estimators._sparse_classifier_problem import SparseClassifierProblem


def sparse_data(n_classes, kind="plain"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 30)) * (rng.uniform(size=(80, 30)) < 0.15)
    scores = X @ rng.normal(size=(30, n_classes)) + rng.gumbel(size=(80, n_classes))
    y = scores.argmax(axis=1)
    if kind == "equal columns":
        X[:, 1:5] = X[:, [0]]
    elif kind == "zero rows":
        X[::2] = 0.0
    elif kind == "constant columns":
        X[:, :2] = 0.3
    elif kind == "one column":
        X = X[:, :1]
    elif kind == "zero":
        X[:] = 0.0
    elif kind == "means":
        X[:, :2] += 5.0
    return X, y


@pytest.fixture
def by_products(monkeypatch):
    """Let the small data here not be filled in."""
    monkeypatch.setattr(_deep_linear_classifier, "is_filled_in", lambda X: False)


@pytest.mark.parametrize("center", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("n_classes", [2, 3], ids=str)
@pytest.mark.parametrize(
    "kind",
    ["plain", "equal columns", "zero rows", "constant columns", "one column", "zero", "means"],
)
def test_the_fit_is_that_of_dense_data(by_products, kind, n_classes, center):
    X, y = sparse_data(n_classes, kind)
    weight = np.arange(80) % 4 + 0.5
    options = {"width": 5, "weight_decay": 0.01, "fit_intercept": center}
    sparse = DeepLinearClassifier(**options).fit(scipy.sparse.csr_array(X), y, weight)
    assert isinstance(sparse._problem, SparseClassifierProblem)
    dense = DeepLinearClassifier(**options).fit(X, y, weight)
    assert sparse.objective_ == pytest.approx(dense.objective_, rel=1e-8)
    for inputs in (scipy.sparse.csr_matrix(X), scipy.sparse.csc_array(X), X):
        found, expected = sparse.predict_proba(inputs), dense.predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("solver", ["gd", "momentum", "flow", "lbfgs"])
@pytest.mark.parametrize("init", ["spectral", "normal"])
def test_the_run_is_that_on_dense_data(by_products, solver, init):
    X, y = sparse_data(3)
    options = {"solver": solver, "init": init, "random_state": 0, "width": 4, "step_size": 0.1}
    options |= {"max_iter": 20, "record_every": 5, "tol": 0, "weight_decay": 0.01, "flow_time": 2.0}
    runs = []
    for inputs in (scipy.sparse.csr_array(X), X):
        model = DeepLinearClassifier(**options)
        runs.append(model.fit(inputs, y, None, inputs[::2], y[::2]).trajectory_)
    for name in ("loss", "objective", "gradient_norm", "validation_loss"):
        curves = (getattr(run, name) for run in runs)
        # The start is known to the error of the largest eigenvalue of the inputs.
        np.testing.assert_allclose(*curves, rtol=5e-3, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("depth", [1, 2, 3], ids=str)
@pytest.mark.parametrize("solver", ["gd", "momentum"])
def test_automatic_steps_go_down(by_products, depth, solver):
    X, y = sparse_data(2)
    model = DeepLinearClassifier(depth, 4, solver=solver, max_iter=200, tol=0, weight_decay=0.01)
    objective = model.fit(scipy.sparse.csr_array(X), y).trajectory_.objective
    assert objective[-1] < objective[0]
    if solver == "gd":
        assert (np.diff(objective) <= 1e-12).all()


@pytest.mark.parametrize("n_classes", [2, 3], ids=str)
def test_one_layer_is_logistic_regression(by_products, n_classes):
    X, y = sparse_data(n_classes)
    gamma = 0.02
    model = DeepLinearClassifier(depth=1, weight_decay=gamma, tol=1e-9)
    model.fit(scipy.sparse.csr_array(X), y)
    logistic = LogisticRegression(C=1 / (2 * 80 * gamma), tol=1e-10, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), logistic.predict_proba(X), atol=1e-6)


def test_what_is_refused(by_products):
    X, y = sparse_data(2)
    X = scipy.sparse.csr_array(X)
    for parameters, error in (
        ({"solver": "adam"}, TypeError),  # on dense samples only, where scikit-learn raises it
        ({"solver": "analytic"}, ValueError),
        ({"record": ["sharpness"]}, ValueError),
    ):
        with pytest.raises(error, match="X must be dense"):
            DeepLinearClassifier(**parameters, weight_decay=0.1).fit(X, y)
    model = DeepLinearClassifier(weight_decay=0.1).fit(X, y)
    for name in ("global_minimum_", "optimality_gap_"):
        with pytest.raises(AttributeError, match=f"X must be dense for .*{name}"):
            getattr(model, name)
        assert not hasattr(model, name) and name not in dir(model)


def test_small_sparse_data_are_filled_in():
    X, y = sparse_data(2)
    model = DeepLinearClassifier(weight_decay=0.05).fit(scipy.sparse.csr_array(X), y)
    assert model.global_minimum_.kind in ("exact", "certified")
    assert model.objective_ == pytest.approx(model.fit(X, y).objective_, rel=1e-12)


@pytest.mark.parametrize("filled_in", [60, 40], ids=["training", "validation"])
def test_validation_data_are_small_or_large(monkeypatch, filled_in):
    """Whatever the training data are: each is filled in, or not, by its own size."""
    X, y = sparse_data(2)
    train, held_out = slice(60), slice(40, 80)
    model = DeepLinearClassifier(2, 4, weight_decay=0.01, max_iter=5, tol=0)
    dense = model.fit(X[train], y[train], None, X[held_out], y[held_out]).trajectory_
    monkeypatch.setattr(_deep_linear_classifier, "is_filled_in", lambda X: X.shape[0] == filled_in)
    sparse = scipy.sparse.csr_array(X)
    run = model.fit(sparse[train], y[train], None, sparse[held_out], y[held_out]).trajectory_
    # The start is known to the error of the largest eigenvalue of the inputs.
    np.testing.assert_allclose(run.validation_loss, dense.validation_loss, rtol=5e-3)


def test_memory_is_that_of_products():
    X = scipy.sparse.random(2000, 20_000, 1e-3, random_state=0, format="csr")
    y = X @ np.random.default_rng(0).normal(size=20_000) > 0
    model = DeepLinearClassifier(weight_decay=0.005, width=5, tol=1e-4).fit(X[:50, :40], y[:50])
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2000 * 20_000 / 4  # of X filled in
    assert model.score(X, y) > 0.8
