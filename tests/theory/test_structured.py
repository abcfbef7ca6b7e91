"""Every public function of `theory` on structured problems, against slow references.

A selection of what `benchmarks/check_structured.py` runs in full.
"""

import pytest

from sklearn_deeplinear import theory
from tests.theory.all_checks import all_checks
from tests.theory.check import selection

# As many of each function as keep this file under a minute of one core; integrations cost
# a tenth of a second each.
MOST = 150
INTEGRATED = {"mode_flow": 60, "pathway_flow": 60, "end_to_end_flow": 60}

CHECKS = {check.label: check for check in selection(all_checks(), MOST, INTEGRATED)}


def test_no_public_function_is_left_out():
    tested = {check.function.split(".")[0] for check in CHECKS.values()}
    assert tested == set(theory.__all__) - {"GlobalMinimum"}  # what global_minimum returns
    assert len(CHECKS) > 2000


@pytest.mark.parametrize("label", CHECKS)
def test_function_agrees_with_its_reference(label):
    """Deviations are in units of what is allowed."""
    assert CHECKS[label].deviation() <= 1
