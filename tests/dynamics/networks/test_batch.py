"""A batch of networks against its networks, each trained on its own."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._stacks import from_left, from_right, stacked_factors
from sklearn_deeplinear.theory import SecondMoments

BATCH = (6, 3)  # configurations x folds
# d, m, hidden widths, samples of each fold: depths 1 to 4, one output, more outputs than
# inputs, fewer rows than half of the columns, and folds whose factors have other numbers of
# rows.
CASES = {
    "depth 1": (3, 2, (), (20, 21, 22)),
    "depth 2": (6, 2, (5,), (20, 21, 22)),
    "one output": (4, 1, (5, 3, 4), (20, 21, 22)),
    "depth 3, transposed": (2, 6, (5, 7), (20, 21, 22)),
    "one input": (1, 3, (4, 2), (20, 21, 22)),
    "few rows": (30, 3, (4,), (5, 7, 6)),
    "few rows, transposed": (20, 25, (6, 3), (4, 9, 6)),
}
# Sums of some dozen terms in another order, over 50 steps that are stable: errors add up.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4}


class Sweep:
    """The same networks as a batch and one by one, with decays and noise of their own."""

    def __init__(self, d, m, hidden, samples, noise=0.0, like=None, scale=0.5):
        like = torch.empty(0, dtype=torch.float64) if like is None else like
        rng = np.random.RandomState(0)
        sizes = [d, *hidden, m]
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.moments = [SecondMoments.from_data(rng.randn(n, d), rng.randn(n, m)) for n in samples]
        weights = [rng.randn(*BATCH, *shape) * scale / np.sqrt(max(shape)) for shape in shapes]
        self.weights = [torch.from_numpy(W).to(like) for W in weights]
        self.decay = [torch.from_numpy(rng.uniform(0, 0.2, BATCH)).to(like) for _ in shapes]
        self.noise = [torch.from_numpy(rng.uniform(0, noise, BATCH)).to(like) for _ in hidden]
        self.batch = LinearDynamics.from_moments(self.weights, self.moments, self.decay, self.noise)
        self.networks = {index: self.network(*index) for index in np.ndindex(*BATCH)}

    def network(self, configuration, fold):
        """One of the networks, on its own."""
        index = configuration, fold
        return LinearDynamics.from_moments(
            [W[index] for W in self.weights],
            self.moments[fold],
            [float(gamma[index]) for gamma in self.decay],
            [float(s[index]) for s in self.noise],
        )


def step_sizes(like):
    return torch.from_numpy(np.random.RandomState(1).uniform(0.001, 0.01, BATCH)).to(like)


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", CASES)
def test_a_batch_is_its_networks(case, dtype, noise, device):
    if device == "mps" and dtype == torch.float64:
        pytest.skip("no float64 there")
    like = torch.empty(0, dtype=dtype, device=device)
    sweep = Sweep(*CASES[case], noise, like)
    batch, etas, states = sweep.batch, step_sizes(like), []
    own = {index: [] for index in sweep.networks}
    for _ in range(50):
        states.append(batch.state.clone())
        batch.step(etas)
        for index, network in sweep.networks.items():
            own[index].append(network.state.clone())
            network.step(float(etas[index]))
    curves = batch.measure(torch.stack(states))
    batch.evaluate()
    close = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    for index, network in sweep.networks.items():
        torch.testing.assert_close(batch.state[index], network.state, **close)
        network.evaluate()
        torch.testing.assert_close(batch.gradient[index], network.gradient, **close)
        for name, curve in network.measure(torch.stack(own[index])).items():
            torch.testing.assert_close(curves[name][:, *index], curve, **close)
        assert_allclose(batch.rounding[index], network.rounding, rtol=10 * ROUNDING[dtype])
        unpacked = batch.unpacked(batch.state)["weights"]
        for W, own_W in zip(unpacked, network.weights, strict=True):
            torch.testing.assert_close(W[index], own_W, **close)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_networks_may_share_numbers_and_data(noise):
    sweep = Sweep(*CASES["depth 2"])
    weights = sweep.weights
    shared = LinearDynamics.from_moments(weights, sweep.moments[1], [0.1, 0.0], [noise])
    every = [[sweep.moments[1]] * BATCH[1]] * BATCH[0]
    own = LinearDynamics.from_moments(
        weights, every, [torch.full(BATCH, 0.1), torch.zeros(BATCH)], [torch.full(BATCH, noise)]
    )
    for _ in range(20):
        shared.step(0.02)
        own.step(torch.full(BATCH, 0.02))
    # float32 decays and step sizes are taken as they are: 0.1 and 0.02 to 1e-8.
    torch.testing.assert_close(shared.state, own.state, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_one_dimension_or_three_are_a_batch_too(noise):
    sweep = Sweep(*CASES["depth 3, transposed"], noise)
    etas = step_sizes(sweep.batch.state)
    for shape, moments in [
        ((18,), sweep.moments * 6),
        ((2, 3, 3), sweep.moments),
        ((6, 3, 1), [[one] for one in sweep.moments]),
    ]:
        dynamics = LinearDynamics.from_moments(
            [W.reshape(*shape, *W.shape[-2:]) for W in sweep.weights],
            moments,
            [gamma.reshape(shape) for gamma in sweep.decay],
            [s.reshape(shape) for s in sweep.noise],
        )
        batch = Sweep(*CASES["depth 3, transposed"], noise).batch
        for _ in range(10):
            dynamics.step(etas.reshape(shape))
            batch.step(etas)
        torch.testing.assert_close(dynamics.state.reshape(batch.state.shape), batch.state)
        measured = dynamics.measure(dynamics.state[None])
        for name, values in batch.measure(batch.state[None]).items():
            torch.testing.assert_close(measured[name].reshape(values.shape), values)


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("case", ["depth 2", "one output", "depth 3, transposed"])
def test_a_diverging_network_leaves_the_others_untouched(case, noise):
    sweep, calm = (Sweep(*CASES[case], noise) for _ in range(2))
    etas = step_sizes(sweep.batch.state)
    wild = etas.clone()
    wild[2, 1] = 1e6
    for _ in range(50):
        sweep.batch.step(wild)
        calm.batch.step(etas)
    assert not torch.isfinite(sweep.batch.state[2, 1]).all()
    others = [index for index in np.ndindex(*BATCH) if index != (2, 1)]
    measured = [dynamics.measure(dynamics.state[None]) for dynamics in (sweep.batch, calm.batch)]
    for index in others:
        assert torch.equal(sweep.batch.state[index], calm.batch.state[index])
        for name in ("loss", "objective", "gradient_norm"):
            one, other = (curves[name][:, *index] for curves in measured)
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_curvature_of_each_network():
    sweep = Sweep(*CASES["depth 2"], noise=0.3)
    found = sweep.batch.hessian_eigenvalues(sweep.batch.state, k=2)
    assert found.shape == (*BATCH, 2)
    for index in [(0, 0), (4, 2)]:
        network = sweep.networks[index]
        own = network.hessian_eigenvalues(network.state, k=2)
        assert_allclose(found[index], own, rtol=1e-9)  # the dense Hessian of 40 parameters


@pytest.mark.parametrize("hidden", [(5, 3, 4), (40,), ()])
def test_balance_of_each_network(hidden):
    # Width 40 between 4 inputs and 1 output is measured through narrow factors.
    sweep = Sweep(4, 1, hidden, (20, 21, 22))
    states = torch.stack([sweep.batch.state * factor for factor in (1.0, 0.5, 2.0)])
    meter = sweep.batch.balance_meter()
    (together,) = meter.measure(states)
    for index, network in sweep.networks.items():
        (own,) = network.balance_meter().measure(states[:, *index])
        for name, columns in own.items():
            assert_allclose(together[name][:, *index], columns, atol=1e-13)


def test_numbers_of_another_shape_are_refused():
    sweep = Sweep(*CASES["depth 2"])
    with pytest.raises(RuntimeError, match="expand"):
        LinearDynamics.from_moments(sweep.weights, sweep.moments, [torch.ones(3, 6)] * 2, [0.0])
    with pytest.raises(RuntimeError, match="expand"):
        sweep.batch.step(torch.full((3, 6), 0.01))


def test_rows_of_zeros_leave_moments_as_they_are():
    moments = Sweep(*CASES["few rows"]).moments
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
