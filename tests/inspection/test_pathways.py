"""Strengths of modes in pathways, as they are drawn."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.datasets import make_hierarchical
from sklearn_deeplinear.inspection import PathwayDisplay

X, Y = make_hierarchical()  # eight modes
KINDS = ["strengths", "heatmap", "phase_plane"]


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def fitted(X=X, Y=Y, **parameters):
    defaults = {"depth": 3, "width": 6, "fit_intercept": False, "max_iter": 40, "tol": 0}
    return MultiPathwayRegressor(**defaults | {"random_state": 0} | parameters).fit(X, Y)


@pytest.fixture(scope="module")
def model():
    return fitted(n_pathways=3)


def names(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("against", ["iteration", "time"])
def test_a_colour_for_each_pathway_and_a_style_for_each_mode(model, against):
    display = PathwayDisplay.from_estimator(model, against=against)
    strengths = model.trajectory_.mode_strengths
    drawn = np.reshape([line.get_ydata() for line in display.lines_], (3, 4, -1))
    assert_array_equal(drawn, strengths[:, :, :4].transpose(1, 2, 0))
    assert_array_equal(display.lines_[0].get_xdata(), getattr(model.trajectory_, against))
    colors = np.reshape([line.get_color() for line in display.lines_], (3, 4))
    styles = np.reshape([line.get_linestyle() for line in display.lines_], (3, 4))
    assert (colors[:, 0] == colors.T).all() and len(set(colors[:, 0])) == 3
    assert (styles == styles[0]).all() and len(set(styles[0])) == 4
    assert names(display) == [
        *(f"pathway {p}" for p in (1, 2, 3)),
        *(f"mode {k}" for k in range(1, 5)),
    ]
    assert against in display.ax_.get_xlabel() and display.ax_.get_ylabel() == "mode strength"


def test_other_modes_can_be_drawn(model):
    display = PathwayDisplay.from_estimator(model, modes=[5, 0], line_kw={"linewidth": 3})
    drawn = [line.get_ydata() for line in display.lines_[:2]]
    assert_array_equal(drawn, model.trajectory_.mode_strengths[:, 0, [5, 0]].T)
    assert names(display)[-2:] == ["mode 6", "mode 1"]
    assert {line.get_linewidth() for line in display.lines_} == {3}
    single = PathwayDisplay.from_estimator(model, modes=5)
    assert len(single.lines_) == 3


def test_a_heat_map_has_the_shares_of_every_mode(model):
    display = PathwayDisplay.from_estimator(model, kind="heatmap")
    shares = display.image_.get_array()
    assert shares.shape == (3, 8)
    assert_allclose(shares.sum(axis=0), 1)
    assert_allclose(shares.max(axis=0), model.dominant_share_)
    assert_array_equal(shares.argmax(axis=0), model.dominant_pathway_)
    assert [t.get_text() for t in display.text_.ravel()] == [f"{s:.2f}" for s in shares.ravel()]
    assert display.text_[2, 5].get_position() == (5, 2)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("mode", "pathway")
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == [str(k) for k in range(1, 9)]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["1", "2", "3"]
    assert display.lines_ == []


def test_numbers_stand_out_of_their_colours():
    """By the contrast of the web content accessibility guidelines, 4.5 to 1 for text."""
    trajectory = replace(fitted().trajectory_, mode_strengths=np.ones((1, 2, 101)))
    shares = np.linspace(0, 1, 101)
    display = PathwayDisplay(trajectory, final=np.array([shares, 1 - shares]))
    display.plot(kind="heatmap", modes=range(101))

    def luminance(color):
        linear = np.array(
            [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        )
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    backgrounds = display.image_.to_rgba(display.image_.get_array())[..., :3]
    for background, text in zip(backgrounds.reshape(-1, 3), display.text_.ravel(), strict=True):
        one, other = luminance(background), luminance(to_rgb(text.get_color()))
        assert max(one / other, other / one) > 4.4


def test_the_kept_network_is_that_of_the_heat_map(model):
    """With early stopping it is not the last one; without an estimator it is."""
    trajectory = model.trajectory_
    drawn = PathwayDisplay(trajectory).plot(kind="heatmap").image_.get_array()
    size = np.abs(trajectory.mode_strengths[-1])
    assert_allclose(drawn, size / size.sum(axis=0))
    final = np.arange(24.0).reshape(3, 8) - 5
    drawn = PathwayDisplay(trajectory, final=final).plot(kind="heatmap").image_.get_array()
    assert_allclose(drawn, np.abs(final) / np.abs(final).sum(axis=0))


def test_a_mode_that_no_pathway_has_learnt_has_no_shares(model):
    display = PathwayDisplay(model.trajectory_, final=np.zeros((3, 8))).plot(kind="heatmap")
    assert_array_equal(display.image_.get_array(), np.zeros((3, 8)))


def test_the_phase_plane_has_one_pathway_against_another(model):
    strengths = model.trajectory_.mode_strengths
    display = PathwayDisplay.from_estimator(model, kind="phase_plane")
    (line,) = display.lines_
    assert_array_equal(line.get_data(), strengths[:, [0, 1], 0].T)
    assert names(display) == ["mode 1", "equal shares"]
    assert display.ax_.get_xlim() == display.ax_.get_ylim()
    display = PathwayDisplay.from_estimator(
        model, kind="phase_plane", pathways=(2, 0), modes=[1, 4]
    )
    for line, mode in zip(display.lines_, (1, 4), strict=True):
        assert_array_equal(line.get_data(), strengths[:, [2, 0], mode].T)
    assert display.ax_.get_xlabel() == "mode strength in pathway 3"
    assert display.ax_.get_ylabel() == "mode strength in pathway 1"
    low, high = display.ax_.get_xlim()
    shown = strengths[:, [2, 0]][:, :, [1, 4]]
    assert low < shown.min() and shown.max() < high


@pytest.mark.parametrize("kind", KINDS)
def test_conventions_of_displays(kind, model):
    figure, (left, right) = plt.subplots(1, 2)
    settings = dict(plt.rcParams)
    display = PathwayDisplay.from_estimator(model, kind=kind, ax=right)
    assert display.ax_ is right and display.figure_ is figure
    assert not left.has_data() and right.has_data()
    assert display.plot(ax=left, kind=kind) is display and display.ax_ is left
    assert plt.get_fignums() == [figure.number] and dict(plt.rcParams) == settings
    figure.canvas.draw()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "parameters",
    [
        {"activation": "relu"},
        {"solver": "analytic", "weight_decay": 0.01},
        {"solver": "analytic", "weight_decay": 100.0},
        {"depth": (1, 4), "init": "balanced"},
    ],
    ids=["relu", "one_record", "zero", "depths"],
)
def test_any_pathways_can_be_drawn(kind, parameters):
    model = fitted(**parameters)
    display = PathwayDisplay.from_estimator(model, kind=kind)
    display.figure_.canvas.draw()
    one_target = fitted(Y=Y[:, 1], **parameters)  # a single mode
    PathwayDisplay.from_estimator(one_target, kind=kind).figure_.canvas.draw()


def test_a_single_pathway_has_no_phase_plane():
    model = fitted(n_pathways=1)
    for kind in ("strengths", "heatmap"):
        PathwayDisplay.from_estimator(model, kind=kind).figure_.canvas.draw()
    with pytest.raises(ValueError, match="pathways must be below 1, got 1"):
        PathwayDisplay.from_estimator(model, kind="phase_plane")


def test_bad_input_is_named(model):
    for options, message in [
        ({"kind": "race"}, "kind must be one of strengths"),
        ({"against": "epoch"}, "against must be"),
        ({"modes": 8}, "modes must be below 8, got 8"),
        ({"modes": [-1]}, "modes must be at least 0"),
        ({"kind": "phase_plane", "pathways": (0, 3)}, "pathways must be below 3"),
        ({"kind": "phase_plane", "pathways": (0,)}, "pathways must be a pair"),
    ]:
        with pytest.raises(ValueError, match=message):
            PathwayDisplay.from_estimator(model, **options)
    with pytest.raises(NotFittedError):
        PathwayDisplay.from_estimator(MultiPathwayRegressor())
    single = DeepLinearRegressor(max_iter=2, tol=0).fit(X, Y)
    with pytest.raises(TypeError, match="mode_strengths_"):
        PathwayDisplay.from_estimator(single)
    with pytest.raises(ValueError, match="must have mode_strengths"):
        PathwayDisplay(single.trajectory_).plot()
    nothing = fitted(Y=np.zeros_like(Y), solver="analytic", weight_decay=0.1)
    with pytest.raises(ValueError, match="must have a mode"):
        PathwayDisplay.from_estimator(nothing)
    assert plt.get_fignums() == []
