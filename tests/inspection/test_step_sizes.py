"""Distances between runs of different steps, as they are drawn."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import compare_step_sizes
from sklearn_deeplinear.inspection import StepSizeDisplay

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
Y = X @ rng.standard_normal((3, 2))


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def comparison():
    network = DeepLinearRegressor(3, 4, init="normal", init_scale=0.5, random_state=0)
    return compare_step_sizes(network, X, Y, step_size=0.02, divisors=(2, 5), max_iter=30)


def names(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("against", ["iteration", "time"])
def test_it_draws_the_distances_beside_that_from_the_start(comparison, against):
    display = StepSizeDisplay.from_comparison(comparison, against=against)
    assert_array_equal(display.reference_line_.get_ydata(), comparison.distance_from_init)
    assert list(display.lines_) == [2, 5, "flow"]
    for key, line in display.lines_.items():
        assert_array_equal(line.get_xdata(), getattr(comparison, against))
        assert_array_equal(line.get_ydata(), comparison.distance[key])
    assert names(display) == [
        "from the start",
        "from step η/2",
        "from step η/5",
        "from gradient flow",
    ]
    assert against in display.ax_.get_xlabel()
    assert display.ax_.get_ylabel() == "distance of the parameters"


def test_it_draws_the_losses_of_all_runs(comparison):
    display = StepSizeDisplay.from_comparison(comparison, quantity="loss")
    assert_array_equal(display.reference_line_.get_ydata(), comparison.loss[1])
    for key, line in display.lines_.items():
        assert_array_equal(line.get_ydata(), comparison.loss[key])
    assert names(display) == ["step η", "step η/2", "step η/5", "gradient flow"]
    assert display.ax_.get_yscale() == "linear"
    assert 1 in comparison.loss  # which stays as it was


@pytest.mark.parametrize(("factor", "scale"), [(0.0, "linear"), (0.01, "log"), (0.1, "linear")])
def test_distances_that_would_lie_on_the_axis_have_a_log_scale(comparison, factor, scale):
    near = replace(comparison, distance={2: factor * comparison.distance_from_init})
    display = StepSizeDisplay(near).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_yscale() == scale


def test_runs_look_different(comparison):
    display = StepSizeDisplay.from_comparison(comparison)
    lines = [display.reference_line_, *display.lines_.values()]
    assert len({line.get_color() for line in lines}) == 4
    assert display.lines_["flow"].get_linestyle() == "--"


def test_it_draws_on_the_axes_it_is_given(comparison):
    figure, (left, right) = plt.subplots(1, 2)
    display = StepSizeDisplay(comparison)
    assert display.plot(right, line_kw={"linewidth": 5}, reference_kw={"color": "red"}) is display
    assert display.ax_ is right and display.figure_ is figure and not left.lines
    assert display.lines_[2].get_linewidth() == 5
    assert display.reference_line_.get_color() == "red"
    assert plt.get_fignums() == [figure.number]


def test_a_single_run_and_one_record_can_be_drawn():
    network = DeepLinearRegressor(2, 4)
    alone = compare_step_sizes(network, X, Y, step_size=0.02, divisors=(), flow=False, max_iter=0)
    for quantity in ("distance", "loss"):
        display = StepSizeDisplay.from_comparison(alone, quantity=quantity)
        display.figure_.canvas.draw()
        assert display.lines_ == {} and len(display.reference_line_.get_ydata()) == 1


def test_bad_input_is_named(comparison):
    with pytest.raises(ValueError, match="quantity must be"):
        StepSizeDisplay.from_comparison(comparison, quantity="gap")
    with pytest.raises(ValueError, match="against must be"):
        StepSizeDisplay.from_comparison(comparison, against="epoch")
    assert plt.get_fignums() == []
