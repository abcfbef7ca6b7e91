"""Paths of exact minima, as they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear.inspection import RegularisationPathDisplay
from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    global_minimum,
)

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
Y = X @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((40, 2))
DECAYS = np.geomspace(0.01, 10, 7)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def test_it_draws_the_minima_of_each_depth_and_where_they_vanish():
    y = Y[:, 0]
    display = RegularisationPathDisplay.from_data(X, y, weight_decays=DECAYS, depths=(1, 2, 3))
    moments = SecondMoments.from_data(X, y)
    for depth, lines in display.lines_.items():
        drawn = np.transpose([line.get_ydata() for line in lines])
        minima = [global_minimum(moments, depth=depth, weight_decay=g).coef[0] for g in DECAYS]
        assert_allclose(drawn, minima, atol=1e-7)
    assert list(display.critical_lines_) == [2, 3]  # ridge regression never vanishes
    for depth, line in display.critical_lines_.items():
        expected = critical_weight_decay(moments, depth=depth).collapse
        assert_array_equal(line.get_xdata(), [expected, expected])
    assert display.ax_.get_xscale() == "log"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["1 layer", "2 layers", "3 layers", "zero is the minimum from here"]


def test_decays_are_drawn_in_ascending_order_and_one_depth_may_be_a_number():
    given, options = [1.0, 0.01, 0.1], {"quantity": "norm"}
    display = RegularisationPathDisplay.from_data(X, Y, weight_decays=given, depths=2, **options)
    same = RegularisationPathDisplay.from_data(
        X, Y, weight_decays=sorted(given), depths=(2,), **options
    )
    for line, expected in zip(display.lines_[2], same.lines_[2], strict=True):
        assert_array_equal(line.get_xdata(), [0.01, 0.1, 1.0])
        assert_array_equal(line.get_ydata(), expected.get_ydata())


def test_a_collapse_at_zero_is_not_on_the_axis():
    display = RegularisationPathDisplay.from_data(
        X, np.ones(40), weight_decays=DECAYS, depths=(2, 3)
    )
    assert display.critical_lines_ == {} and display.ax_.get_xlim()[0] > DECAYS[0] / 10


def test_several_outputs_lose_rank():
    display = RegularisationPathDisplay.from_data(
        X, Y, weight_decays=DECAYS, depths=(2,), quantity="rank"
    )
    ranks = display.lines_[2][0].get_ydata()
    assert_array_equal(ranks, [np.linalg.matrix_rank(c, tol=1e-8) for c in display.coefs[2]])
    assert (ranks[0], ranks[-1]) == (2, 0)


def test_it_draws_on_the_axes_it_is_given():
    figure, ax = plt.subplots()
    display = RegularisationPathDisplay([0.1, 1.0], {2: np.array([[[3.0, 4.0]], [[0.0, 0.0]]])})
    assert display.plot(ax=ax, quantity="norm", line_kw={"linewidth": 3}) is display
    assert display.figure_ is figure
    (line,) = display.lines_[2]
    assert line.get_linewidth() == 3
    assert_array_equal(line.get_ydata(), [5.0, 0.0])
    assert display.critical_lines_ == {}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="weight_decays must be positive"):
        RegularisationPathDisplay.from_data(X, Y, weight_decays=[0.0, 1.0])
    with pytest.raises(ValueError, match="depths must hold at least one"):
        RegularisationPathDisplay.from_data(X, Y, weight_decays=DECAYS, depths=())
    with pytest.raises(ValueError, match="quantity must be one of"):
        RegularisationPathDisplay([1.0], {2: np.ones((1, 1, 1))}).plot(quantity="loss")
