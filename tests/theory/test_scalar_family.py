"""The scalar family: all its stationary points, and its minimum against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay
from sklearn_deeplinear.theory._scalar_family import (
    ScalarFamily,
    best_modes,
    log_shrinkage,
    mode_minima,
)
from tests.theory.brute_force import brute_force


def moments_of(seed, n_samples=40, scales=(3.0, 1.0, 0.5, 0.1)):
    random = np.random.RandomState(seed)
    X = random.randn(n_samples, len(scales)) * scales
    y = X @ [0.3, -1.0, 1.0, 2.0][: len(scales)] + 0.1 * random.randn(n_samples)
    return SecondMoments.from_data(X, y)


def family_of(moments, depth, log_rho=0.0):
    spectrum = moments.spectrum
    return ScalarFamily(spectrum.sigma, spectrum.targets[:, 0], depth, log_rho)


@pytest.mark.parametrize(
    ("widths", "decays", "noise"),
    [
        ((3,), (0.1, 0.3), (0.4,)),
        ((1,), (0.02, 0.3), (1.5,)),
        ((3, 2), (0.05, 0.1, 0.2), (0.3, 0.1)),
        ((4, 2), (0.05, 0.1, 0.2), (0.0, 0.0)),
        ((2, 3, 2), (0.03, 0.06, 0.1, 0.02), (0.1, 0.2, 0.05)),
    ],
)
def test_minimum_is_that_of_brute_force_over_all_weights(widths, decays, noise):
    moments = moments_of(0)
    reference, weights = brute_force(moments, widths, decays, noise)
    family = family_of(moments, len(decays), log_shrinkage(noise, widths))
    x, excess, penalty = family.minimum(np.array([np.sum(np.log(decays))]))
    # L-BFGS leaves the objective right to rounding and the map right to its square root.
    assert moments.spectrum.residual + excess[0] + penalty[0] == pytest.approx(reference, rel=1e-9)
    coef = family.coordinates(x[0]) @ moments.spectrum.directions.T
    np.testing.assert_allclose(coef, np.linalg.multi_dot([*weights[::-1]])[0], atol=1e-5)


def slow_objective(family, x, log_decay):
    """J on the family as THEORY states it, D t + c - rho sum_k z_k / (a_k + mu)."""
    a, power = family.sigma**2, family.target**2
    rho, mu = np.exp(family.log_rho), np.exp(x) * family.sigma[0] ** 2
    D = family.depth - 1
    t = (rho * np.exp(log_decay) / mu) ** (1 / D)
    return D * t + power.sum() - rho * np.sum(a * power / (a + mu[:, None]), axis=1)


def slow_slope(family, x, log_decay):
    """mu dJ/dmu of the above, whose sign scanning needs free of rounding."""
    a, power = family.sigma**2, family.target**2
    rho, mu = np.exp(family.log_rho), np.exp(x) * family.sigma[0] ** 2
    D = family.depth - 1
    t = (rho * np.exp(log_decay) / mu) ** (1 / D)
    return rho * np.sum(a * power * mu[:, None] / (a + mu[:, None]) ** 2, axis=1) - t


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
@pytest.mark.parametrize("log_rho", [0.0, -0.7])
def test_every_stationary_point_is_found(depth, log_rho):
    # Eigenvalues in distant clusters give the objective several minima.
    for seed in range(10):
        random = np.random.RandomState(seed)
        sigma = np.sort(10.0 ** random.uniform(-3, 0, 4))[::-1]
        target = random.randn(4) / sigma ** random.uniform(0, 1)
        family = ScalarFamily(sigma, target, depth, log_rho)
        curve = np.linspace(-25, 15, 40001)
        for log_decay in depth * np.log(10.0 ** random.uniform(-5, 0, 10)):
            rising = slow_slope(family, curve, log_decay) > 0
            turns = np.flatnonzero(rising[:-1] != rising[1:])
            points = np.sort(family.stationary(np.array([log_decay])).ravel())
            points = points[(points > curve[0]) & (points < curve[-1])]
            assert len(turns) == len(points)
            np.testing.assert_allclose(points, curve[turns], atol=2e-3)


def test_several_minima_occur():
    family = ScalarFamily(np.array([1.0, 1e-3]), np.array([1.0, 30.0]), 3)
    counts = [
        np.isfinite(family.stationary(np.array([3 * np.log(g)]))).sum()
        for g in np.geomspace(1e-6, 1, 200)
    ]
    assert max(counts) == 4  # two minima and two maxima besides zero


def test_terms_agree_with_the_formula_and_rows_alternate():
    moments = moments_of(1)
    family = family_of(moments, 3, -0.3)
    log_decay = np.array([3 * np.log(0.05)])
    x = family.stationary(log_decay)
    excess, penalty, log_t = family.terms(x, log_decay)
    np.testing.assert_allclose(
        (excess + penalty)[:, 0], slow_objective(family, x[:, 0], log_decay[0]), rtol=1e-12
    )
    # At a stationary point all L layers carry the same penalty.
    np.testing.assert_allclose(penalty, 3 * np.exp(log_t), rtol=1e-12)
    h = 1e-3
    around = [slow_objective(family, x[:, 0] + e, log_decay[0]) for e in (-h, 0, h)]
    curvature = around[0] - 2 * around[1] + around[2]
    assert curvature[0] > 0 > curvature[1]


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_minimum_collapses_where_the_critical_decay_says(depth):
    moments = moments_of(2)
    critical = critical_weight_decay(moments, depth=depth)
    family = family_of(moments, depth)
    log_decay = depth * np.log(critical.collapse * np.array([1 - 1e-6, 1 + 1e-6]))
    assert np.isposinf(family.minimum(log_decay)[0]).tolist() == [False, True]
    log_decay = depth * np.log(critical.spinodal * np.array([1 - 1e-6, 1 + 1e-6]))
    assert np.isfinite(family.stationary(log_decay)).any(axis=0).tolist() == [True, False]


def test_two_layers_vanish_continuously_at_the_norm_of_the_cross_moment():
    moments = moments_of(3)
    e = np.linalg.norm(moments.cross_moment)
    family = family_of(moments, 2)
    epsilon = np.array([1e-3, 1e-6, 1e-9, 1e-12])
    x = family.minimum(2 * np.log(e * (1 - epsilon)))[0]
    size = np.linalg.norm(family.coordinates(x), axis=1)
    np.testing.assert_allclose(size / epsilon, size[1] / epsilon[1], rtol=1e-2)
    assert np.isposinf(family.minimum(2 * np.log(e * (1 + epsilon)))[0]).all()


@settings(max_examples=60, deadline=None)
@given(
    depth=st.integers(2, 20),
    log_decay=st.floats(-300, 10),
    unit_x=st.floats(-8, 8),
    unit_y=st.floats(-8, 8),
    seed=st.integers(0, 5),
)
def test_units_of_inputs_and_targets_only_rescale_the_minimum(
    depth, log_decay, unit_x, unit_y, seed
):
    random = np.random.RandomState(seed)
    sigma, target = np.sort(random.rand(5))[::-1] + 1e-3, random.randn(5)
    here = ScalarFamily(sigma, target, depth)
    b, a = 10.0**unit_x, 10.0**unit_y
    there = ScalarFamily(b * sigma, a * target, depth)
    # M scales by a / b, so each gamma must scale by a^2 (b / a)^(2/L).
    shift = 2 * depth * np.log(a) + 2 * np.log(b / a)
    x, excess, penalty = here.minimum(np.array([log_decay]))
    x_there, excess_there, penalty_there = there.minimum(np.array([log_decay + shift]))
    np.testing.assert_allclose(excess_there + penalty_there, a**2 * (excess + penalty), rtol=1e-9)
    if np.isfinite(x).all() and np.isfinite(x_there).all():
        np.testing.assert_allclose(x_there, x, atol=1e-6)


def test_wide_and_deep_networks_stay_finite_and_lose_their_noise():
    moments = moments_of(4)
    log_decay = np.array([20 * np.log(1e-3), 20 * np.log(1e-12), 20 * np.log(0.05)])
    quiet = family_of(moments, 20).minimum(log_decay)
    widths, noise = np.full(19, 10**4), np.full(19, 0.5)
    noisy = family_of(moments, 20, log_shrinkage(noise, widths)).minimum(log_decay)
    for values in (*quiet[1:], *noisy[1:]):
        assert np.isfinite(values).all()
    loss, noisy_loss = quiet[1] + quiet[2], noisy[1] + noisy[2]
    assert (noisy_loss >= loss).all()
    # To first order the noise multiplies the second moment of f by 1 + 19 s / h.
    assert (noisy_loss - loss <= 1.1 * 19 * 0.5e-4 * np.sum(moments.spectrum.targets**2)).all()


def test_extreme_decays_neither_overflow_nor_lose_the_limit():
    family = family_of(moments_of(5), 2)
    none = family.minimum(np.array([-np.inf]))
    tiny = family.minimum(np.array([2 * np.log(1e-300)]))
    np.testing.assert_allclose(family.coordinates(tiny[0]), family.coordinates(none[0]), rtol=1e-12)
    assert none[1][0] == 0 and none[2][0] == 0
    huge = family.minimum(np.array([2 * np.log(1e300)]))
    assert np.isposinf(huge[0]).all() and not family.coordinates(huge[0]).any()


SIGMA = np.array([1.0, 0.6, 0.2])
TARGETS = np.array([[0.9, 0.0, -0.1, 2.0], [0.4, 0.0, 0.3, -1.0], [0.0, 0.0, 0.1, 0.5]])
LOG_DECAY = 3 * np.log(0.1)


def scanned_minimum(sigma, target, depth, log_decay, log_rho=0.0):
    """Least objective and its map in the eigenbasis, by scanning the curve from the formula."""
    family = ScalarFamily(sigma, target, depth, log_rho)
    x = np.linspace(-12, 12, 240001)
    values = slow_objective(family, x, log_decay)
    mu = np.exp(x[values.argmin()]) * sigma[0] ** 2
    nothing = np.sum(target**2)
    if values.min() > nothing:
        return nothing, np.zeros(len(sigma))
    return values.min(), np.exp(log_rho) * sigma * target / (sigma**2 + mu)


@pytest.mark.parametrize("log_rho", [0.0, -0.3])
def test_minima_of_several_targets_are_those_of_each_alone(log_rho):
    coordinates, excess, penalty, x = mode_minima(SIGMA, TARGETS, 3, LOG_DECAY, log_rho)
    for j, target in enumerate(TARGETS.T):
        least, coef = scanned_minimum(SIGMA, target, 3, LOG_DECAY, log_rho)
        # The scan misses a minimum by half a step of 1e-4, its value by the square of that.
        assert excess[j] + penalty[j] == pytest.approx(least, rel=1e-7)
        np.testing.assert_allclose(coordinates[:, j], coef, atol=3e-4)
        assert np.isinf(x[j]) == (not coef.any())
    # A target that is lost, and one that is nothing, beside two that are learned.
    assert np.isinf(x).tolist() == [False, True, True, False]


@pytest.mark.parametrize("rank", [1, 2])
def test_best_modes_are_those_that_gain_most(rank):
    directions = np.linalg.qr(np.random.RandomState(0).standard_normal((4, 4)))[0][:3]
    alone = (TARGETS @ directions.T).T
    found = [scanned_minimum(SIGMA, target, 3, LOG_DECAY) for target in alone]
    gains = [np.sum(target**2) - least for target, (least, _) in zip(alone, found, strict=True)]
    best = np.argsort(gains)[::-1][:rank]
    expected = sum(np.outer(found[j][1], directions[j]) for j in best)
    assert min(gains[j] for j in best) > 1e-3
    modes = best_modes(SIGMA, TARGETS, directions, rank, 3, LOG_DECAY)
    np.testing.assert_allclose(modes, expected, atol=3e-4)


@pytest.mark.parametrize("unit", [1e-140, 1e140])
def test_squares_of_targets_may_be_no_floats_on_the_way(unit):
    target = TARGETS[:, 0]
    x, excess, penalty = ScalarFamily(SIGMA, target, 3).minimum(np.array([LOG_DECAY]))
    # As above with b = 1: J in units of the squared target.
    shift = 4 * np.log(unit)
    there = ScalarFamily(SIGMA, unit * target, 3).minimum(np.array([LOG_DECAY + shift]))
    np.testing.assert_allclose(there[0], x, atol=1e-9)
    np.testing.assert_allclose(there[1] + there[2], unit**2 * (excess + penalty), rtol=1e-9)
