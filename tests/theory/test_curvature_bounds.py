import numpy as np
import pytest
import torch

from sklearn_deeplinear.theory._curvature_bounds import (
    gradient,
    hessian,
    hessian_bounds,
    norm_bounds,
    objective,
)
from sklearn_deeplinear.theory._moments import SecondMoments

SIZES = [(3, 2), (3, 2, 2), (2, 3, 2, 1), (2, 2, 3, 2, 2), (1, 2, 1, 2, 2, 1)]


def _problem(seed, sizes):
    rng = np.random.RandomState(seed)
    X, Y = rng.standard_normal((20, sizes[0])), rng.standard_normal((20, sizes[-1]))
    weights = [
        0.8 * rng.standard_normal((b, a)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return SecondMoments.from_data(X, Y), weights, rng.uniform(0, 0.2, len(weights)), rng


@pytest.mark.parametrize("sizes", SIZES)
def test_derivatives_agree_with_autograd(sizes):
    moments, weights, gamma, _ = _problem(0, sizes)
    R_x, R_y = torch.tensor(moments.input_factor), torch.tensor(moments.output_factor)

    def J(flat):
        H, penalty = R_x, 0.0
        for w, W, g in zip(flat.split([W.size for W in weights]), weights, gamma, strict=True):
            H, penalty = H @ w.reshape(W.shape).T, penalty + g * (w**2).sum()
        return ((H - R_y) ** 2).sum() + penalty

    flat = torch.tensor(np.concatenate([W.ravel() for W in weights]), requires_grad=True)
    value = J(flat)
    (slope,) = torch.autograd.grad(value, flat)
    assert objective(weights, moments, gamma) == pytest.approx(value.item(), rel=1e-13)
    found = np.concatenate([g.ravel() for g in gradient(weights, moments, gamma)])
    np.testing.assert_allclose(found, slope.numpy(), rtol=0, atol=1e-12)
    dense = torch.autograd.functional.hessian(J, flat.detach()).numpy()
    np.testing.assert_allclose(hessian(weights, moments, gamma), dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bounds", [norm_bounds, hessian_bounds])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("radius", [0.0, 0.03, 1.0])
def test_bounds_hold_throughout_the_ball(bounds, sizes, radius):
    """At random points and where a few ascent steps on the sharpness lead."""
    moments, weights, gamma, rng = _problem(1, sizes)
    beta, slope, m = bounds(weights, moments, gamma, radius)
    directions = [rng.standard_normal(sum(W.size for W in weights)) for _ in range(40)]
    directions += [np.concatenate([s * W.ravel() for W in weights]) for s in (1.0, -1.0)]
    for direction in directions:
        shift = radius * direction / np.linalg.norm(direction)
        parts = np.split(shift, np.cumsum([W.size for W in weights])[:-1])
        moved = [W + p.reshape(W.shape) for W, p in zip(weights, parts, strict=True)]
        eigenvalues = np.linalg.eigvalsh(hessian(moved, moments, gamma))
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient(moved, moments, gamma)))
        assert np.abs(eigenvalues).max() <= beta * (1 + 1e-12)
        assert eigenvalues[0] >= m - 1e-12
        assert norm <= slope * (1 + 1e-12)


def test_bounds_are_sharp_where_they_can_be():
    """One unit per layer, equal weights: the ball is left behind only by the tube's shape."""
    moments = SecondMoments.from_moments([[1.0]], [[-0.5]], 1.0)
    weights, gamma, radius = [np.ones((1, 1))] * 3, np.zeros(3), 1e-3
    measured = hessian_bounds(weights, moments, gamma, radius)
    exact = np.linalg.eigvalsh(hessian(weights, moments, gamma))
    moved = [W + radius / 3**0.5 for W in weights]
    change = np.linalg.eigvalsh(hessian(moved, moments, gamma))[-1] - exact[-1]
    assert change <= measured[0] - exact[-1] <= 1.02 * change
    crude = norm_bounds(weights, moments, gamma, 0.0)
    assert crude[0] == pytest.approx(exact[-1], rel=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_exact_at_the_centre_when_measured(sizes):
    moments, weights, gamma, _ = _problem(2, sizes)
    beta, slope, m = hessian_bounds(weights, moments, gamma, 0.0)
    eigenvalues = np.linalg.eigvalsh(hessian(weights, moments, gamma))
    assert m == pytest.approx(eigenvalues[0], rel=1e-12)
    assert beta == pytest.approx(np.abs(eigenvalues).max(), rel=1e-12)
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient(weights, moments, gamma)))
    assert slope == pytest.approx(norm, rel=1e-12)
