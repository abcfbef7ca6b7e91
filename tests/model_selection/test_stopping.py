"""Stopping times by cross-validation, against fits one by one and explicit validation data."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV

RNG = np.random.RandomState(0)


@parametrize_with_checks(
    [
        DeepLinearRegressorCV([0.0, 0.1], (1, 2), cv=3, solver="gd", stopping="cv", max_iter=30),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def drawn(n=30, d=4, m=2):
    X = RNG.standard_normal((n, d)) * [1, 2, 0.5, 1][:d] + 3
    Y = X @ RNG.standard_normal((d, m)) + RNG.standard_normal((n, m)) - 10
    return X, Y[:, 0] if m == 1 else Y


def one_by_one(model, X, y, weight=None):
    """Scores (n_settings, n_records) of separate fits, from predictions of recorded weights."""
    path, found = model.stopping_path_, []
    m = y.reshape(len(y), -1).shape[1]
    for setting, steps in zip(model.cv_results_["params"], path.time[:, 1], strict=True):
        curves = []
        for train, test in KFold(3).split(X):
            own = None if weight is None else weight[train]
            fit = DeepLinearRegressor(
                setting["depth"],
                setting["width"] or min(X.shape[1], m),
                weight_decay=setting["weight_decay"],
                noise=setting["noise"],
                solver=model.solver,
                step_size=steps / path.iteration[1],
                max_iter=model.max_iter,
                tol=0,
                record_every=int(path.iteration[1]),
                record_weights=True,
            ).fit(X[train], y[train], own)
            mean_x = np.average(X[train], axis=0, weights=own)
            mean_y = np.average(y[train].reshape(len(train), -1), axis=0, weights=own)
            losses = []
            for weights in fit.trajectory_.weights:
                missed = y[test].reshape(len(test), -1) - mean_y
                outputs = X[test] - mean_x
                for W in weights:
                    outputs = outputs @ W.T
                squares = np.mean((missed - outputs) ** 2, axis=1)
                losses.append(np.average(squares, weights=None if own is None else weight[test]))
            curves.append(losses)
        found.append(-np.mean(curves, axis=0))
    return np.array(found)


@pytest.mark.parametrize("solver", ["gd", "flow"])
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_curves_are_those_of_separate_fits(solver, m, weighted):
    X, y = drawn(m=m)
    weight = RNG.uniform(0.5, 2, len(X)) if weighted else None
    model = DeepLinearRegressorCV(
        [0.0, 0.3], (1, 2, 3), cv=3, solver=solver, stopping="cv", max_iter=40
    ).fit(X, y, weight)
    expected = one_by_one(model, X, y, weight)
    assert_allclose(model.stopping_path_.mean, expected, rtol=1e-9 if solver == "gd" else 1e-5)
    if solver == "gd":
        assert_array_equal(model.stopping_path_.best, expected.argmax(axis=1))
    assert_allclose(model.cv_results_["mean_test_score"], expected.max(axis=1), rtol=1e-5)
    assert model.best_score_ == pytest.approx(expected.max(), rel=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_noise_and_widths():
    X, Y = drawn()
    model = DeepLinearRegressorCV(
        [0.01],
        (2,),
        widths=[1, 3],
        noises=[0.0, 0.5],
        cv=3,
        solver="gd",
        stopping="cv",
        max_iter=30,
    ).fit(X, Y)
    assert_allclose(model.stopping_path_.mean, one_by_one(model, X, Y), rtol=1e-9)


def test_the_refit_stops_where_the_scores_are_best():
    X, y = load_diabetes(return_X_y=True)
    model = DeepLinearRegressorCV([0.0], (2, 3), cv=5, solver="gd", stopping="cv", max_iter=3000)
    model.fit(X, y)
    n_steps = model.cv_results_["stopping_iteration"][model.best_index_]
    assert model.estimator_.n_iter_ == n_steps
    time = model.cv_results_["stopping_time"][model.best_index_]
    assert model.estimator_.trajectory_.time[-1] == pytest.approx(time)
    assert_array_equal(model.coef_, model.estimator_.coef_)
    assert_array_equal(model.predict(X), model.estimator_.predict(X))
    assert "stopping_time" in pd.DataFrame(model.cv_results_)
    to_the_end = DeepLinearRegressorCV([0.0], (2, 3), cv=5, solver="gd", max_iter=3000).fit(X, y)
    assert (to_the_end.cv_results_["stopping_iteration"] == 3000).all()
    assert model.best_score_ >= to_the_end.best_score_
    assert_array_equal(to_the_end.stopping_path_.mean, model.stopping_path_.mean)


def test_early_stopping_of_many_outputs_that_overfit():
    X, Y = load_linnerud(return_X_y=True)
    model = DeepLinearRegressorCV(
        [0.0], (2,), cv=ShuffleSplit(5, random_state=0), solver="gd", stopping="cv", max_iter=2000
    ).fit(X, Y)
    mean = model.stopping_path_.mean[0]
    assert mean[model.stopping_path_.best[0]] > mean[-1]


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
@pytest.mark.parametrize("stopping", ["cv", None])
@pytest.mark.parametrize("unit", [1.0, 1e12])
def test_step_sizes_that_diverge_are_not_chosen(stopping, unit):
    X, y = drawn(m=1)
    decay = unit ** (4 / 3) * 0.1  # of three layers in these units of y
    model = DeepLinearRegressorCV(
        [decay], (3,), step_sizes=[1e4, "auto"], cv=3, solver="gd", stopping=stopping, max_iter=200
    ).fit(X, unit * y)
    assert np.isnan(model.stopping_path_.mean[0, -1])
    assert model.best_params_["step_size"] == "auto" and np.isfinite(model.coef_).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": None}, "cv must be a splitter"),
        ({"scoring": "r2"}, "scoring must be None"),
        ({"per_target": True}, "per_target must be False"),
        ({"step_sizes": []}, "step_sizes must hold at least one"),
        ({"step_sizes": [0.1, -1]}, r"step_sizes\[1\]"),
        ({"step_sizes": ["small"]}, r"step_sizes\[0\]"),
        ({"solver": "analytic"}, "stopping must be None"),
    ],
)
def test_what_does_not_suit_is_refused(options, message):
    model = DeepLinearRegressorCV(**{"cv": 3, "solver": "gd", "stopping": "cv", **options})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(*drawn(m=1))


def test_intervals_are_those_of_exact_fits_only():
    model = DeepLinearRegressorCV([0.1], (2,), cv=3, solver="gd", max_iter=5).fit(*drawn(m=1))
    with pytest.raises(ValueError, match="analytic"):
        model.predict_interval(drawn()[0])
