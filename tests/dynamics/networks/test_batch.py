"""A batch of networks against its networks, each trained on its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.networks._stacks import from_left, from_right, stacked_factors
from sklearn_deeplinear.dynamics.runs._meters import meters_of
from tests.dynamics.networks.every_batch import BATCH, KINDS, Kind, Sweep, linear

# Depths 1 to 4, one output, more outputs than inputs, fewer rows than half of the columns, and
# folds whose factors have other numbers of rows.
LINEAR = {
    "depth 1": Kind(linear, 3, 2, ((),)),
    "depth 2": Kind(linear, 6, 2, ((5,),)),
    "one output": Kind(linear, 4, 1, ((5, 3, 4),)),
    "depth 3, transposed": Kind(linear, 2, 6, ((5, 7),)),
    "one input": Kind(linear, 1, 3, ((4, 2),)),
    "few rows": Kind(linear, 30, 3, ((4,),), (5, 7, 6)),
    "few rows, transposed": Kind(linear, 20, 25, ((6, 3),), (4, 9, 6)),
}
NOISY = {
    f"{name}, noise": replace(LINEAR[name], noise=0.4)
    for name in ("depth 2", "one output", "depth 3, transposed", "few rows")
}
EVERY = {**LINEAR, **NOISY, **KINDS}
SOME = {
    name: EVERY[name]
    for name in (
        "depth 2",
        "one output",
        "depth 3, transposed",
        "depth 3, transposed, noise",
        "linear pathways",
        "linear pathways, transposed",
        "relu pathways",
        "tanh pathways",
        "relu perceptron",
        "classifier",
    )
}
# Sums of some dozen terms in another order, over 30 steps that are stable: errors add up.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4}


@pytest.fixture(autouse=True)
def _without_graphs():
    with torch.no_grad():
        yield


def step_sizes(like):
    return torch.from_numpy(np.random.RandomState(1).uniform(0.001, 0.01, BATCH)).to(like)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", EVERY)
def test_a_batch_is_its_networks(kind, dtype, device):
    if device == "mps" and dtype == torch.float64:
        pytest.skip("no float64 there")
    like = torch.empty(0, dtype=dtype, device=device)
    sweep = Sweep(EVERY[kind], like)
    batch, etas, states = sweep.batch, step_sizes(like), []
    own = {index: [] for index in sweep.networks}
    for _ in range(30):
        states.append(batch.state.clone())
        batch.step(etas)
        for index, network in sweep.networks.items():
            own[index].append(network.state.clone())
            network.step(float(etas[index]))
    curves = batch.measure(torch.stack(states[::7]))
    inputs = like.new_tensor(np.random.RandomState(2).randn(BATCH[1], 6, EVERY[kind].d))
    outputs = batch.outputs_at(torch.stack(states[::7]), inputs)
    batch.evaluate()
    close = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    for index, network in sweep.networks.items():
        torch.testing.assert_close(batch.state[index], network.state, **close)
        network.evaluate()
        torch.testing.assert_close(batch.gradient[index], network.gradient, **close)
        for name, curve in network.measure(torch.stack(own[index][::7])).items():
            if name == "mode_strengths":
                compare_strengths(curves[name][:, *index], curve, close)
            else:
                torch.testing.assert_close(curves[name][:, *index], curve, **close)
        own_outputs = network.outputs_at(torch.stack(own[index][::7]), inputs[index[-1]])
        torch.testing.assert_close(outputs[:, *index], own_outputs, **close)
        rounding = np.broadcast_to(batch.rounding, BATCH)[index]
        assert_allclose(rounding, network.rounding, rtol=10 * ROUNDING[dtype])
        compare_parts(batch.unpacked(batch.state), network.unpacked(network.state), index, close)


def compare_strengths(found, own, close):
    """Modes that a fold lacks have no strength in it."""
    torch.testing.assert_close(found[..., : own.shape[-1]], own, **close)
    assert not found[..., own.shape[-1] :].any()


def compare_parts(together, own, index, close):
    """Parameters of a network out of those of the batch."""
    if isinstance(own, dict):
        assert together.keys() == own.keys()
        together, own = list(together.values()), list(own.values())
    if isinstance(own, list):
        for part, own_part in zip(together, own, strict=True):
            compare_parts(part, own_part, index, close)
    else:
        torch.testing.assert_close(together[index], own, **close)


@pytest.mark.parametrize("kind", SOME)
def test_networks_may_share_numbers_and_data(kind):
    """One fold for all, and floats for the decays and step sizes."""
    sweep = Sweep(SOME[kind])
    decay = [[0.1 if layer else 0.0 for layer, _ in enumerate(path)] for path in sweep.kind.shapes]
    numbers = {"decay": decay, "noise": [SOME[kind].noise] * len(sweep.parts["noise"])}
    shared = sweep.kind.make({**sweep.parts, **numbers}, sweep.folds[1], sweep.like)
    every = [[sweep.folds[1]] * BATCH[1]] * BATCH[0]
    own = sweep.kind.make({**sweep.parts, **repeated(numbers)}, every, sweep.like)
    for _ in range(20):
        shared.step(0.02)
        own.step(torch.full(BATCH, 0.02))
    # float32 numbers are taken as they are: 0.1 and 0.02 to 1e-8.
    torch.testing.assert_close(shared.state, own.state, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", SOME)
def test_one_dimension_or_three_are_a_batch_too(kind):
    sweep = Sweep(SOME[kind])
    etas = step_sizes(sweep.batch.state)
    for shape, folds in [
        ((12,), sweep.folds * 4),
        ((2, 2, 3), sweep.folds),
        ((4, 3, 1), [[one] for one in sweep.folds]),
    ]:
        dynamics = sweep.kind.make(reshaped(sweep.parts, shape), folds, sweep.like)
        batch = Sweep(SOME[kind]).batch
        for _ in range(10):
            dynamics.step(etas.reshape(shape))
            batch.step(etas)
        torch.testing.assert_close(dynamics.state.reshape(batch.state.shape), batch.state)
        measured = dynamics.measure(dynamics.state[None])
        for name, values in batch.measure(batch.state[None]).items():
            torch.testing.assert_close(measured[name].reshape(values.shape), values)


def repeated(numbers):
    """A tensor of the shape of the batch for each of the floats."""
    if isinstance(numbers, dict):
        return {name: repeated(part) for name, part in numbers.items()}
    if isinstance(numbers, list):
        return [repeated(part) for part in numbers]
    return torch.full(BATCH, numbers)


def reshaped(parts, shape):
    if isinstance(parts, dict):
        return {name: reshaped(part, shape) for name, part in parts.items()}
    if isinstance(parts, list):
        return [reshaped(part, shape) for part in parts]
    return parts.reshape(*shape, *parts.shape[len(BATCH) :])


@pytest.mark.parametrize("kind", SOME)
def test_a_diverging_network_leaves_the_others_untouched(kind):
    sweep, calm = (Sweep(SOME[kind]) for _ in range(2))
    etas = step_sizes(sweep.batch.state)
    wild = etas.clone()
    wild[2, 1] = torch.finfo(etas.dtype).max
    for _ in range(50):
        sweep.batch.step(wild)
        calm.batch.step(etas)
    assert not torch.isfinite(sweep.batch.state[2, 1]).all()
    measured = [dynamics.measure(dynamics.state[None]) for dynamics in (sweep.batch, calm.batch)]
    for dynamics in (sweep.batch, calm.batch):
        dynamics.evaluate()
    for index in set(sweep.networks) - {(2, 1)}:
        assert torch.equal(sweep.batch.state[index], calm.batch.state[index])
        torch.testing.assert_close(
            sweep.batch.gradient[index], calm.batch.gradient[index], rtol=1e-12, atol=1e-12
        )
        for name in measured[0]:
            one, other = (curves[name][:, *index] for curves in measured)
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", SOME)
def test_parts_of_a_batch_are_batches_or_networks(kind):
    sweep = Sweep(SOME[kind])
    etas = step_sizes(sweep.like)
    for _ in range(3):
        sweep.batch.step(etas)
    rows = (np.array([0, 3, 2]), np.array([2, 0, 0]))
    before = sweep.batch.state.clone()
    some, one = sweep.batch.part(rows), sweep.batch.part((2, 0))
    assert some.batch == (3,) and some.linear == sweep.batch.linear and type(some) is type(one)
    for _ in range(20):
        some.step(etas[rows])
        one.step(float(etas[2, 0]))
    assert torch.equal(sweep.batch.state, before)
    for _ in range(20):
        sweep.batch.step(etas)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(some.state, sweep.batch.state[rows], **close)
    torch.testing.assert_close(one.state, sweep.batch.state[2, 0], **close)


@pytest.mark.parametrize("kind", ["linear pathways", "relu pathways", "tanh pathways"])
def test_best_intercept_of_each_network(kind):
    sweep = Sweep(SOME[kind])
    together = sweep.batch.data_term.mean_residual(sweep.batch.pathways)
    assert together.shape == (*BATCH, SOME[kind].m)
    for index, network in sweep.networks.items():
        own = network.data_term.mean_residual(network.pathways)
        torch.testing.assert_close(together[index], own, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", SOME)
def test_curvature_of_each_network(kind):
    sweep = Sweep(SOME[kind], shape=(2, 3))
    found = sweep.batch.hessian_eigenvalues(sweep.batch.state, k=2)
    assert found.shape == (2, 3, 2)
    for index in [(0, 0), (1, 2)]:
        network = sweep.networks[index]
        own = network.hessian_eigenvalues(network.state, k=2)
        assert_allclose(found[index], own, rtol=1e-9)  # the dense Hessian of 40 parameters


@pytest.mark.parametrize("kind", [*SOME, "depth 1", "wide"])
def test_balance_of_each_network(kind):
    # Width 40 between 4 inputs and 1 output is measured through narrow factors.
    sweep = Sweep({**EVERY, "wide": Kind(linear, 4, 1, ((40,),))}[kind])
    states = torch.stack([sweep.batch.state * factor for factor in (1.0, 0.5, 2.0)])
    together = sweep.batch.balance_meter().measure(states)
    for index, network in sweep.networks.items():
        for chain, own in enumerate(network.balance_meter().measure(states[:, *index])):
            for name, columns in own.items():
                assert_allclose(together[chain][name][:, *index], columns, atol=1e-13)


def test_numbers_of_another_shape_are_refused():
    sweep = Sweep(LINEAR["depth 2"])
    with pytest.raises(RuntimeError, match="expand"):
        sweep.kind.make({**sweep.parts, "decay": [[torch.ones(3, 6)] * 2]}, sweep.folds, None)
    with pytest.raises(RuntimeError, match="expand"):
        sweep.batch.step(torch.full((3, 6), 0.01))


def test_rows_of_zeros_leave_moments_as_they_are():
    moments = [fold.moments for fold in Sweep(LINEAR["few rows"]).folds]
    R_x, R_y = stacked_factors(moments, torch.empty(0, dtype=torch.float64))
    assert R_x.shape == (3, max(len(one.factor) for one in moments), 30)
    for own_x, own_y, one in zip(R_x, R_y, moments, strict=True):
        assert_allclose(own_x.T @ own_x, one.input_moment, atol=1e-14)
        assert_allclose(own_y.T @ own_x, one.cross_moment, atol=1e-14)
        assert_allclose(own_y.square().sum(), one.output_moment)


@pytest.mark.parametrize("common", [(), (3,), (2, 3), (1, 3)])
@pytest.mark.parametrize("records", [(), (4,), (4, 2)])
def test_products_with_what_records_share(records, common):
    torch.manual_seed(0)
    rows = torch.randn(*records, *(common or (3,)), 2, 5).double()
    matrix = torch.randn(*common, 5, 6).double()
    torch.testing.assert_close(from_right(rows, matrix), torch.matmul(rows, matrix))
    columns = torch.randn(*records, *(common or (3,)), 6, 2).double()
    torch.testing.assert_close(from_left(matrix, columns), torch.matmul(matrix, columns))


@pytest.mark.parametrize(
    "kind", ["depth 1", "depth 3, transposed", "one output", "linear pathways"]
)
def test_spectral_meters_of_a_batch_are_those_of_its_networks(kind):
    sweep, names = Sweep(EVERY[kind], torch.empty(0, dtype=torch.float64)), ("nuclear_norm",)
    batch = sweep.batch
    states = torch.stack([batch.state, 2 * batch.state])
    measured = meters_of(batch, names)[-1].measure(states)
    assert measured.shape == (2, *BATCH)
    for index, network in sweep.networks.items():
        own = meters_of(network, names)[-1].measure(states[(slice(None), *index)])
        assert_allclose(measured[(slice(None), *index)], own, rtol=1e-12)
