"""The global minimum: reductions to known estimators, brute force, symmetries, errors."""

import pickle

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    expected_loss,
    global_minimum,
)
from tests.theory.brute_force import brute_force, objective_and_gradient
from tests.theory.scalar_scan import close_extrema, scanned_minimum


def data(seed=0, n_samples=40, d=4, m=None, noise=0.3):
    random = np.random.RandomState(seed)
    X = random.randn(n_samples, d) * np.geomspace(3, 0.1, d) + random.randn(d)
    y = X @ random.randn(d, m or 1) + noise * random.randn(n_samples, m or 1) + 5
    return X, y if m else y[:, 0]


def rank_one_moments():
    X, y = data(3)
    return SecondMoments.from_data(X, np.outer(y, [1.0, -2.0, 0.5]))


PROBLEMS = {
    "one output, two layers": (data(0), (3,), (0.1, 0.3), 0.0),
    "one output, no decay": (data(0), (3, 2), 0.0, 0.0),
    "one output, noise": (data(0), (5, 3), (0.05, 0.1, 0.2), (0.3, 0.1)),
    "one output, noise, no decay": (data(0), (3,), 0.0, 0.4),
    "one output, four layers": (data(1), (2, 3, 2), (0.03, 0.06, 0.1, 0.02), (0.1, 0.0, 0.05)),
    "outputs, two layers": (data(1, m=3), (4,), (0.1, 0.4), 0.0),
    "outputs, three layers": (data(1, m=3), (3, 5), (0.02, 0.1, 0.05), 0.0),
    "outputs, bottleneck": (data(1, m=3), (2,), 0.02, 0.0),
    "outputs, bottleneck, no decay": (data(1, m=3), (2,), 0.0, 0.0),
    "outputs, noise": (data(2, m=2), (3,), (0.1, 0.05), 0.4),
    "outputs, noise, three layers": (data(2, m=2), (4, 3), 0.05, (0.3, 0.1)),
    "outputs, noise, no decay": (data(2, m=2), (3,), 0.0, 0.2),
    "collapsed": (data(0), (3, 3), 50.0, 0.0),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_weights_attain_the_objective_that_brute_force_finds(name):
    (X, y), widths, decay, noise = PROBLEMS[name]
    depth = len(widths) + 1
    moments = SecondMoments.from_data(X, y)
    minimum = global_minimum(moments, depth=depth, width=widths, weight_decay=decay, noise=noise)
    decays, variances = np.broadcast_to(decay, depth), np.broadcast_to(noise, depth - 1)
    reference, _ = brute_force(moments, widths, decays, variances, restarts=4)
    assert minimum.objective == pytest.approx(reference, rel=1e-8)
    assert minimum.lower_bound <= reference * (1 + 1e-12)
    if minimum.kind in ("exact", "certified"):
        assert minimum.lower_bound == pytest.approx(minimum.objective, rel=1e-9)

    weights = minimum.weights()
    assert [W.shape[0] for W in weights[:-1]] == list(widths)
    np.testing.assert_allclose(np.linalg.multi_dot(weights[::-1]), minimum.coef, atol=1e-12)
    value, gradients = objective_and_gradient(weights, moments, decays, variances)
    assert value == pytest.approx(minimum.objective, rel=1e-10)
    assert max(np.abs(G).max() for G in gradients) < 1e-8 * moments.output_moment
    penalty = sum(g * np.sum(W**2) for g, W in zip(decays, weights, strict=True))
    assert minimum.penalty == pytest.approx(penalty, rel=1e-9, abs=1e-15)
    assert minimum.loss == pytest.approx(expected_loss(weights, moments, noise), rel=1e-9)


@pytest.mark.parametrize(("widths", "noise"), [((2,), 0.3), ((3, 2), (0.2, 0.1)), ((3, 3), 0.0)])
def test_a_cross_moment_of_rank_one_is_exact_for_any_number_of_outputs(widths, noise):
    moments, depth = rank_one_moments(), len(widths) + 1
    minimum = global_minimum(moments, depth=depth, width=widths, weight_decay=0.05, noise=noise)
    assert minimum.kind == "exact"
    reference, _ = brute_force(moments, widths, 0.05, noise, restarts=4)
    assert minimum.objective == pytest.approx(reference, rel=1e-9)
    weights = minimum.weights()
    value, gradients = objective_and_gradient(
        weights, moments, [0.05] * depth, np.broadcast_to(noise, depth - 1)
    )
    assert value == pytest.approx(minimum.objective, rel=1e-10)
    assert max(np.abs(G).max() for G in gradients) < 1e-10 * moments.output_moment


@pytest.mark.parametrize("m", [None, 3])
def test_one_layer_is_ridge_regression(m):
    X, y = data(4, m=m)
    minimum = global_minimum(SecondMoments.from_data(X, y), depth=1, weight_decay=0.2)
    ridge = Ridge(alpha=0.2 * len(X)).fit(X, y)
    np.testing.assert_allclose(minimum.coef, np.atleast_2d(ridge.coef_), rtol=1e-10)
    np.testing.assert_allclose(minimum.predict(X), ridge.predict(X), rtol=1e-10)
    assert minimum.predict(X).shape == y.shape


@pytest.mark.parametrize("condition", [1e4, 1e10, 1e12])
def test_without_decay_it_is_as_accurate_as_least_squares_on_the_data(condition):
    random = np.random.RandomState(0)
    n, d = 60, 8
    U = np.linalg.qr(random.randn(n, d))[0]
    X = U * np.geomspace(1, 1 / condition, d) @ np.linalg.qr(random.randn(d, d))[0]
    y = X @ random.randn(d)
    minimum = global_minimum(SecondMoments.from_data(X, y), depth=3)
    reference = scipy.linalg.lstsq(X - X.mean(axis=0), y - y.mean())[0]
    # Both solve to a relative error of eps * condition; squaring it would show at 1e10.
    error = np.linalg.norm(minimum.coef[0] - reference) / np.linalg.norm(reference)
    assert error < 50 * np.finfo(float).eps * condition


def test_collinear_inputs_give_the_solution_of_minimum_norm():
    X, y = data(5)
    X = np.c_[X, X[:, 0] + X[:, 1]]
    minimum = global_minimum(SecondMoments.from_data(X, y), depth=2)
    reference = scipy.linalg.lstsq(X - X.mean(axis=0), y - y.mean(), cond=1e-12)[0]
    np.testing.assert_allclose(minimum.coef[0], reference, rtol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_a_bound_on_the_rank_of_one_layer_is_reduced_rank_regression(gamma):
    moments = SecondMoments.from_data(*data(6, m=4))
    minimum = global_minimum(moments, depth=1, rank=2, weight_decay=gamma)
    assert minimum.kind == "exact" and np.linalg.matrix_rank(minimum.coef) == 2
    # The textbook formula: least squares, projected on the leading outputs of its fit.
    A = moments.input_moment + gamma * np.eye(4)
    full = np.linalg.solve(A, moments.cross_moment.T).T
    P = np.linalg.eigh(full @ A @ full.T)[1][:, -2:]
    np.testing.assert_allclose(minimum.coef, P @ P.T @ full, rtol=1e-8, atol=1e-10)


def test_decay_in_some_layers_only_leaves_an_infimum():
    moments = SecondMoments.from_data(*data(7))
    minimum = global_minimum(moments, depth=3, width=2, weight_decay=(0.1, 0.0, 0.2))
    free = global_minimum(moments, depth=3, width=2)
    assert minimum.kind == "unattained" and minimum.penalty == 0
    assert minimum.objective == minimum.lower_bound == free.objective
    with pytest.raises(ValueError, match="weight_decay is zero in some layers"):
        minimum.weights()
    # Weights that come as close as one likes: small decayed layers, a large free one.
    W_1, W_2, W_3 = free.weights()
    for eps in (1e-3, 1e-5):
        J = free.loss + 0.1 * np.sum((eps * W_1) ** 2) + 0.2 * np.sum((eps * W_3) ** 2)
        scaled = [eps * W_1, W_2 / eps**2, eps * W_3]
        value, _ = objective_and_gradient(scaled, moments, (0.1, 0.0, 0.2), (0.0, 0.0))
        assert value == pytest.approx(J, rel=1e-9)
        assert 0 < value - minimum.objective < 10 * eps**2


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_targets_that_inputs_do_not_explain_give_zero(depth):
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    y = np.array([1.0, 1.0, -1.0, -1.0])
    minimum = global_minimum(SecondMoments.from_data(X, y), depth=depth, weight_decay=0.1)
    assert minimum.is_zero and minimum.kind == "exact" and minimum.objective == pytest.approx(1)
    assert all(not W.any() for W in minimum.weights(3))
    constant = global_minimum(SecondMoments.from_data(np.ones((4, 2)), y), depth=depth)
    assert constant.is_zero and constant.intercept == pytest.approx(0)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_output_that_is_explained_counts_beside_a_huge_one_that_is_not(depth):
    X = np.array([[-1.0], [1], [-1], [1]])
    Y = np.column_stack([[1e17, 1e17, -1e17, -1e17], 2 * X[:, 0]])
    minimum = global_minimum(SecondMoments.from_data(X, Y), depth=depth)
    assert minimum.kind == "exact"
    assert_allclose(minimum.coef[1], 2, rtol=1e-12)


def test_candidates_are_all_stationary_points_sorted():
    moments = SecondMoments.from_data(*data(0))
    minimum = global_minimum(moments, depth=3, weight_decay=0.05)
    objectives = [point.objective for point in minimum.candidates]
    assert objectives == sorted(objectives) and objectives[0] == minimum.objective
    zero = next(point for point in minimum.candidates if point.scale == 0)
    assert not zero.coef.any() and zero.objective == pytest.approx(moments.output_moment)
    for point in minimum.candidates:
        W = np.linalg.norm(point.coef) ** (1 / 3)
        weights = [np.zeros((1, 4)), np.full((1, 1), W), np.full((1, 1), W)]
        if W > 0:
            weights[0] = point.coef / W**2
            assert point.scale == pytest.approx(0.05 * W**2)
        value, gradients = objective_and_gradient(weights, moments, [0.05] * 3, [0, 0])
        assert value == pytest.approx(point.objective, rel=1e-12)
        assert max(np.abs(G).max() for G in gradients) < 1e-10


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 4),
    m=st.sampled_from([None, 2]),
    noisy=st.booleans(),
    unit_x=st.floats(-6, 6),
    unit_y=st.floats(-6, 6),
    seed=st.integers(0, 3),
)
def test_units_of_inputs_and_targets(depth, m, noisy, unit_x, unit_y, seed):
    X, y = data(seed, m=m)
    b, a = 10.0**unit_x, 10.0**unit_y
    options = {"depth": depth, "width": 3, "noise": 0.2 if noisy and m is None else 0.0}
    here = global_minimum(SecondMoments.from_data(X, y), weight_decay=0.05, **options)
    gamma = 0.05 * a**2 * (b / a) ** (2 / depth)
    there = global_minimum(SecondMoments.from_data(b * X, a * y), weight_decay=gamma, **options)
    assert there.objective == pytest.approx(a**2 * here.objective, rel=1e-8)
    np.testing.assert_allclose(there.coef * b / a, here.coef, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(depth=st.integers(1, 4), decay=st.sampled_from([0.0, 0.01, 0.2]), seed=st.integers(0, 50))
def test_rotations_of_inputs_and_targets(depth, decay, seed):
    X, Y = data(seed, m=3)
    random = np.random.RandomState(seed)
    Q, P = (np.linalg.qr(random.randn(k, k))[0] for k in (4, 3))
    here = global_minimum(SecondMoments.from_data(X, Y), depth=depth, weight_decay=decay)
    there = global_minimum(SecondMoments.from_data(X @ Q, Y @ P), depth=depth, weight_decay=decay)
    assert there.objective == pytest.approx(here.objective, rel=1e-9)
    np.testing.assert_allclose(P @ there.coef @ Q.T, here.coef, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_wide_and_deep_networks(noise):
    moments = SecondMoments.from_data(*data(0))
    minimum = global_minimum(moments, depth=20, width=10**4, weight_decay=0.01, noise=noise)
    assert np.isfinite(minimum.coef).all() and np.isfinite(minimum.objective)
    assert not minimum.is_zero and len(minimum.candidates) == 3


def test_noisy_outputs_of_wide_layers_are_built_from_copies():
    moments = SecondMoments.from_data(*data(2, m=2))
    options = {"depth": 3, "weight_decay": 0.05, "noise": 0.3}
    values = []
    for width in (6, 70, 1001):
        minimum = global_minimum(moments, width=width, **options)
        weights = minimum.weights()
        assert [W.shape for W in weights] == [(width, 4), (width, width), (2, width)]
        if width == 70:
            value, gradients = objective_and_gradient(weights, moments, [0.05] * 3, [0.3] * 2)
            assert value == pytest.approx(minimum.objective, rel=1e-10)
            assert max(np.abs(G).max() for G in gradients) < 1e-8
        values.append(minimum.objective)
    quiet = global_minimum(moments, depth=3, weight_decay=0.05).objective
    # Noise costs at most its variance per unit, over two layers, times E||f||^2 <= c and the
    # rank, by which balanced loads may exceed it.
    assert values[0] > values[1] > values[2] > quiet
    assert values[2] - quiet < 2 * 2 * 0.3 / 1000 * moments.output_moment


def test_factors_for_other_widths_and_pickling():
    moments = SecondMoments.from_data(*data(1, m=3))
    minimum = pickle.loads(pickle.dumps(global_minimum(moments, depth=3, weight_decay=0.02)))
    for width, shapes in [(None, None), (5, (5, 5)), ((3, 7), (3, 7))]:
        weights = minimum.weights(width)
        np.testing.assert_allclose(np.linalg.multi_dot(weights[::-1]), minimum.coef, atol=1e-12)
        assert shapes is None or tuple(len(W) for W in weights[:-1]) == shapes
    with pytest.raises(ValueError, match="width must be at least the rank"):
        minimum.weights(1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depth": 0}, ValueError, "depth"),
        ({"depth": 2, "width": 0}, ValueError, "width"),
        ({"depth": 2, "weight_decay": -1.0}, ValueError, "weight_decay"),
        ({"depth": 2, "noise": 0.1}, ValueError, "width must be given when noise"),
        ({"depth": 2, "rank": 0}, ValueError, "rank"),
        ({"depth": 2, "rank": True}, TypeError, "rank"),
        (
            {"depth": 2, "width": 3, "noise": 0.1, "weight_decay": 0.1, "rank": 1},
            ValueError,
            "rank cannot be combined with noise",
        ),
    ],
)
def test_errors_name_the_parameter(arguments, error, message):
    moments = SecondMoments.from_data(*data(0, m=2))
    with pytest.raises(error, match=message):
        global_minimum(moments, **arguments)


def test_errors_of_the_result():
    X, y = data(0)
    with pytest.raises(TypeError, match="moments must be a SecondMoments"):
        global_minimum(X, depth=2)
    minimum = global_minimum(
        SecondMoments.from_data(X, y), depth=2, width=3, noise=0.1, weight_decay=0.01
    )
    with pytest.raises(ValueError, match="width must be that of the problem"):
        minimum.weights(4)
    with pytest.raises(ValueError, match="X must have shape"):
        minimum.predict(X[:, :2])


@pytest.mark.parametrize("gamma", [1e-300, 1e-40, 1e50, 1e200])
@pytest.mark.parametrize(("depth", "noise"), [(2, 0.0), (3, 0.0), (20, 0.0), (2, 0.1), (3, 0.1)])
def test_extreme_decays_give_no_decay_or_zero(depth, noise, gamma):
    moments = SecondMoments.from_data(*data(1, m=3))
    options = {"depth": depth, "width": 3, "noise": noise}
    minimum = global_minimum(moments, weight_decay=gamma, **options)
    limit = global_minimum(moments, **options) if gamma < 1 else None
    expected = moments.output_moment if limit is None else limit.objective
    assert minimum.is_zero == (gamma > 1)
    assert minimum.objective == pytest.approx(expected, rel=1e-9)
    assert minimum.lower_bound <= minimum.objective


STRUCTURED = {
    "identity": np.eye(3),
    "multiple of the identity": 0.7 * np.eye(3),
    "equal up to rounding": np.diag([1.0, 1 - 1e-16, 1 + 4e-16]),
    "clustered": np.diag([2.0, 2 - 1e-3, 2 - 1e-7]),
    "integers": np.diag([3.0, 2.0, 1.0]),
    "two clusters": np.diag([1.0, 1.0, 1e-4]),
    "wide": np.diag([1.0, 1e-6, 1e-12]),
}
CROSS = {
    "integers": [1.0, 4.0, 2.0],
    "one direction": [0.0, 2.0, 0.0],
    "not the leading direction": [0.0, -1.0, 3.0],
}


@pytest.mark.parametrize("inputs", STRUCTURED)
@pytest.mark.parametrize("cross", CROSS)
@pytest.mark.parametrize("depth", [2, 3, 4, 50])
def test_structured_moments_against_a_scan(inputs, cross, depth):
    A = STRUCTURED[inputs]
    S = np.sqrt(A) @ CROSS[cross]
    moments = SecondMoments.from_moments(A, [S], 22.0)
    for width, noise in ((None, 0.0), (7, 67.0)):
        critical = critical_weight_decay(moments, depth=depth, width=width, noise=noise)
        for gamma in [*(critical.collapse * np.array([1e-4, 0.5, 1.1])), critical.spinodal]:
            minimum = global_minimum(
                moments, depth=depth, width=width, noise=noise, weight_decay=gamma
            )
            reference = scanned_minimum(A, S, 22.0, depth, gamma, width or 1, noise)
            assert minimum.kind == "exact"
            # The scan adds terms of the size of c, the refinement is right to rounding.
            assert minimum.objective == pytest.approx(reference, abs=1e-12 * 22.0)


@pytest.mark.parametrize("depth", [3, 4, 20])
@pytest.mark.parametrize("A", [np.eye(3), np.diag([3.0, 2.0, 1.0])], ids=["white", "integers"])
def test_decays_at_the_critical_ones_and_one_rounding_error_around(depth, A):
    moments = SecondMoments.from_moments(A, [[1.0, 4.0, 2.0]], 22.0)
    critical = critical_weight_decay(moments, depth=depth)
    for gamma in (critical.collapse, critical.spinodal):
        for decay in (np.nextafter(gamma, 0), gamma, np.nextafter(gamma, np.inf)):
            minimum = global_minimum(moments, depth=depth, weight_decay=decay)
            assert minimum.objective == pytest.approx(22.0, rel=1e-14)
            objectives = [point.objective for point in minimum.candidates]
            assert objectives[0] == pytest.approx(22.0, rel=1e-14) and len(objectives) <= 3


def test_candidates_include_all_between_two_extrema_close_to_each_other():
    a, depth = np.array([1.0, 1e-3]), 50
    t, extrema = close_extrema(a[1], depth, 0.04)
    z = np.array([1.0, t])
    heights = [50 / 49 * x + np.log(np.sum(z / (a + np.exp(x)) ** 2)) for x in extrema[:2]]
    # H = (L log gamma) / D at a stationary point; a level between the two is met four times.
    gamma = np.exp((depth - 1) / depth * np.mean(heights))
    moments = SecondMoments.from_moments(np.diag(a), [np.sqrt(z)], 2 * np.sum(z / a))
    minimum = global_minimum(moments, depth=depth, weight_decay=gamma)
    assert len(minimum.candidates) == 5  # with zero
    for point in minimum.candidates:
        size = np.linalg.norm(point.coef)
        if size > 0:
            # A ridge regression whose penalty depends on the size of its own solution.
            ridge = np.sqrt(z) / (a + gamma * size ** (2 / depth - 2))
            np.testing.assert_allclose(point.coef[0], ridge, rtol=1e-9)


@pytest.mark.parametrize("unit_x", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize("unit_y", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize(("depth", "weight_decay"), [(1, 0.0), (1, 0.5), (1, 1e3), (2, 0.0)])
def test_regression_in_any_units(depth, weight_decay, unit_x, unit_y):
    """M has the unit of y / x, whose square need not be a float."""
    a, s = np.array([0.3, 0.8]), np.array([[0.5, -0.2], [0.1, 0.7]])
    unexplained = np.array([[0.0, 0.0, unit_y, 0.0]])
    factor = np.vstack([np.hstack([unit_x * np.diag(a), unit_y * s]), unexplained])
    moments = SecondMoments(factor, np.zeros(2), np.zeros(2), 1, 1.0)
    least = global_minimum(moments, depth=depth, weight_decay=weight_decay * unit_x * unit_x)
    share = weight_decay / (a**2 + weight_decay)
    expected = unit_y**2 * (1 + share @ (s**2).sum(axis=1))
    np.testing.assert_allclose(least.objective, expected, rtol=1e-13)
    coef = (a / (a**2 + weight_decay))[:, None] * s
    np.testing.assert_allclose(least.coef, unit_y / unit_x * coef.T, rtol=1e-13)
