"""Training in compressed coordinates is training the network, measured in full."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._compressed_pathways import (
    CompressedPathways,
    compressed,
)
from sklearn_deeplinear.dynamics.compression._krylov import krylov_run
from sklearn_deeplinear.dynamics.compression._subspaces import (
    close,
    compress,
    live_units,
    may_be_closed,
)
from sklearn_deeplinear.dynamics.networks._balance import BalanceMeter, difference
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.theory import SecondMoments, balanced_factors

D, M = 3, 4


def make_weights(kind, depth, width=40, seed=0):
    """Initial weights of one network whose width can be compressed."""
    rng, generator = np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    sizes = [D, *[width] * (depth - 1), M]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    if kind == "normal":
        return [torch.from_numpy(0.3 * rng.standard_normal(shape)) for shape in shapes]
    if kind == "orthogonal":
        blank = [torch.empty(shape, dtype=torch.float64) for shape in shapes]
        return [torch.nn.init.orthogonal_(W, 0.7, generator=generator) for W in blank]
    factors = balanced_factors(0.5 * rng.standard_normal((M, D)), [width] * (depth - 1))
    return [torch.from_numpy(W) for W in factors]


def make_rule(dtype=torch.float64):
    rng = np.random.RandomState(1)
    X = rng.standard_normal((20, D))
    Y = X @ rng.standard_normal((D, M)) + 0.1 * rng.standard_normal((20, M))
    return LinearPathways.from_moments(SecondMoments.from_data(X, Y), torch.empty(0, dtype=dtype))


CASES = [
    ("normal", (2, 2), 7),
    ("balanced", (2, 3), 3),
    ("balanced", (5, 4), 3),
    ("orthogonal", (3, 3), 7),
    ("orthogonal", (2, 6), 7),
]
DECAYS = {
    "none": lambda L: [0.0] * L,
    "equal": lambda L: [0.1] * L,
    "own": lambda L: [0.1 * k for k in range(L)],
}


def unpacked(dynamics):
    """Full weights in the current state."""
    return dynamics.unpacked(dynamics.state)["weights"]


def all_measures(dynamics, meter, states):
    """Curves, and the columns of balance of each pathway."""
    columns = meter.measure(states)
    named = {(p, name): v for p, part in enumerate(columns) for name, v in part.items()}
    return {**dynamics.measure(states), **named}


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(("kind", "depths", "width"), CASES)
def test_compressed_run_is_the_run(kind, depths, width, decay):
    """Weights, gradients and all records agree after a hundred steps."""
    pathways = [make_weights(kind, L, seed=p) for p, L in enumerate(depths)]
    decays = [DECAYS[decay](L) for L in depths]
    narrow = compressed(pathways, make_rule(), decays)
    assert max(Q.shape[1] for c in narrow.compressions for Q in c.bases) <= width
    full = PathwayDynamics(pathways, make_rule(), decays)
    states, narrow_states = [full.state.clone()], [narrow.state.clone()]
    meters = full.balance_meter(), narrow.balance_meter()
    for _ in range(100):
        full.step(0.02)
        narrow.step(0.02)
    states.append(full.state.clone())
    narrow_states.append(narrow.state.clone())
    for weights, others in zip(unpacked(narrow), unpacked(full), strict=True):
        for W, V in zip(weights, others, strict=True):
            torch.testing.assert_close(W, V, rtol=0, atol=1e-12)
    expected = all_measures(full, meters[0], torch.stack(states))
    measured = all_measures(narrow, meters[1], torch.stack(narrow_states))
    assert measured.keys() == expected.keys()
    for name, values in expected.items():
        # D_l of balanced layers vanishes, and is measured up to its rounding.
        np.testing.assert_allclose(measured[name], values, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("kind", "depths", "width"), CASES)
def test_gradient_of_the_compressed_state_is_that_of_the_full_one(kind, depths, width):
    """The flow needs it: its chain rule through Q C Q^T + sigma N holds."""
    pathways = [make_weights(kind, L, seed=p) for p, L in enumerate(depths)]
    decays = [DECAYS["own"](L) for L in depths]
    narrow, full = compressed(pathways, make_rule(), decays), None
    full = PathwayDynamics(pathways, make_rule(), decays)
    narrow.evaluate()
    full.evaluate()
    eta = 1e-3
    narrow.state.sub_(narrow.gradient, alpha=eta)
    full.state.sub_(full.gradient, alpha=eta)
    for weights, others in zip(unpacked(narrow), unpacked(full), strict=True):
        for W, V in zip(weights, others, strict=True):
            torch.testing.assert_close(W, V, rtol=0, atol=1e-13)


@pytest.mark.parametrize("depth", [3, 5])
def test_normal_weights_of_deeper_networks_are_not_compressed(depth):
    weights = make_weights("normal", depth)
    assert close(weights) is None
    assert compressed([weights, weights], make_rule(), [[0.0] * depth] * 2) is None


@pytest.mark.parametrize(("kind", "depth", "told"), [("normal", 3, False), ("orthogonal", 5, True)])
def test_one_vector_tells_random_layers_from_closed_ones(kind, depth, told):
    assert may_be_closed(make_weights(kind, depth)) is told


def test_units_without_weights_are_left_out():
    """They are all that a bottleneck, or factors padded with zeros, leave to compress."""
    rng = np.random.RandomState(0)
    weights = [W.clone() for W in make_weights("normal", 3)]
    live = [np.sort(rng.choice(40, size, replace=False)) for size in (5, 6)]
    for layer, units in enumerate(live):
        unused = np.setdiff1d(np.arange(40), units)
        weights[layer][unused] = 0
        weights[layer + 1][:, unused] = 0
    for found, units in zip(live_units(weights), live, strict=True):
        np.testing.assert_array_equal(found, units)
    compression = close(weights)
    assert compression.is_exact and [C.shape for C in compression.cores] == [(5, 3), (6, 5), (4, 6)]
    for W, V in zip(compression.weights(compression.cores, [0.0] * 3), weights, strict=True):
        torch.testing.assert_close(W, V, rtol=0, atol=1e-14)


def test_a_unit_is_live_while_it_has_any_weight():
    W, V = torch.zeros(3, 2), torch.zeros(1, 3)
    W[0, 1], V[0, 2] = 1e-30, -1.0
    assert live_units([W, V])[0].tolist() == [0, 2]


def test_narrow_networks_are_left_alone():
    assert compressed([make_weights("normal", 2, width=8)], make_rule(), [[0.0] * 2]) is None


def test_sweeps_make_the_leak_smaller():
    """The subspaces are those of a Krylov method, and are closed once they are everything."""
    weights = make_weights("normal", 3)
    leaks = [compress(weights, sweeps).leak for sweeps in range(1, 5)]
    assert leaks == sorted(leaks, reverse=True)
    assert compress(weights, 10).is_exact


def test_modes_of_very_different_strength_are_kept():
    """A mode may start a million times weaker than another and win in the end."""
    rng = np.random.RandomState(0)
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (M, D))
    coef = (U[:, :2] * [1.0, 1e-8]) @ V[:, :2].T
    weights = [torch.from_numpy(W) for W in balanced_factors(coef, [30, 30])]
    compression = close(weights)
    assert [Q.shape[1] for Q in compression.bases] == [2, 2]


def test_rests_are_held_in_the_units_of_the_weights():
    """The flow's tolerances are relative to the largest number in the state."""
    weights = [1e-6 * W for W in make_weights("orthogonal", 3)]
    narrow = compressed([weights], make_rule(), [[0.1] * 3])
    assert narrow.rest_norms[1] > 0
    assert narrow.state.abs().max() < 1e-6 * np.sqrt(40)
    torch.testing.assert_close(unpacked(narrow)[0][1], weights[1], rtol=0, atol=1e-20)


@pytest.mark.parametrize("unit", [2.0**-480, 2.0**480])
def test_rests_are_measured_in_all_units(unit):
    """Those of X and y: gradients have the square of it, the square of which is no number."""
    rng = np.random.RandomState(0)
    moments = SecondMoments.from_data(*(unit * rng.standard_normal((20, k)) for k in (D, M)))
    weights, decay = make_weights("orthogonal", 3, width=70), [0.0, 0.1 * unit**2, 0.0]
    narrow = CompressedNetwork.from_moments(weights, moments, decay, weights[0], n_steps=10**4)
    full = LinearDynamics.from_moments(weights, moments, decay, [0.0, 0.0])
    assert narrow.pathway.has_rests
    found, wanted = (network.measure(network.state[None]) for network in (narrow, full))
    for name, curve in wanted.items():
        assert torch.isfinite(curve).all() and curve.all()
        torch.testing.assert_close(found[name], curve, rtol=1e-12, atol=0)
    assert narrow.rounding == pytest.approx(full.rounding, rel=1e-12)


@pytest.mark.parametrize("width", [30, 250])
def test_halves_of_symmetric_matrices_measure_the_whole(width):
    """Wide layers are measured in blocks right of the diagonal."""
    rng = np.random.RandomState(0)
    runs = [
        [torch.from_numpy(rng.standard_normal((3, *s))) for s in [(width, 90), (80, width)]]
        for _ in range(2)
    ]
    meter = BalanceMeter([W[0] for W in runs[0]])
    assert type(meter.meters[0]).__name__ == "_DenseMeter"
    D = [difference(*weights) for weights in runs]
    meter(runs[0])
    measured = meter(runs[1])
    matrix, change = (torch.linalg.matrix_norm(E)[:, None] for E in (D[1], D[1] - D[0][0]))
    torch.testing.assert_close(measured["matrix"], matrix, rtol=1e-12, atol=0)
    torch.testing.assert_close(measured["change"], change, rtol=1e-12, atol=0)


def test_float32_cores_follow_the_float32_run():
    pathways = [make_weights("normal", 2, seed=p) for p in range(2)]
    narrow = compressed(pathways, make_rule(torch.float32), [[0.0] * 2] * 2)
    single = [[W.float() for W in weights] for weights in pathways]
    full = PathwayDynamics(single, make_rule(torch.float32), [[0.0] * 2] * 2)
    assert isinstance(narrow, CompressedPathways) and narrow.state.dtype == torch.float32
    for _ in range(200):
        full.step(0.02)
        narrow.step(0.02)
    torch.testing.assert_close(unpacked(narrow)[0][0], unpacked(full)[0][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_krylov_runs_measure_their_own_error(decay):
    """The error they report bounds the one that the full run shows, for Gaussian weights."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(300, D), (300, 300), (M, 300)]
    pathways = [
        [0.03 * torch.randn(s, generator=generator, dtype=torch.float64) for s in sizes]
        for _ in range(2)
    ]
    decays, marks = [[decay] * 3] * 2, record_iterations(200, 20)
    dynamics, run, error = krylov_run(
        pathways, make_rule(), decays, lambda dynamics: descend(dynamics, lambda t: 0.05, marks)
    )
    full = PathwayDynamics(pathways, make_rule(), decays)
    reference = descend(full, lambda t: 0.05, marks)
    strengths = reference.trajectory.mode_strengths
    true_error = np.abs(run.trajectory.mode_strengths - strengths).max() / np.abs(strengths).max()
    assert true_error < error < 1e-4
    assert np.abs(strengths[-1] - strengths[0]).max() > 0.5  # it has learned
    np.testing.assert_allclose(run.trajectory.objective, reference.trajectory.objective, rtol=1e-4)
    for found, wanted in zip(run.balance, reference.balance, strict=True):
        np.testing.assert_allclose(found.layer, wanted.layer, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.neuron, wanted.neuron, rtol=1e-3, atol=1e-3)
    for W, V in zip(unpacked(dynamics)[1], unpacked(full)[1], strict=True):
        torch.testing.assert_close(W, V, rtol=0, atol=1e-3)


def test_krylov_says_where_it_does_not_pay():
    pathways = [make_weights("normal", 4, width=20)]
    with pytest.raises(ValueError, match='compression="krylov" does not follow'):
        krylov_run(
            pathways,
            make_rule(),
            [[0.0] * 4],
            lambda dynamics: descend(dynamics, lambda t: 0.05, record_iterations(5)),
        )


@pytest.mark.parametrize(("kind", "depths", "width"), CASES)
def test_compressed_network_stands_in_for_the_linear_one(kind, depths, width):
    """The same run of `descend`, records and weights of records included."""
    rng = np.random.RandomState(1)
    X, Y = rng.standard_normal((20, D)), rng.standard_normal((20, M))
    moments, weights = SecondMoments.from_data(X, Y), make_weights(kind, depths[0], width=70)
    decay, marks = [0.05] * depths[0], record_iterations(50, 7)
    narrow = CompressedNetwork.from_moments(weights, moments, decay, weights[0], n_steps=10**4)
    plain = LinearDynamics.from_moments(weights, moments, decay, [0.0] * (depths[0] - 1))
    runs = [descend(d, lambda t: 0.02, marks, record_weights=True) for d in (narrow, plain)]
    for name in ("loss", "objective", "gradient_norm"):
        first, second = (getattr(run.trajectory, name) for run in runs)
        np.testing.assert_allclose(first, second, rtol=1e-9)
    for name in ("layer", "neuron", "matrix", "change"):
        first, second = (getattr(run.balance, name) for run in runs)
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-11)
    first, second = (run.trajectory.weights[3][1] for run in runs)
    np.testing.assert_allclose(first, second, atol=1e-12)
    for W, V in zip(unpacked(narrow), unpacked(plain), strict=True):
        torch.testing.assert_close(W, V, rtol=0, atol=1e-12)
