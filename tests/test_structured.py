"""The structured problems are what they claim to be."""

import numpy as np
import pytest

from sklearn_deeplinear.theory import SecondMoments
from tests.structured import cases, data_of, extreme

CASES = {case.name: case for case in cases() + extreme()}


def test_names_tell_the_cases_apart():
    assert len(CASES) == len(cases()) + len(extreme()) > 180


@pytest.mark.parametrize("name", CASES)
def test_both_ways_of_giving_a_case_have_its_moments(name):
    """Up to rounding of the products: R^T T with cancellation has that of ||R|| ||T||."""
    case = CASES[name]
    for moments in (case.moments, SecondMoments.from_data(*data_of(case))):
        size_x, size_y = np.linalg.norm(case.R), np.sqrt(case.c)
        rounding = 64 * np.finfo(float).eps
        # Sizes are divided out one at a time, for their squares may overflow.
        gap_A = np.abs(moments.input_moment - case.A) / (size_x or 1.0) / (size_x or 1.0)
        gap_S = np.abs(moments.cross_moment - case.S) / (size_x or 1.0) / (size_y or 1.0)
        assert gap_A.max() <= rounding and gap_S.max() <= rounding
        assert abs(moments.output_moment - case.c) <= rounding * case.c
        assert np.abs(moments.mean_x).max() <= rounding * size_x
        assert np.abs(moments.mean_y).max() <= rounding * size_y
