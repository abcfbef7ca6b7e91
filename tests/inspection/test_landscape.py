"""Curves and slices of the objective, against networks that are passed through layer by layer."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.inspection import LandscapeDisplay
from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay, global_minimum

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3)) * [1.0, 2.0, 0.3] + [0.5, -1.0, 2.0]
Y = X @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((40, 2)) + 1.0
y = Y[:, 0]
WEIGHT = rng.uniform(0.0, 2.0, 40)
ACTIVATIONS = {
    "linear": lambda Z: Z,
    "ReLU": lambda Z: np.where(Z > 0, Z, 0.0),
    "tanh": np.tanh,
    "swish": lambda Z: Z * expit(Z),
}


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def plugged_in(b, width, gamma, A, S):
    """[W_1, ..., W_L] of the last layer b 1^T, the first by ridge regression on its features."""
    sizes = [*width, 1]
    penalty = gamma[-1] * width[-1] * b**2
    above = [
        np.sqrt(penalty / (gamma[i] * sizes[i] * sizes[i - 1])) * np.ones((sizes[i], sizes[i - 1]))
        for i in range(1, len(sizes) - 1)
    ]
    above.append(np.full((1, width[-1]), b))
    row = np.linalg.multi_dot([np.ones((1, 1)), *above[::-1], np.ones((width[0], 1))]).item()
    v = np.linalg.solve(row**2 * A + gamma[0] * width[0] * np.eye(len(A)), row * S)
    return [np.outer(np.ones(width[0]), v), *above]


def forward(layers, act, Z):
    for W in layers[:-1]:
        Z = act(Z @ W.T)
    return (Z @ layers[-1].T)[:, 0]


@pytest.mark.parametrize(
    ("width", "gamma"),
    [((4,), (0.3, 0.3)), ((4, 4), (0.2, 0.2, 0.2)), ((3, 5, 2), (0.1, 0.3, 0.2, 0.4))],
    ids=["2-layers", "3-layers", "uneven"],
)
@pytest.mark.parametrize("intercept", [True, False], ids=["centred", "raw"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
def test_curves_are_objectives_of_networks(width, gamma, intercept, weight):
    scales = np.array([-0.7, -0.1, 0.0, 0.3, 1.1])
    display = LandscapeDisplay.from_data(
        X,
        y,
        sample_weight=weight,
        depth=len(gamma),
        width=width,
        weight_decay=gamma,
        fit_intercept=intercept,
        scales=scales,
    )
    p = np.full(40, 1 / 40) if weight is None else weight / weight.sum()
    inputs, targets = (X - p @ X, y - p @ y) if intercept else (X, y)
    A, S = (inputs.T * p) @ inputs, (inputs.T * p) @ targets
    assert list(display.lines_) == list(ACTIVATIONS)
    for name, act in ACTIVATIONS.items():
        expected = []
        for b in scales:
            layers = plugged_in(b, width, gamma, A, S)
            residual = targets - forward(layers, act, inputs)
            if intercept:
                residual -= p @ residual
            penalty = sum(g * np.sum(W**2) for g, W in zip(gamma, layers, strict=True))
            expected.append(p @ residual**2 + penalty)
        drawn = display.lines_[name]
        assert_array_equal(drawn.get_xdata(), scales)
        assert_allclose(drawn.get_ydata(), expected, rtol=1e-10)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_minimum_of_the_linear_curve_is_the_global_one(depth):
    moments = SecondMoments.from_data(X, y)
    decay = 0.3 * critical_weight_decay(moments, depth=depth).collapse
    display = LandscapeDisplay.from_data(X, y, depth=depth, width=5, weight_decay=decay)
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    (b, objective), zero = display.points["minimum"], display.points["zero"]
    assert_allclose(objective, minimum.objective, rtol=1e-12)
    assert zero == (0.0, moments.output_moment)
    at = LandscapeDisplay.from_data(
        X, y, depth=depth, width=5, weight_decay=decay, scales=[-b, b * 0.99, b, b * 1.01]
    ).objective["linear"]
    assert_allclose(at[[0, 2]], minimum.objective, rtol=1e-10)
    assert at[2] < min(at[1], at[3])
    # The curve is symmetric, and nowhere below the minimum.
    curve = display.objective["linear"]
    assert_allclose(curve, curve[::-1], rtol=1e-10)
    assert curve.min() >= minimum.objective * (1 - 1e-12)
    assert_allclose(curve[len(curve) // 2], moments.output_moment, rtol=1e-12)
    assert display.x[0] < -b < b < display.x[-1]


@pytest.mark.parametrize("depth", [3, 4])
def test_zero_is_a_trap_for_every_activation_of_three_layers(depth):
    """And none for two, while the decay is below the critical one."""
    moments = SecondMoments.from_data(X, y)
    decay = 0.3 * critical_weight_decay(moments, depth=depth).collapse
    near = 1e-3 * np.array([-1.0, 0.0, 1.0])
    deep = LandscapeDisplay.from_data(X, y, depth=depth, weight_decay=decay, scales=near)
    for curve in deep.objective.values():
        assert curve[1] < min(curve[0], curve[2])
    decay = 0.3 * critical_weight_decay(moments, depth=2).collapse
    shallow = LandscapeDisplay.from_data(X, y, depth=2, weight_decay=decay, scales=near)
    left, at, right = shallow.objective["linear"]
    assert at > max(left, right)


def test_where_zero_is_the_minimum_the_marks_meet():
    display = LandscapeDisplay.from_data(X, y, depth=3, weight_decay=50.0)
    assert_allclose(display.points["minimum"], display.points["zero"], rtol=1e-12)
    assert display.objective["linear"].argmin() == len(display.x) // 2
    constant = LandscapeDisplay.from_data(X, np.ones(40), depth=2)
    assert np.isfinite(constant.x).all() and len(set(constant.x)) == len(constant.x)


def test_curves_are_labelled():
    display = LandscapeDisplay.from_data(X, y, activations=["tanh", "identity"])
    assert list(display.lines_) == ["tanh", "linear"]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["tanh", "linear", "minimum", "zero"]
    assert display.ax_.get_xlabel() == "scale b of the last layer"
    assert display.ax_.get_ylabel() == "objective J"
    assert display.contour_ is None and display.colorbar_ is None


def fitted(targets=y, **parameters):
    defaults = {"depth": 3, "width": 4, "weight_decay": 0.2, "init": "normal", "init_scale": 0.6}
    defaults |= {"max_iter": 5, "tol": 0, "random_state": 0}
    return DeepLinearRegressor(**defaults | parameters).fit(X, targets)


@pytest.mark.parametrize(
    ("targets", "parameters"),
    [
        (y, {}),
        (y, {"weight_decay": (0.1, 0.2, 0.3), "width": (3, 5), "noise": 0.4}),
        (Y, {"depth": 2, "fit_intercept": False}),
        (y, {"depth": 1}),
    ],
    ids=["plain", "noisy", "two-targets", "ridge"],
)
def test_marks_of_a_slice_are_what_the_estimator_knows(targets, parameters):
    model = fitted(targets, **parameters)
    display = LandscapeDisplay.from_estimator(model, X, targets, n_points=5)
    heights = {name: point[2] for name, point in display.points.items()}
    assert_allclose(heights["trained"], model.objective_, rtol=1e-10)
    assert_allclose(heights["minimum"], model.global_minimum_.objective, rtol=1e-10)
    assert_allclose(heights["zero"], model.moments_.output_moment, rtol=1e-12)
    assert display.points["zero"][:2] == (0.0, 0.0)
    # Coordinates are distances between networks.
    exact = model.global_minimum_.weights()
    size = np.sqrt(sum(np.sum(W**2) for W in exact))
    assert_allclose(display.points["minimum"][:2], (size, 0.0), atol=1e-12 * size)
    apart = np.sqrt(sum(np.sum((W - V) ** 2) for W, V in zip(exact, model.weights_, strict=True)))
    gap = np.subtract(display.points["trained"][:2], display.points["minimum"][:2])
    assert_allclose(np.linalg.norm(gap), apart, rtol=1e-10)


def test_a_slice_is_the_objective_of_its_networks():
    model = fitted()
    display = LandscapeDisplay.from_estimator(model, X, y, n_points=7)
    exact, trained = model.global_minimum_.weights(), model.weights_
    corners = np.array([display.points[name][:2] for name in ("minimum", "trained")]).T
    inputs, targets = X - X.mean(axis=0), y - y.mean()
    for i, across in enumerate(display.y):
        for j, along in enumerate(display.x):
            share, other = np.linalg.solve(corners, [along, across])
            layers = [share * W + other * V for W, V in zip(exact, trained, strict=True)]
            loss = np.mean((targets - forward(layers, lambda Z: Z, inputs)) ** 2)
            expected = loss + 0.2 * sum(np.sum(W**2) for W in layers)
            assert_allclose(display.objective[i, j], expected, rtol=1e-9)
    for point in display.points.values():
        assert display.x[0] < point[0] < display.x[-1]
        assert display.y[0] < point[1] < display.y[-1]
    assert display.objective.min() >= model.global_minimum_.lower_bound
    assert display.ax_.get_xlabel() == "along the minimum (norm of weights)"
    assert display.ax_.get_ylabel() == "towards the trained network (norm of weights)"
    assert display.colorbar_.ax.get_ylabel() == "objective J"
    assert display.lines_ == {}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"solver": "analytic"}, ("along the minimum", "random direction")),
        ({"weight_decay": 50.0}, ("towards the trained network", "random direction")),
        ({"weight_decay": 50.0, "solver": "analytic"}, ("random direction", "random direction")),
    ],
    ids=["at-the-minimum", "zero-is-the-minimum", "at-zero"],
)
def test_directions_that_the_networks_leave_open_are_random(parameters, expected):
    model = fitted(**parameters)
    displays = [
        LandscapeDisplay.from_estimator(model, X, y, n_points=5, random_state=seed)
        for seed in (0, 0, 1)
    ]
    suffix = " (norm of weights)"
    for display in displays:
        drawn = display.ax_.get_xlabel(), display.ax_.get_ylabel()
        assert drawn == tuple(label + suffix for label in expected)
        assert display.points["trained"][2] == pytest.approx(model.objective_, rel=1e-10)
        assert np.ptp(display.x) > 0.1  # what is left of weights that vanish sets no scale
    first, again, other = (display.objective for display in displays)
    assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_other_data_have_another_landscape():
    model = fitted()
    display = LandscapeDisplay.from_estimator(
        model, X[:20], y[:20], sample_weight=WEIGHT[:20], n_points=3
    )
    mean = np.average(y[:20], weights=WEIGHT[:20])
    variance = np.average((y[:20] - mean) ** 2, weights=WEIGHT[:20])
    assert_allclose(display.points["zero"][2], variance, rtol=1e-12)


def test_it_leaves_alone_what_is_not_its_own():
    figure, (left, right) = plt.subplots(1, 2)
    before = dict(plt.rcParams)
    grid = np.add.outer(np.arange(3.0), np.arange(4.0))
    display = LandscapeDisplay(
        np.arange(4), grid, y=np.arange(3), points={"here": (1, 2, 3.0)}, labels=("u", "v")
    )
    drawn = display.plot(
        right, colorbar=False, contour_kw={"levels": [0, 2, 5]}, point_kw={"marker": "^"}
    )
    assert drawn is display and display.figure_ is figure
    assert plt.get_fignums() == [figure.number] and figure.axes == [left, right]
    assert not left.has_data()
    assert_array_equal(display.contour_.levels, [0, 2, 5])
    assert display.points_["here"].get_marker() == "^"
    assert (right.get_xlabel(), right.get_ylabel()) == ("u", "v")
    curves = LandscapeDisplay([0, 1], {"one": [2, 3]}).plot(left, line_kw={"linewidth": 4})
    assert curves.lines_["one"].get_linewidth() == 4 and curves.points_ == {}
    assert dict(plt.rcParams) == before


def test_flat_slices_are_drawn():
    display = LandscapeDisplay([0, 1], np.ones((2, 2)), y=[0, 1]).plot()
    display.figure_.canvas.draw()
    assert (np.diff(display.contour_.levels) > 0).all()


def test_bad_input_is_named():
    make = LandscapeDisplay.from_data
    with pytest.raises(ValueError, match="depth must be at least 2"):
        make(X, y, depth=1)
    with pytest.raises(ValueError, match="y must have one target"):
        make(X, Y)
    with pytest.raises(ValueError, match="weight_decay must be positive"):
        make(X, y, weight_decay=(0.0, 0.1))
    for activations in (["gelu"], []):
        with pytest.raises(ValueError, match="activations must be some of"):
            make(X, y, activations=activations)
    for scales, message in ((1.0, "shape"), ([[0.1]], "shape"), (["a"], "be an array of real")):
        with pytest.raises(ValueError, match=f"scales must (have )?{message}"):
            make(X, y, scales=scales)
    slice_of = LandscapeDisplay.from_estimator
    with pytest.raises(NotFittedError):
        slice_of(DeepLinearRegressor(), X, y)
    with pytest.raises(TypeError, match="Ridge"):
        slice_of(Ridge().fit(X, y), X, y)
    with pytest.raises(TypeError, match="MultiPathwayRegressor"):
        slice_of(MultiPathwayRegressor(weight_decay=0.1, solver="analytic").fit(X, y), X, y)
    with pytest.raises(TypeError, match="DeepLinearClassifier"):
        slice_of(DeepLinearClassifier(weight_decay=0.1, max_iter=2, tol=0).fit(X, y > 0), X, y)
    with pytest.raises(ValueError, match="no weights attain"):
        slice_of(fitted(weight_decay=(0.0, 0.1, 0.1)), X, y)
    with pytest.raises(ValueError, match="inputs"):
        slice_of(fitted(), X[:, :2], y)
    with pytest.raises(ValueError, match="n_points must be at least 2"):
        slice_of(fitted(), X, y, n_points=1)
    with pytest.raises(TypeError, match="weights_ .* DeepLinearRegressorCV has none"):
        slice_of(DeepLinearRegressorCV([0.1], [2]).fit(X, y), X, y)
    assert plt.get_fignums() == []
