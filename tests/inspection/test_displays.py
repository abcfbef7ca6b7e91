"""Displays draw what the estimators recorded, on the axes they are given."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.inspection import (
    BalanceDisplay,
    OptimalityDisplay,
    PathwayDisplay,
    RegularisationPathDisplay,
    TrajectoryDisplay,
)

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
    assert names == ["DeepLinearRegressor", "second", "third", "fourth", "exact minimum"]


@pytest.mark.parametrize("name", ["", None])
def test_runs_without_a_name_have_no_legend(model, name):
    minimum = model.global_minimum_.objective
    assert TrajectoryDisplay(model.trajectory_, minimum=minimum, name=name).plot().minimum_line_
    assert plt.gca().get_legend() is None


def test_a_single_record_is_a_point():
    """Of which a line without a marker shows nothing."""
    start, pathways = fitted(max_iter=0), fitted_pathways(max_iter=0)
    drawn = [
        TrajectoryDisplay.from_estimator(start).line_,
        *BalanceDisplay.from_estimator(start).lines_,
        *PathwayDisplay.from_estimator(pathways).lines_,
        *RegularisationPathDisplay.from_data(X, Y, weight_decays=[0.1]).lines_[2],
        OptimalityDisplay.from_estimators([start]).minimum_line_,
    ]
    assert {line.get_marker() for line in drawn} == {"o"}
    assert TrajectoryDisplay.from_estimator(start, marker="x").line_.get_marker() == "x"
    assert TrajectoryDisplay.from_estimator(fitted()).line_.get_marker() == "None"


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


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_several_runs_share_axes_and_their_minimum(model):
    other = fitted(solver="momentum")
    display = TrajectoryDisplay.from_estimators([model, other], names=["gd", "momentum"])
    for line, run in zip(display.lines_, [model, other], strict=True):
        assert_array_equal(line.get_data(), [run.trajectory_.iteration, run.trajectory_.objective])
    assert len({line.get_color() for line in display.lines_}) == 2
    assert len(set(display.minimum_lines_)) == 1  # the same problem
    assert display.minimum_line_.get_color() not in [line.get_color() for line in display.lines_]
    assert legend(display) == ["gd", "momentum", "exact minimum"]
    assert display.line_ is display.lines_[0] and display.brackets_ == [None, None]
    assert len(display.ax_.lines) == 3


def test_runs_of_other_problems_have_their_own_minima(model):
    runs = [model, fitted(weight_decay=0.1), HomogeneousMLPRegressor(max_iter=3, tol=0).fit(X, Y)]
    figure, ax = plt.subplots()
    display = TrajectoryDisplay.from_estimators(runs, ax=ax)
    assert display.figure_ is figure and plt.get_fignums() == [figure.number]
    for run, line, own in zip(runs[:2], display.minimum_lines_, display.lines_, strict=False):
        assert_array_equal(line.get_ydata(), [run.global_minimum_.lower_bound] * 2)
        assert line.get_color() == own.get_color()
    assert display.minimum_lines_[2] is None  # which has none
    names = ["DeepLinearRegressor"] * 2 + ["HomogeneousMLPRegressor", "exact minimum"]
    assert legend(display) == names
    with pytest.raises(ValueError, match="minimum"):
        TrajectoryDisplay.from_estimators(runs, curve="gap")
    gaps = TrajectoryDisplay.from_estimators(runs[:2], curve="gap").lines_
    for line, run in zip(gaps, runs, strict=False):
        gap = run.trajectory_.objective - run.global_minimum_.lower_bound
        assert_array_equal(line.get_ydata(), gap)


def test_what_lies_between_the_bounds_of_a_minimum_is_a_band(model):
    run = model.trajectory_
    display = TrajectoryDisplay(run, minimum=0.5, upper_bound=0.75).plot(bracket_kw={"alpha": 0.3})
    (band,) = display.brackets_
    box = band.get_extents().transformed(display.ax_.transData.inverted())
    assert_allclose([box.ymin, box.ymax], [0.5, 0.75])
    assert band.get_alpha() == 0.3
    assert_array_equal(display.minimum_line_.get_ydata(), [0.5, 0.5])
    several = TrajectoryDisplay(
        [run, run, run], minimum=[0.5, 0.6, None], upper_bound=[0.75, None, None], name=list("abc")
    ).plot(minimum_kw={"linewidth": 3})
    assert legend(several) == ["a", "b", "c", "lower bound of the minimum", "exact minimum"]
    assert [band is None for band in several.brackets_] == [False, True, True]
    assert several.minimum_line_.get_linewidth() == 3


@pytest.mark.parametrize("kind", ["exact", "certified", "unattained", "stationary"])
def test_only_a_minimum_without_proof_has_a_band(kind, model, monkeypatch):
    known = replace(model.global_minimum_, kind=kind, lower_bound=0.9 * model.objective_)
    monkeypatch.setattr(DeepLinearRegressor, "global_minimum_", known)
    display = TrajectoryDisplay.from_estimator(model)
    assert display.minimum == known.lower_bound
    assert display.upper_bound == (known.objective if kind == "stationary" else None)
    assert (display.brackets_ == [None]) == (kind != "stationary")


def test_the_loss_on_validation_data_is_drawn_beside_that_on_training_data(model):
    watched = DeepLinearRegressor(max_iter=20, tol=0).fit(X, Y, X_val=X[:5], y_val=Y[:5])
    display = TrajectoryDisplay.from_estimators([watched, model], curve="loss", names=["a", "b"])
    line, nothing = display.validation_lines_
    assert nothing is None
    assert_array_equal(line.get_ydata(), watched.trajectory_.validation_loss)
    assert line.get_color() == display.line_.get_color()
    assert line.get_linestyle() != display.line_.get_linestyle()
    assert legend(display) == ["a", "a, validation", "b"]
    alone = TrajectoryDisplay.from_estimator(watched, curve="loss", validation=False)
    assert alone.validation_lines_ == [None] and len(alone.ax_.lines) == 1
    unnamed = TrajectoryDisplay(watched.trajectory_).plot(curve="loss")
    assert legend(unnamed) == ["validation"]
    objective = TrajectoryDisplay.from_estimator(watched)
    assert objective.validation_lines_ == [None]


def test_lists_of_runs_are_checked(model):
    with pytest.raises(ValueError, match="estimators must hold at least one"):
        TrajectoryDisplay.from_estimators([])
    for names in (["a"], "ab"):
        with pytest.raises(ValueError, match="names must be a list of 2 names"):
            TrajectoryDisplay.from_estimators([model, model], names=names)
    run = model.trajectory_
    for display in (
        TrajectoryDisplay([]),
        TrajectoryDisplay([run, run], minimum=[0.0]),
        TrajectoryDisplay([run, run], name="ab"),
        TrajectoryDisplay([run, run], minimum=0.0),
    ):
        with pytest.raises(ValueError, match="lists with an entry for each"):
            display.plot()
    assert plt.get_fignums() == []


ESTIMATORS = {
    "classifier": (DeepLinearClassifier(3, 4), "layer"),
    "perceptron": (HomogeneousMLPRegressor(3, 4), "neuron"),
    "perceptron classifier": (HomogeneousMLPClassifier(3, 4), "neuron"),
    "one layer": (DeepLinearRegressor(1), "layer"),
    "mini-batches": (DeepLinearRegressor(3, 4, solver="adam"), "change"),
    "analytic": (DeepLinearRegressor(3, 4, solver="analytic"), "matrix"),
    "one pathway": (MultiPathwayRegressor(n_pathways=1), "layer"),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_runs_and_balance_of_every_estimator_can_be_drawn(name):
    estimator, quantity = ESTIMATORS[name]
    y = Y[:, 0] > 0 if "classifier" in name else Y
    model = clone(estimator).set_params(max_iter=3, tol=0, random_state=0).fit(X, y)
    display = BalanceDisplay.from_estimator(model, quantity=quantity)
    histories = model.balance_history_
    histories = histories if isinstance(histories, list) else [histories]
    wanted = np.concatenate([getattr(history, quantity).T for history in histories])
    assert len(display.lines_) == len(wanted)
    for line, values in zip(display.lines_, wanted, strict=True):
        assert_array_equal(line.get_ydata(), values)
    display.figure_.canvas.draw()
    TrajectoryDisplay.from_estimator(model).figure_.canvas.draw()


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
