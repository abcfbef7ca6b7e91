"""Phases of zero weights, as they are drawn, against minima and Hessians one by one."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.inspection import PhaseDiagramDisplay
from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    global_minimum,
    zero_hessian,
)

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3)) * [1.0, 2.0, 0.3]
Y = X @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((40, 2))
y = Y[:, 0]
MOMENTS = SecondMoments.from_data(X, y)
SIGNAL = np.linalg.norm(MOMENTS.cross_moment)
# No critical decay is on this grid, and each of its decays is one row of the reference.
DECAYS = np.geomspace(0.011, 17.0, 15)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def phase(moments, depth, decay, width=4, noise=0.0):
    """What zero is, from the minimum and the Hessian of this one network."""
    if global_minimum(moments, depth=depth, width=width, weight_decay=decay, noise=noise).is_zero:
        return "global"
    hessian = zero_hessian(moments, depth=depth, width=width, weight_decay=decay)
    assert hessian.is_saddle != hessian.is_strict_minimum
    return "saddle" if hessian.is_saddle else "local"


def scaled(signal):
    """The moments with another cross moment; E[y^2] is made to allow it."""
    S = MOMENTS.cross_moment * (signal / SIGNAL)
    least = float((S @ np.linalg.solve(MOMENTS.input_moment, S.T))[0, 0])
    return SecondMoments.from_moments(MOMENTS.input_moment, S, 2 * least)


@pytest.mark.parametrize("noise", [0.0, 0.7], ids=["quiet", "noisy"])
def test_phases_of_decay_and_depth(noise):
    depths = (2, 3, 5)
    display = PhaseDiagramDisplay.from_moments(
        MOMENTS, depths=depths, weight_decays=DECAYS, width=4, noise=noise
    )
    expected = [[phase(MOMENTS, L, g, noise=noise) for g in DECAYS] for L in depths]
    assert_array_equal(display.phases, expected)
    assert {*display.phases.ravel()} == {*display.regions_} == {"saddle", "local", "global"}


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_phases_of_decay_and_signal(depth):
    signals = SIGNAL * np.array([0.01, 0.3, 1.0, 5.0])
    display = PhaseDiagramDisplay.from_moments(
        MOMENTS, depths=depth, signals=signals, weight_decays=DECAYS
    )
    expected = [[phase(scaled(e), depth, g) for g in DECAYS] for e in signals]
    assert_array_equal(display.phases, expected)
    assert len({*display.phases.ravel()}) == 2
    for row, signal in enumerate(signals):
        critical = critical_weight_decay(scaled(signal), depth=depth)
        # Roots are found to rounding; both sides are products of a few of them.
        assert_allclose(display.collapse[row], critical.collapse, rtol=1e-9)
        assert_allclose(display.spinodal[row], critical.spinodal, rtol=1e-9)
    assert display.ax_.get_ylabel() == "signal ||E[xy]||"
    assert display.ax_.get_yscale() == "log"


def test_beyond_the_spinodal_zero_is_the_only_stationary_point():
    display = PhaseDiagramDisplay.from_moments(MOMENTS, depths=(3, 4))
    for depth, spinodal in zip(display.depths, display.spinodal, strict=True):
        below, above = (
            global_minimum(MOMENTS, depth=int(depth), weight_decay=spinodal * factor).candidates
            for factor in (0.999, 1.001)
        )
        assert (len(below), len(above)) == (3, 1)


def test_lines_and_areas_show_the_critical_decays():
    display = PhaseDiagramDisplay([0.1, 10.0], [2, 4], [1.0, 0.5], [1.0, 0.7])
    assert display.plot() is display
    assert_array_equal(display.collapse_line_.get_xdata(), [1.0, 1.0, 0.5, 0.5])
    assert_array_equal(display.collapse_line_.get_ydata(), [-0.5, 0.5, 0.5, 1.5])
    assert_array_equal(display.spinodal_line_.get_xdata(), [np.nan, np.nan, 0.7, 0.7])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["2", "4"]
    assert display.ax_.get_xlim() == (0.1, 10.0)
    # (decay, row) and the areas that hold it.
    for point, expected in {
        (0.6, 0.0): "saddle",
        (0.4, 1.0): "local",
        (0.6, 1.0): "global",
        (3.0, 0.0): "global",
    }.items():
        holding = [
            name
            for name, area in display.regions_.items()
            if any(path.contains_point(point) for path in area.get_paths())
        ]
        assert holding == [expected]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == [
        "zero: a saddle",
        "zero: a local minimum",
        "zero: the global minimum",
        "collapse",
        "spinodal",
    ]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == (
        "weight decay",
        "number of layers",
    )


def test_two_layers_alone_have_no_spinodal():
    display = PhaseDiagramDisplay.from_moments(MOMENTS, signals=[0.5, 1.0])
    assert display.spinodal_line_ is None
    assert set(display.regions_) == {"saddle", "global"}
    assert_allclose(display.collapse, [0.5, 1.0], rtol=1e-12)  # gamma = ||S||
    assert display.ax_.get_yscale() == "linear"


def test_the_default_range_holds_all_critical_decays():
    display = PhaseDiagramDisplay.from_moments(MOMENTS)
    assert_array_equal(display.depths, [2, 3, 4, 5, 6])
    low, high = display.weight_decays[[0, -1]]
    assert low < display.collapse.min() and display.spinodal.max() < high


@pytest.mark.parametrize("decay", [0.05, (0.01, 0.05, 0.25)], ids=["equal", "unequal"])
def test_a_fitted_network_is_marked(decay):
    model = DeepLinearRegressor(3, 4, weight_decay=decay, solver="analytic").fit(X, y)
    display = PhaseDiagramDisplay.from_estimator(model)
    assert_allclose(display.network_.get_xdata(), [0.05], rtol=1e-12)
    assert_array_equal(display.network_.get_ydata(), [1])  # the second band
    assert display.ax_.get_yticklabels()[1].get_text() == "3"
    by_signal = PhaseDiagramDisplay.from_estimator(model, signals=[0.5 * SIGNAL, 2 * SIGNAL])
    assert_allclose(by_signal.network_.get_ydata(), [SIGNAL], rtol=1e-12)
    assert_array_equal(by_signal.depths, [3, 3])


@pytest.mark.parametrize("decay", [1e-9, 0.05, 1e9])
def test_the_default_range_holds_the_network(decay):
    model = DeepLinearRegressor(2, 4, weight_decay=decay, solver="analytic").fit(X, y)
    display = PhaseDiagramDisplay.from_estimator(model)
    low, high = display.ax_.get_xlim()
    assert low < display.network_.get_xdata()[0] < high
    assert low < display.collapse.min() and display.spinodal.max() < high


def test_what_is_not_in_the_diagram_is_not_marked():
    model = DeepLinearRegressor(3, 4, weight_decay=0.05, solver="analytic").fit(X, y)
    for options in (
        {"depths": (2, 4)},
        {"depths": 2},
        {"weight_decays": [0.1, 1.0]},
        {"signals": [2 * SIGNAL, 3 * SIGNAL]},
    ):
        display = PhaseDiagramDisplay.from_estimator(model, **options)
        assert display.network_ is None
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert "this network" not in texts


def test_deep_and_unpenalised_networks():
    deep = DeepLinearRegressor(8, 4, weight_decay=0.1, solver="analytic").fit(X, y)
    assert_array_equal(PhaseDiagramDisplay.from_estimator(deep).depths, range(2, 9))
    free = DeepLinearRegressor(2, 4, solver="analytic").fit(X, y)
    assert PhaseDiagramDisplay.from_estimator(free).network_ is None


def test_the_choice_of_a_search_is_marked():
    search = DeepLinearRegressorCV([0.05], [3]).fit(X, y)
    display = PhaseDiagramDisplay.from_estimator(search)
    assert_allclose(display.network_.get_data(), [[0.05], [1]], rtol=1e-12)


def test_noise_per_layer_is_that_of_one_depth():
    model = DeepLinearRegressor(
        3, (4, 5), noise=(0.1, 0.2), weight_decay=0.1, solver="analytic"
    ).fit(X, y)
    display = PhaseDiagramDisplay.from_estimator(model)
    expected = critical_weight_decay(model.moments_, depth=3, width=(4, 5), noise=(0.1, 0.2))
    assert_array_equal(display.collapse, [expected.collapse])
    assert_array_equal(display.depths, [3])


def test_a_network_of_several_targets_has_its_two_layers():
    model = DeepLinearRegressor(2, 4, weight_decay=0.5, solver="analytic").fit(X, Y)
    display = PhaseDiagramDisplay.from_estimator(model, depths=[2])
    assert_allclose(display.collapse, [np.linalg.norm(model.moments_.cross_moment, 2)])
    with pytest.raises(ValueError, match="rank one"):
        PhaseDiagramDisplay.from_estimator(model)


def test_it_leaves_alone_what_is_not_its_own():
    figure, (left, right) = plt.subplots(1, 2)
    before = dict(plt.rcParams)
    display = PhaseDiagramDisplay.from_moments(
        MOMENTS,
        ax=right,
        region_kw={"alpha": 0.2},
        collapse_kw={"linewidth": 3},
        spinodal_kw={"color": "green"},
    )
    assert display.figure_ is figure and plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert {area.get_alpha() for area in display.regions_.values()} == {0.2}
    assert display.collapse_line_.get_linewidth() == 3
    assert display.spinodal_line_.get_color() == "green"
    assert dict(plt.rcParams) == before


def test_bad_input_is_named():
    make = PhaseDiagramDisplay.from_moments
    with pytest.raises(ValueError, match="depths must be at least 2"):
        make(MOMENTS, depths=(1, 2))
    with pytest.raises(ValueError, match="depths must be at least 2"):
        make(MOMENTS, depths=())
    with pytest.raises(TypeError, match="depths must be an int"):
        make(MOMENTS, depths=["two"])
    with pytest.raises(ValueError, match="depths must be one number with signals"):
        make(MOMENTS, depths=(2, 3), signals=[1.0, 2.0])
    for signals in ([0.0, 1.0], [2.0, 1.0], [1.0, np.nan], [1.0]):
        with pytest.raises(ValueError, match="signals must be two or more positive"):
            make(MOMENTS, signals=signals)
    with pytest.raises(ValueError, match="weight_decays must be two or more positive"):
        make(MOMENTS, weight_decays=[0.0, 1.0])
    with pytest.raises(ValueError, match="moments must have a cross moment"):
        make(SecondMoments.from_moments([[1.0]], [[0.0]], 1.0))
    with pytest.raises(ValueError, match="width must be given"):
        make(MOMENTS, noise=0.1)
    assert plt.get_fignums() == []


def test_other_estimators_are_refused():
    make = PhaseDiagramDisplay.from_estimator
    with pytest.raises(NotFittedError):
        make(DeepLinearRegressor())
    with pytest.raises(TypeError, match="Ridge"):
        make(Ridge().fit(X, y))
    with pytest.raises(TypeError, match="MultiPathwayRegressor"):
        make(MultiPathwayRegressor(weight_decay=0.1, solver="analytic").fit(X, y))
    with pytest.raises(TypeError, match="DeepLinearClassifier"):
        make(DeepLinearClassifier(weight_decay=0.1, max_iter=2, tol=0).fit(X, y > 0))
    with pytest.raises(ValueError, match="depths must be at least 2"):
        make(DeepLinearRegressor(1, solver="analytic").fit(X, y), depths=(1,))
    assert plt.get_fignums() == []
