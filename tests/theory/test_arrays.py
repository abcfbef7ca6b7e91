"""What is no array of real numbers is refused by the name of its parameter, everywhere alike."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from sklearn_deeplinear.theory import (
    SecondMoments,
    balance,
    balanced_factors,
    certify,
    deep_linear_path,
    end_to_end_flow,
    expected_loss,
    flow_step_size_bound,
    generalised_minimum,
    global_minimum,
    mode_flow,
    pathway_flow,
    predictive_variance,
    two_layer_flow,
    verify,
    zero_hessian,
)

MOMENTS = SecondMoments.from_moments(np.eye(2), [[1.0, 0.5], [0.0, 2.0]], 6.0)
MINIMUM = global_minimum(MOMENTS, depth=2, weight_decay=0.1)
WEIGHTS = balanced_factors(0.1 * np.eye(2), depth=2)
X, Y = np.random.RandomState(0).standard_normal((2, 9, 2))
POPULATION = {"input_moment": [[1.0]], "cross_moment": [[1.0]], "output_moment": 2.0}

CALLS = {
    "input_moment": lambda bad: SecondMoments.from_moments(**{**POPULATION, "input_moment": bad}),
    "cross_moment": lambda bad: SecondMoments.from_moments(**{**POPULATION, "cross_moment": bad}),
    "output_moment": lambda bad: SecondMoments.from_moments(**{**POPULATION, "output_moment": bad}),
    "sample_weight": lambda bad: SecondMoments.from_data(X, Y, bad),
    "weight_decays": lambda bad: deep_linear_path(X, Y, weight_decays=bad),
    "coef": MOMENTS.loss,
    "intercept": lambda bad: MOMENTS.loss(MINIMUM.coef, bad),
    "coef, of factors": lambda bad: balanced_factors(bad, depth=2),
    "coef, to certify": lambda bad: certify(bad, MOMENTS, depth=2, weight_decay=0.1),
    "coef_0": lambda bad: end_to_end_flow(MOMENTS, bad, depth=2),
    "s": lambda bad: mode_flow(bad, 0.1, depth=3),
    "a_0": lambda bad: pathway_flow(1.0, bad, depths=[2, 2]),
    "t": mode_flow(1.0, 0.1, depth=2),
    "X": lambda bad: predictive_variance(WEIGHTS, bad, 0.1),
    "weights": lambda bad: balance([bad]),
}
NO_ARRAYS = {
    "text": [["a", "b"], ["c", "d"]],
    "rows of unequal lengths": [[1.0, 2.0], [3.0]],
    "complex numbers": np.array([[1.0, 2j], [0.0, 1.0]]),
    "dates": np.array([["2020", "2021"], ["2022", "2023"]], dtype="datetime64"),
    "a sparse matrix": csr_array(np.eye(2)),
    "an integer beyond all floats": 10**400,
    "an object": object(),
}


@pytest.mark.parametrize("what", NO_ARRAYS)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_of_numbers_is_named(name, what):
    parameter = name.partition(",")[0]
    with pytest.raises(ValueError, match=f"^{parameter} must be an array of real numbers, got"):
        CALLS[name](NO_ARRAYS[what])


@pytest.mark.parametrize("bad", [None, 3.0, "ab"])
def test_weights_are_a_list(bad):
    with pytest.raises(TypeError, match="weights must be a list of matrices"):
        expected_loss(bad, MOMENTS)


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: expected_loss(WEIGHTS, bad),
        lambda bad: flow_step_size_bound(WEIGHTS, bad, time=0.1, eps=0.1),
        lambda bad: two_layer_flow(WEIGHTS, bad),
        lambda bad: verify(MINIMUM, bad),
        lambda bad: zero_hessian(bad, depth=2, width=2),
    ],
)
@pytest.mark.parametrize("bad", [None, X])
def test_moments_are_moments(call, bad):
    with pytest.raises(TypeError, match="moments must be a SecondMoments, got"):
        call(bad)


def test_only_minima_of_squared_errors_are_verified():
    minimum = generalised_minimum(X, X[:, 0] > 0, depth=2, weight_decay=0.1)
    with pytest.raises(TypeError, match="minimum must be a GlobalMinimum or a PathwayMinimum"):
        verify(minimum, MOMENTS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-8])
def test_tolerances_are_finite_and_not_negative(bad):
    with pytest.raises(ValueError, match="rtol must be finite"):
        two_layer_flow(WEIGHTS, MOMENTS, rtol=bad)
    with pytest.raises(ValueError, match="rtol must be finite"):
        flow_step_size_bound(WEIGHTS, MOMENTS, time=0.1, eps=0.1, rtol=bad)


def test_a_population_has_matrices_and_a_number():
    with pytest.raises(ValueError, match=r"cross_moment must have shape \(m, d\)"):
        SecondMoments.from_moments([[1.0]], np.ones((1, 1, 1)), 2.0)
    with pytest.raises(ValueError, match="output_moment be a number"):
        SecondMoments.from_moments([[1.0]], [[1.0]], [2.0])
