import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._curvature_bounds import gradient
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._step_size_bound import _log_integral, flow_step_size_bound


def _problem(seed):
    """Depths 1 to 4, one or two outputs, with and without decay, balanced and not."""
    rng = np.random.RandomState(seed)
    depth, m, d, h = 1 + seed % 4, 1 + seed % 2, 3, 3
    X = rng.standard_normal((20, d))
    Y = 0.5 * X @ rng.standard_normal((d, m)) + 0.3 * rng.standard_normal((20, m))
    sizes = (d, *[h] * (depth - 1), m)
    weights = [
        0.4 * rng.standard_normal((b, a)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    if seed % 3 == 0:
        weights = balanced_factors(0.4 * rng.standard_normal((m, d)), h, depth=depth)
    return weights, SecondMoments.from_data(X, Y), np.full(depth, 0.02 * (seed % 3))


def _distance(weights, moments, gamma, eta, time):
    """Largest distance of gradient descent from a tight solve of the flow."""
    ends = np.cumsum([W.size for W in weights])[:-1]

    def slope(flat):
        parts = np.split(flat, ends)
        layers = [p.reshape(W.shape) for p, W in zip(parts, weights, strict=True)]
        return np.concatenate([g.ravel() for g in gradient(layers, moments, gamma)])

    n_steps = int(time / eta)
    theta = np.concatenate([W.ravel() for W in weights])
    times = eta * np.arange(n_steps + 1)
    flow = solve_ivp(
        lambda t, y: -slope(y), (0, time), theta, "DOP853", times, rtol=1e-10, atol=1e-12
    ).y
    worst = 0.0
    for k in range(n_steps):
        theta = theta - eta * slope(theta)
        worst = max(worst, np.linalg.norm(theta - flow[:, k + 1]))
        if worst > 1e3:
            break
    return worst


@pytest.mark.parametrize("seed", range(4))
def test_gradient_descent_stays_in_the_tube_and_the_bound_is_not_vacuous(seed):
    """A step 1,000 times as large leaves the tube: the bound is within that of the truth."""
    weights, moments, gamma = _problem(seed)
    time, eps = 0.5, 0.01
    bound = flow_step_size_bound(
        weights, moments, time=time, eps=eps, weight_decay=gamma, curvature="measured"
    )
    crude = flow_step_size_bound(weights, moments, time=time, eps=eps, weight_decay=gamma)
    assert 0 < crude.step_size <= bound.step_size
    assert _distance(weights, moments, gamma, bound.step_size, time) <= eps
    too_large = min(1000 * bound.step_size, time)
    assert _distance(weights, moments, gamma, too_large, time) > eps


def test_quadratic_objective_has_the_bound_of_its_curvature():
    """One layer, one weight: beta = m = 2 a and gamma_s = |g(s)| + 2 a eps in the tube.

    The integral is then that of 2 a (|g_0| exp(-2 a s) + 2 a eps) exp(-2 a (t - s)).
    """
    a, w_0, time, eps = 0.8, 1.5, 0.7, 1e-2
    moments = SecondMoments.from_moments([[a]], [[0.0]], 1.0)
    bound = flow_step_size_bound([[[w_0]]], moments, time=time, eps=eps)
    np.testing.assert_allclose(bound.smoothness, 2 * a, rtol=1e-12)

    def integral(t):
        return quad(
            lambda s: (
                2 * a * (2 * a * w_0 * np.exp(-2 * a * s) + 2 * a * eps) * np.exp(-2 * a * (t - s))
            ),
            0,
            t,
        )[0]

    # The lower bound of the curvature that knows only norms is 0: no contraction is used.
    np.testing.assert_allclose(bound.curvature, 0.0, atol=1e-15)
    measured = flow_step_size_bound([[[w_0]]], moments, time=time, eps=eps, curvature="measured")
    exact = eps / max(integral(t) for t in bound.times[1::20])
    # On the safe side, and off by at most the motion within one interval, eps / 4.
    assert 0.95 * exact < measured.step_size <= exact
    assert bound.step_size < measured.step_size


def test_step_size_shrinks_with_the_tube_and_never_grows_with_time():
    weights, moments, gamma = _problem(2)
    arguments = {"weight_decay": gamma, "curvature": "measured"}
    wide, narrow = (
        flow_step_size_bound(weights, moments, time=0.5, eps=eps, **arguments).step_size
        for eps in (0.02, 0.01)
    )
    # The step is eps over an integral that itself falls with eps.
    assert narrow < wide < 2 * narrow * (1 + 1e-9)
    longer = flow_step_size_bound(weights, moments, time=1.0, eps=0.01, **arguments).step_size
    assert longer <= narrow * (1 + 1e-2)


def test_terms_are_returned_and_make_up_the_step():
    weights, moments, gamma = _problem(1)
    bound = flow_step_size_bound(weights, moments, time=0.5, eps=0.05, weight_decay=gamma)
    n = len(bound.times) - 1
    assert bound.smoothness.shape == bound.gradient_norm.shape == bound.curvature.shape == (n,)
    assert tuple(bound.times[[0, -1]]) == (0.0, 0.5)
    largest = np.exp(bound.log_integral.max())
    assert bound.step_size == pytest.approx(bound.eps / largest, rel=1e-12)


def test_integral_of_piecewise_constant_terms():
    lengths, m = np.array([0.3, 0.5, 0.2]), np.array([-1.0, 0.0, 4.0])
    source = np.array([2.0, 1.0, 0.5])
    logs = _log_integral(lengths, np.log(source), m)
    value = 0.0
    for length, b, m_i, log in zip(lengths, source, m, logs[1:], strict=True):
        start = value
        value = solve_ivp(
            lambda t, y, b=b, m_i=m_i: b - m_i * y, (0, length), [start], rtol=1e-12, atol=1e-14
        ).y[0, -1]
        assert np.exp(log) == pytest.approx(value, rel=1e-9)


def test_hopeless_times_give_zero_instead_of_overflowing():
    weights, moments, _ = _problem(3)
    assert flow_step_size_bound(weights, moments, time=300.0, eps=0.5).step_size == 0.0


def test_nothing_to_learn_allows_any_step():
    moments = SecondMoments.from_moments(np.zeros((2, 2)), np.zeros((1, 2)), 1.0)
    weights = [np.ones((2, 2)), np.ones((1, 2))]
    assert flow_step_size_bound(weights, moments, time=1.0, eps=0.1).step_size == np.inf


def test_arguments_are_checked():
    weights, moments, _ = _problem(1)
    for arguments, match in [
        ({"time": 0.0, "eps": 0.1}, "time must be"),
        ({"time": 1.0, "eps": -0.1}, "eps must be"),
        ({"time": 1.0, "eps": 0.1, "curvature": "exact"}, "curvature must be"),
        ({"time": 1.0, "eps": 0.1, "weight_decay": (1.0, 2.0, 3.0)}, "weight_decay must"),
        ({"time": 1.0, "eps": 1e-8}, "eps must be larger"),
    ]:
        with pytest.raises(ValueError, match=match):
            flow_step_size_bound(weights, moments, **arguments)
    with pytest.raises(ValueError, match="weights_0 must map"):
        flow_step_size_bound([np.ones((1, 2))], moments, time=1.0, eps=0.1)


def test_a_tube_has_a_radius():
    moments = SecondMoments.from_moments([[1.0]], [[1.0]], 2.0)
    with pytest.raises(ValueError, match="eps"):
        flow_step_size_bound([np.ones((1, 1))], moments, time=1.0, eps=0.0)
