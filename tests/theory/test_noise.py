from itertools import product

import numpy as np
import pytest

from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._moments import SecondMoments
from sklearn_deeplinear.theory._noise import expected_loss, predictive_variance

CASES = [
    ((3, 2, 1), (0.7,)),
    ((2, 3, 4), (2.5,)),
    ((2, 3, 2, 3), (0.4, 1.3)),
    ((3, 2, 2, 3, 2), (0.4, 0.0, 1.3)),
    ((2, 1, 3, 2, 1, 2), (5.0, 0.1, 0.3, 0.8)),
]


def _network(rng, sizes):
    return [rng.standard_normal((b, a)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]


def _enumerated_outputs(weights, X, variances):
    """Outputs under every outcome of the noise 1 +- sqrt(s), all equally likely."""
    widths = [W.shape[0] for W in weights[:-1]]
    outputs = []
    for signs in product((-1.0, 1.0), repeat=sum(widths)):
        layers = np.split(np.array(signs), np.cumsum(widths)[:-1])
        H = X @ weights[0].T
        for W, s, sign in zip(weights[1:], variances, layers, strict=True):
            H = (H * (1 + np.sqrt(s) * sign)) @ W.T
        outputs.append(H)
    return np.array(outputs)


@pytest.mark.parametrize(("sizes", "noise"), CASES)
def test_variance_is_that_of_the_enumerated_noise(sizes, noise):
    rng = np.random.RandomState(len(sizes))
    weights, X = _network(rng, sizes), rng.standard_normal((4, sizes[0]))
    outputs = _enumerated_outputs(weights, X, noise)
    np.testing.assert_allclose(predictive_variance(weights, X, noise), outputs.var(axis=0), 1e-10)


@pytest.mark.parametrize(("sizes", "noise"), CASES)
def test_expected_loss_is_the_mean_over_the_enumerated_noise(sizes, noise):
    rng = np.random.RandomState(len(sizes))
    weights, X = _network(rng, sizes), rng.standard_normal((30, sizes[0]))
    Y = rng.standard_normal((30, sizes[-1]))
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    losses = ((_enumerated_outputs(weights, X, noise) - Y) ** 2).sum(axis=2).mean()
    moments = SecondMoments.from_data(X, Y)
    assert expected_loss(weights, moments, noise) == pytest.approx(losses, rel=1e-10)


@pytest.mark.parametrize("unit_x", [2.0**-490, 1.0, 2.0**490])
@pytest.mark.parametrize("unit_y", [2.0**-490, 1.0, 2.0**490])
@pytest.mark.parametrize(("sizes", "noise"), CASES)
def test_units_of_the_data_change_no_digit(sizes, noise, unit_x, unit_y):
    """Also where the products of some layers, squared, are no floats."""
    rng = np.random.RandomState(len(sizes))
    weights = _network(rng, sizes)
    X, Y = rng.standard_normal((9, sizes[0])), rng.standard_normal((9, sizes[-1]))
    L, exponent = len(weights), int(np.log2(unit_y) - np.log2(unit_x))
    split = [exponent // L] * (L - 1)
    powers = [*split, exponent - sum(split)]
    scaled = [np.ldexp(W, e) for W, e in zip(weights, powers, strict=True)]
    np.testing.assert_allclose(
        predictive_variance(scaled, unit_x * X, noise),
        unit_y**2 * predictive_variance(weights, X, noise),
        rtol=1e-12,
    )
    losses = [
        expected_loss(net, SecondMoments.from_data(a * X, b * Y), noise)
        for net, a, b in [(scaled, unit_x, unit_y), (weights, 1.0, 1.0)]
    ]
    np.testing.assert_allclose(losses[0], unit_y**2 * losses[1], rtol=1e-12)


def test_moments_depend_on_the_noise_only_through_its_variance():
    """Dropout with rate p has variance p / (1 - p); 200,000 draws, 5 standard errors."""
    rng = np.random.RandomState(0)
    weights, x, p, n = _network(rng, (3, 4, 5, 2)), rng.standard_normal((1, 3)), 0.3, 200_000
    H = np.repeat(x, n, axis=0) @ weights[0].T
    for W in weights[1:]:
        H = H * (rng.uniform(size=H.shape) > p) / (1 - p) @ W.T
    squares = (H - x @ end_to_end(weights).T) ** 2
    error = squares.std(axis=0) / np.sqrt(n)
    gap = np.abs(squares.mean(axis=0) - predictive_variance(weights, x, p / (1 - p))[0])
    assert np.all(gap <= 5 * error)


def test_expected_loss_obeys_the_forward_recursion_of_second_moments():
    rng = np.random.RandomState(1)
    weights, noise = _network(rng, (6, 9, 8, 7, 3)), (0.2, 1.0, 0.6)
    X, Y = rng.standard_normal((50, 6)), rng.standard_normal((50, 3))
    moments = SecondMoments.from_data(X, Y)
    C = moments.input_moment
    for W, s in zip(weights, (0.0, *noise), strict=True):
        C = W @ (C + s * np.diag(np.diag(C))) @ W.T
    M = end_to_end(weights)
    loss = np.trace(C) - 2 * np.sum(M * moments.cross_moment) + moments.output_moment
    assert expected_loss(weights, moments, noise) == pytest.approx(loss, rel=1e-11)


def test_equal_units_average_their_noise():
    """Equal weights throughout: Var / mean^2 = (1 + s/h)^(L - 1) - 1."""
    h, s, depth = 6, 0.8, 4
    weights = [np.ones((h, 1)), *[np.ones((h, h))] * (depth - 2), np.ones((1, h))]
    x = np.array([[0.3]])
    mean = x @ end_to_end(weights).T
    ratio = predictive_variance(weights, x, s) / mean**2
    np.testing.assert_allclose(ratio, (1 + s / h) ** (depth - 1) - 1, rtol=1e-13)


def test_without_noise_there_is_no_variance():
    rng = np.random.RandomState(2)
    weights, X = _network(rng, (3, 4, 2)), rng.standard_normal((5, 3))
    moments = SecondMoments.from_data(X, rng.standard_normal((5, 2)))
    np.testing.assert_array_equal(predictive_variance(weights, X), np.zeros((5, 2)))
    assert expected_loss(weights, moments) == moments.loss(end_to_end(weights))
    assert expected_loss(weights[:1] + [weights[1]], moments, (0.0,)) == expected_loss(
        weights, moments
    )


def test_one_layer_has_no_hidden_noise():
    W, X = np.ones((1, 2)), np.ones((3, 2))
    np.testing.assert_array_equal(predictive_variance([W], X, 0.5), np.zeros((3, 1)))


def test_small_loss_is_not_lost_to_cancellation():
    """A network that fits the data but for 1e-10 of noise: the loss is that of the noise."""
    rng = np.random.RandomState(3)
    weights, X = _network(rng, (3, 4, 2)), rng.standard_normal((20, 3))
    X -= X.mean(axis=0)
    moments = SecondMoments.from_data(X, X @ end_to_end(weights).T)
    variance = predictive_variance(weights, X, 1e-20).sum(axis=1).mean()
    assert expected_loss(weights, moments, 1e-20) == pytest.approx(variance, rel=1e-7)


def test_inputs_are_processed_in_blocks_with_the_same_result(monkeypatch):
    rng = np.random.RandomState(4)
    weights, X = _network(rng, (3, 4, 5, 2)), rng.standard_normal((11, 3))
    whole = predictive_variance(weights, X, 0.5)
    monkeypatch.setattr("sklearn_deeplinear.theory._noise._BLOCK_SIZE", 16)
    np.testing.assert_allclose(predictive_variance(weights, X, 0.5), whole, rtol=1e-14)


def test_arguments_of_the_wrong_shape_are_named():
    weights = [np.ones((2, 3)), np.ones((1, 2))]
    moments = SecondMoments.from_moments(np.eye(2), np.ones((1, 2)), 5.0)
    with pytest.raises(ValueError, match="weights must map 2 inputs to 1 outputs"):
        expected_loss(weights, moments)
    with pytest.raises(ValueError, match="X must have shape"):
        predictive_variance(weights, np.ones(3), 0.1)
    with pytest.raises(ValueError, match="noise must"):
        predictive_variance(weights, np.ones((1, 3)), (0.1, 0.2))
