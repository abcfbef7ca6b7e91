import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize, minimize_scalar

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._global_minimum import global_minimum
from sklearn_deeplinear.theory._landscape import critical_weight_decay, zero_hessian
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._noise import expected_loss
from tests.theory.scalar_scan import close_extrema


def _random_moments(seed, m, d, spread=1.0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((40, d)) * np.logspace(0, spread, d)
    return SecondMoments.from_data(
        X, X @ rng.standard_normal((d, m)) + rng.standard_normal((40, m))
    )


def _whitened(e, a):
    return SecondMoments.from_moments(a * np.eye(2), [[0.6 * e, 0.8 * e]], 10 * e**2 / a)


def _closed_form(e, a, h, s, depth):
    """Critical decays for A = a I, equal widths and equal noises, depth >= 3."""
    D = depth - 1
    q = (h * (h + s)) ** D
    power = (D - 1) / (D + 1)
    collapse = ((D - 1) / (a * q)) ** power * (e * h ** (D - 1) / D) ** (2 * D / (D + 1))
    inner = (D - 1) * e / (2 * D * h * (h + s) ** D * a)
    return collapse, (D + 1) / (2 * D) * e * h ** (D - 1) * inner**power


@pytest.mark.parametrize(
    ("depth", "collapse", "spinodal"),
    [(2, 1.3, 1.3), (3, 0.63414, 0.75498), (4, 0.48217, 0.68189), (5, 0.39649, 0.65396)],
)
def test_known_values(depth, collapse, spinodal):
    critical = critical_weight_decay(_whitened(1.3, 0.7), depth=depth, width=4)
    assert critical.collapse == pytest.approx(collapse, abs=6e-6)
    assert critical.spinodal == pytest.approx(spinodal, abs=6e-6)


@pytest.mark.parametrize("depth", [3, 4, 5, 8, 20])
@pytest.mark.parametrize("noise", [0.0, 0.7, 40.0])
@pytest.mark.parametrize("e", [1e-60, 1.3, 1e60])
def test_white_inputs_have_a_closed_form(depth, noise, e):
    critical = critical_weight_decay(_whitened(e, 0.7 * e), depth=depth, width=3, noise=noise)
    scale = e / 1.3  # keeps the reference in range: gamma has the units of S when A has too
    collapse, spinodal = _closed_form(1.3, 0.7 * 1.3, 3, noise, depth)
    assert critical.collapse == pytest.approx(collapse * scale, rel=1e-12)
    assert critical.spinodal == pytest.approx(spinodal * scale, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("width", "noise"), [(None, 0.0), ((2, 5, 3), (0.4, 0.0, 2.0))])
def test_values_found_by_bisecting_the_scalar_objective(seed, width, noise):
    """phi(t) of a common decay by matrix solves; gamma by bisection over its minima."""
    moments, depth = _random_moments(seed, 1, 4, spread=seed / 2), 4
    critical = critical_weight_decay(moments, depth=depth, width=width, noise=noise)
    h = np.ones(3) if width is None else np.array(width, dtype=float)
    rho = np.prod(h / (h + noise))
    A, S, D = moments.input_moment, moments.cross_moment[0], depth - 1

    def gain(log_t, gamma):
        """(phi - c) / t, negative where the candidate beats zero."""
        t = np.exp(log_t)
        mu = rho * gamma**depth / t**D
        return D - rho * S @ np.linalg.solve(A + mu * np.eye(4), S) / t

    def lowest(gamma):
        grid = np.linspace(-12, 12, 1500) + np.log(critical.collapse)
        values = [gain(x, gamma) for x in grid]
        i = int(np.argmin(values))
        return minimize_scalar(
            gain, (grid[i - 1], grid[i], grid[i + 1]), args=(gamma,), options={"xtol": 1e-10}
        ).fun

    found = brentq(lowest, 0.9 * critical.collapse, 1.1 * critical.collapse, rtol=1e-11)
    assert critical.collapse == pytest.approx(found, rel=1e-8)

    def steepest(gamma):
        """Least slope of phi / D over all t, negative while another minimum exists."""
        t = np.exp(np.linspace(-12, 12, 20_001) + np.log(critical.collapse))
        mu = rho * gamma**depth / t**D
        a, V = np.linalg.eigh(A)
        return np.min(1 - rho * mu / t * np.sum((V.T @ S) ** 2 / (a + mu[:, None]) ** 2, axis=1))

    found = brentq(steepest, 0.9 * critical.spinodal, 1.1 * critical.spinodal, rtol=1e-11)
    # The grid misses its minimum by half a spacing, 6e-4 in log t: 1e-6 after squaring.
    assert critical.spinodal == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_training_collapses_where_it_is_predicted_to(noise):
    """The full objective over all weights, minimised from many starts on both sides."""
    moments, depth, width = _random_moments(0, 1, 3), 3, (2, 2)
    critical = critical_weight_decay(moments, depth=depth, width=width, noise=noise)
    sizes = [(2, 3), (2, 2), (1, 2)]

    def objective(flat, gamma):
        weights = np.split(flat, np.cumsum([6, 4]))
        weights = [w.reshape(s) for w, s in zip(weights, sizes, strict=True)]
        return expected_loss(weights, moments, noise) + gamma * np.sum(flat**2)

    def local_minima(gamma, factor):
        """End points of searches from balanced starts of many sizes, signs even."""
        least_squares = np.linalg.solve(moments.input_moment, moments.cross_moment.T).T
        for scale in factor * np.array([0.3, 0.6, 1.0]):
            W_1, W_2, W_3 = balanced_factors(scale * least_squares, 1, depth=3)
            # Spread over both units: the noiseless map is kept, the noise averages out.
            weights = [np.repeat(W_1, 2, 0) / 2**0.5, np.full((2, 2), W_2[0, 0] / 2)]
            weights.append(np.repeat(W_3, 2, 1) / 2**0.5)
            flat = np.concatenate([W.ravel() for W in weights])
            yield minimize(objective, flat, (gamma,), options={"gtol": 1e-9})

    zero = objective(np.zeros(12), 0.0)
    below, above = 0.99, 1.01
    best = min(found.fun for found in local_minima(below * critical.collapse, 1))
    assert best < zero * (1 - 1e-6)
    best = min(found.fun for found in local_minima(above * critical.collapse, 1))
    assert best == pytest.approx(zero, rel=1e-12) or best > zero
    sizes_left = [np.linalg.norm(f.x) for f in local_minima(below * critical.spinodal, 1)]
    assert max(sizes_left) > 0.1
    sizes_left = [np.linalg.norm(f.x) for f in local_minima(above * critical.spinodal, 1)]
    assert max(sizes_left) < 1e-3


def test_rank_one_targets_reduce_to_their_one_output():
    moments = _random_moments(1, 1, 4)
    u = np.array([[3.0], [4.0], [0.0]]) / 5
    several = SecondMoments.from_moments(
        moments.input_moment, u @ moments.cross_moment, moments.output_moment
    )
    one = critical_weight_decay(moments, depth=4)
    many = critical_weight_decay(several, depth=4)
    assert many.collapse == pytest.approx(one.collapse, rel=1e-11)
    assert many.spinodal == pytest.approx(one.spinodal, rel=1e-11)


def test_two_layers_collapse_at_the_largest_singular_value_with_any_noise():
    moments = _random_moments(2, 3, 4)
    top = np.linalg.norm(moments.cross_moment, 2)
    for noise, width in [(0.0, 5), (0.8, 5), (0.8, None)]:
        critical = critical_weight_decay(moments, depth=2, width=width, noise=noise)
        assert critical.collapse == critical.spinodal == pytest.approx(top, rel=1e-14)
    assert zero_hessian(moments, depth=2, width=5, weight_decay=0.999 * top).is_saddle
    assert zero_hessian(moments, depth=2, width=5, weight_decay=1.001 * top).is_strict_minimum


def test_degenerate_cases():
    nothing = SecondMoments.from_moments(np.eye(2), np.zeros((1, 2)), 1.0)
    for depth in (1, 2, 3):
        critical = critical_weight_decay(nothing, depth=depth)
        assert critical.collapse == critical.spinodal == 0
    assert critical_weight_decay(_whitened(1.3, 0.7), depth=1).collapse == np.inf


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("depth", [3, 5, 9])
def test_zero_becomes_global_before_the_other_minimum_disappears(seed, depth):
    critical = critical_weight_decay(_random_moments(seed, 1, 6, spread=seed), depth=depth)
    assert 0 < critical.collapse < critical.spinodal
    assert critical.spinodal < np.inf


def test_unknown_and_incomplete_problems_are_refused():
    with pytest.raises(ValueError, match="moments must have a cross moment S of rank one"):
        critical_weight_decay(_random_moments(3, 2, 3), depth=3)
    with pytest.raises(ValueError, match="width must be given when noise"):
        critical_weight_decay(_random_moments(3, 1, 3), depth=3, noise=0.1)
    with pytest.raises(ValueError, match="width must be given when depth"):
        zero_hessian(_random_moments(3, 1, 3), depth=2)


@pytest.mark.parametrize(
    ("m", "d", "width", "gamma"),
    [
        (2, 3, (), 0.7),
        (1, 3, (), 0.0),
        (2, 3, (4,), (0.5, 3.0)),
        (3, 2, (2,), 0.0),
        (2, 3, (1,), (0.0, 2.0)),
        (2, 3, (3, 2), (0.5, 1.0, 0.25)),
        (2, 3, (2, 3), 0.0),
        (1, 2, (2, 1, 2), (0.1, 0.2, 0.3, 0.4)),
    ],
)
def test_spectrum_is_that_of_the_hessian_by_autograd(m, d, width, gamma):
    moments, depth = _random_moments(4, m, d), len(width) + 1
    sizes = (d, *width, m)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    decays = np.broadcast_to(gamma, depth)
    R_x, R_y = torch.tensor(moments.input_factor), torch.tensor(moments.output_factor)

    def objective(flat):
        layers = flat.split([rows * cols for rows, cols in shapes])
        H, penalty = R_x, 0.0
        for w, shape, g in zip(layers, shapes, decays, strict=True):
            H, penalty = H @ w.reshape(shape).T, penalty + float(g) * (w**2).sum()
        return ((H - R_y) ** 2).sum() + penalty

    zero = torch.zeros(sum(rows * cols for rows, cols in shapes), dtype=torch.float64)
    dense = torch.autograd.functional.hessian(objective, zero)
    expected = np.linalg.eigvalsh(dense.numpy())
    result = zero_hessian(moments, depth=depth, width=width, weight_decay=gamma)
    assert np.all(np.diff(result.eigenvalues) > 0)
    full = np.repeat(result.eigenvalues, result.multiplicities)
    np.testing.assert_allclose(full, expected, rtol=0, atol=1e-13 * np.abs(expected).max() + 1e-13)


def _verdict(hessian):
    return hessian.is_stationary, hessian.is_strict_minimum, hessian.is_saddle


def test_verdicts_on_zero():
    moments = _random_moments(5, 1, 3)
    one_layer = zero_hessian(moments, depth=1, weight_decay=1.0)
    assert one_layer.eigenvalues[0] > 0
    assert _verdict(one_layer) == (False, False, False)
    tiny_decay = zero_hessian(moments, depth=3, width=2, weight_decay=1e-9)
    assert _verdict(tiny_decay) == (True, True, False)
    flat = zero_hessian(moments, depth=3, width=2)
    assert _verdict(flat) == (True, False, False)


@pytest.mark.parametrize("depth", [3, 4, 10, 50])
@pytest.mark.parametrize("gap", [0.3, 0.04])
def test_spinodal_is_the_higher_of_two_maxima_next_to_each_other(depth, gap):
    # The first two extrema of the curve are closer than any spacing one would scan with.
    b = 1e-3
    t, extrema = close_extrema(b, depth, gap)
    a, z = np.array([1.0, b]), np.array([1.0, t])
    moments = SecondMoments.from_moments(np.diag(a), [np.sqrt(z)], 2 * np.sum(z / a))
    heights = [depth / (depth - 1) * x + np.log(np.sum(z / (a + np.exp(x)) ** 2)) for x in extrema]
    critical = critical_weight_decay(moments, depth=depth)
    expected = np.exp((depth - 1) / depth * max(heights))
    assert critical.spinodal == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("a", [[1, 1, 1], [3, 2, 1], [1, 1, 1e-3], [1, 1 - 1e-9, 1e-12]])
@pytest.mark.parametrize("depth", [3, 4, 20])
def test_zero_takes_over_at_the_collapse_and_nothing_else_is_left_past_the_spinodal(a, depth):
    S = np.sqrt(a) * [1.0, 4.0, 2.0]
    moments = SecondMoments.from_moments(np.diag(a), [S], 22.0)
    critical = critical_weight_decay(moments, depth=depth)
    for change, zero in ((-1e-9, False), (1e-9, True)):
        gamma = critical.collapse * (1 + change)
        assert global_minimum(moments, depth=depth, weight_decay=gamma).is_zero == zero
        gamma = critical.spinodal * (1 + change)
        candidates = global_minimum(moments, depth=depth, weight_decay=gamma).candidates
        assert (len(candidates) == 1) == zero


@pytest.mark.parametrize("unit_x", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize("unit_y", [1e-150, 1.0, 1e150])
def test_hessian_in_extreme_units(unit_x, unit_y):
    # One input: the eigenvalues are gamma_1 + gamma_2 +- 2 s for equal decays.
    unit = unit_x * unit_y
    moments = SecondMoments.from_moments([[unit_x**2]], [[2 * unit]], 5 * unit_y**2)
    hessian = zero_hessian(moments, depth=2, width=3, weight_decay=unit)
    np.testing.assert_allclose(hessian.eigenvalues, [-2 * unit, 6 * unit], rtol=1e-14)
    assert hessian.is_saddle
    assert zero_hessian(moments, depth=2, width=3, weight_decay=3 * unit).is_strict_minimum


def test_zero_is_stationary_where_the_cross_moment_is_rounding():
    X, u = np.split(np.random.RandomState(0).standard_normal((20, 4)), [3], axis=1)
    X -= X.mean(axis=0)
    u -= u.mean()
    moments = SecondMoments.from_data(X, u - X @ np.linalg.lstsq(X, u)[0])
    assert 0 < np.abs(moments.cross_moment).max() < 1e-14
    assert zero_hessian(moments, depth=1, weight_decay=0.1).is_strict_minimum
