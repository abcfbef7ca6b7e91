"""Fits that are interrupted, run out of memory or whose callbacks fail leave what can be used.

``benchmarks/check_faults.py`` fails at each line of the package that is passed.
"""

import random

import pytest

from tests.fault_cases import CASES, Faults
from tests.faults import positions_of


@pytest.mark.parametrize("name", CASES)
def test_a_fault_at_any_line_spoils_nothing(name):
    faults, rng = Faults(name), random.Random(0)
    for refit, error in [
        (False, KeyboardInterrupt),
        (True, MemoryError),
        (True, KeyboardInterrupt),
    ]:
        for position in rng.sample(positions_of(faults.lines[refit]), 2):
            faults.check(position, refit, error)
    # Amid the last records, where most is half done.
    late = [p for p in positions_of(faults.lines[True]) if p > 0.8 * len(faults.lines[True])]
    for position in rng.sample(late, 2):
        faults.check(position, True)
