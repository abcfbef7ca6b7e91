import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._flows import end_to_end_flow
from sklearn_deeplinear.theory._mode_flow import mode_flow
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._two_layer_flow import two_layer_flow

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

    start = np.concatenate([W_1.ravel(), W_2.ravel()])
    tight = {"rtol": 1e-13, "atol": 1e-14}
    states = solve_ivp(velocity, (0, times[-1]), start, "DOP853", times, **tight).y.T
    return [unpack(y) for y in states]


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
        np.testing.assert_allclose(state.input_gram[i], A.T @ A, rtol=0, atol=5e-11)
        np.testing.assert_allclose(state.coef[i], B @ A, rtol=0, atol=5e-11)
        np.testing.assert_allclose(state.output_gram[i], B @ B.T, rtol=0, atol=5e-11)


def test_hidden_layer_wider_than_the_rank():
    """Balanced, padded with zeros: agrees with the flow of the end-to-end map."""
    rng = np.random.RandomState(2)
    S, M_0 = rng.standard_normal((2, 3)), 0.2 * rng.standard_normal((2, 3))
    flow = two_layer_flow(balanced_factors(M_0, 7, depth=2), _white(S))
    expected = end_to_end_flow(_white(S), M_0, depth=2)(TIMES)
    np.testing.assert_allclose(flow(TIMES).coef, expected, rtol=0, atol=1e-10)


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
        np.testing.assert_allclose(flow(TIMES).coef[i], B @ A, rtol=0, atol=1e-10)
    limit = flow(np.inf).coef
    assert np.linalg.norm(flow(1e8).coef - limit) < 1e-7
    np.testing.assert_allclose(limit, S, rtol=0, atol=1e-12)


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
