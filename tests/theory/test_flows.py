import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sklearn_deeplinear.theory._balance import balanced_factors, end_to_end
from sklearn_deeplinear.theory._flows import end_to_end_flow, mode_flow
from sklearn_deeplinear.theory._moments import SecondMoments

TIMES = np.array([0.0, 1e-6, 0.1, 0.5, 2.0, 10.0])


def _problem(seed, m, d):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((40, d)) * np.linspace(0.5, 1.5, d)
    moments = SecondMoments.from_data(X, X @ rng.standard_normal((d, m)))
    return moments, 0.3 * rng.standard_normal((m, d))


def _flow_of_the_weights(weights, moments, times):
    """End-to-end map along dW_l/dt = -dJ/dW_l, by a tight solve over all the weights."""
    A, S = moments.input_moment, moments.cross_moment
    shapes, ends = [W.shape for W in weights], np.cumsum([W.size for W in weights])[:-1]

    def unpack(flat):
        return [w.reshape(s) for w, s in zip(np.split(flat, ends), shapes, strict=True)]

    def velocity(t, flat):
        W = unpack(flat)
        G = 2 * (end_to_end(W) @ A - S)
        parts = []
        for i in range(len(W)):
            above = end_to_end(W[i + 1 :]) if W[i + 1 :] else np.eye(len(S))
            below = end_to_end(W[:i]) if W[:i] else np.eye(len(A))
            parts.append(-(above.T @ G @ below.T).ravel())
        return np.concatenate(parts)

    start = np.concatenate([W.ravel() for W in weights])
    solution = solve_ivp(velocity, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-13)
    return np.array([end_to_end(unpack(y)) for y in solution.y.T])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("m", "d", "width"), [(2, 3, 4), (3, 2, 2), (1, 3, 1)])
def test_end_to_end_map_follows_the_balanced_weights_of_any_width(depth, m, d, width):
    moments, M_0 = _problem(depth, m, d)
    expected = _flow_of_the_weights(balanced_factors(M_0, width, depth=depth), moments, TIMES)
    flow = end_to_end_flow(moments, M_0, depth=depth)
    np.testing.assert_allclose(flow(TIMES), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_limit_of_a_full_rank_start_is_least_squares(depth):
    moments, _ = _problem(0, 2, 3)
    least_squares = np.linalg.solve(moments.input_moment, moments.cross_moment.T).T
    rng = np.random.RandomState(1)
    flow = end_to_end_flow(moments, 0.3 * least_squares + 0.02 * rng.randn(2, 3), depth=depth)
    np.testing.assert_allclose(flow(np.inf), least_squares, rtol=0, atol=1e-9)


def test_limit_of_a_rank_one_start_is_a_saddle_of_rank_one():
    """White inputs: the best map of rank one is the leading mode of S."""
    S = np.diag([3.0, 1.0])
    moments = SecondMoments.from_moments(np.eye(2), S, 20.0)
    flow = end_to_end_flow(moments, [[0.1, 0.2], [0.05, 0.1]], depth=3)
    np.testing.assert_allclose(flow(np.inf), np.diag([3.0, 0.0]), rtol=0, atol=1e-9)


def test_zero_stays_zero_from_two_layers_on():
    moments, _ = _problem(1, 2, 3)
    assert not end_to_end_flow(moments, np.zeros((2, 3)), depth=3)([1.0, np.inf]).any()
    assert end_to_end_flow(moments, np.zeros((2, 3)), depth=1)(np.inf).any()


def test_times_may_come_in_any_order_and_shape():
    moments, M_0 = _problem(2, 2, 3)
    late_first, early_first = (end_to_end_flow(moments, M_0, depth=3) for _ in range(2))
    times = np.array([[3.0, 0.2, np.inf], [0.0, 1.0, 0.7]])
    np.testing.assert_array_equal(early_first(0.2), late_first(times)[0, 1])
    assert late_first(times).shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(early_first(times), late_first(times))
    np.testing.assert_array_equal(early_first(0.0), M_0)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_units_of_the_targets_only_rescale_the_flow(factor):
    """Targets and map in units of c: time runs at c^(2 - 2/L) of its speed."""
    moments, M_0 = _problem(3, 2, 3)
    scaled = SecondMoments.from_moments(
        moments.input_moment, factor * moments.cross_moment, factor**2 * moments.output_moment * 2
    )
    speed = factor ** (2 - 2 / 3)
    flow = end_to_end_flow(moments, M_0, depth=3)(0.4)
    np.testing.assert_allclose(
        end_to_end_flow(scaled, factor * M_0, depth=3)(0.4 / speed) / factor, flow, rtol=1e-8
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("s", [2.0, 0.3, 0.0, -1.0])
def test_mode_solves_its_equation(depth, s):
    """Against a tight solve in the strength y = |a|^(1/L) of one layer, modes of both signs."""
    a_0, a = np.array([0.05, 1.0, 5.0, -0.7]), 0.8
    flow = mode_flow(s, a_0, depth=depth, input_moment=a)

    sign, y_0 = np.sign(a_0), np.abs(a_0) ** (1 / depth)

    def velocity(t, y):
        return 2 * y ** (depth - 1) * (sign * s - a * y**depth)

    y = solve_ivp(velocity, (0, 10), y_0, "DOP853", TIMES, rtol=1e-12, atol=1e-14).y.T
    assert flow(TIMES).shape == (6, 4)
    # The interpolant of the reference, between its steps, is the less accurate side.
    np.testing.assert_allclose(flow(TIMES), sign * y**depth, rtol=0, atol=2e-9)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_mode_is_the_one_dimensional_end_to_end_flow(depth):
    moments = SecondMoments.from_moments([[0.7]], [[1.4]], 5.0)
    whole = end_to_end_flow(moments, [[0.2]], depth=depth)
    mode = mode_flow(1.4, 0.2, depth=depth, input_moment=0.7)
    times = [0.0, 0.1, 1.0, 4.0, np.inf]
    np.testing.assert_allclose(mode(times), whole(times).ravel(), rtol=1e-9)


def test_plateau_of_a_deep_mode_lasts_as_long_as_its_integral_says():
    """Time to half strength by quadrature of dt = da / (2 L a^(2 - 2/L) (s - a))."""
    s, a_0, depth = 1.0, 1e-6, 4
    y = np.polynomial.legendre.leggauss(400)
    # In u = log(a) the integrand is exp(-(1 - 2/L) u) / (2 L (s - e^u)), smooth.
    lo, hi = np.log(a_0), np.log(s / 2)
    u = (hi - lo) / 2 * y[0] + (hi + lo) / 2
    integrand = np.exp(-(1 - 2 / depth) * u) / (2 * depth * (s - np.exp(u)))
    half_time = (hi - lo) / 2 * y[1] @ integrand
    assert mode_flow(s, a_0, depth=depth)(half_time) == pytest.approx(s / 2, rel=1e-8)


def test_limits_of_modes():
    """The limit is s / a, but zero is in the way of a change of sign."""
    strengths = mode_flow([[2.0], [-2.0], [0.0]], [0.1, -0.1, 0.0], depth=3, input_moment=0.5)
    expected = [[4.0, 0.0, 0.0], [0.0, -4.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(strengths(np.inf), expected, atol=1e-15)
    two = mode_flow([[2.0], [-2.0], [0.0]], [0.1, -0.1, 0.0], depth=2, input_moment=0.5)
    np.testing.assert_allclose(two(np.inf), expected, atol=1e-15)
    assert mode_flow(-2.0, 0.1, depth=1)(np.inf) == -2.0


def test_arguments_are_checked():
    moments, M_0 = _problem(4, 2, 3)
    with pytest.raises(ValueError, match="coef_0 must be finite and of shape"):
        end_to_end_flow(moments, M_0.T, depth=2)
    for flow in (end_to_end_flow(moments, M_0, depth=2), mode_flow(1.0, 0.1, depth=3)):
        with pytest.raises(ValueError, match="t must be at least 0"):
            flow(-1.0)
    with pytest.raises(ValueError, match="s and a_0 must be finite"):
        mode_flow(np.inf, 0.1, depth=2)
    with pytest.raises(ValueError, match="input_moment must be"):
        mode_flow(1.0, 0.1, depth=2, input_moment=0.0)
