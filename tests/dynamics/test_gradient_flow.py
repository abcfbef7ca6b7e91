"""Gradient flow of torch modules, against exact solutions and tight ODE solves."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear.dynamics._gradient_descent import gradient_descent
from sklearn_deeplinear.dynamics._gradient_flow import gradient_flow


def make_problem(seed=0):
    """A linear network with biases, its data, and its loss for torch."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)).double()
    X, y = torch.randn(30, 4).double(), torch.randn(30, 2).double()
    return net, X, y, lambda net: (net(X) - y).square().sum(dim=1).mean()


def flat(net):
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def reference(net, X, y, gamma, time):
    """Solve by an implicit-explicit multistep code on a gradient written out in numpy."""
    shapes = [p.shape for p in net.parameters()]
    cuts = np.cumsum([p.numel() for p in net.parameters()])[:-1]
    X, y = X.numpy(), y.numpy()

    def velocity(t, theta):
        W1, b1, W2, b2 = (p.reshape(s) for p, s in zip(np.split(theta, cuts), shapes, strict=True))
        hidden = X @ W1.T + b1
        error = 2 * (hidden @ W2.T + b2 - y) / len(X)
        back = error @ W2
        gradient = [
            back.T @ X + 2 * gamma * W1,
            back.sum(axis=0),
            error.T @ hidden + 2 * gamma * W2,
            error.sum(axis=0),
        ]
        return -np.concatenate([g.ravel() for g in gradient])

    solution = solve_ivp(velocity, (0, time), flat(net), method="LSODA", rtol=1e-12, atol=1e-13)
    return solution.y[:, -1]


@pytest.mark.parametrize("gamma", [0.0, 0.2])
@pytest.mark.parametrize(
    ("tolerances", "error"), [({}, 1e-4), ({"rtol": 1e-10, "atol": 1e-12}, 1e-8)]
)
def test_flow_agrees_with_a_tight_solve(gamma, tolerances, error):
    net, X, y, loss = make_problem()
    wanted = reference(net, X, y, gamma, 3.0)
    gradient_flow(net, loss, time=3.0, weight_decay=gamma, **tolerances)
    assert np.linalg.norm(flat(net) - wanted) < error


@pytest.mark.parametrize("method", ["RK45", "RK23", "DOP853", "LSODA", "Radau", "BDF"])
def test_one_layer_relaxes_exponentially(method):
    """W(t) = W* + (W_0 - W*) exp(-2 (A + gamma I) t), at recorded times between steps."""
    _, X, y, loss = make_problem()
    net = torch.nn.Linear(4, 2, bias=False).double()
    A, S = (X.T @ X / len(X)).numpy(), (y.T @ X / len(X)).numpy()
    eigenvalues, V = np.linalg.eigh(A + 0.1 * np.eye(4))
    start, best = net.weight.detach().numpy().copy(), S @ (V / eigenvalues) @ V.T
    times = [0.0, 0.11, 0.5, 1.9]
    run = gradient_flow(
        net,
        loss,
        time=2.0,
        weight_decay=0.1,
        times=times,
        method=method,
        rtol=1e-7,
        atol=1e-9,
        record_weights=True,
    )
    exact = [best + ((start - best) @ V * np.exp(-2 * eigenvalues * t)) @ V.T for t in (*times, 2)]
    assert_array_equal(run.time, times)
    # Global errors exceed the tolerance of a step by the number of steps, about 100.
    for (found,), wanted in zip(run.weights, exact, strict=False):
        assert_allclose(found, wanted, atol=1e-5)
    assert_allclose(net.weight.detach().numpy(), exact[-1], atol=1e-5)
    assert (np.diff(run.objective) < 0).all()
    assert (np.diff(run.iteration) >= 0).all()


def test_descent_approaches_the_flow_at_first_order():
    """Halving the step halves the distance to the flow at the same time."""
    net, _, _, loss = make_problem()
    flow = copy.deepcopy(net)
    gradient_flow(flow, loss, time=2.0, rtol=1e-11, atol=1e-13)
    steps = 2.0 / np.array([100, 200, 400, 800])
    distances = []
    for eta in steps:
        twin = copy.deepcopy(net)
        gradient_descent(twin, loss, step_size=eta, max_iter=round(2 / eta), record_every=1000)
        distances.append(np.linalg.norm(flat(twin) - flat(flow)))
    slopes = np.diff(np.log(distances)) / np.diff(np.log(steps))
    assert_allclose(slopes, 1, atol=0.15)


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_relu_units_stay_balanced(gamma):
    """||W_1[i]||^2 - ||W_2[:, i]||^2 decays as exp(-4 gamma t) for every hidden unit i."""
    torch.manual_seed(2)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 6, bias=False), torch.nn.ReLU(), torch.nn.Linear(6, 2, bias=False)
    ).double()
    _, _, _, loss = make_problem()

    def balance():
        first, second = net[0].weight.detach().numpy(), net[2].weight.detach().numpy()
        return np.sum(first**2, axis=1) - np.sum(second**2, axis=0)

    start = balance()
    gradient_flow(net, loss, time=1.5, weight_decay=gamma)
    assert np.abs(start).min() > 0.01
    # The default tolerance leaves up to 5e-4.
    assert_allclose(balance(), start * np.exp(-4 * gamma * 1.5), rtol=5e-3)


def test_a_convolutional_network_flows():
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, stride=2),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    ).double()
    X, y = torch.randn(15, 1, 6, 6).double(), torch.randint(3, (15,))
    loss = lambda net: torch.nn.functional.cross_entropy(net(X), y)  # noqa: E731
    start, twin = flat(net), copy.deepcopy(net)

    def velocity(t, theta):
        torch.nn.utils.vector_to_parameters(torch.tensor(theta), twin.parameters())
        gradients = torch.autograd.grad(loss(twin), list(twin.parameters()))
        return -torch.cat([g.ravel() for g in gradients]).numpy()

    wanted = solve_ivp(velocity, (0, 5), start, method="RK45", rtol=1e-10, atol=1e-12).y[:, -1]
    run = gradient_flow(net, loss, time=5.0, rtol=1e-10, atol=1e-12)
    assert_allclose(flat(net), wanted, atol=1e-8)
    assert len(run) == 101
    assert run.time[-1] == 5.0
    assert_allclose(run.loss[-1], loss(net).item(), rtol=1e-10)


def test_no_time_changes_nothing():
    net, _, _, loss = make_problem()
    start = flat(net)
    run = gradient_flow(net, loss, time=0.0)
    assert_array_equal(flat(net), start)
    assert_array_equal(run.time, [0.0])


def test_single_precision_is_kept():
    net, X, y, _ = make_problem()
    exact, net = copy.deepcopy(net), net.float()
    gradient_flow(exact, lambda net: (net(X) - y).square().sum(1).mean(), time=1.0)
    X, y = X.float(), y.float()
    gradient_flow(net, lambda net: (net(X) - y).square().sum(1).mean(), time=1.0, rtol=1e-5)
    assert net[0].weight.dtype == torch.float32
    assert_allclose(flat(net), flat(exact), atol=1e-4)


def test_a_flow_that_blows_up_keeps_its_last_record():
    """dw/dt = 4 w^3 from w = 1 ends at t = 1/8."""
    net = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.ones_(net.weight)
    with pytest.warns(ConvergenceWarning, match="stopped early"):
        run = gradient_flow(net, lambda net: -(net.weight**4).sum(), time=1.0, record_weights=True)
    assert run.time[-1] == pytest.approx(0.12)
    assert_allclose(net.weight.item(), (1 - 8 * 0.12) ** -0.5, rtol=1e-5)
    assert_array_equal(run.weights[-1][0], net.weight.detach().numpy())


@pytest.mark.parametrize("size", [1e-100, 1e-160])
def test_starts_may_be_small_beside_their_velocity(size):
    """w' = -2 (w - 3), with tolerances beside which squares of the velocity overflow."""
    net = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(net.weight, size)
    gradient_flow(net, lambda net: (net.weight - 3).square().sum(), time=0.5, atol=1e-9 * size)
    assert net.weight.item() == pytest.approx(3 - 3 * np.exp(-1), rel=1e-6)


def test_parameters_at_zero_need_an_absolute_tolerance():
    """Without one scipy's first step is no number, of which it takes one after the other."""
    net = torch.nn.Linear(3, 2).double()
    inputs = torch.eye(3, dtype=torch.float64)

    def loss(net):
        return (net(inputs) - 1).square().sum()

    run = gradient_flow(net, loss, time=0.1, atol=0.0)
    assert run.objective[-1] < run.objective[0]
    torch.nn.init.zeros_(net.bias)
    with pytest.raises(ValueError, match="atol must be greater than 0"):
        gradient_flow(net, loss, time=0.1, atol=0.0)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"time": -1.0}, ValueError, "time must be"),
        ({"time": None}, TypeError, "time must be"),
        ({"times": [0.0, 2.0]}, ValueError, "times must"),
        ({"times": [0.5, 0.2]}, ValueError, "times must"),
        ({"times": []}, ValueError, "times must"),
        ({"method": "Euler"}, ValueError, "method must be one of"),
        ({"rtol": -1.0}, ValueError, "rtol must be"),
        ({"loss": lambda net: net[0].weight.sum() / 0}, ValueError, "finite"),
    ],
)
def test_bad_parameters_are_named(change, error, match):
    net, _, _, loss = make_problem()
    with pytest.raises(error, match=match):
        gradient_flow(**{"module": net, "loss": loss, "time": 1.0, **change})
