"""One test of the contract for every network: whoever claims to be `Dynamics` keeps it.

The reference is the same network in full, in float64 on the CPU, differentiated numerically:
it shares no gradient with what is tested.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._compressed_pathways import CompressedPathways
from sklearn_deeplinear.dynamics.compression._krylov import KrylovPathways
from sklearn_deeplinear.dynamics.compression._subspaces import close
from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._module import ModuleDynamics, module_dynamics
from sklearn_deeplinear.dynamics.networks._pathways import LinearPathways, pathway_dynamics
from sklearn_deeplinear.dynamics.networks._perceptron import perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._protocol import Dynamics, KinkedDynamics
from sklearn_deeplinear.dynamics.runs._integrators import flow_states
from sklearn_deeplinear.theory import SecondMoments

N, D, M = 15, 3, 2
RNG = np.random.RandomState(0)
X, Y = RNG.standard_normal((N, D)), RNG.standard_normal((N, M))
SHARES = RNG.uniform(0.5, 1.5, N)
SHARES /= SHARES.sum()
CLASSES = np.eye(M)[RNG.randint(M, size=N)]
CENTRED = [Z - SHARES @ Z for Z in (X, Y)]
MOMENTS = SecondMoments.from_data(X, Y, SHARES)


def layers_of(*widths, seed=1, gain=0.6, orthogonal=False):
    """Layers D -> widths -> M, float64 tensors; orthogonal ones have singular values `gain`."""
    rng, sizes = np.random.RandomState(seed), [D, *widths, M]
    layers = [rng.standard_normal(shape) for shape in zip(sizes[1:], sizes, strict=False)]
    if orthogonal:
        factors = (np.linalg.svd(W, full_matrices=False) for W in layers)
        layers = [U @ Vt for U, _, Vt in factors]
    return [torch.from_numpy(gain * W) for W in layers]


DECAYS = [0.1, 0.05, 0.2]


@dataclass(frozen=True)
class Case:
    """A network under test, and how its state stands for parameters.

    Attributes
    ----------
    make : callable
        ``make(like)`` makes the dynamics on the device and in the precision of a tensor.
    shapes : dict
        Shapes of what `unpacked` returns.
    kinked : bool
        Whether there are units with kinks.
    full : callable or None
        Makes the same network without compression, whose state are the unpacked weights.
    where : str
        "anywhere", or "numbers" if its making needs to see them.
    """

    make: Any
    shapes: dict
    kinked: bool = False
    full: Any = None
    where: str = "anywhere"


def moved(parts, like):
    if isinstance(parts, list):
        return [moved(part, like) for part in parts]
    return torch.as_tensor(parts).to(like)


def linear(widths, noise=0.0):
    def make(like):
        weights, gammas = layers_of(*widths), DECAYS[: len(widths) + 1]
        variances = [noise] * len(widths)
        return LinearDynamics.from_moments(moved(weights, like), MOMENTS, gammas, variances)

    return Case(make, {"weights": shapes(layers_of(*widths))}, where="numbers")


def shapes(nested):
    return [shapes(part) for part in nested] if isinstance(nested, list) else tuple(nested.shape)


def pathways(activation="identity", activate_output=False, widths=((4,), (3, 3))):
    weights = [layers_of(*hidden, seed=p) for p, hidden in enumerate(widths)]
    gammas = [DECAYS[: len(path)] for path in weights]

    def make(like):
        if activation == "identity":
            term = LinearPathways.from_moments(MOMENTS, like)
        else:
            data, options = (*CENTRED, SHARES[:, None]), (activation, activate_output)
            term = ActivePathways.from_data(*data, MOMENTS, *options, like)
        return pathway_dynamics(moved(weights, like), term, gammas)

    units = activate_output or any(widths)
    return Case(
        make,
        {"weights": shapes(weights)},
        kinked=activation in ("relu", "leaky_relu") and bool(units),
    )


def compressed(network, widths, **options):
    """Wide pathways in few dimensions; `network` makes their dynamics of compressions."""
    weights = [layers_of(*hidden, seed=p, **options) for p, hidden in enumerate(widths)]
    gammas = [DECAYS[: len(path)] for path in weights]

    def make(like):
        term = LinearPathways.from_moments(MOMENTS, like)
        return network([close(path) for path in weights], term, gammas)

    def full(like):
        term = LinearPathways.from_moments(MOMENTS, like)
        return pathway_dynamics(moved(weights, like), term, gammas)

    single = network is single_network
    found = shapes(weights)
    return Case(make, {"weights": found[0] if single else found}, full=full, where="numbers")


def single_network(*arguments):
    return CompressedNetwork(CompressedPathways(*arguments))


def perceptron(activation, loss, bias, widths=(4, 3)):
    weights = layers_of(*widths)
    biases = [torch.from_numpy(RNG.standard_normal(len(W))) for W in weights] if bias else None
    targets = CLASSES if loss == "cross_entropy" else Y

    def make(like):
        return perceptron_dynamics(
            moved(weights, like),
            moved(biases, like) if bias else None,
            *(moved(part, like) for part in (X, targets, SHARES)),
            activation=activation,
            loss=loss,
            weight_decay=DECAYS[: len(weights)],
        )

    found = {"weights": shapes(weights), **({"biases": shapes(biases)} if bias else {})}
    return Case(make, found, kinked=activation != "identity" and bool(widths))


def module(unit):
    def make(like):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(D, 4), unit, torch.nn.Linear(4, M))
        net = net.to(torch.float64).to(like)
        inputs, targets = moved(X, like), moved(Y, like)
        return module_dynamics(net, lambda net: (net(inputs) - targets).square().mean(), [0.1, 0.2])

    found = {"weights": [(4, D), (4,), (M, 4), (M,)]}
    return Case(make, found, kinked=isinstance(unit, (torch.nn.ReLU, torch.nn.LeakyReLU)))


WIDE = ((12,), (15,))
CASES = {
    "linear": linear((4, 3)),
    "linear, one layer": linear(()),
    "noisy": linear((4, 3), noise=0.3),
    "compressed network": compressed(single_network, [(14, 14)], orthogonal=True),
    "linear pathways": pathways(),
    "linear pathways of one layer": pathways(widths=((), ())),
    "relu pathways": pathways("relu"),
    "relu pathways, outputs too": pathways("relu", True, widths=((), (3,))),
    "relu pathways of one layer": pathways("relu", widths=((), ())),
    "leaky pathways": pathways("leaky_relu"),
    "tanh pathways": pathways("tanh"),
    "tanh pathways, outputs too": pathways("tanh", True),
    "compressed pathways": compressed(CompressedPathways, WIDE),
    "orthogonal pathways": compressed(CompressedPathways, [(12, 12), (13,)], orthogonal=True),
    "krylov pathways": compressed(KrylovPathways, WIDE),
    "linear perceptron": perceptron("identity", "squared_error", False),
    "relu perceptron": perceptron("relu", "squared_error", True),
    "leaky perceptron": perceptron("leaky_relu", "cross_entropy", True),
    "classifier without biases": perceptron("relu", "cross_entropy", False),
    "perceptron of one layer": perceptron("relu", "cross_entropy", True, widths=()),
    "tanh module": module(torch.nn.Tanh()),
    "relu module": module(torch.nn.ReLU()),
    "leaky module": module(torch.nn.LeakyReLU(0.3)),
}
# Bounds on relative errors: of central differences with h = 1e-5, h^2 = 1e-10 and
# rounding / h = 1e-11, and of sums of some dozen terms in single precision.
TOLERANCE = {torch.float64: 1e-7, torch.float32: 2e-4}
STEP = 1e-5
CPU = torch.empty(0, dtype=torch.float64)


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def like(request, device):
    """An empty tensor of each device and precision."""
    if device == "mps" and request.param == torch.float64:
        pytest.skip("mps has no float64")
    return torch.empty(0, dtype=request.param, device=device)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(autouse=True)
def _without_graphs():
    with torch.no_grad():
        yield


def flat(nested):
    """Parameters as `unpacked` gives them, in one float64 array."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, list):
        return np.concatenate([flat(part) for part in nested])
    return nested.numpy(force=True).astype(np.float64).ravel()


def some_states(dynamics):
    """A few states near the first one, (3, n_parameters)."""
    factors = torch.tensor([1.0, 0.7, 1.2], dtype=dynamics.state.dtype)
    return dynamics.state * factors[:, None].to(dynamics.state.device)


def twin(case, dynamics):
    """The same network in full and in float64 on the CPU, at the state of `dynamics`."""
    full = (case.full or case.make)(CPU)
    state = dynamics.state if case.full is None else dynamics.unpacked(dynamics.state)
    full.state.copy_(torch.from_numpy(flat(state)))
    return full


def numerical_gradient(dynamics):
    """Central differences of the objective in all entries of the state."""
    shifts = STEP * torch.eye(dynamics.state.numel(), dtype=dynamics.state.dtype)
    up, down = (dynamics.measure(dynamics.state + s)["objective"] for s in (shifts, -shifts))
    return ((up - down) / (2 * STEP)).numpy(force=True).astype(np.float64)


def test_networks_keep_the_contract_by_their_names(case, like):
    dynamics = case.make(like)
    assert isinstance(dynamics, Dynamics)
    assert isinstance(dynamics, KinkedDynamics) == case.kinked
    assert dynamics.state.ndim == 1 and dynamics.gradient.shape == dynamics.state.shape
    for tensor in (dynamics.state, dynamics.gradient):
        assert tensor.dtype == like.dtype and tensor.device == like.device
    assert dynamics.rounding >= 0
    assert set(dynamics.flow_options) == {"method", "rtol"}
    assert (dynamics.flow_options["method"] == "trapezoidal") == case.kinked
    assert 0 <= dynamics.record_cost() <= dynamics.record_cost(1e9)


def test_gradients_are_those_of_the_objective(case, like):
    """Those of compressed networks, too: their state moves the full weights along them."""
    dynamics = case.make(like)
    full = twin(case, dynamics)
    wanted = numerical_gradient(full)
    before, tolerance = dynamics.state.clone(), TOLERANCE[like.dtype]
    dynamics.evaluate()
    found, size = flat(dynamics.gradient), np.linalg.norm(wanted)
    assert torch.equal(dynamics.state, before)
    if case.full is not None:  # `unpacked` is linear
        moved_by = dynamics.unpacked(before + dynamics.gradient)
        found = flat(moved_by) - flat(dynamics.unpacked(before))
    assert_allclose(found, wanted, atol=tolerance * size, rtol=0)
    measured, reference = (d.measure(d.state[None].clone()) for d in (dynamics, full))
    assert_allclose(measured["gradient_norm"].item(), size, rtol=tolerance)
    assert_allclose(measured["objective"].item(), reference["objective"].item(), rtol=tolerance)
    assert torch.equal(dynamics.state, before)


def test_steps_go_down_the_gradient(case, like):
    dynamics = case.make(like)
    dynamics.evaluate()
    wanted = dynamics.state - 0.05 * dynamics.gradient
    dynamics.step(0.05)
    eps = torch.finfo(like.dtype).eps
    torch.testing.assert_close(dynamics.state, wanted, rtol=100 * eps, atol=100 * eps)


def test_measuring_many_states_is_measuring_each(case, like):
    dynamics = case.make(like)
    states, before = some_states(dynamics), dynamics.state.clone()
    together = dynamics.measure(states)
    assert {"loss", "objective", "gradient_norm"} <= together.keys()
    eps = torch.finfo(like.dtype).eps
    for row, state in enumerate(states):
        for name, values in dynamics.measure(state[None]).items():
            options = {"rtol": 1000 * eps, "atol": 100 * eps}
            torch.testing.assert_close(together[name][row], values[0], **options)
    assert torch.equal(dynamics.state, before)


def test_parameters_have_their_names_and_shapes(case, like):
    dynamics = case.make(like)
    parts = dynamics.unpacked(dynamics.state)
    assert {name: shapes(part) for name, part in parts.items()} == case.shapes


def test_balance_is_that_of_the_unpacked_layers(case, like):
    dynamics = case.make(like)
    meter = dynamics.balance_meter()
    if meter is None:  # no layers are known to be adjacent
        assert isinstance(dynamics, ModuleDynamics)
        return
    states = some_states(dynamics)
    parts = [meter.measure(states[:1]), meter.measure(states[1:])]
    axis = {"iteration": np.arange(3), "time": np.arange(3.0)}
    (history,) = meter.result(axis, parts).values()
    several = isinstance(dynamics.unpacked(states[0])["weights"][0], list)
    assert isinstance(history, list) == several and meter.cost >= 0
    tolerance = TOLERANCE[like.dtype]
    for record, state in enumerate(states):
        unpacked = dynamics.unpacked(state)
        networks = unpacked["weights"] if several else [unpacked["weights"]]
        for layers, found in zip(networks, history if several else [history], strict=True):
            biases = unpacked.get("biases")
            incoming = layers if biases is None else with_columns(layers, biases)
            units = [
                W.square().sum(dim=1) - V.square().sum(dim=0)
                for W, V in zip(incoming, layers[1:], strict=False)
            ]
            wanted = [unit.sum().item() for unit in units]
            assert_allclose(found.layer[record], wanted, atol=10 * tolerance)
            wanted = [unit.abs().max().item() for unit in units]
            assert_allclose(found.neuron[record], wanted, atol=10 * tolerance)
            assert found.change.shape == found.layer.shape == (3, len(layers) - 1)
            assert_allclose(found.change[0], 0.0, atol=10 * tolerance)
            if found.matrix is not None:
                wanted = [
                    (W @ W.T - V.T @ V).norm().item()
                    for W, V in zip(incoming, layers[1:], strict=False)
                ]
                assert_allclose(found.matrix[record], wanted, atol=10 * tolerance)


def with_columns(layers, biases):
    return [torch.cat([W, b[:, None]], dim=1) for W, b in zip(layers, biases, strict=True)]


@pytest.mark.parametrize("which", ["LA", "SA"])
def test_hessian_eigenvalues_are_those_of_differences_of_gradients(case, which):
    dynamics = case.make(CPU)
    full, rows = twin(case, dynamics), []
    start = full.state.clone()
    for shift in STEP * torch.eye(start.numel(), dtype=start.dtype):
        ends = []
        for sign in (1, -1):
            full.state.copy_(start + sign * shift)
            full.evaluate()
            ends.append(full.gradient.clone())
        rows.append((ends[0] - ends[1]) / (2 * STEP))
    eigenvalues = np.linalg.eigvalsh(torch.stack(rows).numpy())
    wanted = {"LA": eigenvalues[::-1][:3], "SA": eigenvalues[:3]}[which]
    before = dynamics.state.clone()
    found = dynamics.hessian_eigenvalues(dynamics.state, k=3, which=which)
    assert_allclose(found, wanted, atol=1e-7 * np.abs(eigenvalues).max(), rtol=0)
    assert torch.equal(dynamics.state, before)


def test_flows_take_the_options_of_the_network(case, like):
    """And end, as all do, below where they started."""
    dynamics = case.make(like)
    start = dynamics.measure(dynamics.state[None].clone())["objective"].item()
    options = {**dynamics.flow_options, "atol": 1e-6}
    *_, (_, time, end) = flow_states(dynamics, np.array([0.0, 0.1]), 0.1, **options)
    assert time == 0.1 and end.shape == tuple(dynamics.state.shape)
    states = torch.from_numpy(end).to(like.dtype).to(like.device)[None]
    assert dynamics.measure(states)["objective"].item() < start


def test_the_indicators_of_positive_inputs_give_the_gradient(case, like):
    if not case.kinked:
        assert not hasattr(case.make(like), "linearised")
        return
    dynamics = case.make(like)
    dynamics.evaluate()
    wanted, before = dynamics.gradient.clone(), dynamics.state.clone()
    inputs, gradient = dynamics.linearised()
    assert inputs and all(z.device == like.device and z.dtype == like.dtype for z in inputs)
    eps = torch.finfo(like.dtype).eps
    for shares in (None, [(z > 0).to(z.dtype) for z in inputs]):
        torch.testing.assert_close(gradient(shares), wanted, rtol=100 * eps, atol=100 * eps)
    assert gradient([torch.full_like(z, 0.5) for z in inputs]).shape == wanted.shape
    assert torch.equal(dynamics.state, before)


@pytest.mark.parametrize("name", [name for name, c in CASES.items() if c.where == "anywhere"])
def test_nothing_comes_back_from_the_device(name):
    """On "meta", which has shapes and no numbers: nothing waits for a value in between."""
    case, like = CASES[name], torch.empty(0, dtype=torch.float32, device="meta")
    dynamics = case.make(like)
    assert dynamics.state.is_meta and dynamics.state.dtype == like.dtype
    dynamics.evaluate()
    dynamics.step(0.1)
    measured = dynamics.measure(torch.stack([dynamics.state] * 3))
    assert all(len(values) == 3 and values.is_meta for values in measured.values())
    unpacked = dynamics.unpacked(dynamics.state)
    assert {key: shapes(part) for key, part in unpacked.items()} == case.shapes
