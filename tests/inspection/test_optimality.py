"""Trained objectives, minima and bounds, as they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV, HomogeneousMLPRegressor
from sklearn_deeplinear.inspection import OptimalityDisplay
from sklearn_deeplinear.model_selection import BatchedGridSearchCV

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
Y = X @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((40, 2))
DECAYS = np.geomspace(0.01, 1, 4)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fits():
    return [DeepLinearRegressor(weight_decay=g, solver="lbfgs").fit(X, Y) for g in DECAYS]


def test_it_draws_what_the_fits_know(fits):
    display = OptimalityDisplay.from_estimators(fits)
    assert_allclose(display.trained_.get_xdata(), DECAYS)
    assert_array_equal(display.trained_.get_ydata(), [fit.objective_ for fit in fits])
    minima = [fit.global_minimum_.objective for fit in fits]
    assert_array_equal(display.minimum_line_.get_ydata(), minima)
    assert display.unknown_ is None  # two layers are certified
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "weight decay"
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == [
        "exact minimum",
        "trained",
    ]


def test_depths_are_drawn_on_a_linear_axis():
    fits = [DeepLinearRegressor(depth, solver="analytic").fit(X, Y) for depth in (1, 2, 3)]
    display = OptimalityDisplay.from_estimators(fits, param="depth")
    assert display.ax_.get_xscale() == "linear"
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks, np.round(ticks))
    assert_array_equal(display.minimum_line_.get_xdata(), [1, 2, 3])


def test_what_no_proof_excludes_is_an_area():
    figure, ax = plt.subplots()
    display = OptimalityDisplay([0, 1], [3.0, 3.0], [2.0, 2.5], lower_bound=[1.0, 2.5])
    assert display.plot(ax=ax, unknown_kw={"alpha": 0.1}) is display
    assert display.figure_ is figure
    assert display.unknown_.get_alpha() == 0.1
    corners = display.unknown_.get_paths()[0].get_extents()
    assert (corners.ymin, corners.ymax) == (1.0, 2.5)


def test_bad_input_is_named(fits):
    with pytest.raises(NotFittedError):
        OptimalityDisplay.from_estimators([DeepLinearRegressor()])
    with pytest.raises(ValueError, match="estimators must hold at least one"):
        OptimalityDisplay.from_estimators([])
    with pytest.raises(ValueError, match="param must be a parameter"):
        OptimalityDisplay.from_estimators(fits, param="gamma")
    with pytest.raises(ValueError, match="param must be a number"):
        OptimalityDisplay.from_estimators(fits, param="solver")
    perceptron = HomogeneousMLPRegressor(max_iter=1, tol=0).fit(X, Y)
    with pytest.raises(TypeError, match="estimators must have a global_minimum_"):
        OptimalityDisplay.from_estimators([perceptron])


GRID = {"weight_decay": [1.0, 0.1, 0.01], "depth": [1, 2]}


@pytest.mark.parametrize("kind", [GridSearchCV, BatchedGridSearchCV])
def test_of_a_search_the_best_candidate_at_each_value_is_fitted_to_all_data(kind):
    search = kind(DeepLinearRegressor(width=3, max_iter=200, tol=0), GRID, cv=3).fit(X, Y)
    figure, ax = plt.subplots()
    display = OptimalityDisplay.from_search(search, X, Y, ax=ax)
    assert display.figure_ is figure and plt.get_fignums() == [figure.number]
    assert display.ax_.get_xlabel() == "weight decay"
    assert_array_equal(display.values, sorted(GRID["weight_decay"]))
    results = search.cv_results_
    for gamma, drawn in zip(display.values, display.trained_.get_ydata(), strict=True):
        rows = [i for i, p in enumerate(results["params"]) if p["weight_decay"] == gamma]
        best = results["params"][max(rows, key=lambda i: results["mean_test_score"][i])]
        fit = DeepLinearRegressor(**best, width=3, max_iter=200, tol=0).fit(X, Y)
        assert drawn == fit.objective_
        # Objective by its definition, from the weights.
        loss = np.mean(np.sum((Y - fit.predict(X)) ** 2, axis=1))
        paid = gamma * sum(np.sum(W**2) for W in fit.weights_)
        assert_allclose(drawn, loss + paid, rtol=1e-10)
        assert drawn >= display.minimum[list(display.values).index(gamma)] * (1 - 1e-9)


def test_a_search_over_a_pipeline_is_drawn_by_the_last_name():
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressor(solver="analytic"))
    grid = {"deeplinearregressor__depth": [1, 2, 3]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    weights = {"deeplinearregressor__sample_weight": rng.uniform(1, 2, len(X))}
    for param in ("depth", "deeplinearregressor__depth"):
        display = OptimalityDisplay.from_search(search, X, Y, param=param, fit_params=weights)
        assert_array_equal(display.minimum_line_.get_xdata(), [1, 2, 3])
        assert display.ax_.get_xlabel() == "depth"
    alone = make_pipeline(StandardScaler(), DeepLinearRegressor(2, solver="analytic"))
    alone.fit(X, Y, **weights)
    assert display.objective[1] == alone[-1].objective_


def test_a_cross_validated_estimator_is_drawn_from_its_moments():
    model = DeepLinearRegressorCV(
        [0.01, 0.1], depths=[2, 3], solver="gd", stopping="cv", cv=3, max_iter=300
    ).fit(X, Y)
    display = OptimalityDisplay.from_search(model)
    chosen = list(display.values).index(model.best_params_["weight_decay"])
    assert display.objective[chosen] == model.estimator_.objective_
    exact = DeepLinearRegressorCV([0.01, 0.1], depths=[2], cv=3).fit(X, Y)
    display = OptimalityDisplay.from_search(exact)
    assert_allclose(display.objective, display.minimum, rtol=1e-9)
    assert_allclose(display.minimum[0], exact.global_minimum_.objective, rtol=1e-9)


def test_of_several_metrics_the_one_that_chooses_counts():
    # Depth 1 is the best by one metric, depth 2 by its negative.
    metrics = {"fit": "r2", "misfit": lambda model, X, y: -model.score(X, y)}
    model = DeepLinearRegressor(solver="analytic")
    chosen = {}
    for refit in metrics:
        search = GridSearchCV(model, GRID, cv=3, scoring=metrics, refit=refit).fit(X, Y)
        chosen[refit] = OptimalityDisplay.from_search(search, X, Y).objective
    assert (chosen["fit"] != chosen["misfit"]).all()
    search.refit = False
    with pytest.raises(ValueError, match="search must choose by one of its metrics"):
        OptimalityDisplay.from_search(search, X, Y)


def test_bad_searches_are_named():
    search = GridSearchCV(DeepLinearRegressor(), {"solver": ["analytic", "lbfgs"]}, cv=2)
    with pytest.raises(NotFittedError):
        OptimalityDisplay.from_search(search, X, Y)
    with pytest.raises(TypeError, match="cv_results_ .* Ridge has none"):
        OptimalityDisplay.from_search(Ridge().fit(X, Y), X, Y)
    search.fit(X, Y)
    with pytest.raises(
        ValueError, match=r"param must be one of .*\['solver'\]; got 'weight_decay'"
    ):
        OptimalityDisplay.from_search(search, X, Y)
    with pytest.raises(ValueError, match="param must be a number of each candidate"):
        OptimalityDisplay.from_search(search, X, Y, param="solver")
    ridge = GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}).fit(X, Y)
    with pytest.raises(ValueError, match="X and y must be given"):
        OptimalityDisplay.from_search(ridge, param="alpha")
    with pytest.raises(TypeError, match="estimators must have a global_minimum_; Ridge has none"):
        OptimalityDisplay.from_search(ridge, X, Y, param="alpha")
    several = DeepLinearRegressorCV([0.1], depths=[2], per_target=True).fit(X, Y)
    with pytest.raises(ValueError, match="search must have per_target=False"):
        OptimalityDisplay.from_search(several)
