"""The curves: no extremum is missed and every level is met, wherever the extrema lie."""

import numpy as np
import pytest
from scipy.optimize import brentq

from sklearn_deeplinear.theory._log_curve import LogCurve
from tests.theory.scalar_scan import close_extrema, weight_of_extremum


def slope(curve, x):
    """H' in extended precision."""
    mu = np.exp(np.asarray(x, dtype=np.longdouble))[:, None]
    weight = curve.z / (curve.a + mu) ** curve.power
    mean = np.sum(weight * mu / (curve.a + mu), axis=1) / np.sum(weight, axis=1)
    return curve.rise - curve.power * mean


def curves(depth):
    """The exponents and slopes of the stationary points and of the collapse."""
    return (depth / (depth - 1), 2), (1 / (depth - 1), 1)


@pytest.mark.parametrize("depth", [3, 4, 8, 50])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-12, 1e-6, 1e-3])
def test_equal_and_nearly_equal_eigenvalues_have_one_extremum(depth, spread):
    for rise, power in curves(depth):
        a = 1 - spread * np.arange(4)
        nodes = LogCurve(a, np.array([1.0, 0.0, 3.0, 2.0]), rise, power).nodes
        expected = np.log(rise / (power - rise))
        assert np.abs(nodes - expected).min() <= 4 * spread + 1e-13


@pytest.mark.parametrize("depth", [3, 4, 10, 50])
def test_extrema_may_lie_on_the_ends_of_cells(depth):
    b = 0.2
    for rise, power in curves(depth):
        edges = LogCurve(np.array([1.0, b]), np.ones(2), rise, power).nodes
        between = edges[:-1] + np.diff(edges) / 2
        tops = np.log(rise / (power - rise)) + np.array([np.log(b), 0.0])
        for x in [*edges, *between]:
            if tops[0] < x < tops[1]:
                t = weight_of_extremum(x, b, rise, power)
                nodes = LogCurve(np.array([1.0, b]), np.array([1.0, t]), rise, power).nodes
                assert np.abs(nodes - x).min() <= 1e-12


@pytest.mark.parametrize("depth", [3, 5, 20, 50])
@pytest.mark.parametrize("gap", [0.3, 0.04, 1e-2, 1e-3])
def test_two_extrema_close_to_each_other_and_all_levels_between(depth, gap):
    b = 1e-3
    t, extrema = close_extrema(b, depth, gap)
    curve = LogCurve(np.array([1.0, b]), np.array([1.0, t]), depth / (depth - 1), 2)
    for x in extrema:
        # Rounding moves an extremum by 1e-15 / |H''|, and |H''| is about the gap here.
        assert np.abs(curve.nodes - x).min() <= 1e-13 / gap
    ends = np.array([extrema[0] - 30, *extrema, extrema[2] + 60 * depth])
    heights = curve(ends)[0]
    level = (heights[1] + heights[2]) / 2
    found = curve.crossings(np.array([level]))[:, 0]
    expected = [
        brentq(lambda x: curve(np.array([x]))[0][0] - level, *ends[i : i + 2]) for i in range(4)
    ]
    assert len(found) == 4
    # A level that is 1e-15 off moves its crossings by the square root of 1e-15 / |H''|.
    np.testing.assert_allclose(found, expected, atol=1e-6 if gap > 1e-3 else 1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_slope_changes_sign_at_nodes_only(seed):
    random = np.random.RandomState(seed)
    depth = [3, 4, 8, 50][seed % 4]
    for rise, power in curves(depth):
        a = np.sort(10.0 ** random.uniform(-12, 0, 9))[::-1]
        a /= a[0]
        # Weights that make H nearly flat, so that it has many extrema.
        z = a ** (power - rise) * np.exp(random.uniform(-1, 1, 9))
        curve = LogCurve(a, z, rise, power)
        x = np.linspace(curve.nodes[0] - 1, curve.nodes[-1] + 1, 20001)
        signs = slope(curve, x) > 0
        for i in np.flatnonzero(signs[1:] != signs[:-1]):
            assert ((curve.nodes >= x[i] - 1e-9) & (curve.nodes <= x[i + 1] + 1e-9)).any()


def test_a_curve_that_is_flat_up_to_rounding_still_meets_every_level_outside_it():
    a = np.exp(-0.5 * np.arange(60))
    curve = LogCurve(a, a**0.5, 1.5, 2)
    middle = np.linspace(-17, -10, 50)
    assert np.abs(curve(middle)[1]).max() < 2e-3
    plateau = curve(middle)[0].mean()
    levels = plateau + np.array([-3.0, -1.0])
    found = curve.crossings(levels)
    assert np.isfinite(found).sum(axis=0).tolist() == [2, 2]
    np.testing.assert_allclose(curve(found.ravel())[0], np.tile(levels, 2), atol=1e-13)


def test_levels_at_an_extremum_and_next_to_it():
    curve = LogCurve(np.ones(1), np.ones(1), 1.5, 2)  # one maximum, at log 3
    top = curve(np.array([np.log(3.0)]))[0][0]
    step = 1e-9
    found = curve.crossings(np.array([top - step, top, top + step]))
    counts = np.isfinite(found).sum(axis=0)
    assert counts[0] == 2 and counts[2] == 0 and counts[1] <= 2
    # H'' = -2 p (1 - p) = -3 / 8 at p = 3 / 4.
    np.testing.assert_allclose(
        found[:, 0], np.log(3.0) + np.sqrt(2 * step / 0.375) * np.array([-1, 1]), atol=1e-7
    )
