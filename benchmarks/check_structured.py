"""Do all functions of `theory` agree with slow references on structured problems?

Integers, symmetry, degenerate and extreme problems, which random data never is: see
`tests/structured.py` for the problems and `tests/theory/checks_*.py` for the claims. Prints
the number of cases and the worst deviation of each function, in units of what is allowed,
and exits with 1 if one of them is above 1.

    python benchmarks/check_structured.py                       # everything
    python benchmarks/check_structured.py --quick               # without the slow cases
    python benchmarks/check_structured.py --only "depth 3"      # labels that contain this
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.theory.all_checks import all_checks  # noqa: E402


def run(checks):
    """Deviations and seconds of each function; prints every failure as it comes."""
    deviations, seconds = defaultdict(list), defaultdict(float)
    for check in checks:
        start = time.perf_counter()
        try:
            deviation, why = float(check.deviation()), ""
        except Exception as error:
            deviation, why = float("inf"), f" {error!r}"
        seconds[check.function] += time.perf_counter() - start
        deviations[check.function].append(deviation)
        if not deviation <= 1:
            print(f"FAILED {check.label}: {deviation:.3g}{why}", flush=True)
    return deviations, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the slow cases")
    parser.add_argument("--only", default="", help="run cases whose label contains this")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    chosen = (
        check
        for check in all_checks()
        if arguments.only in check.label and not (arguments.quick and check.slow)
    )
    deviations, seconds = run(chosen)
    print(f"{'function':28}{'cases':>8}{'failed':>8}{'worst':>12}{'seconds':>10}")
    for function, values in deviations.items():
        failed = sum(not value <= 1 for value in values)
        print(f"{function:28}{len(values):8}{failed:8}{max(values):12.2g}{seconds[function]:10.1f}")
    wrong = any(not value <= 1 for values in deviations.values() for value in values)
    return int(wrong or not deviations)


if __name__ == "__main__":
    sys.exit(main())
