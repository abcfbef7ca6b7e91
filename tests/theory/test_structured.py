"""Every public function of `theory` on structured problems, against slow references.

A selection of what `benchmarks/check_structured.py` runs in full.
"""

import pytest

from sklearn_deeplinear import theory
from tests.theory.all_checks import all_checks
from tests.theory.check import selection

pytestmark = pytest.mark.slow

# As many of each function as keep this file well under a minute of one core: most take some
# milliseconds, integrations a tenth of a second.
MOST = 100
INTEGRATED = {
    "mode_flow": 25,
    "pathway_flow": 25,
    "end_to_end_flow": 16,
    "flow_step_size_bound": 60,
    "deep_linear_path": 60,
}

CHECKS = {check.label: check for check in selection(all_checks(), MOST, INTEGRATED)}


def test_no_public_function_is_left_out():
    """Classes other than that of the moments are what the functions return."""
    tested = {check.function.split(".")[0] for check in CHECKS.values()}
    public = {name for name in theory.__all__ if name.islower()} | {"SecondMoments"}
    assert tested == public
    assert len(CHECKS) > 1500


@pytest.mark.parametrize("function", sorted({check.function for check in CHECKS.values()}))
def test_function_agrees_with_its_reference(function):
    """Deviations are in units of what is allowed."""
    broken = {}
    for label, check in CHECKS.items():
        if check.function == function:
            try:
                deviation = check.deviation()
            except Exception as error:
                error.add_note(label)
                raise
            if not deviation <= 1:
                broken[label] = deviation
    assert broken == {}
