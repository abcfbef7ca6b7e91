import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import hadamard

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._flows import end_to_end_flow
from sklearn_deeplinear.theory._mode_flow import mode_flow
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._two_layer_flow import two_layer_flow
from tests.theory.reference_flows import two_layers

# Solves to each time with rtol = 1e-13 come within 7e-13 of the closed form.
SOLVED = 2e-11
TIMES = np.array([0.0, 1e-9, 0.01, 0.3, 1.0, 3.0, 10.0, 50.0])


def _white(S):
    return SecondMoments.from_moments(np.eye(np.shape(S)[1]), S, 1e3 * np.sum(np.square(S)) + 1)


def _lambda_balanced(rng, m, d, h, lam):
    """W_2 = Q (lambda I + W_1 W_1^T)^(1/2) with orthonormal columns Q, or its mirror image."""
    if lam < 0:
        W_1, W_2 = _lambda_balanced(rng, d, m, h, -lam)
        return W_2.T, W_1.T
    W_1 = 0.5 * rng.standard_normal((h, d))
    values, V = np.linalg.eigh(lam * np.eye(h) + W_1 @ W_1.T)
    Q = np.linalg.qr(rng.standard_normal((m, h)))[0]
    return W_1, Q @ (V * np.sqrt(np.maximum(values, 0.0))) @ V.T


def _weights_over_time(W_1, W_2, S, times):
    def unpack(flat):
        return flat[: W_1.size].reshape(W_1.shape), flat[W_1.size :].reshape(W_2.shape)

    def velocity(t, flat):
        A, B = unpack(flat)
        G = 2 * (B @ A - S)
        return -np.concatenate([(B.T @ G).ravel(), (G @ A.T).ravel()])

    state, last, states = np.concatenate([W_1.ravel(), W_2.ravel()]), 0.0, []
    tight = {"rtol": 1e-13, "atol": 1e-15}
    for t in times:  # solved to each time: interpolation between steps is less accurate
        if t > last:
            state, last = solve_ivp(velocity, (last, t), state, "DOP853", **tight).y[:, -1], t
        states.append(unpack(state))
    return states


@pytest.mark.parametrize("lam", [0.0, 1.5, -2.0])
@pytest.mark.parametrize(("m", "d", "h"), [(3, 5, 2), (5, 3, 2), (4, 4, 4), (3, 3, 1)])
def test_blocks_are_those_of_the_integrated_weights(lam, m, d, h):
    rng = np.random.RandomState(1)
    W_1, W_2 = _lambda_balanced(rng, m, d, h, lam)
    S = rng.standard_normal((m, d))
    flow = two_layer_flow((W_1, W_2), _white(S))
    assert flow.lam == pytest.approx(lam, abs=1e-14)
    state = flow(TIMES)
    for i, (A, B) in enumerate(_weights_over_time(W_1, W_2, S, TIMES)):
        np.testing.assert_allclose(state.input_gram[i], A.T @ A, rtol=0, atol=SOLVED)
        np.testing.assert_allclose(state.coef[i], B @ A, rtol=0, atol=SOLVED)
        np.testing.assert_allclose(state.output_gram[i], B @ B.T, rtol=0, atol=SOLVED)


def test_hidden_layer_wider_than_the_rank():
    """Balanced, padded with zeros: agrees with the flow of the end-to-end map."""
    rng = np.random.RandomState(2)
    S, M_0 = rng.standard_normal((2, 3)), 0.2 * rng.standard_normal((2, 3))
    flow = two_layer_flow(balanced_factors(M_0, 7, depth=2), _white(S))
    expected = end_to_end_flow(_white(S), M_0, depth=2)(TIMES)
    np.testing.assert_allclose(flow(TIMES).coef, expected, rtol=0, atol=SOLVED)


def test_modes_of_very_different_speeds_stay_accurate_when_exponentials_overflow():
    """e^(F tau) passes 1e308 at t = 0.2 while the slowest mode needs t ~ 1e5 to rise."""
    strengths, a_0 = np.array([2000.0, 1.0, 1e-3]), 1e-6
    M_0 = a_0 * np.eye(3)
    flow = two_layer_flow(balanced_factors(M_0, 3, depth=2), _white(np.diag(strengths)))
    times = np.array([1e-3, 0.2, 3.0, 10.0, 1e3, 2e3, 1e5, np.inf])
    expected = mode_flow(strengths, a_0, depth=2)(times)
    found = np.diagonal(flow(times).coef, axis1=-2, axis2=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("lam", [0.0, 1.5, -2.0])
def test_limit_is_stationary_and_reached(lam):
    rng = np.random.RandomState(3)
    W_1, W_2 = _lambda_balanced(rng, 3, 4, 3, lam)
    S = rng.standard_normal((3, 4))
    flow = two_layer_flow((W_1, W_2), _white(S))
    limit = flow(np.inf)
    np.testing.assert_allclose(limit.coef, S, rtol=0, atol=1e-13)
    np.testing.assert_allclose(limit.coef, flow(1e5).coef, rtol=0, atol=1e-13)
    np.testing.assert_allclose(limit.output_gram, flow(1e5).output_gram, rtol=0, atol=1e-12)


def test_narrow_hidden_layer_ends_at_the_leading_modes():
    rng = np.random.RandomState(4)
    S = rng.standard_normal((4, 5))
    U, s, Vt = np.linalg.svd(S, full_matrices=False)
    flow = two_layer_flow(_lambda_balanced(rng, 4, 5, 2, 0.0), _white(S))
    np.testing.assert_allclose(flow(np.inf).coef, (U[:, :2] * s[:2]) @ Vt[:2], rtol=0, atol=1e-12)


def test_equal_singular_values_and_null_directions():
    """Degenerate F: three equal modes, one without target, which decays like 1/t."""
    rng = np.random.RandomState(5)
    S = np.diag([2.0, 2.0, 2.0, 0.0])
    M_0 = 0.3 * rng.standard_normal((4, 4)) + np.eye(4)
    weights = balanced_factors(M_0, 4, depth=2)
    flow = two_layer_flow(weights, _white(S))
    for i, (A, B) in enumerate(_weights_over_time(*weights, S, TIMES)):
        np.testing.assert_allclose(flow(TIMES).coef[i], B @ A, rtol=0, atol=SOLVED)
    limit = flow(np.inf).coef
    assert np.linalg.norm(flow(1e8).coef - limit) < 1e-7
    np.testing.assert_allclose(limit, S, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("S", "weights"),
    [
        (hadamard(4), (np.eye(1, 4) / 4, np.eye(4, 1) / 4)),
        ([[1, 0, 1, 0], [0, 2, 0, 2], [1, 2, 1, 2]], (np.eye(3, 4), np.zeros((3, 3)))),
        (np.diag([2, 2, 1]), (np.full((1, 3), 0.1), np.full((3, 1), 0.1))),
    ],
    ids=["balanced", "first layer only", "one unit"],
)
def test_equal_rates_stay_equal_for_ever(S, weights):
    """Equal modes share the end as they shared the start; they parted by 2e-3 by rounding."""
    flow = two_layer_flow(weights, _white(S))
    settled = flow(60.0)  # the slowest rate is one
    for t in (1e3, 1e9, 1e18, np.inf):
        state = flow(t)
        for name in ("input_gram", "coef", "output_gram"):
            gap = np.abs(getattr(state, name) - getattr(settled, name)).max()
            assert gap <= 1e-13, (t, name)


def test_blocks_equal_the_closed_form_in_many_digits_where_rates_repeat():
    S, weights = hadamard(4).astype(float), (np.eye(1, 4) / 4, np.eye(4, 1) / 4)
    flow = two_layer_flow(weights, _white(S))
    for t in (0.7, 5.0, 20.0):
        state = flow(t)
        expected = two_layers(*weights, S, t)
        np.testing.assert_allclose(state.input_gram, expected[:4, :4], rtol=0, atol=1e-13)
        np.testing.assert_allclose(state.coef, expected[4:, :4], rtol=0, atol=1e-13)
        np.testing.assert_allclose(state.output_gram, expected[4:, 4:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("gap", [1e-3, 1e-9, 1e-12, 1e-13, 1e-14])
def test_close_rates_are_told_apart_at_infinity(gap):
    """One unit that sees all modes ends at the strongest, by however little it leads."""
    S = np.diag([2 + gap, 2.0, 1.0])
    flow = two_layer_flow((np.full((1, 3), 0.1), np.full((3, 1), 0.1)), _white(S))
    expected = np.diag([2 + gap, 0.0, 0.0])
    np.testing.assert_allclose(flow(np.inf).coef, expected, rtol=0, atol=1e-14)
    equal = two_layers(np.full((1, 3), 0.1), np.full((3, 1), 0.1), S, 50.0)
    np.testing.assert_allclose(flow(50.0).coef, equal[3:, :3], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("S", "start", "limit"),
    [
        (np.eye(4)[[2, 0, 3, 1]], np.eye(4) / 64, [1, 1, 1, 0]),
        (hadamard(4), np.eye(4) / 64, [2, 2, 0, 0]),
        ([[3, 1], [1, 2]], -0.1 * np.eye(2), [0, 0]),
        ([[3, 1], [1, 2]], [[0.01, 0.02], [0.02, 0.04]], [(5 + 5**0.5) / 2, 0]),
        ([[3, 1, 0], [1, 2, 1], [0, 1, 3]], 0 * np.eye(3), [0, 0, 0]),
    ],
    ids=["permutation", "Hadamard", "against S", "rank one", "zero"],
)
def test_saddles_on_the_way_are_kept(S, start, limit):
    """Rounding errors of the start would leave them at a rate of e^(4 s t)."""
    weights = balanced_factors(start, depth=2)
    moments = _white(np.asarray(S, dtype=float))
    flow, other = two_layer_flow(weights, moments), end_to_end_flow(moments, start, depth=2)
    for t in (5.0, 9.0, 20.0, np.inf):
        np.testing.assert_allclose(flow(t).coef, other(t), rtol=0, atol=1e-11)
    s = np.linalg.svd(flow(np.inf).coef, compute_uv=False)
    np.testing.assert_allclose(s, limit, rtol=0, atol=1e-13)


def test_a_unit_that_its_leading_mode_makes_superfluous_stays_so():
    """Modes 1 and 2 share one unit: once the first has it, the second cannot grow."""
    rng = np.random.RandomState(8)
    U, V, H = (np.linalg.qr(rng.standard_normal((k, k)))[0] for k in (3, 3, 2))
    modes = np.vstack([V, U])
    W = H @ (0.1 * np.stack([modes[:, 0] + modes[:, 1], modes[:, 2]]))
    flow = two_layer_flow((W[:, :3], W[:, 3:].T), _white(U @ np.diag([3.0, 2.0, 1.0]) @ V.T))
    for t in (20.0, np.inf):
        s = np.linalg.svd(flow(t).coef, compute_uv=False)
        np.testing.assert_allclose(s, [3, 1, 0], rtol=0, atol=1e-13)


def test_shapes_follow_the_times_and_time_zero_is_the_start():
    rng = np.random.RandomState(6)
    W_1, W_2 = _lambda_balanced(rng, 3, 4, 2, 0.5)
    flow = two_layer_flow((W_1, W_2), _white(rng.standard_normal((3, 4))))
    assert flow(np.ones((2, 5))).coef.shape == (2, 5, 3, 4)
    start = flow(0.0)
    np.testing.assert_allclose(start.coef, W_2 @ W_1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(start.input_gram, W_1.T @ W_1, rtol=0, atol=1e-14)
    nothing = two_layer_flow((np.zeros((2, 4)), np.zeros((3, 2))), _white(np.ones((3, 4))))
    assert not nothing([1.0, np.inf]).coef.any()


def test_conditions_are_checked():
    rng = np.random.RandomState(7)
    W_1, W_2 = _lambda_balanced(rng, 3, 4, 2, 0.5)
    S = rng.standard_normal((3, 4))
    with pytest.raises(ValueError, match="lambda-balanced.*nearest lambda"):
        two_layer_flow((1.1 * W_1, W_2), _white(S))
    coloured = SecondMoments.from_moments(2 * np.eye(4), S, 1e3)
    with pytest.raises(ValueError, match="moments must have white inputs"):
        two_layer_flow((W_1, W_2), coloured)
    with pytest.raises(ValueError, match="weights_0 must hold two matrices"):
        two_layer_flow((W_1,), _white(S))
    with pytest.raises(ValueError, match="weights_0 must map 4 inputs to 3 outputs"):
        two_layer_flow((W_1[:, :3], W_2), _white(S))
    with pytest.raises(ValueError, match="t must be at least 0"):
        two_layer_flow((W_1, W_2), _white(S))(-1.0)


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e7])
@pytest.mark.parametrize("lam", [0.0, 1e-9])
def test_lambda_is_told_from_rounding_in_any_units(lam, unit):
    rng = np.random.RandomState(6)
    W_1, W_2 = _lambda_balanced(rng, 3, 4, 2, lam)
    flow = two_layer_flow((unit * W_1, unit * W_2), _white(rng.standard_normal((3, 4))))
    # Rounding errors are 1e-7 of this lambda, and those of zero are zero.
    assert flow.lam == pytest.approx(unit**2 * lam, rel=1e-5, abs=0.0)
