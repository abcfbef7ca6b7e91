"""Inputs that do not vary: zero is the minimum, nothing can be learned, and nothing may fail."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    deep_linear_path,
    end_to_end_flow,
    expected_loss,
    flow_step_size_bound,
    global_minimum,
    pathway_global_minimum,
    zero_hessian,
)

RNG = np.random.RandomState(0)
Y = RNG.standard_normal((6, 3))
# All with two inputs; (inputs, targets).
DATA = {
    "zeros": (np.zeros((6, 2)), Y),
    "zeros and one target": (np.zeros((6, 2)), Y[:, 0]),
    "constants": (np.full((6, 2), [0.1, -1e6]), Y),
    "one sample": (RNG.standard_normal((1, 2)), Y[:1]),
    "one sample and one target": (RNG.standard_normal((1, 2)), Y[:1, 0]),
    "no target either": (np.zeros((6, 2)), np.zeros((6, 3))),
}


@pytest.fixture(params=DATA.values(), ids=DATA)
def moments(request):
    return SecondMoments.from_data(*request.param)


def variance(moments):
    return np.sum(moments.output_factor**2)


def test_moments_are_those_of_the_targets(moments):
    assert moments.spectrum.sigma.shape == (0,)
    assert_allclose(moments.spectrum.residual, variance(moments), rtol=1e-14)
    assert moments.loss(np.zeros((moments.n_outputs, 2))) == variance(moments)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1, [0.2] * 3, [0.0, 0.1, 0.1]])
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_zero_is_the_global_minimum(moments, depth, noise, weight_decay):
    if np.ndim(weight_decay):
        weight_decay = weight_decay[:depth]
    settings = {"depth": depth, "width": 2 if depth > 1 else (), "noise": noise}
    if depth == 1:
        settings.pop("noise")
    minimum = global_minimum(moments, weight_decay=weight_decay, **settings)
    assert minimum.kind == "exact"
    assert minimum.is_zero
    assert_allclose(minimum.objective, variance(moments), rtol=1e-14)
    assert_allclose(minimum.lower_bound, variance(moments), rtol=1e-14)
    assert_array_equal(minimum.intercept, moments.mean_y)
    assert not any(W.any() for W in minimum.weights())
    decays = [weight_decay, np.multiply(2, weight_decay)]
    path = deep_linear_path(moments, weight_decays=decays, **settings)
    assert_allclose(path.objectives, variance(moments), rtol=1e-14)
    assert not path.coefs.any()


@pytest.mark.parametrize("widths", [None, 2])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("depths", [(1,), (2,), (1, 1), (1, 3), (2, 3), (3, 2, 3), (1, 2, 4)])
def test_zero_is_the_global_minimum_of_pathways(moments, depths, weight_decay, widths):
    minimum = pathway_global_minimum(
        moments, depths=depths, weight_decay=weight_decay, widths=widths
    )
    assert minimum.kind == "exact"
    assert minimum.is_zero
    assert_allclose(minimum.objective, variance(moments), rtol=1e-14)
    assert not any(W.any() for weights in minimum.weights() for W in weights)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_but_the_penalty_is_curved_at_zero(moments, depth):
    hessian = zero_hessian(moments, depth=depth, width=2 if depth > 1 else None, weight_decay=0.3)
    assert_allclose(hessian.eigenvalues, [0.6], rtol=1e-12)
    assert hessian.is_strict_minimum
    critical = critical_weight_decay(moments, depth=depth)
    assert (critical.collapse, critical.spinodal) == (0, 0)


def test_flows_rest(moments):
    start = np.ones((moments.n_outputs, 2))
    for depth in (1, 2, 3):
        flow = end_to_end_flow(moments, start, depth=depth)
        assert_allclose(flow([0.0, 10.0, np.inf]), np.stack([start] * 3), rtol=1e-9)
    weights = [np.ones((2, 2)), start]
    assert_allclose(expected_loss(weights, moments, 0.5), variance(moments), rtol=1e-14)
    # Descent and flow agree at every step size.
    assert flow_step_size_bound(weights, moments, time=1.0, eps=0.1).step_size > 0
