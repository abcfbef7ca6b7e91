"""How many digits of the certified coefficients of NIST's linear regressions come out?

The nine sets Norris, Pontius, Filip, Longley and Wampler 1 to 5 (those with an intercept), at
decay 0, where a network of any depth is least squares. Beside numpy's lstsq on the columns as they
are, and on columns of length one, there is the exact solution, in fractions, of the data as
float64 numbers have them: nobody can be expected to know more. Digits are the least over all
coefficients, the intercept included. Exits with 1 if ours has more than a digit less than lstsq.

    python benchmarks/check_nist.py            # a second
    python benchmarks/check_nist.py --save
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _environment import write_results

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.estimators.test_nist import FITS  # noqa: E402
from tests.nist import SETS, data_of, digits, least_squares  # noqa: E402
from tests.theory.test_exact_regressions import solved  # noqa: E402


def measured(name):
    """Digits of all contestants on one set."""
    X, y, certified = data_of(name)
    ours = {
        fit: min(digits(FITS[fit](X, y, depth), certified) for depth in (1, 2, 3)) for fit in FITS
    }
    return {
        "set": name,
        "exact": digits(solved(X, y), certified),
        "lstsq": digits(least_squares(X, y), certified),
        "lstsq_equal_columns": digits(least_squares(X, y, True), certified),
        **ours,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write results/check_nist.json")
    parser.add_argument("--quick", action="store_true", help="the same: it takes a second")
    arguments = parser.parse_args()
    rows = [measured(name) for name in SETS]
    print(" ".join(f"{key:>22}" for key in rows[0]))
    for row in rows:
        name, *numbers = row.values()
        print(f"{name:>22}", *(f"{number:22.1f}" for number in numbers))
    if arguments.save:
        write_results("check_nist", rows)
    short = [row["set"] for row in rows if min(row[fit] for fit in FITS) < row["lstsq"] - 1]
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
