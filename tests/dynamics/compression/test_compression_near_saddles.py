"""Small components that grow from a saddle are in the compressed run, or there is none."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._compressed_pathways import compressed
from sklearn_deeplinear.dynamics.compression._subspaces import close, live_units
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.theory import SecondMoments

D = M = 4
SMALL = (1e-8, 1e-13, 1e-16, 1e-30, 0.0)


def make_moments():
    rng = np.random.RandomState(3)
    U, V = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    S = (U * [3.0, 2.5, 2.0, 1.5]) @ V.T
    return SecondMoments.from_moments(np.eye(D), S, float(np.sum(S**2))), U, V


def modes(depth, width, small, *, turned=False):
    """Balanced layers of one mode of 1 and three of `small`, along the modes of the data."""
    _, U, V = make_moments()
    root = np.array([1.0, small, small, small])
    bases = [V, *[np.eye(width, D)] * (depth - 1), U]
    if turned:
        rng = np.random.RandomState(0)
        turns = [np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(depth - 1)]
        bases = [V, *[Q[:, :D] for Q in turns], U]
    return [torch.from_numpy((bases[i + 1] * root) @ bases[i].T) for i in range(depth)]


def chain(depth, width, entries):
    sizes = [D, *[width] * (depth - 1), M]
    shapes = itertools.pairwise(sizes)
    return [torch.from_numpy(entries(rows, columns)) for columns, rows in shapes]


def orthogonal(scale):
    rng = np.random.RandomState(1)

    def entries(rows, columns):
        Q = np.linalg.qr(rng.standard_normal((max(rows, columns), max(rows, columns))))[0]
        return scale * Q[:rows, :columns]

    return entries


def ones(rows, columns):
    return np.full((rows, columns), 0.5 / np.sqrt(columns))


def run(dynamics, n_steps=1500, eta=0.02):
    for _ in range(n_steps):
        dynamics.step(eta)
    return float(dynamics.measure(dynamics.state[None])["objective"])


def both_runs(weights):
    """Objectives at the end of the run in few dimensions, None if there is none, and in full."""
    moments, *_ = make_moments()
    depth = len(weights)
    narrow = CompressedNetwork.from_moments(weights, moments, [0.0] * depth, weights[0], 10**7)
    plain = LinearDynamics.from_moments(weights, moments, [0.0] * depth, [0.0] * (depth - 1))
    return None if narrow is None else run(narrow), run(plain)


@pytest.mark.parametrize("width", [100, 300])
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("small", SMALL)
def test_modes_of_any_size_grow_as_in_the_full_network(depth, width, small):
    """Units of small modes stay apart, so that these keep all their digits in both runs."""
    weights = modes(depth, width, small)
    narrow, plain = both_runs(weights)
    assert [Q.shape[1] for Q in close(weights).bases] == [D if small else 1] * (depth - 1)
    assert_allclose(narrow, plain, rtol=1e-9, atol=1e-25)
    if depth == 2 and 0 < small > 1e-20:
        assert plain < 1e-20
    if small == 0:
        assert plain > 10


@pytest.mark.parametrize("width", [100, 300])
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("start", ["identity", "orthogonal", "small orthogonal", "far"])
def test_starts_far_from_saddles_run_alike(depth, width, start):
    """All d + m directions are clearly there; rounding is amplified by less than 1e4."""
    weights = {
        "identity": lambda: chain(depth, width, np.eye),
        "orthogonal": lambda: chain(depth, width, orthogonal(1.0)),
        "small orthogonal": lambda: chain(depth, width, orthogonal(0.3)),
        "far": lambda: modes(depth, width, 0.1),
    }[start]()
    narrow, plain = both_runs(weights)
    assert_allclose(narrow, plain, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("width", [100, 300])
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("start", ["equal", *SMALL, 1.0])
def test_directions_of_rounding_errors_are_not_chosen_among(depth, width, start):
    """Where directions depend on each other, noise grows, or symmetry keeps it away."""
    weights = chain(depth, width, ones) if start == "equal" else None
    weights = modes(depth, width, start, turned=True) if weights is None else weights
    assert close(weights) is None
    moments, *_ = make_moments()
    rule = LinearPathways.from_moments(moments, weights[0])
    assert compressed([weights, weights], rule, [[0.0] * depth] * 2) is None


@pytest.mark.parametrize("small", SMALL)
def test_pathways_with_small_modes(small):
    moments, *_ = make_moments()
    rule = LinearPathways.from_moments(moments, torch.empty(0, dtype=torch.float64))
    pathways = [modes(2, 60, small), modes(3, 60, 0.5)]
    decays = [[0.0] * 2, [0.0] * 3]
    narrow = compressed(pathways, rule, decays)
    assert narrow is not None
    full = PathwayDynamics(pathways, LinearPathways.from_moments(moments, pathways[0][0]), decays)
    assert_allclose(run(narrow), run(full), rtol=1e-9, atol=1e-20)


def test_units_that_nothing_reaches_are_kept_to_the_last_digit():
    """A chain of hidden units without inputs and outputs neither moves nor is lost."""
    weights = modes(4, 80, 1e-13)
    weights[1][40, 30], weights[2][50, 40] = 1e-30, 2.0
    assert all(len(units) == D for units in live_units(weights))
    compression = close(weights)
    assert compression.is_exact
    full = compression.weights(compression.cores, [1.0] * 4)
    for W, V in zip(full, weights, strict=True):
        assert torch.equal(W, V)


def test_units_between_an_input_and_a_dead_end_move():
    """What comes from an input gets no gradient there, but its own weights may get one."""
    weights = [torch.zeros(3, 2), torch.zeros(3, 3), torch.zeros(1, 3)]
    weights[0][0, 0] = weights[1][1, 0] = weights[1][2, 2] = 1.0
    assert [units.tolist() for units in live_units(weights)] == [[0], [1]]
