import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._balanced_equation import _divided_powers, _graded_svd
from sklearn_deeplinear.theory._flows import end_to_end_flow
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._mode_flow import mode_flow
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._pathway_flow import pathway_flow
from sklearn_deeplinear.theory._two_layer_flow import two_layer_flow

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
    states = [start]
    for begin, end in zip(times[:-1], times[1:], strict=True):
        # No dense output: between its steps the reference would only be interpolated.
        solution = solve_ivp(velocity, (begin, end), states[-1], "DOP853", rtol=1e-12, atol=1e-13)
        states.append(solution.y[:, -1])
    return np.array([end_to_end(unpack(y)) for y in states])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("m", "d", "width"), [(2, 3, 2), (1, 3, 1)])
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
    times = np.array([[3.0, 0.2, 2.0], [0.0, 1.0, 0.7]])
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

    def reference(sign, y):
        def velocity(t, y):
            return 2 * y ** (depth - 1) * (sign * s - a * y**depth)

        # From time to time and mode by mode: between its steps the solver would only
        # interpolate, and the steps of one mode say little of the errors of another.
        yield sign * y**depth
        for span in zip(TIMES[:-1], TIMES[1:], strict=True):
            y = solve_ivp(velocity, span, [y], "DOP853", rtol=1e-12, atol=1e-14).y[0, -1]
            yield sign * y**depth

    modes = [list(reference(np.sign(x), abs(x) ** (1 / depth))) for x in a_0]
    assert flow(TIMES).shape == (6, 4)
    # The reference differs from Radau's method by 1.2e-11 at most.
    np.testing.assert_allclose(flow(TIMES), np.transpose(modes), rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_mode_is_the_one_dimensional_end_to_end_flow(depth):
    moments = SecondMoments.from_moments([[0.7]], [[1.4]], 5.0)
    whole = end_to_end_flow(moments, [[0.2]], depth=depth)
    mode = mode_flow(1.4, 0.2, depth=depth, input_moment=0.7)
    times = [0.0, 0.1, 1.0, 4.0, np.inf]
    np.testing.assert_allclose(mode(times), whole(times).ravel(), rtol=1e-9)


@pytest.mark.parametrize(("a_0", "depth"), [(1e-6, 4), (1e-30, 3), (1e-12, 7), (1e-5, 50)])
def test_plateau_of_a_deep_mode_lasts_as_long_as_its_integral_says(a_0, depth):
    """Time to a strength by quadrature of dt = da / (2 L a^(2 - 2/L) (s - a))."""
    s, power = 1.0, 1 - 2 / depth

    def time_to(a):
        # In q = a^(-power) the integrand is 1 / (2 L power (s - a)), nearly constant.
        q, weights = np.polynomial.legendre.leggauss(400)
        lo, hi = -np.log(a), -np.log(a_0)
        u = (hi - lo) / 2 * q + (hi + lo) / 2
        integrand = np.exp(power * u) / (2 * depth * (s - np.exp(-u)))
        return (hi - lo) / 2 * weights @ integrand

    early = 2 * a_0
    assert mode_flow(s, a_0, depth=depth)(time_to(early)) == pytest.approx(early, rel=1e-8)
    if a_0 > 1e-12:  # later, the time says less of the strength than its digits hold
        assert mode_flow(s, a_0, depth=depth)(time_to(s / 2)) == pytest.approx(s / 2, rel=1e-8)


@pytest.mark.parametrize("depth", [2, 3, 7, 50])
@pytest.mark.parametrize("log_c", [-300, -150, 150, 290])
def test_a_mode_does_not_know_its_units(depth, log_c):
    """Strengths in units of c: time runs at c^(2 - 2/L) of its speed."""
    s, a_0, times = np.array([2.0, -2.0, 0.0, 2.0]), np.array([0.1, 0.1, 0.1, -5.0]), [0.01, 0.3]
    c, speed = 10.0**log_c, 10.0 ** min(log_c * (2 - 2 / depth), 308)
    if not 1e-300 < speed < 1e300:  # times that a float cannot hold
        times, speed = [0.0], 1.0
    expected = mode_flow(s, a_0, depth=depth)([*times, np.inf])
    found = mode_flow(c * s, c * a_0, depth=depth)(np.array([*times, np.inf]) / speed) / c
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("a_0", [5e-324, 1e-200, 1e200])
def test_a_mode_reaches_its_limit_from_any_start(a_0):
    for depth in (2, 3, 50):
        states = mode_flow(2.0, [a_0, -a_0], depth=depth)([0.0, np.inf])
        np.testing.assert_array_equal(states[0], [a_0, -a_0])
        np.testing.assert_array_equal(states[1], [2.0, 0.0])


@pytest.mark.parametrize("a_0", [1e-200, 1e10])
def test_a_mode_is_at_its_limit_after_a_finite_time(a_0):
    """Growth takes a time of about a_0^(2/L - 1), the way down from above a short one."""
    late = 100 * max(1.0, a_0 ** (2 / 3 - 1))
    np.testing.assert_allclose(mode_flow(2.0, a_0, depth=3)(late), 2.0, rtol=1e-9)


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
    with pytest.raises(ValueError, match="s and a_0 must have shapes that broadcast"):
        mode_flow([1.0, 2.0], [0.1, 0.1, 0.1], depth=2)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_there_may_be_no_modes_and_no_times(depth):
    assert mode_flow([], 0.1, depth=depth)([0.0, 1.0]).shape == (2, 0)
    assert mode_flow([1.0, 2.0], 0.1, depth=depth)([]).shape == (0, 2)
    assert pathway_flow([], np.zeros((2, 0)), depths=(depth, 2))(1.0).shape == (2, 0)


def _white(S):
    return SecondMoments.from_moments(np.eye(len(S[0])), S, 1e3 * np.sum(np.square(S)) + 1)


TWO_MODES = np.array([[3.0, 1.0], [1.0, 2.0]])  # strengths 3.618 and 1.382
TURNED = np.array([[1.0, 2.0], [-1.0, 1.0]])


@pytest.mark.parametrize(("depth", "t"), [(2, np.inf), (3, 60.0), (4, np.inf), (20, 60.0)])
def test_the_rank_of_the_start_lasts(depth, t):
    M = end_to_end_flow(_white(TWO_MODES), [[0.01, 0.02], [0.02, 0.04]], depth=depth)(t)
    strength, u = np.linalg.eigh(TWO_MODES)[0][1], np.linalg.eigh(TWO_MODES)[1][:, 1]
    np.testing.assert_allclose(M, strength * np.outer(u, u), rtol=0, atol=1e-10)
    assert np.linalg.svd(M)[1][1] < 1e-14


@pytest.mark.parametrize("scale", [1.0, 1e-163])
def test_starts_of_any_size_follow_the_closed_form_of_two_layers(scale):
    """Relative to the map, all along its growth."""
    M_0 = 0.1 * scale * TURNED
    times = np.linspace(0, 1, 4) * (1 - np.log(scale) / 3)
    expected = two_layer_flow(balanced_factors(M_0, depth=2), _white(TWO_MODES))(times).coef
    flow = end_to_end_flow(_white(TWO_MODES), M_0, depth=2)
    for M, M_closed in zip(flow(times), expected, strict=True):
        size = np.abs(M_closed).max()
        np.testing.assert_allclose(M, M_closed, rtol=0, atol=1e-10 * size)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_small_mode_of_the_start_grows_in_the_end(depth):
    q = np.linalg.qr(TURNED)[0]
    flow = end_to_end_flow(_white(TWO_MODES), q * [1.0, 1e-12] @ q.T, depth=depth)
    np.testing.assert_allclose(flow(np.inf), TWO_MODES, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "depth"), [(1e-5, 3), (1e-100, 4)])
def test_long_plateaus_end(scale, depth):
    """Long before the escape the map is the start; at last it is least squares."""
    rank_one = scale < 1e-10
    M_0 = scale * (np.ones((2, 2)) if rank_one else TURNED)
    flow = end_to_end_flow(_white(TWO_MODES), M_0, depth=depth)
    escape = scale ** (2 / depth - 1)
    np.testing.assert_allclose(flow(1e-16 * escape), M_0, rtol=1e-14)
    np.testing.assert_array_equal(np.sign(flow(np.inf)), np.sign(TWO_MODES))
    strengths = np.linalg.svd(TWO_MODES)[1] * [1, not rank_one]
    np.testing.assert_allclose(np.linalg.svd(flow(np.inf))[1], strengths, rtol=0, atol=1e-10)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_a_start_that_points_away_ends_at_the_saddle_in_its_way(depth):
    """Vectors shared with S but for rounding: every mode goes alone, none crosses zero."""
    U, s, Vt = np.linalg.svd(np.random.RandomState(0).standard_normal((3, 4)), full_matrices=False)
    a_0 = np.array([-0.1, 0.2, -0.3])
    flow = end_to_end_flow(_white((U * s) @ Vt), (U * a_0) @ Vt, depth=depth)
    times = [0.5, 30.0, 100.0, np.inf]
    expected = np.einsum("ik,tk,kj->tij", U, mode_flow(s, a_0, depth=depth)(times), Vt)
    np.testing.assert_allclose(flow(times), expected, rtol=0, atol=1e-13)
    against = end_to_end_flow(_white(TWO_MODES), -0.1 * TWO_MODES, depth=depth)
    assert np.linalg.norm(against(np.inf)) < 1e-14


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize(
    "name", ["orthogonal", "rank one", "zero", "singular A", "equal", "column"]
)
def test_structured_problems_follow_the_balanced_weights(name, depth):
    q = np.linalg.qr(TURNED)[0]
    A, S, M_0 = np.diag([1.5, 0.5]), TWO_MODES, 0.3 * TURNED
    if name == "orthogonal":
        A, S = np.eye(2), q
    elif name == "rank one":
        S = np.ones((2, 2))
    elif name == "zero":
        S = np.zeros((2, 2))
    elif name == "singular A":
        A, S = np.diag([1.0, 0.0]), np.array([[1.0, 0.0], [2.0, 0.0]])
    elif name == "equal":
        M_0 = 0.3 * q
    elif name == "column":
        A, S, M_0 = np.array([[0.7]]), np.array([[1.0], [2.0]]), np.array([[0.1], [-0.1]])
    moments = SecondMoments.from_moments(A, S, 100.0)
    times = np.array([0.0, 0.1, 0.7, 2.0])
    expected = _flow_of_the_weights(balanced_factors(M_0, 2, depth=depth), moments, times)
    flow = end_to_end_flow(moments, M_0, depth=depth)
    np.testing.assert_allclose(flow(times), expected, rtol=0, atol=1e-9)


def test_a_mode_without_target_decays_for_ever_beside_one_that_rests():
    """Fast and slow at once: the mode decays like 1 / (4 t)."""
    S, times = np.ones((2, 2)), np.array([3.0, 1e3])
    expected = two_layer_flow(balanced_factors(0.1 * TURNED, depth=2), _white(S))(times).coef
    flow = end_to_end_flow(_white(S), 0.1 * TURNED, depth=2)
    np.testing.assert_allclose(flow(times), expected, rtol=0, atol=1e-9)


def test_one_layer_is_solved_in_closed_form():
    """A singular: what A does not see stays; rates of 1 and 1e-8 side by side."""
    A, S = np.diag([1.0, 1e-8, 0.0]), np.array([[1.0, 1e-8, 0.0]])
    flow = end_to_end_flow(SecondMoments.from_moments(A, S, 10.0), [[5.0, 5.0, 5.0]], depth=1)
    decay = np.exp(-2 * np.diag(A) * 1e7)
    np.testing.assert_allclose(flow(1e7)[0], np.where(np.diag(A), 1 + 4 * decay, 5), rtol=1e-7)
    np.testing.assert_allclose(flow(np.inf)[0], [1.0, 1.0, 5.0], rtol=1e-7)


@pytest.mark.parametrize("depth", [2, 3])
def test_rounding_errors_of_the_start_start_no_mode(depth):
    rng = np.random.RandomState(12)
    U, V = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    moments = SecondMoments.from_moments(np.eye(3), (U * [3.0, 2.0, 1.0]) @ V.T, 100.0)
    flow = end_to_end_flow(moments, (U * [0.5, 0.0, 0.1]) @ V.T, depth=depth)
    np.testing.assert_allclose(U.T @ flow(np.inf) @ V, np.diag([3.0, 0.0, 1.0]), atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_divided_differences_of_powers(depth):
    D, p = np.array([3.0, 1.0, 0.2]), (depth - 2) / 2
    c = D**2
    expected = np.diag(p * c**p)  # the limit of equal ones
    for i, j in zip(*np.nonzero(~np.eye(3, dtype=bool)), strict=True):
        expected[i, j] = c[i] * (c[i] ** p - c[j] ** p) / (c[i] - c[j])
    assert_allclose(_divided_powers(D, depth), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("step", [1e-5, 1e-20, 1e-60])
def test_singular_values_of_graded_columns_have_all_their_digits(step, order):
    rows = np.array([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-1.5, 1.0, 3.0]])
    U, sigma = _graded_svd((rows * [1.0, step, step**2])[:, list(order)])
    # Areas and the volume of the columns, which differ by step^2 from products of singular values.
    a, b = rows[:, 0], rows[:, 1]
    area, volume = np.linalg.norm(np.cross(a, b)), 6.0
    sizes = np.array([np.linalg.norm(a), area / np.linalg.norm(a), volume / area])
    assert_allclose(sigma, sizes * [1.0, step, step**2], rtol=1e-14 + 10 * step**2)
    assert_allclose(U.T @ U, np.eye(3), atol=1e-14)
