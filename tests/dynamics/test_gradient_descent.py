"""Gradient descent of torch modules, against numpy and torch.optim."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear.dynamics._gradient_descent import gradient_descent


def make_net(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)).to(dtype)


def make_data(seed=0, dtype=torch.float64):
    rng = np.random.RandomState(seed)
    return (torch.tensor(rng.standard_normal(shape)).to(dtype) for shape in ((30, 4), (30, 2)))


def squared_loss(seed=0, dtype=torch.float64):
    X, y = make_data(seed, dtype)
    return lambda net: (net(X) - y).square().sum(dim=1).mean()


def numpy_gradient(theta, X, y, gammas):
    """Gradient of the objective of y = W_2 (W_1 x + b_1) + b_2, written out by hand."""
    W1, b1, W2, b2 = theta
    hidden = X @ W1.T + b1
    error = 2 * (hidden @ W2.T + b2 - y) / len(X)
    back = error @ W2
    return [
        back.T @ X + 2 * gammas[0] * W1,
        back.sum(axis=0),
        error.T @ hidden + 2 * gammas[1] * W2,
        error.sum(axis=0),
    ]


def arrays(net):
    return [p.detach().numpy().copy() for p in net.parameters()]


@pytest.mark.parametrize("weight_decay", [0.0, 0.3, (0.1, 0.4)])
def test_steps_are_those_of_gradient_descent_by_hand(weight_decay):
    """Weights are decayed at the rate 2 gamma each, biases are not."""
    net, gammas = make_net(), np.broadcast_to(weight_decay, 2)
    X, y = (tensor.numpy() for tensor in make_data())
    theta = arrays(net)
    for _ in range(50):
        gradient = numpy_gradient(theta, X, y, gammas)
        theta = [p - 0.05 * g for p, g in zip(theta, gradient, strict=True)]
    run = gradient_descent(
        net, squared_loss(), step_size=0.05, max_iter=50, weight_decay=weight_decay
    )
    for found, wanted in zip(arrays(net), theta, strict=True):
        assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    penalty = gammas[0] * np.sum(theta[0] ** 2) + gammas[1] * np.sum(theta[2] ** 2)
    loss = np.sum(((X @ theta[0].T + theta[1]) @ theta[2].T + theta[3] - y) ** 2) / len(X)
    assert_allclose(run.loss[-1], loss, rtol=1e-12)
    assert_allclose(run.objective[-1], loss + penalty, rtol=1e-12)
    norm = np.sqrt(sum(np.sum(g**2) for g in numpy_gradient(theta, X, y, gammas)))
    assert_allclose(run.gradient_norm[-1], norm, rtol=1e-10)


def test_a_convolutional_network_follows_torch_sgd():
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 4),
    ).double()
    X, y = torch.randn(20, 1, 10, 10).double(), torch.randint(4, (20,))
    twin = copy.deepcopy(net)
    groups = [
        {"params": [p for p in twin.parameters() if p.ndim > 1], "weight_decay": 2 * 0.01},
        {"params": [p for p in twin.parameters() if p.ndim == 1]},
    ]
    optimiser = torch.optim.SGD(groups, lr=0.1)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        losses.append(torch.nn.functional.cross_entropy(twin(X), y))
        losses[-1].backward()
        optimiser.step()
    run = gradient_descent(
        net,
        lambda net: torch.nn.functional.cross_entropy(net(X), y),
        step_size=0.1,
        max_iter=40,
        weight_decay=0.01,
        record_every=1,
    )
    assert_allclose(run.loss[:-1], [loss.item() for loss in losses], rtol=1e-10)
    for found, wanted in zip(arrays(net), arrays(twin), strict=True):
        assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_records_describe_the_iterate_before_its_step():
    net, loss = make_net(), squared_loss()
    first = loss(net).item()
    run = gradient_descent(
        net, loss, step_size=0.1, max_iter=25, record_every=10, record_weights=True
    )
    assert_array_equal(run.iteration, [0, 10, 20, 25])
    assert_allclose(run.time, 0.1 * run.iteration, rtol=1e-14)
    assert_allclose(run.loss[0], first, rtol=1e-15)
    twin = make_net()
    for weights, value in zip(run.weights, run.loss, strict=True):
        for p, array in zip(twin.parameters(), weights, strict=True):
            p.data = torch.tensor(array)
        assert_allclose(loss(twin).item(), value, rtol=1e-14)
    for found, wanted in zip(arrays(net), run.weights[-1], strict=True):
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("max_iter", [0, 1, 999, 1000, 2345])
def test_at_most_a_thousand_records_by_default(max_iter):
    net = torch.nn.Linear(1, 1, bias=False).double()
    run = gradient_descent(
        net, lambda net: net.weight.square().sum(), step_size=0.01, max_iter=max_iter
    )
    assert len(run) <= 1000
    assert run.iteration[0] == 0
    assert run.iteration[-1] == max_iter
    assert len(set(np.diff(run.iteration)[:-1])) <= 1


def test_step_sizes_may_vary():
    """w' = w (1 - 2 eta_t) for the loss w^2."""
    net = torch.nn.Linear(1, 1, bias=False).double()
    start, etas = net.weight.item(), 0.3 / np.sqrt(1 + np.arange(12))
    run = gradient_descent(
        net, lambda net: net.weight.square().sum(), step_size=lambda t: etas[t], max_iter=12
    )
    assert_allclose(net.weight.item(), start * np.prod(1 - 2 * etas), rtol=1e-13)
    assert_allclose(run.time, np.concatenate([[0], np.cumsum(etas)]), rtol=1e-13)


def test_the_module_keeps_its_parameters_and_their_memory():
    net = make_net()
    parameters = list(net.parameters())
    memory = [p.data_ptr() for p in parameters]
    before = arrays(net)
    gradient_descent(net, squared_loss(), step_size=0.1, max_iter=5)
    assert all(p is q for p, q in zip(parameters, net.parameters(), strict=True))
    assert [p.data_ptr() for p in parameters] == memory
    assert all(p.grad is None for p in parameters)
    assert all(not np.array_equal(p, q) for p, q in zip(arrays(net), before, strict=True))
    assert_array_equal(net.state_dict()["0.weight"].numpy(), arrays(net)[0])


def test_the_module_keeps_its_memory_when_the_loss_fails():
    net, loss, calls = make_net(), squared_loss(), []
    memory = [p.data_ptr() for p in net.parameters()]

    def failing(net):
        calls.append(None)
        if len(calls) > 3:
            raise RuntimeError("out of data")
        return loss(net)

    with pytest.raises(RuntimeError, match="out of data"):
        gradient_descent(net, failing, step_size=0.1, max_iter=10, record_every=10)
    assert [p.data_ptr() for p in net.parameters()] == memory


def test_frozen_parameters_stay_and_tied_ones_move_as_one():
    """The loss (a b - 1)^2 with b = a tied has the gradient 4 a (a^2 - 1)."""
    net = torch.nn.Sequential(*(torch.nn.Linear(1, 1).double() for _ in range(2)))
    net[1].weight = net[0].weight
    for layer in net:
        torch.nn.init.zeros_(layer.bias)
        layer.bias.requires_grad_(False)
    a = net[0].weight.item()
    one = torch.ones(1, 1).double()
    gradient_descent(
        net, lambda net: (net(one) - 1).square().sum(), step_size=0.01, max_iter=1, weight_decay=0.5
    )
    assert net[1].weight is net[0].weight
    assert_allclose(net[0].weight.item(), a - 0.01 * (4 * a * (a**2 - 1) + a), rtol=1e-13)
    assert net[0].bias.item() == net[1].bias.item() == 0


class Scale(torch.nn.Module):
    """A single number, of no dimensions."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))


def test_parameters_may_be_single_numbers():
    """The loss s^2 leaves 1 - 2 eta of s at each step."""
    net = Scale()
    run = gradient_descent(
        net, lambda net: net.scale**2, step_size=0.25, max_iter=2, record_weights=True
    )
    assert_array_equal(run.weights, [[3.0], [1.5], [0.75]])
    assert net.scale.shape == () and net.scale.item() == 0.75


def test_the_precision_may_be_one_that_numpy_does_not_have():
    net, half = make_net(), make_net(dtype=torch.bfloat16)
    options = {"step_size": 0.1, "max_iter": 5, "record_weights": True}
    run = gradient_descent(net, squared_loss(), **options)
    rough = gradient_descent(half, squared_loss(dtype=torch.bfloat16), **options)
    assert half[0].weight.dtype == torch.bfloat16
    assert_allclose(rough.loss, run.loss, rtol=0.05)
    assert_allclose(rough.weights[-1][0], half[0].weight.detach().float())


def test_tol_stops_at_a_small_gradient():
    run = gradient_descent(
        make_net(), squared_loss(), step_size=0.1, max_iter=5000, record_every=10, tol=1e-2
    )
    assert run.iteration[-1] < 5000
    assert run.gradient_norm[-1] <= 1e-2 * run.gradient_norm[0] < run.gradient_norm[-2]


def test_divergence_keeps_the_last_finite_record():
    net = make_net()
    with pytest.warns(ConvergenceWarning, match="diverged") as caught:
        run = gradient_descent(
            net, squared_loss(), step_size=5.0, max_iter=200, record_every=1, record_weights=True
        )
    assert "estimators find one with step_size=" in str(caught[0].message)  # this tool has none
    assert run.iteration[-1] < 200
    assert np.isfinite(run.objective).all()
    for found, wanted in zip(arrays(net), run.weights[-1], strict=True):
        assert_array_equal(found, wanted)


def test_a_run_that_misses_its_tolerance_warns_unless_it_makes_no_steps():
    with pytest.warns(ConvergenceWarning, match="Raise max_iter") as caught:
        gradient_descent(make_net(), squared_loss(), step_size=1e-3, max_iter=3, tol=1e-6)
    assert caught[0].message.n_iter == 3 and caught[0].filename == __file__
    gradient_descent(make_net(), squared_loss(), step_size=1e-3, max_iter=0, tol=1e-6)


def test_the_precision_of_the_module_is_kept():
    net = make_net(dtype=torch.float32)
    exact = make_net(dtype=torch.float32).double()
    run = gradient_descent(net, squared_loss(dtype=torch.float32), step_size=0.1, max_iter=20)
    gradient_descent(exact, squared_loss(), step_size=0.1, max_iter=20)
    assert run.loss.dtype == np.float64
    for found, wanted in zip(arrays(net), arrays(exact), strict=True):
        assert found.dtype == np.float32
        assert_allclose(found, wanted, atol=20 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"module": "net"}, TypeError, "module must be a torch.nn.Module"),
        ({"module": torch.nn.ReLU()}, ValueError, "module must have trainable"),
        ({"loss": 3}, TypeError, "loss must be callable"),
        ({"loss": torch.nn.functional.mse_loss}, TypeError, r"loss\(module\(X\), y\)"),
        ({"loss": torch.nn.MSELoss()}, TypeError, r"loss\(module\(X\), y\)"),
        ({"loss": lambda net: 1.0}, TypeError, "one element"),
        ({"loss": lambda net: net[0].weight}, TypeError, "one element"),
        ({"loss": lambda net: torch.ones(())}, ValueError, "returned a constant"),
        ({"loss": lambda net: net[0].weight.sum() / 0}, ValueError, "are finite"),
        ({"step_size": 0.0}, ValueError, "step_size must be"),
        ({"step_size": True}, TypeError, "step_size must be"),
        ({"step_size": "auto"}, TypeError, "step_size must be"),
        ({"step_size": lambda t: 0.1 - 0.1 * t}, ValueError, r"step_size\(1\) must be"),
        ({"step_size": lambda t: "0.1"}, TypeError, r"step_size\(0\) must be"),
        (
            {"loss": lambda net: net[0].weight.sum() * torch.rand(())},
            ValueError,
            "loss.module. must not be random",
        ),
        ({"max_iter": 1.5}, TypeError, "max_iter must be"),
        ({"max_iter": -1}, ValueError, "max_iter must be"),
        ({"record_every": 0}, ValueError, "record_every must be"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay must be"),
        ({"weight_decay": [0.1, 0.2, 0.3]}, ValueError, "weight_decay must be"),
        ({"tol": -1.0}, ValueError, "tol must be"),
    ],
)
def test_bad_parameters_are_named(change, error, match):
    arguments = {"module": make_net(), "loss": squared_loss(), "step_size": 0.1, "max_iter": 3}
    with pytest.raises(error, match=match):
        gradient_descent(**{**arguments, **change})
