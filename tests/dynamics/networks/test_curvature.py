"""Hessian eigenvalues, against dense Hessians and closed forms."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.networks._curvature import (
    linear_hessian_eigenvalues,
    module_hessian_eigenvalues,
)

ORDER = {
    "LA": lambda e: -e,
    "SA": lambda e: e,
    "LM": lambda e: -abs(e),
}


def dense_eigenvalues(objective, shapes, theta):
    """All eigenvalues of the Hessian that reverse-mode autograd builds row by row."""
    sizes = [int(np.prod(shape)) for shape in shapes]

    def of_vector(vector):
        parts = vector.split(sizes)
        return objective([p.view(s) for p, s in zip(parts, shapes, strict=True)])

    return np.linalg.eigvalsh(torch.autograd.functional.hessian(of_vector, theta).numpy())


def extreme(eigenvalues, k, which):
    return np.array(sorted(eigenvalues, key=ORDER[which])[:k])


def random_problem(shapes, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((50, shapes[0][1]))
    Y = rng.standard_normal((50, shapes[-1][0]))
    weights = [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
    return weights, X.T @ X / 50, Y.T @ X / 50


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("hidden", [(3,), (12, 9)])
def test_linear_networks_against_the_dense_hessian(which, k, hidden):
    """Sizes on both sides of the one up to which the Hessian is built whole."""
    sizes = (6, *hidden, 4)
    shapes = [(b, a) for a, b in itertools.pairwise(sizes)]
    weights, A, S = random_problem(shapes)
    gammas = 0.1 * np.arange(1, len(shapes) + 1)

    def objective(parts):
        M = torch.linalg.multi_dot(parts[::-1])
        loss = torch.trace(M @ torch.tensor(A) @ M.T) - 2 * torch.trace(M @ torch.tensor(S).T)
        return loss + sum(g * W.square().sum() for g, W in zip(gammas, parts, strict=True))

    theta = torch.tensor(np.concatenate([W.ravel() for W in weights]))
    wanted = extreme(dense_eigenvalues(objective, shapes, theta), k, which)
    found = linear_hessian_eigenvalues(weights, A, S, gammas, k=k, which=which)
    assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
def test_modules_against_the_dense_hessian(which):
    """A network with biases, which are not decayed, at a point of mixed curvature."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 15), torch.nn.Tanh(), torch.nn.Linear(15, 3)
    ).double()
    X, y = torch.randn(40, 5).double(), torch.randint(3, (40,))

    def objective(parts):
        W1, b1, W2, b2 = parts
        outputs = torch.tanh(X @ W1.T + b1) @ W2.T + b2
        penalty = 0.02 * (W1.square().sum() + W2.square().sum())
        return torch.nn.functional.cross_entropy(outputs, y) + penalty

    shapes = [tuple(p.shape) for p in net.parameters()]
    theta = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
    wanted = extreme(dense_eigenvalues(objective, shapes, theta), 3, which)
    found = module_hessian_eigenvalues(
        net,
        lambda net: torch.nn.functional.cross_entropy(net(X), y),
        weight_decay=0.02,
        k=3,
        which=which,
    )
    assert_allclose(found, wanted, rtol=1e-6)
    assert all(p.grad is None for p in net.parameters())


def balanced(M, shapes):
    """Balanced factors of M from its singular value decomposition, padded with zeros."""
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    root = s ** (1 / len(shapes))
    layers = [np.zeros(shape) for shape in shapes]
    for l, W in enumerate(layers):  # noqa: E741
        inner = np.diag(root)
        inner = U @ inner if l == len(shapes) - 1 else inner
        inner = inner @ Vt if l == 0 else inner
        W[: inner.shape[0], : inner.shape[1]] = inner
    return layers


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [4, 20])
def test_sharpness_of_a_balanced_minimum(depth, width):
    """2 L s^(2 - 2/L) for one mode of strength s, with whitened inputs."""
    s, rng = 1.7, np.random.RandomState(depth)
    u, v = (a / np.linalg.norm(a) for a in rng.standard_normal((2, 4)))
    M = s * np.outer(u, v)
    shapes = [(b, a) for a, b in itertools.pairwise([4, *[width] * (depth - 1), 4])]
    found = linear_hessian_eigenvalues(balanced(M, shapes), np.eye(4), M)
    assert_allclose(found, [2 * depth * s ** (2 - 2 / depth)], rtol=1e-6)
    # A minimum: no direction of negative curvature.
    lowest = linear_hessian_eigenvalues(balanced(M, shapes), np.eye(4), M, which="SA")
    assert lowest[0] > -1e-6


@pytest.mark.parametrize(("depth", "n_pathways"), [(2, 3), (3, 2), (4, 3)])
def test_sharing_a_mode_over_pathways_flattens_the_minimum(depth, n_pathways):
    """2 L s^(2 - 2/L) N^(2/L - 1) for a mode split equally over N pathways of depth L."""
    s, shapes = 2.5, [(3, 3)] * depth
    target = torch.zeros(3, 3).double()
    target[0, 0] = s

    class Pathways(torch.nn.Module):
        def __init__(self):
            super().__init__()
            factors = balanced(target.numpy() / n_pathways, shapes) * n_pathways
            self.weights = torch.nn.ParameterList([torch.tensor(W) for W in factors])

    def loss(net):
        weights = list(net.weights)
        paths = [weights[i : i + depth] for i in range(0, len(weights), depth)]
        return (sum(torch.linalg.multi_dot(path[::-1]) for path in paths) - target).square().sum()

    wanted = 2 * depth * s ** (2 - 2 / depth) * n_pathways ** (2 / depth - 1)
    assert_allclose(module_hessian_eigenvalues(Pathways(), loss), [wanted], rtol=1e-6)


def test_noise_enters_through_the_expected_loss():
    """Noise of two values, 1 +- sqrt(s), can be averaged over by going through all cases."""
    shapes, variances = [(3, 2), (2, 3), (2, 2)], (0.5, 0.2)
    weights, A, S = random_problem(shapes, seed=1)

    def objective(parts):
        W1, W2, W3 = parts
        cases = list(itertools.product([-1.0, 1.0], repeat=5))
        total = 0.0
        for signs in cases:
            first = 1 + variances[0] ** 0.5 * torch.tensor(signs[:3]).double()
            second = 1 + variances[1] ** 0.5 * torch.tensor(signs[3:]).double()
            M = W3 @ (second[:, None] * W2) @ (first[:, None] * W1)
            total = total + (M @ torch.tensor(A) * M).sum() - 2 * (M * torch.tensor(S)).sum()
        return total / len(cases)

    theta = torch.tensor(np.concatenate([W.ravel() for W in weights]))
    wanted = dense_eigenvalues(objective, shapes, theta)[::-1]
    found = linear_hessian_eigenvalues(weights, A, S, noise=variances, k=16)
    assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("width", [2, 40])
def test_zero_of_a_deep_network_is_a_minimum_of_curvature_twice_the_decay(width):
    weights = [np.zeros((width, 5)), np.zeros((width, width)), np.zeros((3, width))]
    _, A, S = random_problem([(3, 5)])
    for which in ("LA", "SA"):
        found = linear_hessian_eigenvalues(weights, A, S, 0.3, which=which)
        assert_allclose(found, [0.6], rtol=1e-9)
        assert_allclose(linear_hessian_eigenvalues(weights, A, S, which=which), [0], atol=1e-12)


def test_a_loss_linear_in_the_parameters_has_no_curvature():
    net = torch.nn.Linear(20, 10).double()
    assert_allclose(module_hessian_eigenvalues(net, lambda net: net.weight.sum(), k=2), [0, 0])


@pytest.mark.parametrize("width", [2, 40])
def test_a_hessian_that_overflows_has_no_eigenvalues(width):
    weights, A, S = random_problem([(width, 5), (width, width), (3, width)])
    weights = [W * 1e200 for W in weights]
    for which in ORDER:
        found = linear_hessian_eigenvalues(weights, A, S, k=2, which=which)
        assert np.isnan(found).all() and found.shape == (2,)


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
def test_single_precision_is_close_to_double(which):
    """To 100 rounding errors of 3 ||H||, the largest that the iterations see."""
    rng, M = np.random.RandomState(0), np.diag([1.7, 0.0, 0.0])
    weights = [W + 0.1 * rng.standard_normal(W.shape) for W in balanced(M, [(20, 3), (3, 20)])]
    wanted = linear_hessian_eigenvalues(weights, np.eye(3), M, k=2, which=which)
    single = [W.astype(np.float32) for W in weights]
    found = linear_hessian_eigenvalues(single, np.eye(3), M, k=2, which=which)
    norm = linear_hessian_eigenvalues(weights, np.eye(3), M, which="LM")[0]
    assert_allclose(found, wanted, atol=300 * np.finfo(np.float32).eps * norm)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"k": 0}, ValueError, "k must be"),
        ({"k": 25}, ValueError, "k must be at most"),
        ({"k": True}, TypeError, "k must be"),
        ({"which": "BE"}, ValueError, "which must be one of"),
        ({"weight_decay": [1.0]}, ValueError, "weight_decay must"),
        ({"noise": -1.0}, ValueError, "noise must"),
    ],
)
def test_bad_parameters_are_named(change, error, match):
    weights, A, S = random_problem([(4, 3), (3, 4)])
    arguments = {"weights": weights, "input_moment": A, "cross_moment": S}
    with pytest.raises(error, match=match):
        linear_hessian_eigenvalues(**{**arguments, **change})
