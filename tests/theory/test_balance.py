import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sklearn_deeplinear.theory._balance import balance, balanced_factors
from sklearn_deeplinear.theory._layers import end_to_end

EPS = np.finfo(float).eps


def _random_map(rng, m, d, rank):
    return rng.standard_normal((m, rank)) @ rng.standard_normal((rank, d))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(1, 20),
    m=st.integers(1, 5),
    d=st.integers(1, 5),
    extra=st.integers(0, 3),
    exponent=st.integers(-140, 140),
)
def test_balanced_factors_multiply_to_the_map_and_are_balanced(seed, depth, m, d, extra, exponent):
    rng = np.random.RandomState(seed)
    rank = rng.randint(1, min(m, d) + 1)
    M = _random_map(rng, m, d, rank) * 10.0**exponent
    width = tuple(rank + extra + rng.randint(0, 3, depth - 1))
    weights = balanced_factors(M, width)
    assert [W.shape for W in weights] == list(zip((*width, m), (d, *width), strict=True))
    # One rounding per layer, and exp/log of the root costs log(range) of them.
    size = np.linalg.norm(M, 2)
    assert np.abs(end_to_end(weights) - M).max() <= 60 * depth * EPS * size
    matrix = balance(weights).matrix
    assert np.all(matrix <= 20 * EPS * np.linalg.norm(weights[0]) ** 2)


def test_unequal_decays_make_the_layer_penalties_equal_and_keep_the_map():
    rng = np.random.RandomState(0)
    M = rng.standard_normal((3, 4))
    gamma = np.array([1e-6, 0.3, 20.0, 1e5])
    weights = balanced_factors(M, (3, 5, 4), weight_decay=gamma)
    penalties = [g * np.sum(W**2) for g, W in zip(gamma, weights, strict=True)]
    np.testing.assert_allclose(end_to_end(weights), M, rtol=0, atol=1e-14)
    np.testing.assert_allclose(penalties, penalties[0], rtol=1e-13)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_no_factorisation_of_the_map_costs_less(depth):
    """Against a search over the reparametrisations W_l -> T_l W_l T_{l-1}^-1."""
    rng = np.random.RandomState(depth)
    gamma = rng.uniform(0.2, 2, depth)
    start = balanced_factors(rng.standard_normal((3, 3)), 3, depth=depth, weight_decay=gamma)

    def penalty(flat):
        T = [np.eye(3), *(np.eye(3) + flat.reshape(-1, 3, 3)), np.eye(3)]
        layers = [T[i + 1] @ W @ np.linalg.inv(T[i]) for i, W in enumerate(start)]
        return sum(g * np.sum(W**2) for g, W in zip(gamma, layers, strict=True))

    least = penalty(np.zeros(9 * (depth - 1)))
    found = minimize(penalty, 0.3 * rng.standard_normal(9 * (depth - 1)))
    # The search starts well above the minimum and must end at it, never below.
    assert penalty(0.3 * rng.standard_normal(9 * (depth - 1))) > 1.01 * least
    assert found.fun == pytest.approx(least, rel=1e-8)
    assert found.fun >= least * (1 - 1e-13)


def test_default_width_is_the_rank_and_a_vector_is_one_output():
    rng = np.random.RandomState(1)
    weights = balanced_factors(_random_map(rng, 4, 5, 2), depth=3)
    assert [W.shape for W in weights] == [(2, 5), (2, 2), (4, 2)]
    W_1, W_2 = balanced_factors(np.array([3.0, 4.0]), 7, depth=2)
    assert (W_1.shape, W_2.shape) == ((7, 2), (1, 7))
    np.testing.assert_allclose(W_2 @ W_1, [[3.0, 4.0]], rtol=1e-15)
    (only,) = balanced_factors([[1.0, 2.0]], depth=1)
    np.testing.assert_array_equal(only, [[1.0, 2.0]])


def test_rounding_errors_in_a_low_rank_map_do_not_become_weights():
    rng = np.random.RandomState(2)
    weights = balanced_factors(_random_map(rng, 6, 6, 1), 6, depth=20)
    assert all(np.linalg.matrix_rank(W) == 1 for W in weights)


def test_zero_map_has_zero_factors():
    assert all(not W.any() for W in balanced_factors(np.zeros((2, 3)), 4, depth=5))
    narrowest = balanced_factors(np.zeros((2, 3)), depth=3)
    assert [W.shape for W in narrowest] == [(1, 3), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"coef": np.eye(3), "width": (3, 2)}, "width must be at least the rank of coef, 3"),
        ({"coef": np.eye(3), "width": 3}, "depth must be given"),
        ({"coef": np.eye(3)}, "depth must be given"),
        ({"coef": np.eye(3), "width": (3, 3), "depth": 2}, "width must be an int or have"),
        ({"coef": np.eye(3), "depth": 2, "weight_decay": (0.0, 1.0)}, "weight_decay must be"),
        ({"coef": np.full((2, 2), np.nan), "depth": 2}, "coef must be a finite"),
    ],
)
def test_arguments_that_cannot_be_met_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        balanced_factors(**arguments)


def test_balance_reports_the_definitions():
    rng = np.random.RandomState(3)
    weights = [rng.standard_normal(s) for s in [(4, 3), (5, 4), (2, 5)]]
    result = balance(weights)
    for i, D in enumerate(result.differences):
        W, V = weights[i], weights[i + 1]
        norms = (W**2).sum(axis=1) - (V**2).sum(axis=0)
        assert result.layer[i] == pytest.approx(np.sum(W**2) - np.sum(V**2), rel=1e-12)
        assert result.neuron[i] == pytest.approx(np.abs(norms).max(), rel=1e-12)
        assert result.matrix[i] == pytest.approx(np.sqrt(np.sum(D**2)), rel=1e-12)
        np.testing.assert_allclose(D, W @ W.T - V.T @ V, rtol=0, atol=1e-14)
    assert balance([[[1.0]]]).layer.shape == (0,)


def test_one_gradient_step_changes_the_balance_by_the_step_size_squared():
    """D_l changes by exactly eta^2 (g_l g_l^T - g_{l+1}^T g_{l+1}) when J depends on M."""
    rng = np.random.RandomState(4)
    weights = [rng.standard_normal(s) for s in [(4, 3), (4, 4), (2, 4)]]
    G, eta = rng.standard_normal((2, 3)), 0.1
    W_1, W_2, W_3 = weights
    gradient = [(W_3 @ W_2).T @ G, W_3.T @ G @ W_1.T, G @ (W_2 @ W_1).T]
    moved = [W - eta * g for W, g in zip(weights, gradient, strict=True)]
    before, after = balance(weights).differences, balance(moved).differences
    for i in range(2):
        expected = gradient[i] @ gradient[i].T - gradient[i + 1].T @ gradient[i + 1]
        np.testing.assert_allclose(after[i] - before[i], eta**2 * expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([], "at least one"),
        ([np.ones((2, 3)), np.ones((1, 3))], "layer 1 has shape"),
        ([np.ones(3)], "finite matrices"),
        ([np.array([[np.inf]])], "finite matrices"),
    ],
)
def test_weights_that_are_no_network_are_refused(weights, match):
    with pytest.raises(ValueError, match=f"weights must.*{match}"):
        balance(weights)


def test_a_balance_is_equal_to_itself_only():
    """Comparing arrays has no one truth."""
    result = balance([np.ones((2, 3)), np.ones((1, 2))])
    assert result == result and result != balance([np.ones((2, 3)), np.ones((1, 2))])
    assert len({result, result}) == 1
