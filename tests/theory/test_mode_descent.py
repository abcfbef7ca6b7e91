"""Descent in modes, against descent in weights and differences of the objective."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path, global_minimum
from sklearn_deeplinear.theory import _mode_descent as modes
from sklearn_deeplinear.theory._likely_minimum import LikelySearch
from sklearn_deeplinear.theory._local_minimum import newton
from sklearn_deeplinear.theory._schatten import SchattenProblem, normalised
from tests.theory.weight_descent import descended, objective


def data(kind):
    """Inputs and outputs of one structure."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 8)) * np.logspace(0, -2, 8)
    Y = X @ rng.normal(size=(8, 6)) + 0.1 * rng.normal(size=(20, 6))
    if kind == "equal inputs":
        X[:, 4:] = X[:, :4]
    elif kind == "equal outputs":
        Y[:, 3:] = Y[:, :3]
    elif kind == "wide":
        X, Y = X[:5], Y[:5]
    elif kind == "symmetric":
        X, Y = np.vstack([np.eye(6), -np.eye(6)]), np.vstack([np.eye(6), -np.eye(6)])
        X = X * [1, 1, 1, 0.1, 0.1, 0.1]
    return SecondMoments.from_data(X, Y)


def test_quasi_newton_steps_know_a_quadratic_after_conjugate_ones():
    """Between conjugate steps L-BFGS is BFGS: after as many as unknowns the minimum is next."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    H, w = root @ root.T, 0.1 * rng.normal(size=5)
    directions = np.linalg.inv(np.linalg.cholesky(H)).T  # u_i H u_j = 0
    memory, curvature = modes._QuasiNewton(5), np.full(5, 2.0)
    for u in directions.T:
        slope = H @ w
        memory.step(slope, curvature)
        memory.moved(0.1 * u, slope)
        w = w + 0.1 * u
    np.testing.assert_allclose(memory.step(H @ w, curvature), -w, rtol=1e-8, atol=1e-12)


def test_what_quasi_newton_steps_remember_is_symmetric_and_positive():
    rng, memory = np.random.default_rng(0), modes._QuasiNewton(5)
    for _ in range(3):
        step = rng.normal(size=5)
        changed = step + 0.3 * rng.normal(size=5)
        memory.pairs.append((step, changed, 1 / (step @ changed)))
    inverse = np.array([memory._solved(e, np.full(5, 2.0)) for e in np.eye(5)])
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-12)
    assert np.linalg.eigvalsh(inverse)[0] > 0
    np.testing.assert_allclose(inverse @ changed, step, rtol=1e-10)


def test_newton_takes_no_step_that_leaves_more_than_half_of_the_gradient():
    start = np.array([1.0, -2.0])
    # From any point its steps lead to the other side, with a gradient 0.8 or 1.3 times as large.
    for power in (0.6, 1 / 3):
        found = newton(lambda w, p=power: np.sign(w) * np.abs(w) ** p, start)
        np.testing.assert_array_equal(found, start)
    np.testing.assert_allclose(newton(lambda w: w**3 - 8, 3 + 0 * start), 2.0, rtol=1e-9)


KINDS = ["plain", "equal inputs", "equal outputs", "wide", "symmetric"]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_slopes_are_those_of_the_objective(depth):
    rng = np.random.default_rng(1)
    sigma, Y = np.sort(rng.uniform(0.1, 1, 7))[::-1], rng.normal(size=(7, 4))
    problem = SchattenProblem(sigma, Y, 0.1, depth)
    U, pairs = np.linalg.qr(rng.normal(size=(4, 4)))[0], np.triu_indices(4, 1)
    at = modes._point(problem, U, rng.uniform(0.3, 1, 4))
    assert at.value == pytest.approx(objective(problem, at.U * at.w)[0], rel=1e-12)
    slope = modes._slope(problem, at)[0]
    for i, expected in enumerate(slope):
        step = np.zeros(len(slope))
        step[i] = 1e-6
        values = []
        for sign in (1, -1):
            half = np.zeros((4, 4))
            half[pairs] = sign * step[4:] / 2
            half -= half.T
            turned = U @ np.linalg.solve(np.eye(4) - half, np.eye(4) + half)
            values.append(objective(problem, turned * (at.w + sign * step[:4]))[0])
        rounding = 8 * np.finfo(float).eps * at.value / step[i]
        difference = (values[0] - values[1]) / (2 * step[i])
        assert difference == pytest.approx(expected, rel=1e-8, abs=rounding)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_descent_in_modes_ends_as_low_as_in_weights(kind, depth):
    # From starts near a minimum, where both ways must lead to the same one.
    spectrum = data(kind).spectrum
    for log_g in np.log([1e-5, 1e-3, 1e-2]):
        problem = normalised(spectrum, log_g, depth)[0]
        p = problem.Y.shape[1]
        W = descended(problem, problem.start_at(problem.natural_directions()[1], p))
        noise = np.random.default_rng(2).normal(size=W.shape)
        start = W + 1e-3 * np.linalg.norm(W) * noise / np.linalg.norm(noise)
        found = modes.descend_modes(problem, start, 1e-12)
        assert problem.value(found) <= problem.value(W) * (1 + 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_two_layers_of_one_descent_are_the_proven_minimum(kind):
    moments = data(kind)
    decays = np.geomspace(1e-5, 0.3, 8)
    search, start = LikelySearch(moments.spectrum, 2, np.log(decays)), None
    for gamma in decays:
        proven = global_minimum(moments, depth=2, weight_decay=gamma)
        start = search.minimum(np.log(gamma), moments.n_outputs, start)
        coef = start.T @ moments.spectrum.directions.T
        penalty = 2 * gamma * np.linalg.norm(coef, "nuc")
        assert proven.kind in ("certified", "exact")
        assert moments.loss(coef) + penalty == pytest.approx(proven.objective, rel=1e-8)


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_likely_paths_of_three_layers_reach_the_global_minimum(kind, width):
    options = {"weight_decays": np.geomspace(1e-4, 0.1, 6), "depth": 3, "width": width}
    likely = deep_linear_path(data(kind), **options, prove=False)
    proven = deep_linear_path(data(kind), **options)
    np.testing.assert_allclose(likely.objectives, proven.objectives, rtol=1e-8)


def test_gains_of_modes_are_what_the_objective_loses_without_them():
    rng = np.random.default_rng(3)
    problem = SchattenProblem(np.array([1.0, 0.7, 0.2]), rng.normal(size=(3, 3)), 0.1, 3)
    W = np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2] * [0.9, 0.4]
    without = [objective(problem, np.delete(W, j, axis=1))[0] for j in range(2)]
    expected = np.array(without) - objective(problem, W)[0]
    np.testing.assert_allclose(modes.mode_gains(problem, W), expected, rtol=1e-12)


# Paths along which more modes survived than should: relative excess 1e-4 at the third decay of the
# first, 7e-5 at the second one of the other.
@pytest.mark.parametrize(
    ("first", "fold", "decays"),
    [
        (0, slice(30, 150), [0.60587, 0.96024, 1.52189]),
        (150, [*range(30), *range(60, 150)], [0.24120, 0.38228]),
    ],
    ids=["120 samples", "120 others"],
)
def test_likely_paths_are_as_low_as_descent_in_weights(first, fold, decays):
    images = load_digits().data[first : first + 150][fold]
    moments = SecondMoments.from_data(images[:, :32], images[:, 32:])
    spectrum, log_decays = moments.spectrum, np.log(decays)
    search, start = LikelySearch(spectrum, 3, log_decays), None
    for log_g in log_decays:
        problem, basis, unit = normalised(spectrum, log_g, 3)
        scale, p = unit / spectrum.sigma[0], problem.Y.shape[1]
        starts = [problem.start_at(U, p) for U in problem.natural_directions()]
        starts += [] if start is None else [problem.factor(start @ basis / scale, p)]
        lowest = min(problem.value(descended(problem, W)) for W in starts)
        start = search.minimum(log_g, p, start)
        found = problem.value(problem.factor(start @ basis / scale, p))
        residual = spectrum.residual / unit**2
        assert found + residual <= (lowest + residual) * (1 + 1e-8)


def test_steps_without_memory_are_scaled_slopes():
    slope, curvature = np.array([1.0, -2.0, 4.0]), np.array([2.0, 4.0, 5.0])
    memory = modes._QuasiNewton(2)
    np.testing.assert_array_equal(memory.step(slope, curvature), [-0.5, 0.5, -modes._LARGEST_ANGLE])


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_settled_modes_are_stationary_to_rounding(kind, depth):
    for log_g in np.log([1e-5, 1e-3, 1e-2]):
        problem = normalised(data(kind).spectrum, log_g, depth)[0]
        start = problem.start_at(problem.natural_directions()[0], problem.Y.shape[1])
        value, gradient = objective(problem, modes.settled_modes(problem, start))
        descended_value = problem.value(modes.descend_modes(problem, start, 0))
        # Values alone leave a gradient of the root of the rounding error.
        assert np.linalg.norm(gradient) <= 1e-12 * value
        assert problem.g * value <= descended_value * (1 + 1e-12)


# Both choices of output directions lead to a mode too few, 1e-4 higher, or to one too many, 1.5e-4.
@pytest.mark.parametrize(
    ("rows", "decays"),
    [(slice(30, 150), [0.60587, 0.96024, 1.52189]), (slice(420, 460), [0.234, 0.365, 0.584])],
    ids=["too few", "too many"],
)
def test_proven_minima_are_as_low_as_likely_paths(rows, decays):
    images = load_digits().data[rows]
    half = 32 if rows.start == 30 else 24
    moments = SecondMoments.from_data(images[:, :half], images[:, half : 2 * half])
    likely = deep_linear_path(moments, weight_decays=decays, depth=3, prove=False)
    proven = global_minimum(moments, depth=3, weight_decay=decays[-1])
    assert proven.objective <= likely.objectives[-1] * (1 + 1e-9)
