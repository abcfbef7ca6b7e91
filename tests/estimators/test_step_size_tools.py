"""Step sizes against the flow, and curvature, of linear estimators."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import compare_step_sizes, hessian_eigenvalues
from sklearn_deeplinear.theory import SecondMoments


def regression(n=40, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 4) + 1
    return X, X @ rng.randn(4, 2) + rng.randn(n, 2)


def fitted(**parameters):
    settings = {"depth": 3, "width": 5, "init": "normal", "random_state": 0, "tol": 0}
    return DeepLinearRegressor(**settings | {"max_iter": 100} | parameters).fit(*regression())


def dense_hessian(model, X, y):
    """Hessian of J on the centred data, by autograd."""
    X, y = torch.from_numpy(X - X.mean(axis=0)), torch.from_numpy(y - y.mean(axis=0))
    shapes = [W.shape for W in model.weights_]

    def objective(flat):
        parts = flat.split([rows * columns for rows, columns in shapes])
        output = X
        for part, shape in zip(parts, shapes, strict=True):
            output = output @ part.view(shape).T
        loss = (output - y).square().sum() / len(X)
        return loss + model.weight_decay * flat.square().sum()

    flat = torch.cat([torch.from_numpy(W).reshape(-1) for W in model.weights_])
    return torch.autograd.functional.hessian(objective, flat).numpy()


def test_extreme_eigenvalues_are_those_of_the_dense_hessian():
    X, y = regression()
    model = fitted(weight_decay=0.1)
    eigenvalues = np.linalg.eigvalsh(dense_hessian(model, X, y))
    assert_allclose(hessian_eigenvalues(model, X, y, k=2), eigenvalues[-1:-3:-1], rtol=1e-6)
    assert_allclose(hessian_eigenvalues(model, X, y, which="SA"), eigenvalues[:1], rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_sharpness_of_a_balanced_minimum(depth):
    # White inputs and one mode of strength s: 2 L s^(2 - 2/L).
    X = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    y = X @ np.array([0.0, 2.0, 0.0])
    model = DeepLinearRegressor(depth=depth, solver="analytic").fit(X, y)
    assert_allclose(hessian_eigenvalues(model, X, y), 2 * depth * 2 ** (2 - 2 / depth), rtol=1e-6)


def test_products_do_not_see_the_samples():
    model, (X, y) = fitted(), regression()
    moments = SecondMoments.from_data(np.tile(X, (50, 1)), np.tile(y, (50, 1)))
    assert moments.input_moment.shape == (4, 4)
    many = hessian_eigenvalues(model, np.tile(X, (50, 1)), np.tile(y, (50, 1)))
    assert_allclose(many, hessian_eigenvalues(model, X, y), rtol=1e-9)


def test_recorded_sharpness_is_that_of_the_recorded_weights():
    X, y = regression()
    model = fitted(record_sharpness=True, record_weights=True, record_every=50, noise=0.2)
    for weights, sharpness in zip(
        model.trajectory_.weights, model.trajectory_.sharpness, strict=True
    ):
        start = clone(model).set_params(init=weights, max_iter=0).fit(X, y)
        assert_allclose(hessian_eigenvalues(start, X, y), sharpness, rtol=1e-6)
    assert fitted().trajectory_.sharpness is None
    assert "sharpness" in model.trajectory_.to_frame()


def test_smaller_steps_follow_the_flow_more_closely():
    X, y = regression()
    model = fitted()
    compared = compare_step_sizes(
        model, X, y, step_size=model.step_size_, divisors=(2, 4), max_iter=100, record_every=20
    )
    to_flow = compared.distance["flow"]
    assert np.all(compared.distance[2][1:] < compared.distance[4][1:])
    # Errors are proportional to the step: between eta and eta/2 lies half of the distance
    # to the flow, between eta and eta/4 three quarters.
    assert_allclose(compared.distance[2][1:] / to_flow[1:], 1 / 2, rtol=0.1)
    assert_allclose(compared.distance[4][1:] / to_flow[1:], 3 / 4, rtol=0.1)


def test_the_compared_run_is_the_fitted_one():
    X, y = regression()
    model = fitted(record_every=20)
    compared = compare_step_sizes(
        model, X, y, step_size=model.step_size_, divisors=(2,), flow=False, record_every=20
    )
    assert_allclose(compared.loss[1], model.trajectory_.loss, rtol=1e-12)
    assert_allclose(compared.time, model.trajectory_.time)


def test_what_does_not_fit_is_named():
    X, y = regression()
    with pytest.raises(TypeError, match="estimator"):
        hessian_eigenvalues(object(), X, y)
    with pytest.raises(ValueError, match="loss and weight_decay"):
        hessian_eigenvalues(fitted(), X, y, weight_decay=0.1)
    with pytest.raises(TypeError, match="estimator_or_module"):
        compare_step_sizes(object(), X, y, step_size=0.1)
