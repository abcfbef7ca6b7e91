"""Displays draw what the estimators recorded, on the axes they are given."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.inspection import BalanceDisplay, TrajectoryDisplay

RNG = np.random.RandomState(0)
X, Y = RNG.standard_normal((30, 4)), RNG.standard_normal((30, 2))


def fitted(depth=3, **parameters):
    defaults = {"init": "normal", "random_state": 0, "max_iter": 20, "tol": 0, "weight_decay": 0.01}
    return DeepLinearRegressor(depth, 5, **defaults | parameters).fit(X, Y)


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("display_class", [TrajectoryDisplay, BalanceDisplay])
class TestEveryDisplay:
    """Conventions of scikit-learn's displays."""

    def test_makes_its_own_axes(self, display_class, model):
        display = display_class.from_estimator(model)
        assert isinstance(display, display_class)
        assert display.figure_ is display.ax_.figure
        assert display.ax_.get_xlabel() and display.ax_.get_ylabel()

    def test_draws_on_given_axes(self, display_class, model):
        figure, (left, right) = plt.subplots(1, 2)
        display = display_class.from_estimator(model, ax=right)
        assert display.ax_ is right and display.figure_ is figure
        assert right.lines and not left.lines
        assert plt.get_fignums() == [figure.number]

    def test_plots_again(self, display_class, model):
        display = display_class.from_estimator(model)
        first = display.ax_
        assert display.plot() is display
        assert display.ax_ is not first

    def test_passes_options_to_the_lines(self, display_class, model):
        display = display_class.from_estimator(model, linewidth=7.5, color="green")
        line = display.ax_.lines[0]
        assert line.get_linewidth() == 7.5 and line.get_color() == "green"

    def test_counts_iterations_or_time(self, display_class, model):
        for against in ("iteration", "time"):
            display = display_class.from_estimator(model, against=against)
            assert against in display.ax_.get_xlabel()
            wanted = getattr(model.trajectory_, against)
            assert_array_equal(display.ax_.lines[0].get_xdata(), wanted)

    def test_refuses_another_axis(self, display_class, model):
        with pytest.raises(ValueError, match="against"):
            display_class.from_estimator(model, against="epoch")
        assert plt.get_fignums() == []

    def test_refuses_what_is_not_fitted(self, display_class):
        with pytest.raises(NotFittedError):
            display_class.from_estimator(DeepLinearRegressor())

    def test_refuses_an_estimator_without_records(self, display_class):
        with pytest.raises(TypeError, match="Ridge"):
            display_class.from_estimator(Ridge().fit(X, Y))


@pytest.mark.parametrize("curve", ["loss", "objective", "gradient_norm"])
def test_a_training_curve_is_the_recorded_one(curve, model):
    display = TrajectoryDisplay.from_estimator(model, curve=curve)
    assert_array_equal(display.line_.get_ydata(), getattr(model.trajectory_, curve))
    assert display.ax_.get_yscale() == ("log" if curve == "gradient_norm" else "linear")
    assert (display.minimum_line_ is not None) == (curve == "objective")


def test_the_minimum_is_drawn_below_the_objective(model):
    display = TrajectoryDisplay.from_estimator(model)
    assert_array_equal(display.minimum_line_.get_ydata(), [model.global_minimum_.lower_bound] * 2)
    assert display.minimum_line_.get_color() == display.line_.get_color()


def test_the_gap_is_the_height_above_the_minimum(model):
    display = TrajectoryDisplay.from_estimator(model, curve="gap")
    wanted = model.trajectory_.objective - model.global_minimum_.lower_bound
    assert_array_equal(display.line_.get_ydata(), wanted)
    assert display.ax_.get_yscale() == "log" and display.minimum_line_ is None


def test_a_gap_needs_a_minimum(model):
    with pytest.raises(ValueError, match="minimum"):
        TrajectoryDisplay(model.trajectory_).plot(curve="gap")
    assert TrajectoryDisplay(model.trajectory_).plot().minimum_line_ is None


@pytest.mark.parametrize("name", ["sharpness", "nuclear_norm", "effective_rank"])
def test_what_else_was_recorded_can_be_drawn(name, model):
    with pytest.raises(ValueError, match=f"one of those of this run.*got '{name}'.*record"):
        TrajectoryDisplay.from_estimator(model, curve=name)
    recorded = DeepLinearRegressor(max_iter=5, tol=0, record=[name]).fit(X, Y)
    display = TrajectoryDisplay.from_estimator(recorded, curve=name)
    assert_array_equal(display.line_.get_ydata(), getattr(recorded.trajectory_, name))
    assert len(display.line_.get_ydata()) > 1
    assert display.ax_.get_ylabel()


@pytest.mark.parametrize("weight_decay", [0.01, 10.0])
@pytest.mark.parametrize("curve", ["objective", "gap", "gradient_norm"])
def test_a_run_of_one_record_can_be_drawn(curve, weight_decay):
    """Even where gap and gradient are zero, as at the zero network, and have no logarithm."""
    model = fitted(solver="analytic", weight_decay=weight_decay)
    display = TrajectoryDisplay.from_estimator(model, curve=curve)
    display.figure_.canvas.draw()
    assert len(display.line_.get_xdata()) == 1


def test_names_of_runs(model):
    figure, ax = plt.subplots()
    TrajectoryDisplay.from_estimator(model, ax=ax)
    TrajectoryDisplay.from_estimator(model, ax=ax, name="second")
    TrajectoryDisplay(model.trajectory_).plot(ax, name="third")
    TrajectoryDisplay(model.trajectory_, name="fourth").plot(ax)
    TrajectoryDisplay(model.trajectory_).plot(ax)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["DeepLinearRegressor", "second", "third", "fourth"]


@pytest.mark.parametrize("quantity", ["layer", "neuron", "matrix", "change"])
def test_a_curve_for_each_pair_of_layers(quantity, model):
    display = BalanceDisplay.from_estimator(model, quantity=quantity, name="run")
    drawn = np.transpose([line.get_ydata() for line in display.lines_])
    assert_array_equal(drawn, getattr(model.balance_history_, quantity))
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["run, layers 1 and 2", "run, layers 2 and 3"]


def test_one_layer_has_no_pairs():
    display = BalanceDisplay.from_estimator(fitted(1))
    assert display.lines_ == [] and display.ax_.get_legend() is None


def test_unknown_quantities_are_refused(model):
    with pytest.raises(ValueError, match="quantity"):
        BalanceDisplay.from_estimator(model, quantity="norm")
    with pytest.raises(ValueError, match="curve"):
        TrajectoryDisplay.from_estimator(model, curve="norm")


def test_a_quantity_that_was_not_recorded_is_refused(model):
    history = replace(model.balance_history_, matrix=None)
    with pytest.raises(ValueError, match="matrix"):
        BalanceDisplay(history).plot(quantity="matrix")
    assert plt.get_fignums() == []


def fitted_pathways(**parameters):
    defaults = {"init": "normal", "random_state": 0, "max_iter": 20, "tol": 0, "weight_decay": 0.01}
    return MultiPathwayRegressor(**defaults | parameters).fit(X, Y)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
@pytest.mark.parametrize("quantity", ["layer", "neuron", "change"])
def test_a_curve_for_each_pair_of_layers_of_each_pathway(quantity, activation):
    model = fitted_pathways(depth=(2, 1, 3), n_pathways=3, width=5, activation=activation)
    display = BalanceDisplay.from_estimator(model, quantity=quantity, name="run")
    drawn = np.transpose([line.get_ydata() for line in display.lines_])
    recorded = [getattr(history, quantity) for history in model.balance_history_]
    assert_array_equal(drawn, np.concatenate(recorded, axis=1))
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == [
        "run, pathway 1, layers 1 and 2",
        "run, pathway 3, layers 1 and 2",
        "run, pathway 3, layers 2 and 3",
    ]


def test_curves_of_pathways_look_different():
    """By the pathway in style, by the pair of layers in colour; who plots may say otherwise."""
    model = fitted_pathways(depth=8, n_pathways=4, width=2)
    lines = BalanceDisplay.from_estimator(model).lines_
    colors = np.reshape([line.get_color() for line in lines], (4, 7))
    styles = np.reshape([line.get_linestyle() for line in lines], (4, 7))
    assert (colors == colors[0]).all() and len(set(colors[0])) == 7
    assert (styles[:, 0] == styles.T).all() and len(set(styles[:, 0])) == 4
    green = BalanceDisplay.from_estimator(model, color="green", linestyle="-").lines_
    assert {(line.get_color(), line.get_linestyle()) for line in green} == {("green", "-")}


def test_the_minimum_of_linear_pathways_is_drawn():
    linear, relu = fitted_pathways(), fitted_pathways(activation="relu")
    display = TrajectoryDisplay.from_estimator(linear)
    assert_array_equal(display.minimum_line_.get_ydata(), [linear.global_minimum_.lower_bound] * 2)
    assert TrajectoryDisplay.from_estimator(relu).minimum_line_ is None


def test_what_krylov_spaces_do_not_measure_is_refused():
    model = fitted_pathways(compression="krylov", width=40, depth=3, init_scale=0.1)
    assert len(BalanceDisplay.from_estimator(model, quantity="neuron").lines_) == 4
    with pytest.raises(ValueError, match="krylov"):
        BalanceDisplay.from_estimator(model, quantity="matrix")
