"""solver="flow": the continuous limit of the same run."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import SecondMoments, expected_loss


def regression(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(40, 4)
    return X, X @ rng.randn(4, 2) + rng.randn(40, 2)


def distance(a, b):
    return np.sqrt(sum(np.sum((W - V) ** 2) for W, V in zip(a.weights_, b.weights_, strict=True)))


SETTINGS = {"init": "normal", "random_state": 0, "width": 5, "tol": 0, "max_iter": 200}


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_descent_approaches_the_flow_at_first_order(noise):
    X, y = regression()
    descent = DeepLinearRegressor(depth=3, weight_decay=0.05, noise=noise, **SETTINGS).fit(X, y)
    flow = clone(descent).set_params(solver="flow").fit(X, y)
    assert flow.trajectory_.time[-1] == pytest.approx(descent.trajectory_.time[-1])
    errors = []
    for refinement in (1, 2, 4):
        fine = clone(descent).set_params(
            step_size=descent.step_size_ / refinement, max_iter=200 * refinement
        )
        errors.append(distance(fine.fit(X, y), flow))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(slopes, 1, atol=0.15)


def test_the_flow_is_that_of_the_objective():
    X, y = regression()
    flow = DeepLinearRegressor(
        depth=2, weight_decay=[0.1, 0.02], noise=0.2, solver="flow", flow_time=1.5, **SETTINGS
    ).fit(X, y)
    start = clone(flow).set_params(max_iter=0, solver="gd", flow_time=None).fit(X, y).weights_
    moments, shapes = SecondMoments.from_data(X, y), [W.shape for W in start]

    def objective(flat):
        W_1, W_2 = (
            part.reshape(shape) for part, shape in zip(np.split(flat, [20]), shapes, strict=True)
        )
        penalty = 0.1 * np.sum(W_1**2) + 0.02 * np.sum(W_2**2)
        return expected_loss([W_1, W_2], moments, 0.2) + penalty

    def velocity(t, flat, h=1e-6):
        # J is a polynomial of degree 4: central differences err by h^2 and eps / h.
        steps = h * np.eye(len(flat))
        return [-(objective(flat + e) - objective(flat - e)) / (2 * h) for e in steps]

    flat = np.concatenate([W.ravel() for W in start])
    reference = solve_ivp(velocity, (0, 1.5), flat, rtol=1e-9, atol=1e-10).y[:, -1]
    result = np.concatenate([W.ravel() for W in flow.weights_])
    np.testing.assert_allclose(result, reference, atol=1e-5)


def test_the_flow_conserves_what_descent_lets_drift():
    X, y = regression()
    descent = DeepLinearRegressor(depth=3, **SETTINGS).fit(X, y)
    flow = clone(descent).set_params(solver="flow").fit(X, y)
    assert np.all(flow.balance_history_.drift < 1e-4)
    assert np.all(descent.balance_history_.drift > 20 * flow.balance_history_.drift)


def test_units_do_not_matter():
    X, y = regression()
    flow = DeepLinearRegressor(depth=3, solver="flow", init="spectral", tol=0).fit(X, y)
    tiny = clone(flow).fit(X * 1e8, y * 1e-8)
    np.testing.assert_allclose(tiny.coef_ * 1e16, flow.coef_, rtol=1e-5)


def test_a_flow_reports_its_cost_and_its_end():
    X, y = regression()
    flow = DeepLinearRegressor(solver="flow", max_iter=100_000, tol=1e-4).fit(X, y)
    norm = flow.trajectory_.gradient_norm
    assert flow.stop_reason_ == "converged"
    assert norm[-1] <= 1e-4 * norm[0]
    assert flow.n_iter_ == flow.trajectory_.iteration[-1] > 0
