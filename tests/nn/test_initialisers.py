"""Initial weights: distributions, balance and reproducibility."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.nn._factors import spread_factors, truncated_factors
from sklearn_deeplinear.nn._initialisers import INITIALISERS

SHAPES = [(30, 5), (20, 30), (3, 20)]


def draw(name, scale=None, seed=0, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    first_step = torch.from_numpy(np.random.RandomState(1).randn(shapes[-1][0], shapes[0][1]))
    return INITIALISERS[name](shapes, scale, generator, first_step), first_step


def end_to_end(weights):
    product = weights[0]
    for W in weights[1:]:
        product = W @ product
    return product


@pytest.mark.parametrize("name", INITIALISERS)
def test_shapes_precision_and_reproducibility(name):
    state = torch.random.get_rng_state()
    weights, _ = draw(name)
    again, _ = draw(name)
    assert [tuple(W.shape) for W in weights] == SHAPES
    assert all(W.dtype == torch.float64 for W in weights)
    assert all(torch.equal(W, V) for W, V in zip(weights, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", sorted(set(INITIALISERS) - {"spectral", "identity"}))
def test_seeds_matter(name):
    assert not torch.equal(draw(name, seed=0)[0][0], draw(name, seed=1)[0][0])


def test_spectral_weights_multiply_to_the_first_gradient_step():
    weights, first_step = draw("spectral", scale=0.5)
    torch.testing.assert_close(end_to_end(weights), 0.5 * first_step)


def test_balanced_weights_have_the_size_asked_for():
    weights, first_step = draw("balanced")
    torch.testing.assert_close(
        torch.linalg.norm(end_to_end(weights)), torch.linalg.norm(first_step)
    )
    weights, _ = draw("balanced", scale=7.0)
    assert float(torch.linalg.norm(end_to_end(weights))) == pytest.approx(7.0)


@pytest.mark.parametrize("factors", [truncated_factors, spread_factors])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_factors_are_balanced_and_multiply_to_the_map(factors, depth):
    coef = torch.from_numpy(np.random.RandomState(0).randn(3, 5))
    sizes = [5, *[8, 4, 6, 3][: depth - 1], 3]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = factors(coef, shapes)
    torch.testing.assert_close(end_to_end(weights), coef)
    for W, W_next in zip(weights, weights[1:], strict=False):
        torch.testing.assert_close(W @ W.T, W_next.T @ W_next)


def test_narrow_layers_cut_the_weakest_modes_off():
    coef = torch.from_numpy(np.random.RandomState(0).randn(4, 5))
    U, s, Vt = torch.linalg.svd(coef, full_matrices=False)
    weights = truncated_factors(coef, [(2, 5), (4, 2)])
    torch.testing.assert_close(end_to_end(weights), (U[:, :2] * s[:2]) @ Vt[:2])


def test_spread_factors_use_every_unit_equally_for_the_first_mode():
    coef = torch.outer(torch.tensor([2.0, 1.0]), torch.tensor([1.0, -1.0, 3.0])).double()
    W_1, W_2 = spread_factors(coef, [(6, 3), (2, 6)])
    torch.testing.assert_close(W_1.square().sum(1), W_1.square().sum(1).mean().expand(6))
    torch.testing.assert_close(W_2.square().sum(0), W_2.square().sum(0).mean().expand(6))


def test_spreads_of_the_random_initialisers():
    shapes = [(400, 300), (200, 400)]
    expected = {
        "normal": lambda fan_in, fan_out: fan_in**-0.5,
        "xavier_normal": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
        "xavier_uniform": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    }
    for name, std in expected.items():
        for W, (fan_out, fan_in) in zip(draw(name, shapes=shapes)[0], shapes, strict=True):
            # 80,000 draws: the standard deviation is known to about 0.3 %.
            assert float(W.std()) == pytest.approx(std(fan_in, fan_out), rel=0.02)
    first, second = draw("normal", scale=[0.1, 2.0], shapes=shapes)[0]
    assert float(first.std()) == pytest.approx(0.1, rel=0.02)
    assert float(second.std()) == pytest.approx(2.0, rel=0.02)


def test_orthogonal_and_identity():
    W = draw("orthogonal", scale=3.0)[0][0]
    torch.testing.assert_close(W.T @ W, 9 * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(end_to_end(draw("identity")[0]), torch.eye(3, 5).double())
