"""Global minima of parallel pathways, against brute force over all weights."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import (
    SecondMoments,
    end_to_end_flow,
    flow_step_size_bound,
    global_minimum,
    two_layer_flow,
)
from sklearn_deeplinear.theory._pathway_global_minimum import pathway_global_minimum
from sklearn_deeplinear.theory._pathway_parameters import check_pathway_widths
from tests.theory.brute_force_pathways import brute_force_pathways
from tests.theory.scalar_scan import scanned_minimum


def spread_modes():
    """White inputs and modes of very different strength."""
    U, V = (np.linalg.qr(np.random.RandomState(k).standard_normal((3, 3)))[0] for k in (0, 1))
    return SecondMoments.from_moments(0.8 * np.eye(3), (U * [3.0, 0.7, 0.5]) @ V.T, 20.0)


def make_moments(d, m, white=False, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((60, d)) * (1.0 if white else np.linspace(0.6, 1.6, d))
    if white:
        X = np.linalg.qr(X - X.mean(axis=0))[0] * np.sqrt(60) * 0.9
    Y = X @ rng.standard_normal((d, m)) + 0.3 * rng.standard_normal((60, m))
    return SecondMoments.from_data(X, Y)


def objective_of(weights, moments, decays):
    """J of lists of weights, straight from its definition."""
    coef = sum(np.linalg.multi_dot(W[::-1]) if len(W) > 1 else W[0] for W in weights)
    penalty = sum(
        np.sum(np.asarray(gamma) * [np.sum(layer**2) for layer in W])
        for gamma, W in zip(decays, weights, strict=True)
    )
    return moments.loss(coef) + penalty


def mode_cost(target, depth, decay):
    """Least excess of one mode of white inputs over leaving it out, on a grid of strengths."""
    x = np.linspace(0, target, 100_001)
    return np.min((x - target) ** 2 + depth * decay * x ** (2 / depth)) - target**2


@pytest.mark.parametrize("decay", [0.1, 0.5])
def test_each_mode_of_white_inputs_goes_where_it_is_cheapest(decay):
    targets, depths = (4.0, 1.8, 0.9), (2, 3)
    moments = SecondMoments.from_moments(np.eye(3), np.diag(targets), 22.0)
    costs = np.array([[mode_cost(t, depth, decay) for t in targets] for depth in depths])
    cheapest = 22.0 + costs.min(axis=0).sum()
    wide = pathway_global_minimum(moments, depths=depths, weight_decay=decay)
    assert wide.kind == "exact"
    assert_allclose(wide.objective, cheapest, rtol=1e-8)
    # Of pathways of one unit each takes a mode, and the bound is that of wide ones.
    narrow = pathway_global_minimum(moments, depths=depths, widths=1, weight_decay=decay)
    pairs = [costs[0, i] + costs[1, j] for i in range(3) for j in range(3) if i != j]
    assert_allclose(narrow.objective, 22.0 + min(pairs), rtol=1e-8)
    assert_allclose(narrow.lower_bound, cheapest, rtol=1e-8)


EXACT = {
    "equal depths 2": (make_moments(3, 2), (2, 2), 3, 0.3),
    "equal depths 3, one output": (make_moments(3, 1), (3, 3), 2, 0.2),
    "equal depths 3, white": (make_moments(3, 3, white=True), (3, 3), 3, 0.1),
    "one output, 2 + 3": (make_moments(3, 1), (2, 3), 2, 0.3),
    "one output, 2 + 3 + 3, own decays": (
        make_moments(3, 1),
        (2, 3, 3),
        2,
        [[0.5, 0.5], [0.2, 0.3, 0.4], [0.1, 0.3, 0.5]],
    ),
    "white, 2 + 3": (spread_modes(), (2, 3), 3, [[0.35] * 2, [0.2] * 3]),
    "white, 2 + 4": (make_moments(2, 3, white=True), (2, 4), 2, 0.4),
    "equal depths 2, own decays": (make_moments(3, 2), (2, 2), 3, [[0.3, 0.3], [0.2, 0.2]]),
    "depth 1 beside depth 2": (make_moments(3, 2), (1, 2), 3, [[0.6], [0.2, 0.3]]),
    "depth 1 beside 2 + 3, white": (
        spread_modes(),
        (1, 2, 3),
        3,
        [[1.5], [0.35] * 2, [0.2] * 3],
    ),
    "depth 1 beside 3, one output": (make_moments(3, 1), (1, 3), 2, [[1.5], [0.2] * 3]),
    "depth 1 twice": (make_moments(3, 2), (1, 1), (), [[0.3], [0.6]]),
    "no decay": (make_moments(3, 3), (2, 3), 1, 0.0),
    "no decay, and a ridge pathway": (make_moments(3, 3), (1, 2), 1, [[0.4], [0.0, 0.0]]),
    "collapsed": (make_moments(3, 2), (3, 3), 2, 50.0),
    "narrow, equal depths": (make_moments(3, 3, white=True), (3, 3), 1, 0.1),
}


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_minimum_is_what_brute_force_finds(case):
    moments, depths, width, decay = EXACT[case]
    width = [[width] * (L - 1) if width else [] for L in depths]
    minimum = pathway_global_minimum(moments, depths=depths, widths=width, weight_decay=decay)
    assert minimum.kind in ("exact", "certified")
    found = brute_force_pathways(moments, width, minimum.weight_decay)
    assert minimum.objective == pytest.approx(found, rel=1e-6)
    assert minimum.lower_bound == pytest.approx(minimum.objective, rel=1e-7)
    assert_allclose(sum(minimum.pathway_coefs), minimum.coef, atol=1e-12)
    weights = minimum.weights()
    assert [[W.shape[0] for W in path[:-1]] for path in weights] == width
    attained = objective_of(weights, moments, minimum.weight_decay)
    assert attained == pytest.approx(minimum.objective, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_what_has_no_closed_form_lies_between_its_bound_and_brute_force(seed):
    """Unequal depths, several outputs, general inputs: certified by the certificate alone."""
    moments = make_moments(3, 2, seed=seed)
    minimum = pathway_global_minimum(moments, depths=(2, 3), weight_decay=0.35)
    found = brute_force_pathways(moments, [[2], [2, 2]], minimum.weight_decay)
    assert minimum.kind == "certified"
    assert minimum.lower_bound == pytest.approx(found, rel=1e-6)
    assert minimum.objective <= found * (1 + 1e-6)
    assert objective_of(minimum.weights(), moments, minimum.weight_decay) == pytest.approx(
        minimum.objective, rel=1e-9
    )


def test_gradient_vanishes_at_the_weights_of_the_open_case():
    moments = make_moments(4, 3)
    minimum = pathway_global_minimum(moments, depths=(2, 3), weight_decay=0.2)
    layers = [[torch.tensor(W, requires_grad=True) for W in path] for path in minimum.weights()]
    coef = layers[0][1] @ layers[0][0] + layers[1][2] @ layers[1][1] @ layers[1][0]
    A, S = (torch.tensor(part) for part in (moments.input_moment, moments.cross_moment))
    J = torch.trace(coef @ A @ coef.T) - 2 * (coef * S).sum()
    J = J + 0.2 * sum((W**2).sum() for path in layers for W in path)
    flat = [W for path in layers for W in path]
    assert max(g.abs().max().item() for g in torch.autograd.grad(J, flat)) < 1e-6


@pytest.mark.parametrize("depth", [2, 3])
def test_equal_pathways_are_one_network_of_their_summed_width(depth):
    moments = make_moments(5, 4, white=True)
    together = pathway_global_minimum(moments, depths=(depth,) * 3, widths=1, weight_decay=0.1)
    single = global_minimum(moments, depth=depth, width=3, weight_decay=0.1)
    assert together.objective == pytest.approx(single.objective, rel=1e-12)
    assert_allclose(together.coef, single.coef, atol=1e-10)
    assert [np.linalg.matrix_rank(M) for M in together.pathway_coefs] == [1, 1, 1]


def test_a_mode_of_many_sits_in_one_pathway():
    moments = spread_modes()
    minimum = pathway_global_minimum(moments, depths=(2, 3), weight_decay=[[0.35] * 2, [0.2] * 3])
    U, _, Vt = np.linalg.svd(moments.cross_moment)
    strengths = np.array([np.diag(U.T @ M @ Vt.T) for M in minimum.pathway_coefs])
    assert (np.abs(strengths).min(axis=0) < 1e-10).all()
    assert np.linalg.matrix_rank(strengths, tol=1e-3) == 2  # each pathway has some mode


def test_decay_in_some_layers_only_is_unattained():
    moments = make_moments(3, 2)
    minimum = pathway_global_minimum(
        moments, depths=(2, 3), weight_decay=[[0.1, 0.1], [0.1, 0.0, 0.1]]
    )
    assert minimum.kind == "unattained"
    assert minimum.objective == pytest.approx(moments.spectrum.residual, rel=1e-9)
    with pytest.raises(ValueError, match="weight_decay is zero in some layers"):
        minimum.weights()


def test_predicts_with_the_intercept():
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((20, 3)) + 2, rng.standard_normal(20) + 5
    minimum = pathway_global_minimum(SecondMoments.from_data(X, y), depths=(2, 2))
    X1 = np.column_stack([np.ones(20), X])
    assert_allclose(minimum.predict(X), X1 @ np.linalg.lstsq(X1, y, rcond=None)[0])


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"depths": 2}, "depths must be a sequence of ints"),
        ({"depths": ()}, "depths must have one entry per pathway"),
        ({"depths": (2, 0)}, "depths must be at least 1"),
        ({"depths": (2, 3), "widths": [4] * 3}, "widths must be an int or have depth - 1 = 1"),
        ({"depths": (2, 2), "widths": [[4], [4], [4]]}, "widths must hold one entry per pathway"),
        ({"depths": (2, 2), "weight_decay": -1.0}, "weight_decay must be finite"),
        ({"depths": (2, 3), "weight_decay": [0.1] * 4}, "weight_decay must be a float or have"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises((ValueError, TypeError), match=match):
        pathway_global_minimum(make_moments(3, 2), **parameters)


@pytest.mark.parametrize(
    "function",
    [
        lambda moments: pathway_global_minimum(moments, depths=(2, 2)),
        lambda moments: end_to_end_flow(moments, np.eye(2), depth=2),
        lambda moments: two_layer_flow([np.eye(2)] * 2, moments),
        lambda moments: flow_step_size_bound([np.eye(2)] * 2, moments, time=1.0, eps=0.1),
    ],
)
def test_moments_are_asked_for(function):
    with pytest.raises(TypeError, match="moments must be a SecondMoments"):
        function(np.eye(2))


def test_a_flat_sequence_gives_each_pathway_one_number():
    """Unless it can be meant for the layers of all pathways."""
    moments = make_moments(3, 2)
    for flat, nested in (([0.1, 0.2, 0.3], [[0.1] * 2, [0.2] * 4, [0.3] * 3]),):
        found, wanted = (
            pathway_global_minimum(moments, depths=(2, 4, 3), weight_decay=decays).objective
            for decays in (flat, nested)
        )
        assert found == wanted
    assert check_pathway_widths([4, 5], (2, 3)) == [(4,), (5, 5)]
    assert check_pathway_widths([4, 5], (3, 3)) == [(4, 5), (4, 5)]
    assert check_pathway_widths([[4], 5], (2, 3)) == [(4,), (5, 5)]


@pytest.mark.parametrize(
    "depths", [(3, 3), (3, 4), (1, 3), (2, 3), (1, 1, 3), (1, 4, 3), (3, 3, 5)]
)
@pytest.mark.parametrize("A", [np.eye(3), 2 * np.eye(3), np.diag([3.0, 2.0, 1.0])], ids=str)
def test_one_output_of_structured_moments_goes_where_a_scan_finds_the_least(depths, A):
    S, c, L = np.array([1.0, 4.0, 2.0]), 22.0, [depth for depth in depths if depth > 1]
    moments = SecondMoments.from_moments(A, [S], c)
    for gamma in (0.01, 0.1, 1.0):
        minimum = pathway_global_minimum(moments, depths=depths, weight_decay=gamma)
        A_left, S_left, c_left = A, S, c
        if 1 in depths:  # k equal ridge pathways act as one of decay gamma / k
            ridge = gamma / depths.count(1)
            shrunk = np.linalg.inv(A + ridge * np.eye(3))
            A_left, S_left, c_left = ridge * A @ shrunk, ridge * S @ shrunk, c - S @ shrunk @ S
        expected = min(scanned_minimum(A_left, S_left, c_left, depth, gamma) for depth in L)
        assert minimum.kind == "exact"
        assert_allclose(minimum.objective, expected, rtol=0, atol=1e-12 * c)
        assert_allclose(
            objective_of(minimum.weights(), moments, [[gamma] * depth for depth in depths]),
            minimum.objective,
            rtol=1e-12,
        )
