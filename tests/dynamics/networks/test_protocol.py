"""One test of the contract for every network: whoever claims to be `Dynamics` keeps it.

The reference is the same network in full, in float64 on the CPU, differentiated numerically:
it shares no gradient with what is tested.
"""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.networks._module import ModuleDynamics
from sklearn_deeplinear.dynamics.networks._protocol import (
    Batch,
    Dynamics,
    KinkedDynamics,
    Predictive,
)
from sklearn_deeplinear.dynamics.runs._integrators import flow_states
from tests.dynamics.networks.every_network import CASES, shapes

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
    """A few states near the first one, (3, ..., n_parameters)."""
    return torch.stack([dynamics.state * factor for factor in (1.0, 0.7, 1.2)])


def twin(case, dynamics):
    """The same network in full and in float64 on the CPU, at the state of `dynamics`."""
    full = (case.full or case.make)(CPU)
    state = dynamics.state if case.full is None else dynamics.unpacked(dynamics.state)
    full.state.copy_(torch.from_numpy(flat(state)).reshape(full.state.shape))
    return full


def numerical_gradient(dynamics):
    """Central differences of the objectives in all entries of the states, (..., n_parameters)."""
    ends = ([dynamics.state + s for s in shifts(dynamics, sign)] for sign in (1, -1))
    up, down = (dynamics.measure(torch.stack(states))["objective"] for states in ends)
    return ((up - down) / (2 * STEP)).movedim(0, -1).numpy(force=True).astype(np.float64)


def shifts(dynamics, sign=1):
    return sign * STEP * torch.eye(dynamics.state.shape[-1], dtype=dynamics.state.dtype)


def test_networks_keep_the_contract_by_their_names(case, like):
    dynamics = case.make(like)
    assert isinstance(dynamics, Dynamics)
    assert isinstance(dynamics, KinkedDynamics) == case.kinked
    assert dynamics.linear == case.linear
    if case.batch:
        assert isinstance(dynamics, Batch) and dynamics.batch == case.batch
    assert dynamics.state.shape[:-1] == case.batch
    assert dynamics.gradient.shape == dynamics.state.shape
    for tensor in (dynamics.state, dynamics.gradient):
        assert tensor.dtype == like.dtype and tensor.device == like.device
    assert np.shape(dynamics.rounding) in ((), case.batch) and np.all(dynamics.rounding >= 0)
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
    found, size = flat(dynamics.gradient), np.linalg.norm(wanted, axis=-1)
    assert torch.equal(dynamics.state, before)
    if case.full is not None:  # `unpacked` is linear
        moved_by = dynamics.unpacked(before + dynamics.gradient)
        found = flat(moved_by) - flat(dynamics.unpacked(before))
    error = np.abs(found.reshape(wanted.shape) - wanted).max(axis=-1)
    assert (error <= tolerance * size).all()
    evaluated = dynamics.gradient.clone()
    dynamics.gradient.fill_(torch.nan)
    states = torch.stack([2 * dynamics.state, dynamics.state])
    dynamics.measure(states)  # which leaves the gradient at the last of them
    eps = 100 * torch.finfo(like.dtype).eps
    torch.testing.assert_close(dynamics.gradient, evaluated, rtol=eps, atol=eps * float(size.max()))
    measured, reference = (d.measure(d.state[None].clone()) for d in (dynamics, full))
    assert_allclose(measured["gradient_norm"][0].numpy(force=True), size, rtol=tolerance)
    objectives = (m["objective"][0].numpy(force=True) for m in (measured, reference))
    assert_allclose(*objectives, rtol=tolerance)
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


def test_outputs_at_other_inputs_are_those_of_the_full_network(case, like):
    dynamics = case.make(like)
    if isinstance(dynamics, ModuleDynamics):
        assert not isinstance(dynamics, Predictive)
        return
    assert isinstance(dynamics, Predictive)
    weights = dynamics.unpacked(dynamics.state)["weights"]
    (*_, d), (*_, m, _) = (W.shape for W in (flatter(weights)[0], flatter(weights)[-1]))
    X = torch.from_numpy(np.random.RandomState(0).standard_normal((5, d))).to(like)
    states, before = some_states(dynamics), dynamics.state.clone()
    dynamics.evaluate()
    gradient = dynamics.gradient.clone()
    found = dynamics.outputs_at(states, X)
    assert found.shape == (3, *case.batch, 5, m)
    assert 0 <= dynamics.outputs_cost(5) <= dynamics.outputs_cost(500)
    tolerance = TOLERANCE[like.dtype]
    for row, state in enumerate(states):
        dynamics.state.copy_(state)
        full = twin(case, dynamics)
        wanted = full.outputs_at(full.state[None], X.to(CPU))[0]
        torch.testing.assert_close(found[row].to(CPU), wanted, rtol=tolerance, atol=tolerance)
    dynamics.state.copy_(before)
    assert torch.equal(dynamics.gradient, gradient)


def flatter(nested):
    """Tensors in lists of any depth, in one list."""
    return sum(map(flatter, nested), []) if isinstance(nested, list) else [nested]


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
    several = isinstance(dynamics.unpacked(states[0])["weights"][0], list)
    for index in np.ndindex(*case.batch):
        own = [[of_network(columns, index) for columns in part] for part in parts]
        (history,) = meter.result(axis, own).values()
        assert isinstance(history, list) == several and meter.cost >= 0
        for record, state in enumerate(states):
            unpacked = dynamics.unpacked(state)
            networks = unpacked["weights"] if several else [unpacked["weights"]]
            for layers, found in zip(networks, history if several else [history], strict=True):
                biases = unpacked.get("biases")
                incoming = layers if biases is None else with_columns(layers, biases)
                chain = [[W[index] for W in part] for part in (incoming, layers)]
                check_balance(*chain, found, record, 10 * TOLERANCE[like.dtype])


def of_network(columns, index):
    return {name: column[(slice(None), *index)] for name, column in columns.items()}


def check_balance(incoming, layers, found, record, tolerance):
    pairs = list(zip(incoming, layers[1:], strict=False))
    units = [W.square().sum(dim=1) - V.square().sum(dim=0) for W, V in pairs]
    assert_allclose(found.layer[record], [unit.sum().item() for unit in units], atol=tolerance)
    wanted = [unit.abs().max().item() for unit in units]
    assert_allclose(found.neuron[record], wanted, atol=tolerance)
    assert found.change.shape == found.layer.shape == (3, len(pairs))
    assert_allclose(found.change[0], 0.0, atol=tolerance)
    if found.matrix is not None:
        wanted = [(W @ W.T - V.T @ V).norm().item() for W, V in pairs]
        assert_allclose(found.matrix[record], wanted, atol=tolerance)


def with_columns(layers, biases):
    return [torch.cat([W, b[..., None]], dim=-1) for W, b in zip(layers, biases, strict=True)]


def test_hessian_eigenvalues_are_those_of_differences_of_gradients(case):
    dynamics = case.make(CPU)
    full, rows = twin(case, dynamics), []
    start = full.state.clone()
    for shift in shifts(full):
        ends = []
        for sign in (1, -1):
            full.state.copy_(start + sign * shift)
            full.evaluate()
            ends.append(full.gradient.clone())
        rows.append((ends[0] - ends[1]) / (2 * STEP))
    eigenvalues = np.linalg.eigvalsh(torch.stack(rows, dim=-1).numpy())
    wanted = {"LA": eigenvalues[..., ::-1][..., :3], "SA": eigenvalues[..., :3]}
    before = dynamics.state.clone()
    for which, values in wanted.items():
        found = dynamics.hessian_eigenvalues(dynamics.state, k=3, which=which)
        assert_allclose(found, values, atol=1e-7 * np.abs(eigenvalues).max(), rtol=0)
    assert torch.equal(dynamics.state, before)


def test_there_are_no_more_eigenvalues_than_parameters(case):
    """All of them, whatever of the network is left out of the state."""
    dynamics = case.make(CPU)
    n = flat(dynamics.unpacked(dynamics.state)).size // int(np.prod(case.batch))
    if not case.batch:
        assert dynamics.hessian_eigenvalues(dynamics.state, k=n).shape == (n,)
    with pytest.raises(ValueError, match=f"k must be at most the number of parameters, {n}, got"):
        dynamics.hessian_eigenvalues(dynamics.state, k=n + 1)


def test_flows_take_the_options_of_the_network(case, like):
    """And end, as all do, below where they started; those of batches are not known."""
    if case.batch:
        return
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
