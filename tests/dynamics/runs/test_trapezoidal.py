"""The flow of networks with ReLU units: their kinks, and what a solver pays for them."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional

from sklearn_deeplinear.dynamics import compare_step_sizes, gradient_descent, gradient_flow
from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._data_loss import data_loss
from sklearn_deeplinear.dynamics.networks._module import attached
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.networks._perceptron import SampleLoss, perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._rectifiers import RectifierTape, positive_share
from sklearn_deeplinear.dynamics.runs._integrators import flow_states
from sklearn_deeplinear.estimators._training_data import TrainingData
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways
from sklearn_deeplinear.theory import SecondMoments


def make_relu_problem(n_samples=300, width=20, seed=0):
    """A ReLU network with two hidden layers, and its cross-entropy on random classes."""
    torch.manual_seed(seed)
    sizes = [10, width, width, 3]
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in zip(sizes, sizes[1:], strict=False)]
    relu = torch.nn.ReLU
    net = torch.nn.Sequential(layers[0], relu(), layers[1], relu(), layers[2]).double()
    X, y = torch.randn(n_samples, 10).double(), torch.randint(3, (n_samples,))
    return net, lambda net: functional.cross_entropy(net(X), y)


def flat(net):
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()


def test_positive_share_is_the_measure_of_the_positive_part():
    rng = np.random.RandomState(0)
    start, end = (torch.tensor(np.r_[rng.randn(50), 0.0, 0.0, -1.0, 2.0, 0.0]) for _ in range(2))
    end[-3:] = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    s = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    measured = ((1 - s) * start + s * end > 0).double().mean(dim=0)
    assert_allclose(positive_share(start, end), measured, atol=1e-4)


ACTIVATIONS = {
    "module": torch.nn.ReLU(),
    "module in place": torch.nn.ReLU(inplace=True),
    "functional": functional.relu,
    "method": torch.Tensor.relu,
    "method in place": lambda z: (z * 1.0).relu_(),
    "torch": torch.relu,
    "leaky": torch.nn.LeakyReLU(0.2),
    "leaky in place": torch.nn.LeakyReLU(0.2, inplace=True),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_tape_changes_nothing_until_it_is_asked_to(name):
    torch.manual_seed(0)
    activate = ACTIVATIONS[name]
    X, W = torch.randn(20, 4).double(), torch.randn(5, 4).double().requires_grad_()

    def loss():
        return activate(X @ W.T).pow(3).sum()

    plain = loss()
    with RectifierTape() as tape:
        taped = loss()
    assert_allclose(tape.inputs[0], (X @ W.T).detach(), rtol=1e-15)
    assert taped.item() == plain.item()
    wanted = torch.autograd.grad(plain, W)[0]
    assert_allclose(torch.autograd.grad(taped, W, retain_graph=True)[0], wanted, rtol=1e-14)
    # Half of each slope, at the points where the values stay what they are.
    slope = 0.2 if "leaky" in name else 0.0
    tape.shares = [torch.full((20, 5), 0.5).double()]
    value = activate((X @ W.T).detach())
    wanted = (3 * value.square() * (1 + slope) / 2).T @ X
    assert_allclose(torch.autograd.grad(taped, W)[0], wanted, rtol=1e-13)


def test_slopes_reach_the_gradient_of_the_objective():
    """The gradient is linear in the slopes of one hidden layer; the decay stays out of them."""
    net, loss = make_relu_problem()
    net = torch.nn.Sequential(net[0], net[1], net[4])
    with attached(net, loss, 0.3) as dynamics:
        inputs, gradient = dynamics.linearised()
        plain = gradient(None).clone()
        off, on = torch.zeros_like(inputs[0]), torch.ones_like(inputs[0])
        share = torch.rand(on.shape, dtype=on.dtype)
        parts = [gradient([s]).clone() for s in (off, share, on - share, on)]
        dynamics.evaluate()
        assert_allclose(plain, dynamics.gradient, rtol=1e-13)
        assert_allclose(parts[1] + parts[2], parts[0] + parts[3], atol=1e-13)
        assert torch.dist(parts[0], parts[3]) > 0.01
    assert all(p.grad is None for p in net.parameters())


def test_a_step_may_cross_any_number_of_kinks():
    """One parameter under a staircase of kinks: dw/dt = -mean_i c_i 1[w > a_i], solved exactly.

    The velocity is constant between kinks, so that w is found by walking from kink to kink.
    """
    rng = np.random.RandomState(1)
    kinks, slopes = np.sort(rng.uniform(0, 1, 300)), rng.uniform(0.2, 1, 300)
    w, time = 1.0, 0.0
    for i in range(300, 0, -1):
        speed = slopes[:i].sum() / 300
        if kinks[i - 1] > 0.05:
            time, w = time + (w - kinks[i - 1]) / speed, kinks[i - 1]
    net = torch.nn.Linear(1, 1, bias=False).double()
    a, c = torch.tensor(kinks), torch.tensor(slopes)

    def loss(net):
        return (c * torch.relu(net.weight[0, 0] - a)).mean()

    with torch.no_grad():
        net.weight.fill_(1.0)
    run = gradient_flow(net, loss, time=time, rtol=1e-5, atol=1e-6)
    assert run.iteration[-1] < 300  # fewer than kinks
    assert_allclose(net.weight.item(), w, atol=3e-4)


def test_kinks_cost_little():
    """From no more gradients than Runge and Kutta's methods take, a small part of their error.

    The reference extrapolates gradient descent to steps of size zero.
    """
    start, loss = make_relu_problem(1000, 50)

    def end(move, **options):
        net = copy.deepcopy(start)
        run = move(net, loss, **options)
        return flat(net), run.iteration[-1]

    coarse, fine = (
        end(gradient_descent, step_size=2 / steps, max_iter=steps, record_every=steps)[0]
        for steps in (500, 1000)
    )
    exact = 2 * fine - coarse

    def flow(method, rtol):
        state, cost = end(
            gradient_flow, time=2.0, times=[2.0], method=method, rtol=rtol, atol=rtol / 10
        )
        return np.linalg.norm(state - exact), cost

    error, cost = flow("trapezoidal", 1.2e-7)
    for method, rtol, share in (("RK23", 1e-6, 1 / 2), ("RK45", 5e-7, 1 / 3)):
        other_error, other_cost = flow(method, rtol)
        assert other_cost >= cost
        assert error < share * other_error
    assert error < np.linalg.norm(fine - exact)
    assert cost < 1000 / 8


def test_starts_of_any_size_are_left_alike():
    """Near zero two layers move as f(x) = 0 lets them, in proportion: also where squares are 0."""
    rng = np.random.RandomState(0)
    X, Y, shares = torch.tensor(rng.randn(40, 3)), torch.tensor(rng.randn(40, 2)), torch.ones(40)
    weights = [torch.tensor(rng.randn(*shape)) for shape in ((6, 3), (2, 6))]
    options = {"activation": "relu", "loss": "squared_error", "weight_decay": [0.0, 0.0]}

    def end(size):
        start = [size * W for W in weights]
        dynamics = perceptron_dynamics(start, None, X, Y, shares.double() / 40, **options)
        states = flow_states(dynamics, [1.0], 1.0, rtol=1e-6, atol=1e-9 * size, method=None)
        n_gradients, _, y = next(states)
        return n_gradients, y / size

    n_gradients, wanted = end(2.0**-330)
    assert np.linalg.norm(wanted - np.concatenate([W.ravel() for W in weights])) > 1
    for exponent in (-515, -530, -700):
        n, found = end(2.0**exponent)
        assert n == n_gradients
        assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)


def test_the_end_is_met_however_it_is_rounded():
    """w' = -1 is left in two steps; the second one need not lead from t to T in rounded sums."""
    for time in np.random.RandomState(0).uniform(0.5, 1, 50):
        net = torch.nn.Linear(1, 1, bias=False).double()
        torch.nn.init.constant_(net.weight, 35 * time)  # the first step is 0.35 of the time
        gradient_flow(net, lambda net: torch.relu(net.weight).sum(), time=time, times=[time])
        assert net.weight.item() == pytest.approx(34 * time, rel=1e-12)


def test_networks_with_kinks_get_the_method_made_for_them():
    start, loss = make_relu_problem(50)
    smooth = torch.nn.Sequential(start[0], torch.nn.Tanh(), start[4])
    for net, method in ((start, "trapezoidal"), (smooth, "DOP853")):
        one, other = copy.deepcopy(net), copy.deepcopy(net)
        run = gradient_flow(one, loss, time=0.1, rtol=1e-4, atol=1e-5)
        chosen = gradient_flow(other, loss, time=0.1, rtol=1e-4, atol=1e-5, method=method)
        assert_array_equal(flat(one), flat(other))
        assert_array_equal(run.iteration, chosen.iteration)


def test_smooth_networks_are_refused():
    """What has no kinks is followed better by any other method."""
    net, _ = make_relu_problem(50)
    layers = torch.nn.Sequential(net[0], torch.nn.Tanh(), net[4])
    X, y = torch.randn(9, 10), torch.randint(3, (9,))
    with pytest.raises(ValueError, match='activation "relu" or "leaky_relu", and modules'):
        compare_step_sizes(layers, X, y, step_size=0.1, max_iter=2, method="trapezoidal")
    before, memory = flat(net).copy(), net[0].weight.data_ptr()
    smooth = torch.nn.Sequential(net[0], net[4])
    loss = data_loss(smooth, X, y)
    with pytest.raises(ValueError, match='Take "DOP853"'):
        gradient_flow(smooth, loss, time=0.1, method="trapezoidal")
    assert_array_equal(flat(net), before)
    assert net[0].weight.data_ptr() == memory


def test_second_order_where_no_derivative_jumps():
    """Errors fall with the square of the number of gradients, if not faster."""
    net, loss = make_relu_problem(50)
    line = torch.nn.LeakyReLU(1.0)  # both of its slopes are one
    smooth = torch.nn.Sequential(net[0], torch.nn.Tanh(), line, net[4])
    exact = copy.deepcopy(smooth)
    gradient_flow(exact, loss, time=2.0, method="DOP853", rtol=1e-11, atol=1e-12)
    errors, steps = [], []
    for rtol in (1e-8, 1e-10):
        twin = copy.deepcopy(smooth)
        run = gradient_flow(
            twin, loss, time=2.0, rtol=rtol, atol=rtol / 10, method="trapezoidal", times=[2.0]
        )
        errors.append(np.linalg.norm(flat(twin) - flat(exact)))
        steps.append(run.iteration[-1])
    order = np.log(errors[0] / errors[1]) / np.log(steps[1] / steps[0])
    assert 1.75 < order < 2.5


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_perceptrons_take_slopes_like_modules(activation, loss):
    """The passes written out give the gradients of autograd, with any slopes."""
    torch.manual_seed(0)
    sizes = [4, 6, 5, 3]
    shapes = list(zip(sizes[1:], sizes, strict=False))
    weights = [torch.randn(shape).double() for shape in shapes]
    biases = [torch.randn(rows).double() for rows, _ in shapes]
    X, Y = torch.randn(30, 4).double(), torch.eye(3).double()[torch.randint(3, (30,))]
    shares = torch.rand(30).double()
    options = {"activation": activation, "loss": loss, "weight_decay": [0.1, 0.2, 0.3]}
    ours = perceptron_dynamics(weights, biases, X, Y, shares, **options)
    module = HomogeneousNetwork(shapes, activation, bias=True, dtype=torch.float64)
    module.fill(weights, biases)
    value = SampleLoss(loss, Y, shares).value
    with attached(module, lambda net: value(net(X)), [0.1, 0.2, 0.3]) as theirs:
        compare_slopes(ours, theirs)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("activate_output", [False, True])
def test_pathways_take_slopes_like_modules(activation, activate_output):
    rng = np.random.RandomState(0)
    X, Y, weight = rng.randn(30, 4), rng.randn(30, 3), rng.uniform(0.5, 2, 30)
    shapes = [[(6, 4), (3, 6)], [(5, 4), (4, 5), (3, 4)]]
    pathways = [[torch.tensor(rng.randn(*shape)) for shape in layers] for layers in shapes]
    moments = SecondMoments.from_data(X, Y, weight, center=False)
    like = torch.empty(0, dtype=torch.float64)
    data = TrainingData(X, Y, weight, moments).centred()
    rule = ActivePathways.from_data(*data, moments, activation, activate_output, like)
    ours = pathway_dynamics(pathways, rule, [[0.1, 0.2], [0.3, 0.4, 0.5]])
    module = ParallelPathways(shapes, activation, activate_output, dtype=torch.float64)
    module.fill(pathways)
    share = torch.tensor(weight / weight.sum())

    def loss(net):
        return share @ (net(torch.tensor(X)) - torch.tensor(Y)).square().sum(dim=1)

    with attached(module, loss, [0.1, 0.2, 0.3, 0.4, 0.5]) as theirs:
        compare_slopes(ours, theirs)


def compare_slopes(ours, theirs):
    """Compare inputs of units, and gradients with their own slopes and with other ones."""
    inputs, gradient = ours.linearised()
    expected_inputs, expected = theirs.linearised()
    assert len(inputs) == len(expected_inputs) > 1
    for found, wanted in zip(inputs, expected_inputs, strict=True):
        assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    shares = [torch.rand(z.shape, dtype=z.dtype) for z in inputs]
    for slopes in (None, shares):
        assert_allclose(gradient(slopes), expected(slopes), rtol=1e-11, atol=1e-12)
    ours.evaluate()
    assert_allclose(ours.gradient, expected(None), rtol=1e-11, atol=1e-12)
