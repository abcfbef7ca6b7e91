"""Data with many more features than samples: exact, and never an array of features squared."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.dynamics.compression import _row_space_network
from sklearn_deeplinear.dynamics.compression._row_space_network import RowSpaceNetwork
from sklearn_deeplinear.model_selection import _row_space


def wide_data(n=25, d=2700, m=1, seed=0):
    """Samples with correlated features, some of them constant or equal."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 40)) @ rng.normal(size=(40, d)) / 40 + 0.1 * rng.normal(size=(n, d))
    X[:, 5], X[:, 6] = 3.0, X[:, 7]
    Y = X[:, :m] + 0.3 * rng.normal(size=(n, m)) + 2.0
    return X, (Y[:, 0] if m == 1 else Y)


def in_all_inputs(monkeypatch):
    """Train as on other data."""
    monkeypatch.setattr(_row_space_network, "is_wide", lambda R: False)
    monkeypatch.setattr(_row_space, "is_wide", lambda R: False)


CASES = {
    "spectral": {},
    "normal": {"init": "normal", "random_state": 0},
    "decay": {"init": "xavier_normal", "random_state": 0, "weight_decay": [0.3, 0.1]},
    "noise": {"noise": 0.5, "weight_decay": 0.1},
    "noise, normal": {"noise": 0.5, "init": "normal", "random_state": 1},
    "momentum": {"solver": "momentum", "init": "normal", "random_state": 0},
    "flow": {"solver": "flow", "weight_decay": 0.1},
    "one layer": {"depth": 1, "weight_decay": 0.2},
    "three layers": {"depth": 3, "init": "orthogonal", "random_state": 0, "width": 70},
    "no intercept": {"fit_intercept": False},
    "analytic": {"solver": "analytic", "weight_decay": 0.1},
}


@pytest.mark.parametrize("m", [1, 3], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_row_space_is_enough(monkeypatch, case, m):
    """The run in the row space is the run in all inputs, record by record."""
    X, y = wide_data(m=m)
    options = {"depth": 2, "width": 5, "max_iter": 20, "record_every": 4, "tol": 0.0, **CASES[case]}
    validation = wide_data(n=11, m=m, seed=1)
    models = []
    for reduced in (True, False):
        if not reduced:
            in_all_inputs(monkeypatch)
        model = DeepLinearRegressor(**options, record=["effective_rank"])
        models.append(model.fit(X, y, None, *validation))
    here, there = (model.trajectory_ for model in models)
    # A flow is followed to 1e-6 a step, of which there are ten or so; descent to rounding.
    rtol = 1e-4 if case == "flow" else 1e-8
    for name in ("loss", "objective", "validation_loss", "effective_rank"):
        curves = getattr(here, name), getattr(there, name)
        np.testing.assert_allclose(*curves, rtol=rtol, err_msg=name)
    scale = there.gradient_norm.max()
    norms = here.gradient_norm, there.gradient_norm
    np.testing.assert_allclose(*norms, rtol=10 * rtol, atol=rtol * max(scale, 1e-6))
    for W, expected in zip(models[0].weights_, models[1].weights_, strict=True):
        np.testing.assert_allclose(W, expected, atol=10 * rtol * np.abs(expected).max())
    differences = [model.balance_history_.change for model in models]
    size = max(np.abs(W).max() ** 2 for W in models[0].weights_)
    np.testing.assert_allclose(*differences, atol=10 * rtol * size)


def test_the_row_space_is_used():
    X, y = wide_data()
    model = DeepLinearRegressor(init="normal", width=5, random_state=0).set_params(max_iter=1)
    assert isinstance(model._dynamics_starter(X, y)(), RowSpaceNetwork)


def test_all_eigenvalues_of_the_hessian(monkeypatch):
    """Those along the weights that are left out are the curvature of the decay, many times."""
    X, y = wide_data(n=23, d=2880)
    found = []
    for reduced in (True, False):
        if not reduced:
            in_all_inputs(monkeypatch)
        options = {"width": 2, "weight_decay": [1e3, 1.0], "init": "normal", "random_state": 0}
        dynamics = DeepLinearRegressor(**options)._dynamics_starter(X, y)()
        found.append(
            [dynamics.hessian_eigenvalues(dynamics.state, k=3, which=w) for w in ("LA", "SA")]
        )
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("solver", ["analytic", "gd", "lbfgs", "flow"])
def test_no_array_of_features_squared(solver):
    n, d = 12, 6000  # 288 MB for d x d numbers, 0.6 MB for the data
    X, y = wide_data(n, d)
    model = DeepLinearRegressor(
        width=3, solver=solver, weight_decay=0.1, max_iter=3, tol=0, record=["sharpness"]
    )
    model.fit(X[:, :9], y)  # whatever is imported is
    tracemalloc.start()
    model.fit(X, y)
    assert model.optimality_gap_ >= -1e-9 * model.objective_
    assert model.optimality_certificate_ <= model.objective_ * (1 + 1e-9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * X.nbytes < 8 * d * d / 10


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_mini_batches_train_in_all_inputs(solver):
    X, y = wide_data()
    options = {"width": 4, "max_iter": 5, "tol": 0, "batch_size": 10, "random_state": 0}
    model = DeepLinearRegressor(solver=solver, **options).fit(X, y)
    assert model.trajectory_.loss[-1] < model.trajectory_.loss[0]
    assert model.loss_ == pytest.approx(np.mean((model.predict(X) - y) ** 2), rel=1e-8)


def test_one_layer_is_ridge():
    X, y = wide_data()
    model = DeepLinearRegressor(depth=1, solver="analytic", weight_decay=0.2).fit(X, y)
    ridge = Ridge(alpha=0.2 * len(X), solver="svd").fit(X, y)
    np.testing.assert_allclose(model.coef_, ridge.coef_, atol=1e-12)
    assert model.intercept_ == pytest.approx(ridge.intercept_, rel=1e-10)


CV = {
    "folds": {"cv": KFold(4)},
    "left out": {"cv": None},
    "without intercept": {"cv": KFold(4), "fit_intercept": False},
    "trained": {"cv": KFold(3), "solver": "gd", "max_iter": 30, "stopping": "cv"},
    "targets": {"cv": None, "per_target": True},
    "joint": {"cv": KFold(3), "depths": (2,), "weight_decays": [0.1, 1.0]},
    "noise": {"cv": KFold(3), "noises": (0.5,), "widths": (4,), "depths": (2,)},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("case", CV)
def test_cross_validation_in_the_row_space(monkeypatch, case, weighted):
    X, y = wide_data(m=2 if case in ("targets", "joint") else 1)
    weight = np.random.default_rng(2).uniform(0, 2, size=len(X)) if weighted else None
    models = []
    for reduced in (True, False):
        if not reduced:
            in_all_inputs(monkeypatch)
        options = {"depths": (1, 2), "weight_decays": [0.01, 0.1, 1.0], **CV[case]}
        models.append(DeepLinearRegressorCV(**options).fit(X, y, weight))
    here, there = models
    scores = here.cv_results_["mean_test_score"], there.cv_results_["mean_test_score"]
    np.testing.assert_allclose(*scores, rtol=1e-6)
    np.testing.assert_allclose(here.coef_, there.coef_, atol=1e-7 * np.abs(there.coef_).max())
    if case != "trained":
        new = wide_data(n=4, seed=3)[0]
        bounds = here.predict_interval(new), there.predict_interval(new)
        np.testing.assert_allclose(*bounds, rtol=1e-6)
