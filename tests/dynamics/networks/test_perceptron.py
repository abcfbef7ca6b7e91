"""Full-batch dynamics of perceptrons: gradients, conservation laws, and what breaks them."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.dynamics._gradient_flow import gradient_flow
from sklearn_deeplinear.dynamics.networks._perceptron import PerceptronDynamics
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._flow import flow
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.step_sizes import _perceptron_step_size as step_size
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import balance

SIZES = (4, 6, 5, 3)
SHAPES = list(zip(SIZES[1:], SIZES[:-1], strict=True))
DECAY = [0.01, 0.0, 0.3]


def make_problem(activation="relu", loss="squared_error", bias=True, decay=DECAY, n=30, scale=1.0):
    rng = np.random.RandomState(0)
    weights = [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in SHAPES]
    biases = [0.3 * rng.standard_normal(rows) for rows, _ in SHAPES]
    X = rng.standard_normal((n, SIZES[0]))
    Y = scale * rng.standard_normal((n, SIZES[-1]))
    if loss == "cross_entropy":
        Y = np.eye(SIZES[-1])[rng.randint(SIZES[-1], size=n)]
    shares = rng.uniform(size=n)
    tensors = [torch.from_numpy(a) for a in (X, Y, shares / shares.sum())]
    weights, biases = ([torch.from_numpy(a) for a in arrays] for arrays in (weights, biases))
    dynamics = PerceptronDynamics(
        weights,
        biases if bias else None,
        *tensors,
        activation=activation,
        loss=loss,
        weight_decay=decay,
    )
    network = HomogeneousNetwork(SHAPES, activation, bias, dtype=torch.float64)
    return dynamics, network.fill(weights, biases if bias else None), tensors


def reference(network, X, Y, shares, loss, decay):
    """Loss, objective and flat gradient, written for autograd."""
    outputs = network(X)
    if loss == "squared_error":
        losses = ((outputs - Y) ** 2).sum(dim=1)
    else:
        losses = -(outputs.log_softmax(dim=1) * Y).sum(dim=1)
    mean = (shares * losses).sum()
    penalty = sum(
        gamma * (layer.weight**2).sum()
        for gamma, layer in zip(decay, network.linear_layers, strict=True)
    )
    parts = torch.autograd.grad(mean + penalty, list(network.parameters()))
    return mean, mean + penalty, torch.cat([part.reshape(-1) for part in parts])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
def test_gradients_and_steps_are_those_of_autograd(activation, loss, bias):
    dynamics, network, data = make_problem(activation, loss, bias)
    mean, objective, gradient = reference(network, *data, loss, DECAY)
    before = dynamics.state.clone()
    measured = dynamics.measure(before[None])
    torch.testing.assert_close(measured["loss"][0], mean.detach())
    torch.testing.assert_close(measured["objective"][0], objective.detach())
    torch.testing.assert_close(measured["gradient_norm"][0], gradient.norm())
    dynamics.evaluate()
    torch.testing.assert_close(dynamics.gradient, gradient, rtol=1e-12, atol=1e-14)
    dynamics.step(0.1)
    torch.testing.assert_close(dynamics.state, before - 0.1 * gradient, rtol=1e-12, atol=1e-14)


def test_records_are_measured_where_they_were_taken():
    dynamics, _, _ = make_problem()
    states = torch.stack([dynamics.state, 2 * dynamics.state])
    together = dynamics.measure(states)
    for row, state in enumerate(states):
        for name, values in dynamics.measure(state[None]).items():
            torch.testing.assert_close(together[name][row], values[0])


def test_one_step_of_a_linear_network_moves_the_balance_by_the_commutator():
    """D_l changes by exactly eta^2 (g_l g_l^T - g_{l+1}^T g_{l+1})."""
    dynamics, _, _ = make_problem("identity", bias=False, decay=[0.0] * 3)
    dynamics.evaluate()
    g = [part.clone().numpy() for part in dynamics._layers(dynamics.gradient)[0]]
    before = balance([W.clone().numpy() for W in dynamics.weights]).differences
    eta = 0.05
    dynamics.step(eta)
    after = balance([W.numpy() for W in dynamics.weights]).differences
    for layer in range(2):
        expected = eta**2 * (g[layer] @ g[layer].T - g[layer + 1].T @ g[layer + 1])
        np.testing.assert_allclose(after[layer] - before[layer], expected, atol=1e-14)


def smooth_problem(activation, bias=True, decay=(0.0,) * 3):
    """Few samples: where one sits on the kink of a unit, the flow slides along a jump of
    the gradient, and an accurate solver all but stops.
    """
    return make_problem(activation, bias=bias, decay=list(decay), n=6)[0]


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
@pytest.mark.parametrize(("rtol", "tolerance"), [(1e-5, 1e-4), (1e-9, 1e-8)])
def test_flow_conserves_every_unit(activation, rtol, tolerance):
    dynamics = smooth_problem(activation)
    run = flow(dynamics, np.linspace(0, 1, 5), method="RK45", rtol=rtol, atol=1e-3 * rtol)
    assert run.stop_reason == "max_iter"
    assert run.trajectory.loss[-1] < 0.7 * run.trajectory.loss[0]
    assert (run.balance.drift < tolerance).all()


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_decay_shrinks_the_imbalance_exponentially(activation):
    """d (||w_in||^2 - ||w_out||^2) / dt = -4 gamma (...), with gamma the same for all layers."""
    gamma = 0.5
    dynamics = smooth_problem(activation, bias=False, decay=[gamma] * 3)
    run = flow(dynamics, np.linspace(0, 0.2, 5), method="RK45", rtol=1e-6, atol=1e-9)
    factor = np.exp(-4 * gamma * run.trajectory.time)[:, None]
    for curve in (run.balance.layer, run.balance.neuron):
        np.testing.assert_allclose(curve, factor * curve[0], atol=2e-6)


def test_tanh_conserves_nothing():
    """The negative control: the same measurement sees a drift that accuracy does not cure."""
    _, network, (X, Y, _) = make_problem(bias=False, n=6)
    first, *_, last = network.linear_layers
    module = torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.Linear(6, 3, bias=False).double())
    with torch.no_grad():
        module[2].weight.copy_(last.weight.mean() + torch.linspace(-1, 1, 18).reshape(3, 6))
    drifts = []
    for rtol in (1e-4, 1e-8):
        with torch.no_grad():
            first.weight.fill_(0.3).add_(torch.linspace(-1, 1, 24).reshape(6, 4))
        run = gradient_flow(
            module,
            lambda net: (net(X) - Y).square().sum() / len(X),
            time=1.0,
            rtol=rtol,
            record_weights=True,
        )
        units = [(W**2).sum(1) - (V**2).sum(0) for W, V in run.weights]
        drifts.append(np.abs(units[-1] - units[0]).max())
    assert min(drifts) > 0.01


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
def test_drift_of_gradient_descent_halves_with_the_step(activation):
    drifts = []
    for eta in (0.01, 0.005):
        dynamics = smooth_problem(activation)
        run = descend(dynamics, lambda t, eta=eta: eta, record_iterations(round(1 / eta)))
        drifts.append(run.balance.drift)
    np.testing.assert_allclose(drifts[0] / drifts[1], 2, rtol=0.2)


def dense_gauss_newton_norm(network, X, shares):
    outputs = (shares.sqrt()[:, None] * network(X)).reshape(-1)
    rows = [
        torch.autograd.grad(out, list(network.parameters()), retain_graph=True) for out in outputs
    ]
    jacobian = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    return float(torch.linalg.matrix_norm(jacobian, 2)) ** 2


@pytest.mark.parametrize("biases", ["random", "zero", None])
@pytest.mark.parametrize("inputs", ["raw", "centred", "tiny", "zero", "one sample"])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_gauss_newton_norm_is_the_top_eigenvalue(activation, inputs, biases):
    """Also where f is orthogonal to what the output biases move, or zero."""
    _, network, (X, _, shares) = make_problem(activation, bias=biases is not None)
    if biases == "zero":
        network.fill([layer.weight.detach() for layer in network.linear_layers], [0.0] * 3)
    if inputs == "one sample":
        X, shares = X[:1], torch.ones(1, dtype=X.dtype)
    X = {"centred": X - shares @ X, "tiny": 1e-3 * (X - shares @ X), "zero": 0 * X}.get(inputs, X)
    top = dense_gauss_newton_norm(network, X, shares)
    found = step_size.gauss_newton_norm(network, X, shares)
    assert 0.99 * top <= found <= top * (1 + 1e-9)


def test_gauss_newton_norm_is_that_of_single_units():
    """One layer with a bias has the second moments of (x, 1), here diag(var x, 1)."""
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None]
    shares = torch.full((21,), 1 / 21, dtype=torch.float64)
    network = HomogeneousNetwork([(1, 1)], "relu", True, dtype=torch.float64)
    network.fill([torch.ones(1, 1)], [torch.zeros(1)])
    for unit in (1e-6, 1.0, 1e6):
        found = step_size.gauss_newton_norm(network, unit * x, shares)
        wanted = max(1.0, unit**2 * float(shares @ x.square()))
        np.testing.assert_allclose(found, wanted, rtol=1e-2)


def test_automatic_step_follows_the_units():
    """Units of X and y that weights absorb change eta as they change the curvature."""
    _, network, (X, Y, shares) = make_problem(bias=False, scale=30.0)
    weights = [layer.weight.detach().clone() for layer in network.linear_layers]
    arguments = (shares, "squared_error", [0.0] * 3)
    eta = step_size.auto_network_step_size(network, X, Y, *arguments)
    stretched = network.fill([4.0 * W for W in weights])  # f grows 64-fold, so may Y
    np.testing.assert_allclose(
        step_size.auto_network_step_size(stretched, X, 64 * Y, *arguments), eta / 4**4, rtol=1e-6
    )
    back = network.fill(weights)
    # Longer inputs need weights shorter by k each: k^3 = 1/8, curvature times 64 / k^-4.
    np.testing.assert_allclose(
        step_size.auto_network_step_size(back, 8 * X, 8 * Y, *arguments), eta / 64, rtol=1e-6
    )


def test_step_size_knows_what_opposite_samples_move():
    """f(-x) = -f(x) of a linear network, whose step follows the size of its outputs."""
    network = HomogeneousNetwork([(1, 2), (2, 1)], dtype=torch.float64)
    network.fill([torch.tensor([[0.3, 0.4]]), torch.tensor([[1.2], [0.5]])])
    x, y = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[30.0, -20.0]]).double()
    signs, shares = torch.tensor([[1.0], [-1.0]]).double(), torch.full((2,), 0.5).double()
    arguments = (shares, "squared_error", [0.0, 0.0])
    np.testing.assert_allclose(
        step_size.auto_network_step_size(network, signs * x, signs * y, *arguments),
        step_size.auto_network_step_size(network, signs**2 * x, signs**2 * y, *arguments),
        rtol=1e-6,
    )


@pytest.mark.parametrize(("units", "size"), [(1e-6, 2.0), (1.0, None), (1e6, 0.1)])
def test_fitting_factor_brings_outputs_near_the_targets(units, size):
    _, network, (X, Y, shares) = make_problem(bias=False)
    data = (X, units * Y, shares, "squared_error")
    factor = step_size.fitting_factor(network, *data)
    network.fill([factor * layer.weight.detach() for layer in network.linear_layers])
    rms = (shares * network(X).square().sum(1)).sum().sqrt()
    wanted = (shares * data[1].square().sum(1)).sum().sqrt()
    if size is None:
        assert factor == 1
    else:
        np.testing.assert_allclose((rms / wanted).item(), size)
