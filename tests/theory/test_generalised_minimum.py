"""Deep generalised linear models: known estimators, brute force, bounds, symmetries, limits."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear.theory import (
    SecondMoments,
    _ridge_path,
    generalised_minimum,
    global_minimum,
)
from sklearn_deeplinear.theory._generalised_minimum import minimum_on_path
from sklearn_deeplinear.theory._glm_losses import GLM_LOSSES
from sklearn_deeplinear.theory._ridge_path import RidgePath

CLASSES = ("log_loss", "squared_hinge")
DELTA = 1.35


def values(loss, f, y):
    """Losses of samples, written as in the textbook."""
    if loss == "log_loss":
        return np.log1p(np.exp(-np.abs(f))) + np.maximum(-y * f, 0)
    if loss == "squared_hinge":
        return np.maximum(1 - y * f, 0) ** 2
    r = np.abs(f - y)
    squares = (r <= DELTA) | (loss == "squared_error")
    return np.where(squares, r**2, 2 * DELTA * r - DELTA**2)


def data(loss, seed=0, n_samples=60, d=3, noise=0.7):
    random = np.random.RandomState(seed)
    X = random.randn(n_samples, d) * np.geomspace(3, 0.3, d) + random.randn(d)
    y = X @ random.randn(d) + noise * random.standard_t(2, n_samples)
    return X, np.where(y > np.median(y), 1.0, -1.0) if loss in CLASSES else y


def objective(weights, intercept, X, y, loss, gamma, sample_weight=None):
    f = X @ np.linalg.multi_dot([*weights[::-1], np.eye(X.shape[1])])[0] + intercept
    penalty = sum(g * np.sum(W**2) for g, W in zip(gamma, weights, strict=True))
    return np.average(values(loss, f, y), weights=sample_weight) + penalty


def brute_force(X, y, loss, gamma, width, restarts=25):
    """Least J that descent over all weights finds from random starts of many sizes."""
    d, depth = X.shape[1], len(gamma)
    shapes = list(zip([*[width] * (depth - 1), 1], [d, *[width] * (depth - 1)], strict=True))
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    random = np.random.RandomState(0)

    def unpack(vector):
        return [
            part.reshape(s)
            for part, s in zip(np.split(vector[:-1], ends[:-1]), shapes, strict=True)
        ]

    def function(vector):
        layers = unpack(vector)
        outputs = [X.T]
        for W in layers:
            outputs.append(W @ outputs[-1])
        f = outputs[-1][0] + vector[-1]
        slope = GLM_LOSSES[loss].slope(f, y, DELTA) / len(y)
        back, gradients = slope[None], []
        for W, g, below in zip(layers[::-1], gamma[::-1], outputs[-2::-1], strict=True):
            gradients.append((back @ below.T + 2 * g * W).ravel())
            back = W.T @ back
        value = values(loss, f, y).mean() + sum(
            g * np.sum(W**2) for g, W in zip(gamma, layers, strict=True)
        )
        return value, np.concatenate([*gradients[::-1], [slope.sum()]])

    found = []
    for _ in range(restarts):
        start = random.randn(ends[-1] + 1) * random.choice([0.1, 0.5, 1.5])
        options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-10}
        found.append(minimize(function, start, jac=True, method="L-BFGS-B", options=options).fun)
    return min(found)


@pytest.mark.parametrize("loss", GLM_LOSSES)
def test_slopes_are_derivatives_and_parabolas_lie_above(loss):
    y = np.array([-1.0, 1.0])[:, None] if loss in CLASSES else np.array([-2.0, 0.5])[:, None]
    f, entry = np.linspace(-40, 40, 161)[None] + 0.01, GLM_LOSSES[loss]
    assert_allclose(entry.value(f, y, DELTA), values(loss, f, y), rtol=1e-14, atol=1e-300)
    h = 1e-5
    difference = (entry.value(f + h, y, DELTA) - entry.value(f - h, y, DELTA)) / (2 * h)
    assert_allclose(entry.slope(f, y, DELTA), difference, rtol=1e-5, atol=1e-6)
    difference = (entry.slope(f + h, y, DELTA) - entry.slope(f - h, y, DELTA)) / (2 * h)
    assert_allclose(entry.curvature(f + 0 * y, y, DELTA), difference, rtol=1e-5, atol=1e-6)
    for step in (-30.0, -1.0, 0.1, 3.0, 50.0):
        parabola = (
            entry.slope(f, y, DELTA) * step + entry.majorant(f + 0 * y, y, DELTA) * step**2 / 2
        )
        rise = entry.value(f + step, y, DELTA) - entry.value(f, y, DELTA)
        assert np.all(rise <= parabola + 1e-9 * (1 + np.abs(parabola)))


@pytest.mark.parametrize("gamma", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_depth_1_is_logistic_regression(gamma, fit_intercept):
    X, y = data("log_loss")
    w = np.random.RandomState(1).rand(len(y))
    minimum = generalised_minimum(
        X, y, depth=1, weight_decay=gamma, sample_weight=w, fit_intercept=fit_intercept
    )
    model = LogisticRegression(
        C=1 / (2 * w.sum() * gamma),
        tol=1e-12,
        max_iter=1000,
        solver="newton-cholesky",
        fit_intercept=fit_intercept,
    ).fit(X, y, sample_weight=w)
    assert minimum.kind == "exact"
    assert_allclose(minimum.coef, model.coef_, rtol=1e-8)
    assert_allclose(minimum.intercept, model.intercept_, rtol=1e-8)
    assert_allclose(minimum.decision_function(X), model.decision_function(X), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 50])
@pytest.mark.parametrize("units", [(1, 1), (1e8, 1e-8), (1e-8, 1e8), (1e-150, 1e100)])
def test_squared_error_is_the_global_minimum_of_the_moments(depth, units):
    X, y = data("squared_error")
    X, y = X * units[0] + 3 * units[0], y * units[1] - 5 * units[1]
    moments = SecondMoments.from_data(X, y)
    explained, sigma = np.linalg.norm(moments.spectrum.targets), moments.spectrum.sigma[0]
    for strength in (1e-6, 0.02, 0.2, 0.45, 2.0):
        unit = 2 * np.log(explained) - 2 / depth * (np.log(explained) - np.log(sigma))
        gamma = strength * np.exp(unit)
        wanted = global_minimum(moments, depth=depth, weight_decay=gamma)
        got = generalised_minimum(X, y, loss="squared_error", depth=depth, weight_decay=gamma)
        assert got.kind in ("exact", "certified")
        assert got.objective == pytest.approx(wanted.objective, rel=1e-12)
        assert got.is_zero == wanted.is_zero
        assert_allclose(got.coef, wanted.coef, rtol=1e-9, atol=1e-9 * np.abs(wanted.coef).max())


@pytest.mark.parametrize("loss", GLM_LOSSES)
@pytest.mark.parametrize("gamma", [(0.05, 0.02), (0.02, 0.05, 0.03), (0.03,) * 4, (0.3,) * 3])
def test_no_weights_lie_below_and_those_of_the_minimum_attain_it(loss, gamma):
    X, y = data(loss)
    minimum = generalised_minimum(
        X, y, loss=loss, depth=len(gamma), weight_decay=gamma, delta=DELTA
    )
    assert minimum.kind == "certified"
    assert minimum.objective - minimum.lower_bound <= 1e-8 * minimum.objective
    found = brute_force(X, y, loss, gamma, width=2)
    assert minimum.objective <= found * (1 + 1e-9)
    assert found == pytest.approx(minimum.objective, rel=1e-6)
    for width in (None, 1, 4):
        weights = minimum.weights(width)
        value = objective(weights, minimum.intercept, X, y, loss, gamma)
        assert value == pytest.approx(minimum.objective, rel=1e-12)
    assert minimum.loss + minimum.penalty == pytest.approx(minimum.objective, rel=1e-14)


@pytest.mark.parametrize("loss", GLM_LOSSES)
def test_minima_are_stationary_to_rounding(loss):
    X, y = data(loss)
    for depth in (2, 3, 4):
        minimum = generalised_minimum(X, y, loss=loss, depth=depth, weight_decay=0.02)
        M, f = minimum.coef[0], minimum.decision_function(X)
        slope = GLM_LOSSES[loss].slope(f, y, DELTA) / len(y)
        R = np.linalg.norm(M)
        assert R > 0
        assert abs(slope.sum()) < 1e-12
        assert_allclose(X.T @ slope, -2 * 0.02 * R ** (2 / depth - 2) * M, rtol=1e-8, atol=1e-10)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_breast_cancer(cancer):
    """Ten networks trained with depth 3 and no intercept all ended at .1246985."""
    X, y = cancer
    minimum = generalised_minimum(X, y, depth=3, weight_decay=0.01, fit_intercept=False)
    assert minimum.kind == "certified"
    assert minimum.objective == pytest.approx(0.1246985, abs=5e-8)
    assert 0 <= minimum.objective - minimum.lower_bound < 1e-8


def test_one_path_serves_all_settings(cancer):
    X, y = cancer
    path = RidgePath(X, 2.0 * y - 1, "log_loss")
    for depth in (1, 2, 3, 5):
        for gamma in np.geomspace(1e-5, 1, 6):
            shared = minimum_on_path(path, depth=depth, gamma=np.full(depth, gamma))
            alone = generalised_minimum(X, y, depth=depth, weight_decay=gamma)
            assert shared.kind == alone.kind in ("exact", "certified")
            assert shared.objective == pytest.approx(alone.objective, rel=1e-12)
            assert_allclose(shared.coef, alone.coef, rtol=1e-7, atol=1e-9)


def test_an_intercept_that_is_not_balanced_bounds_nothing(monkeypatch):
    path = RidgePath(*data("log_loss"), "log_loss")
    theta = path.at(0.1).theta.copy()
    theta[-1] += 3.0
    assert path._balanced(theta)[1]
    monkeypatch.setattr(_ridge_path, "_MAX_ITERATIONS", 1)
    point = path._point(0.1, theta, np.zeros_like(theta))
    assert not path._balanced(theta)[1] and point.level == point.slope == 0.0


def test_points_know_how_they_change_along_the_path():
    X, y = data("log_loss")
    path, tau, h = RidgePath(X, y, "log_loss"), 0.1, 1e-4
    point, below, above = (path.at(tau * np.exp(step)) for step in (0.0, -h, h))
    assert_allclose(point.change, (above.theta - below.theta) / (2 * h), rtol=1e-6, atol=1e-8)
    elasticity = np.log(above.radius / below.radius) / (2 * h)
    assert point.elasticity == pytest.approx(elasticity, rel=1e-6)


@pytest.mark.parametrize("loss", GLM_LOSSES)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_lines_of_maps_that_are_not_optimal_are_bounds_all_the_same(loss, fit_intercept):
    X, y = data(loss)
    path = RidgePath(X, y, loss, fit_intercept=fit_intercept)
    optimal = [path.at(tau) for tau in np.geomspace(1e-4, 10, 12)]
    random = np.random.RandomState(0)
    for size in np.geomspace(1e-3, 30, 30):
        theta = size * random.randn(path.Z.shape[1])
        point = path._point(1.0, theta, np.zeros_like(theta))
        assert point.slope > 0
        for other in optimal:
            assert point.level - point.slope * other.radius <= other.loss * (1 + 1e-13)
    # Those of optimal ones touch.
    for point in optimal:
        assert point.level - point.slope * point.radius == pytest.approx(point.loss, rel=1e-12)


@pytest.mark.parametrize("loss", GLM_LOSSES)
def test_large_decay_leaves_the_best_constant(loss):
    X, y = data(loss)
    for depth in (2, 3, 6):
        minimum = generalised_minimum(X, y, loss=loss, depth=depth, weight_decay=1e3)
        assert minimum.is_zero and minimum.kind == "certified"
        constants = np.linspace(y.min(), y.max(), 20001)
        best = min(values(loss, b, y).mean() for b in constants)
        assert minimum.objective == pytest.approx(best, rel=1e-6)
        assert minimum.objective <= best * (1 + 1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_objective_is_continuous_where_the_map_collapses(depth):
    X, y = data("log_loss")
    low, high = 1e-3, 10.0
    for _ in range(45):
        middle = np.sqrt(low * high)
        zero = generalised_minimum(X, y, depth=depth, weight_decay=middle).is_zero
        low, high = (low, middle) if zero else (middle, high)
    below, above = (generalised_minimum(X, y, depth=depth, weight_decay=g) for g in (low, high))
    assert below.objective == pytest.approx(above.objective, rel=1e-9)
    assert below.kind == above.kind == "certified"
    size = np.linalg.norm(below.coef)
    assert size > 0.1 if depth > 2 else size < 1e-3


@pytest.mark.parametrize("loss", CLASSES)
@pytest.mark.parametrize("c", [1e-8, 1e-3, 1e8])
def test_units_of_the_inputs(loss, c):
    """M falls by c as X rises; L g R^(2/L) stays with decays c^(2/L) times as large."""
    X, y = data(loss)
    for depth in (1, 2, 3):
        plain = generalised_minimum(X, y, loss=loss, depth=depth, weight_decay=0.02)
        got = generalised_minimum(
            X * c, y, loss=loss, depth=depth, weight_decay=0.02 * c ** (2 / depth)
        )
        assert got.kind == plain.kind
        assert got.objective == pytest.approx(plain.objective, rel=1e-12)
        assert_allclose(got.coef * c, plain.coef, rtol=1e-8)


def test_shifts_duplicates_weights_permutations_and_labels():
    X, y = data("log_loss")
    random = np.random.RandomState(0)
    counts = random.randint(0, 4, len(y))
    order = random.permutation(len(y))
    options = {"depth": 3, "weight_decay": 0.01}
    plain = generalised_minimum(X, y, sample_weight=counts, **options)
    for other in (
        generalised_minimum(np.repeat(X, counts, axis=0), np.repeat(y, counts), **options),
        generalised_minimum(X[order], y[order], sample_weight=counts[order] * 1e200, **options),
        generalised_minimum(X, (y + 1) / 2, sample_weight=counts, **options),
        generalised_minimum(np.c_[X, np.full(len(y), 1e7)], y, sample_weight=counts, **options),
    ):
        assert other.objective == pytest.approx(plain.objective, rel=1e-12)
        assert_allclose(other.coef[0, :3], plain.coef[0], rtol=1e-8)
        assert not other.coef[0, 3:].any()
    shifted = generalised_minimum(X + 1e6, y, sample_weight=counts, **options)
    assert shifted.objective == pytest.approx(plain.objective, rel=1e-8)
    doubled = generalised_minimum(np.c_[X, X], y, sample_weight=counts, **options)
    halved = generalised_minimum(np.sqrt(2) * X, y, sample_weight=counts, **options)
    assert doubled.objective == pytest.approx(halved.objective, rel=1e-12)


@pytest.mark.parametrize("loss", GLM_LOSSES)
@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (3, 2), (5, 40)])
def test_few_rows(loss, shape):
    X, _ = data(loss, n_samples=shape[0], d=shape[1])
    y = np.array([1.0, -1.0, 1.0, 1.0, -1.0])[: shape[0]]
    for depth in (1, 2, 3):
        for gamma in (1e-6, 1e-2, 1.0):
            minimum = generalised_minimum(X, y, loss=loss, depth=depth, weight_decay=gamma)
            assert minimum.kind in ("exact", "certified")
            value = objective(
                minimum.weights(), minimum.intercept, X, y, loss, np.full(depth, gamma)
            )
            assert value == pytest.approx(minimum.objective, rel=1e-9)


@pytest.mark.parametrize("loss", GLM_LOSSES)
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_decays_of_any_size(loss, scale):
    """Next to nothing, they leave the minimum without decay; huge ones leave the constant."""
    X, y = data(loss, noise=3.0)
    free = generalised_minimum(X * scale, y, loss=loss, depth=1)
    for depth in (1, 2, 3):
        none, tiny, huge = (
            generalised_minimum(X * scale, y, loss=loss, depth=depth, weight_decay=g)
            for g in (0.0, 1e-25 * scale ** (2 / depth), 1e300)
        )
        assert none.objective == free.objective
        assert {none.kind, tiny.kind, huge.kind} <= {"exact", "certified"}
        assert tiny.objective == pytest.approx(free.objective, rel=1e-12)
        assert huge.is_zero or depth == 1


def test_one_class_may_have_hardly_any_weight():
    X, y = data("log_loss")
    w = np.where(y > 0, 1e-12, 1.0)
    for depth in (1, 2, 3):
        minimum = generalised_minimum(X, y, depth=depth, weight_decay=1e-14, sample_weight=w)
        assert minimum.kind in ("exact", "certified")
        zero = generalised_minimum(X, y, depth=depth, weight_decay=1.0, sample_weight=w)
        share = w[y > 0].sum() / w.sum()
        assert minimum.objective <= zero.objective
        entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
        if depth > 1:
            assert zero.objective == pytest.approx(entropy, rel=1e-9)


def test_without_decay_the_best_model_is_found_or_said_not_to_exist():
    X, y = data("log_loss", noise=3.0)
    minimum = generalised_minimum(X, y, depth=3)
    assert minimum.kind == "exact"
    slope = GLM_LOSSES["log_loss"].slope(minimum.decision_function(X), y, DELTA)
    assert_allclose(np.c_[X, np.ones(len(y))].T @ slope, 0, atol=1e-10)
    escaping = generalised_minimum(X, y, depth=3, weight_decay=[0.1, 0.0, 0.1])
    assert escaping.kind == "unattained" and escaping.objective == minimum.objective

    separable = np.where(X[:, 0] > 1, 1.0, -1.0)
    infimum = generalised_minimum(X, separable, depth=2)
    assert infimum.kind == "unattained" and infimum.objective == infimum.lower_bound == 0
    assert np.all(separable * infimum.decision_function(X) > 0)
    with pytest.raises(ValueError, match="no weights attain"):
        infimum.weights()

    # Two samples at one place with different labels: log(2) of each remains, no more.
    line = np.array([[0.0], [0.0], [1.0], [-1.0]])
    infimum = generalised_minimum(line, [1, 0, 1, 0], depth=2)
    assert infimum.kind == "unattained"
    assert infimum.objective == pytest.approx(np.log(2) / 2, rel=1e-9)

    hinge = generalised_minimum(X, separable, loss="squared_hinge", depth=2)
    assert hinge.kind == "exact" and hinge.objective == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", GLM_LOSSES)
def test_where_no_map_helps_zero_is_attained(loss):
    """Outputs of zero and Newton's steps of rounding errors are in no ratio to each other."""
    X, y = np.array([0.0, 0, 1, 1, 1, 1])[:, None], np.array([0, 1, 0, 1, 1, 0])
    for inputs in (X, np.zeros((6, 2))):
        for decay in (0.0, [0.1, 0.0]):
            minimum = generalised_minimum(inputs, y, loss=loss, depth=2, weight_decay=decay)
            assert minimum.kind == "exact" and minimum.is_zero
            assert [W.any() for W in minimum.weights()] == [False, False]


@pytest.mark.parametrize("loss", ["huber", "squared_hinge"])
def test_parabolas_and_lines_have_a_minimum_in_flat_directions_too(loss):
    """Samples beyond the kink leave directions without curvature, but no way to infinity."""
    X = np.array([[2.0, -1.0], [2, 2], [-2, 0], [2, 2], [0, 1], [0, 2]])
    y = np.array([-2.0, -3, -3, -100, -1, 0])
    if loss == "squared_hinge":
        X = np.array([[-1.0, 0], [1, 0], [-0.5, 0], [0.7, 0], [0, 9], [0, 8]])
        y = np.array([-1.0, 1, 1, -1, 1, 1])
    free = generalised_minimum(X, y, loss=loss, depth=1, delta=0.5)
    assert free.kind == "exact"
    slope = GLM_LOSSES[loss].slope(free.decision_function(X), y, 0.5)
    # Newton's last step leaves the objective right to rounding, and slopes to the root of that.
    assert_allclose(np.c_[X, np.ones(len(y))].T @ slope, 0, atol=1e-7)
    for depth, gamma in ((10, 1e-5), (3, 1e-12)):
        minimum = generalised_minimum(X, y, loss=loss, depth=depth, delta=0.5, weight_decay=gamma)
        assert minimum.kind == "certified" and minimum.lower_bound > free.objective * (1 - 1e-12)


def test_constant_inputs_and_targets():
    X, y = np.full((6, 2), 1e8 / 3), np.array([1.0, 0, 1, 1, 0, 1])
    for depth in (1, 3):
        minimum = generalised_minimum(X, y, depth=depth, weight_decay=0.1)
        assert minimum.is_zero
        share = 4 / 6
        entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
        assert minimum.objective == pytest.approx(entropy, rel=1e-12)
        flat = generalised_minimum(
            np.eye(6), np.full(6, 3.0), loss="huber", depth=depth, weight_decay=0.1
        )
        assert flat.is_zero and flat.objective == 0 and flat.intercept[0] == 3


@pytest.mark.parametrize("kind", ["pandas", "polars", "memory map", "objects", "lists"])
def test_data_may_come_in_any_container(kind, tmp_path):
    """Frames and memory maps are read in slices elsewhere; here they are needed whole."""
    X, y = data("log_loss")
    path = tmp_path / "X.npy"
    np.save(path, X)
    inputs, targets = {
        "pandas": lambda: (pd.DataFrame(X), pd.DataFrame({"y": y})),
        "polars": lambda: (pytest.importorskip("polars").DataFrame(X), y),
        "memory map": lambda: (np.load(path, mmap_mode="r"), y),
        "objects": lambda: (X.astype(object), y.astype(object)),
        "lists": lambda: (X.tolist(), y.tolist()),
    }[kind]()
    found, expected = (
        generalised_minimum(*given, depth=2, weight_decay=0.01)
        for given in ((inputs, targets), (X, y))
    )
    assert_allclose(found.coef, expected.coef, rtol=1e-12)
    assert_allclose(found.decision_function(inputs), expected.decision_function(X), rtol=1e-12)


def test_errors():
    X, y = data("log_loss")
    wrong = [
        ({"y": y * 2}, "-1 and 1, or 0 and 1"),
        ({"y": np.ones(len(y))}, "two classes"),
        ({"y": y[:-1]}, "to match X"),
        ({"X": np.where(X > 2, np.nan, X)}, "finite"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"depth": 0}, "depth"),
        ({"width": (2,)}, "width"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"delta": 0.0}, "delta"),
        ({"sample_weight": np.zeros(len(y))}, "positive sum"),
        ({"y": np.c_[y, y]}, "one column"),
    ]
    for change, message in wrong:
        options = {"X": X, "y": y, "depth": 3, "weight_decay": 0.1, **change}
        with pytest.raises(ValueError, match=message):
            generalised_minimum(options.pop("X"), options.pop("y"), **options)
    with pytest.raises(ValueError, match="X must have shape"):
        generalised_minimum(X, y, depth=2, weight_decay=0.1).decision_function(X[:, :1])
