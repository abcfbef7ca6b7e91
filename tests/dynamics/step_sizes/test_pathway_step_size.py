"""The automatic step size: a bound on the curvature, in any units."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import (
    pathway_step_size,
    spectral_norm,
)
from sklearn_deeplinear.theory import SecondMoments, balanced_factors


def problem(seed, n=50, d=4, m=2):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, d) @ rng.randn(d, d)
    return X, X @ rng.randn(d, m) + rng.randn(n, m)


def hessian_norm(weights, moments, decay):
    """Largest absolute eigenvalue of the Hessian of J, by autograd."""
    A, S = torch.from_numpy(moments.input_moment), torch.from_numpy(moments.cross_moment)
    shapes = [W.shape for W in weights]

    def objective(flat):
        parts = flat.split([rows * columns for rows, columns in shapes])
        layers = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        M = layers[0]
        for W in layers[1:]:
            M = W @ M
        return torch.trace(M @ A @ M.T) - 2 * torch.trace(M @ S.T) + decay * flat.square().sum()

    flat = torch.cat([torch.from_numpy(W).reshape(-1) for W in weights])
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(objective, flat))
    return float(eigenvalues.abs().max())


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_bounds_the_curvature_at_the_start_and_at_least_squares(depth, seed):
    X, y = problem(seed)
    moments = SecondMoments.from_data(X, y)
    rng = np.random.RandomState(seed)
    sizes = [4, *[5] * (depth - 1), 2]
    weights = [rng.randn(a, b) for b, a in zip(sizes[:-1], sizes[1:], strict=True)]
    eta = pathway_step_size([weights], moments, [np.full(depth, 0.1)], 10**9)
    assert 1 / eta >= hessian_norm(weights, moments, 0.1) * (1 - 1e-12)
    spectrum = moments.spectrum
    coef = (spectrum.targets.T / spectrum.sigma) @ spectrum.directions.T
    target = balanced_factors(coef, (5,) * (depth - 1)) if depth > 1 else [coef]
    start = [0.1 * W for W in target]
    eta = pathway_step_size([start], moments, [np.full(depth, 0.1)], 10**9)
    assert 1 / eta >= hessian_norm(target, moments, 0.1) * (1 - 1e-12)
    # The bound is of use: within a small factor of the curvature for balanced layers.
    assert 1 / eta <= 6 * hessian_norm(target, moments, 0.1)


def test_one_layer_is_the_inverse_curvature():
    X, y = problem(0)
    moments = SecondMoments.from_data(X, y)
    eta = pathway_step_size([[np.zeros((2, 4))]], moments, [np.array([0.3])], 100)
    assert_allclose(1 / eta, 2 * np.linalg.eigvalsh(moments.input_moment)[-1] + 0.6)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize(("a", "b"), [(1e8, 1.0), (1e-8, 1e8), (1e8, 1e-8)])
def test_follows_the_units_of_inputs_and_targets(depth, a, b):
    X, y = problem(1)
    etas = []
    for x_unit, y_unit in ((1.0, 1.0), (a, b)):
        moments = SecondMoments.from_data(X * x_unit, y * y_unit)
        start = balanced_factors(np.ones((2, 4)) * y_unit / x_unit, (3,) * (depth - 1))
        etas.append(pathway_step_size([start], moments, [np.zeros(depth)], 1000))
    # W_l scales as (b / a)^(1/L), so time scales as W^2 / J.
    assert_allclose(etas[1] / etas[0], (b / a) ** (2 / depth) / b**2, rtol=1e-9)


def test_a_flat_objective_gives_a_finite_step():
    moments = SecondMoments.from_data(np.ones((5, 2)), np.ones(5))
    assert pathway_step_size([[np.zeros((1, 2))]], moments, [np.zeros(1)], 10) == 1.0


@pytest.mark.parametrize("shape", [(3, 50), (400, 350), (350, 350)])
def test_spectral_norms_are_never_too_small(shape):
    matrix = np.random.RandomState(0).randn(*shape) * 1e-170
    exact = np.linalg.norm(matrix / 1e-170, 2) * 1e-170
    assert exact * (1 - 1e-12) <= spectral_norm(matrix) <= 1.001 * exact


def test_a_map_that_overflows_is_refused():
    moments = SecondMoments.from_data(*problem(2))
    pathways = [[np.full((3, 4), 1e200), np.full((2, 3), 1e200)]] * 2
    with pytest.raises(ValueError, match="init gives a network whose output is not finite"):
        pathway_step_size(pathways, moments, [np.zeros(2)] * 2, 10)
