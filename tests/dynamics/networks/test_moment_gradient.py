"""Gradients on moments against autograd on the data."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.networks._chain_step import thin_product
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.theory import SecondMoments, expected_loss

# n, d, m, hidden widths: tall, wide (fewer inputs than outputs), and fewer rows than
# columns, for which the factor takes the place of A.
CASES = [
    (40, 6, 2, (5, 7)),
    (40, 2, 6, (5, 7)),
    (5, 30, 3, (4,)),
    (4, 20, 25, (6, 3)),
    (40, 3, 3, ()),
    (40, 4, 1, (3, 3, 3)),
]


def make_dynamics(n, d, m, hidden, noise=0.0, decay=0.1, device="cpu"):
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, d) + 1, rng.randn(n, m)
    weight = rng.uniform(0.1, 2, n)
    moments = SecondMoments.from_data(X, y, weight)
    sizes = [d, *hidden, m]
    weights = [
        torch.from_numpy(rng.randn(rows, columns) * 0.5).to(device)
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    gamma = decay * np.arange(1, len(weights) + 1)
    dynamics = LinearDynamics.from_moments(weights, moments, gamma, [noise] * len(hidden))
    return dynamics, weights, gamma, moments, (X, y, weight)


def objective_on_data(weights, gamma, X, y, weight):
    """J evaluated sample by sample, with autograd."""
    share = torch.from_numpy(weight / weight.sum())
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    output = X - share @ X
    for W in weights:
        output = output @ W.T
    loss = share @ (y - share @ y - output).square().sum(1)
    return loss + sum(g * W.square().sum() for g, W in zip(gamma, weights, strict=True))


@pytest.mark.parametrize(("n", "d", "m", "hidden"), CASES)
def test_step_is_a_gradient_step_on_the_data(n, d, m, hidden):
    dynamics, weights, gamma, _, data = make_dynamics(n, d, m, hidden)
    leaves = [W.clone().requires_grad_() for W in weights]
    value = objective_on_data(leaves, gamma, *data)
    value.backward()
    measured = dynamics.measure(dynamics.state[None])
    assert measured["objective"][0].item() == pytest.approx(value.item(), rel=1e-12)
    norm = torch.cat([W.grad.reshape(-1) for W in leaves]).norm()
    assert measured["gradient_norm"][0].item() == pytest.approx(norm.item(), rel=1e-12)
    dynamics.evaluate()
    gradient = torch.cat([W.grad.reshape(-1) for W in leaves])
    torch.testing.assert_close(dynamics.gradient, gradient, rtol=1e-12, atol=1e-14)
    dynamics.step(0.01)
    for W, leaf in zip(dynamics.weights, leaves, strict=True):
        torch.testing.assert_close(W, leaf.detach() - 0.01 * leaf.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n", "d", "m", "hidden"), [c for c in CASES if c[3]])
def test_noisy_step_descends_the_expected_loss(n, d, m, hidden):
    dynamics, weights, gamma, moments, _ = make_dynamics(n, d, m, hidden, noise=0.4)
    state = dynamics.state.clone()

    def objective(flat):
        layers = [W.numpy() for W in dynamics_layers(flat)]
        penalty = sum(g * np.sum(W**2) for g, W in zip(gamma, layers, strict=True))
        return expected_loss(layers, moments, 0.4) + penalty

    def dynamics_layers(flat):
        parts = flat.split([W.numel() for W in weights])
        return [part.view(W.shape) for part, W in zip(parts, weights, strict=True)]

    assert dynamics.measure(state[None])["objective"][0].item() == pytest.approx(
        objective(state), rel=1e-12
    )
    dynamics.step(1e-3)
    descent = (state - dynamics.state) / 1e-3
    direction = torch.from_numpy(np.random.RandomState(1).randn(len(state)))
    h = 1e-5
    slope = (objective(state + h * direction) - objective(state - h * direction)) / (2 * h)
    # Central differences: error h^2 and cancellation eps / h, both about 1e-10.
    assert (descent @ direction).item() == pytest.approx(slope, rel=1e-6)


def test_measuring_many_states_is_measuring_each(device):
    dynamics, *_ = make_dynamics(40, 6, 2, (5, 7), device=device)
    states = torch.stack([dynamics.state * scale for scale in (1.0, 0.5, 2.0)])
    together = dynamics.measure(states)
    for row, state in enumerate(states):
        for name, values in dynamics.measure(state[None]).items():
            torch.testing.assert_close(together[name][row], values[0])


def test_steps_do_not_depend_on_the_number_of_samples():
    rng = np.random.RandomState(0)
    X, y = rng.randn(50, 4), rng.randn(50, 2)
    weights = [torch.ones(3, 4).double() / 4, torch.ones(2, 3).double() / 4]
    states = []
    for repeats in (1, 20):
        moments = SecondMoments.from_data(np.tile(X, (repeats, 1)), np.tile(y, (repeats, 1)))
        dynamics = LinearDynamics.from_moments(weights, moments, [0.1, 0.1], [0.0])
        for _ in range(10):
            dynamics.step(0.05)
        states.append(dynamics.state)
        assert max(t.numel() for t in vars(dynamics.data_term).values() if torch.is_tensor(t)) < 50
    torch.testing.assert_close(*states)


@pytest.mark.parametrize("transposed", [False, True])
def test_threads_share_thin_products(transposed):
    """Blocks of columns, one for each thread, give the product and leave nothing else out."""
    torch.manual_seed(0)
    left, layer = torch.randn(3, 400).double(), torch.randn(400, 400).double()
    layer = layer.mT if transposed else layer
    out = torch.full((3, 400), torch.nan).double()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        multiply = thin_product(left, layer, out)
    finally:
        torch.set_num_threads(threads)
    for _ in range(2):
        left += 1
        multiply()
        assert_allclose(out, left @ layer, rtol=1e-12, atol=1e-12)
