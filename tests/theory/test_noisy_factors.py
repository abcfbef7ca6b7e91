"""Noise and several outputs: units of unequal copies, starts near collapse, bottlenecks."""

import numpy as np
import pytest

from sklearn_deeplinear.theory import SecondMoments, expected_loss, global_minimum
from sklearn_deeplinear.theory._noisy_factors import NoisyProblem, spread_copies, unit_copies
from tests.theory.brute_force import brute_force


def two_targets():
    random = np.random.RandomState(0)
    X = random.randn(50, 4)
    return SecondMoments.from_data(X, X @ random.randn(4, 2) + 0.3 * random.randn(50, 2))


def minimum_of(width, moments=None, **parameters):
    parameters = {"depth": 2, "weight_decay": 0.02, "noise": 3.0, **parameters}
    return global_minimum(moments or two_targets(), width=width, **parameters)


@pytest.mark.parametrize("widths", [(3,), (4, 3)])
def test_gradients_are_those_of_differences(widths):
    """Also of the first layer, which is the best one for the others."""
    rng = np.random.default_rng(0)
    noise = [rng.uniform(0.1, 1, width) for width in widths]
    sigma, targets = rng.uniform(0.5, 2, 5), rng.standard_normal((5, 2))
    problem = NoisyProblem(sigma, targets, widths, 0.1, noise)
    upper = [rng.standard_normal(shape) for shape in zip((*widths[1:], 2), widths, strict=True)]
    _, gradients = problem.objective(upper)
    for layer, gradient in enumerate(gradients):
        along, step = rng.standard_normal(gradient.shape), 1e-5
        ends = []
        for sign in (1, -1):
            moved = [*upper]
            moved[layer] = upper[layer] + sign * step * along
            ends.append(problem.objective(moved)[0])
        assert np.sum(gradient * along) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


@pytest.mark.parametrize(("width", "n_units"), [(5, 5), (33, 32), (37, 32), (101, 32), (7, 1)])
def test_copies_make_up_the_width(width, n_units):
    copies = unit_copies(width, n_units)
    assert copies.sum() == width and copies.size == n_units
    assert copies.max() - copies.min() <= 1


def test_every_unit_more_lowers_the_objective():
    """A wider network holds the narrower one, whose noise a further unit lessens."""
    objectives = [minimum_of(width).objective for width in (*range(31, 38), 41, 47, 48)]
    assert (np.diff(objectives) < -1e-3).all()


@pytest.mark.parametrize(("width", "depth"), [(33, 2), (37, 2), (53, 2), ((37, 3), 3), (67, 2)])
def test_spread_weights_attain_the_objective(width, depth):
    minimum = minimum_of(width, depth=depth)
    weights = minimum.weights()
    assert all((np.linalg.norm(W, axis=1) > 1e-6).all() for W in weights[:-1])  # none idle
    penalty = 0.02 * sum(np.sum(W**2) for W in weights)
    value = expected_loss(weights, two_targets(), 3.0) + penalty
    assert value == pytest.approx(minimum.objective, rel=1e-12)


def test_a_prime_width_reaches_networks_of_full_width():
    reference, _ = brute_force(two_targets(), (37,), 0.02, 3.0, restarts=2, scale=0.3)
    assert minimum_of(37).objective <= reference * (1 + 1e-9)


def test_copies_leave_the_map_as_it_is():
    random = np.random.RandomState(1)
    weights = [random.randn(3, 4), random.randn(2, 3), random.randn(5, 2)]
    wide = spread_copies(weights, (7, 11))
    assert [W.shape for W in wide] == [(7, 4), (11, 7), (5, 11)]
    np.testing.assert_allclose(np.linalg.multi_dot(wide[::-1]), np.linalg.multi_dot(weights[::-1]))
    np.testing.assert_allclose([np.sum(W**2) for W in wide], [np.sum(W**2) for W in weights])


NEAR_COLLAPSE = {
    "integers": (np.eye(2), [[3, -2], [0, 1], [-2, 3], [1, 1]], 0.1),
    "diagonal": (np.diag([1.0, 4.0, 2.0]), [[3, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 0]], 0.09),
    "equal modes": (np.diag([2.0, 1.0, 4.0]), [[2, 0, 0], [0, 2, 0], [0, 0, 2], [0, 0, 0]], 0.1),
}


@pytest.mark.parametrize("name", NEAR_COLLAPSE)
def test_strong_noise_does_not_carry_the_search_to_zero(name):
    """Widths (2, 1): a descent that starts with too large weights ends at zero."""
    A, S, decay = NEAR_COLLAPSE[name]
    moments = SecondMoments.from_moments(A, S, float(np.sum(np.square(S))) + 1)
    noise = (5.5, 67.0)
    minimum = minimum_of((2, 1), moments, depth=3, noise=noise, weight_decay=decay)
    reference, _ = brute_force(moments, (2, 1), decay, noise, restarts=15, scale=0.5)
    assert reference < moments.output_moment * (1 - 1e-5)  # zero is not the minimum
    assert minimum.objective <= reference * (1 + 1e-9)


@pytest.mark.parametrize("decay", [1e-4, 1e-9, 0.0])
def test_a_bottleneck_with_little_decay_and_noise(decay):
    random = np.random.RandomState(2)
    X = random.randn(40, 4)
    moments = SecondMoments.from_data(X, X @ random.randn(4, 3) + 0.3 * random.randn(40, 3))
    minimum = minimum_of(2, moments, weight_decay=decay, noise=1e-3)
    assert np.linalg.matrix_rank(minimum.coef) == 2
    assert minimum.weights()[0].shape == (2, 4)


def test_a_minimum_that_only_some_starts_reach():
    """200 random restarts of descent found a point lower by 1.2e-6 than four finalists did."""
    random = np.random.default_rng(194)
    d, m, _ = random.integers(2, 6), random.integers(2, 5), random.integers(2, 5)
    X = random.normal(size=(30, d)) * np.exp(random.normal(size=d))
    y = X @ random.normal(size=(d, m)) + random.uniform(0.1, 2) * random.normal(size=(30, m))
    moments = SecondMoments.from_data(X, y)
    options = {"noise": 2.2132763430377893, "weight_decay": 6.400408002963853}
    assert minimum_of(6, moments, **options).objective <= 876.2668984131013 * (1 + 1e-9)
