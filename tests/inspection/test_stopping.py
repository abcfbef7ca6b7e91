"""Scores along training, as they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.inspection import StoppingDisplay
from sklearn_deeplinear.model_selection import DeepLinearRegressorCV, StoppingPath

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
y = X @ rng.standard_normal(3) + rng.standard_normal(40)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    search = DeepLinearRegressorCV(
        weight_decays=[0.01, 0.1], depths=[2], solver="gd", stopping="cv", cv=3
    )
    return search.fit(X, y)


@pytest.mark.parametrize("against", ["iteration", "time"])
def test_it_draws_the_best_setting_and_its_stop(model, against):
    figure, ax = plt.subplots()
    display = StoppingDisplay.from_estimator(model, ax=ax, against=against)
    assert display.figure_ is figure
    row = model.best_index_
    assert_array_equal(display.line_.get_ydata(), -model.stopping_path_.mean[row])
    stop = model.cv_results_[f"stopping_{against}"][row]
    assert_array_equal(display.stopping_line_.get_xdata(), [stop, stop])


def test_another_setting_can_be_drawn(model):
    display = StoppingDisplay.from_estimator(model, setting=1, line_kw={"linewidth": 3})
    assert_array_equal(display.line_.get_ydata(), -model.stopping_path_.mean[1])
    assert display.line_.get_linewidth() == 3


@pytest.mark.parametrize("against", ["iteration", "time"])
def test_the_axis_bends_no_curve(model, against):
    """Its slope changes as little as that of a logarithm between near places: by their ratio."""
    display = StoppingDisplay.from_estimator(model, against=against)
    at = display.line_.get_xdata()
    places = np.geomspace(at[at > 0].min() / 10, at.max(), 1000)
    slope = np.gradient(display.ax_.get_xaxis().get_transform().transform(places), places)
    steps = slope[1:-2] / slope[2:-1]  # those at the ends are taken to one side
    assert steps.max() < (places[1] / places[0]) ** 1.1 and steps.min() >= 1
    ticks = display.ax_.get_xticks()
    assert ticks[0] == 0 and at[1] <= ticks[1] < 10 * at[1]


def test_short_runs_have_a_linear_axis():
    path = StoppingPath(
        np.arange(4), np.arange(4.0)[None], -np.ones((1, 4)), np.zeros((1, 4)), np.array([1])
    )
    assert StoppingDisplay(path).plot().ax_.get_xscale() == "linear"


def test_bad_input_is_named(model):
    with pytest.raises(ValueError, match="setting must be from 0 to 1"):
        StoppingDisplay.from_estimator(model, setting=2)
    for setting in (0.7, "first"):
        with pytest.raises(TypeError, match="setting must be an int"):
            StoppingDisplay.from_estimator(model, setting=setting)
    with pytest.raises(ValueError, match="against must be"):
        StoppingDisplay.from_estimator(model, against="epoch")
    with pytest.raises(NotFittedError):
        StoppingDisplay.from_estimator(DeepLinearRegressorCV())
    analytic = DeepLinearRegressor(solver="analytic").fit(X, y)
    with pytest.raises(TypeError, match="stopping_path_"):
        StoppingDisplay.from_estimator(analytic)
