"""Trained objectives, minima and bounds, as they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor
from sklearn_deeplinear.inspection import OptimalityDisplay

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
