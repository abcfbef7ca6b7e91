"""Does every fit of structured and degenerate data say what is true?

Draws fits of all estimators, solvers, initialisations, noises and widths, on data whose
spectra repeat, whose ranks are short, whose units are extreme, and holds what they report
against plain numpy: J on the samples, gradient descent of the full network, dense Hessians,
quasi-Newton methods that look for less than the global minimum, and the symmetries of the
problem. Deviations are told in units of what rounding explains; above one a claim fails.

    python benchmarks/check_fits.py            # 1,000 fits
    python benchmarks/check_fits.py --quick    # 60
    python benchmarks/check_fits.py --only linear 17   # one case, all of its claims
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path

import numpy as np

# Behind what is installed, so that PYTHONPATH chooses the package to be checked.
sys.path.append(str(Path(__file__).parents[1]))

from tests.estimators.fit_checks import check  # noqa: E402
from tests.estimators.structured_fits import FAMILIES  # noqa: E402

# Of each twenty fits.
_SHARES = {"linear": 11, "pathways": 5, "perceptron": 4}


def cases(n_fits, seed):
    """The cases of a run, all families in turn."""
    for family, share in _SHARES.items():
        for index in range(n_fits * share // 20):
            case = FAMILIES[family](index, seed)
            if case is not None:
                yield case


def result(case):
    """Claims of the case and their deviations; a fit that raises makes one claim."""
    try:
        return check(case), None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return {"raises nothing": np.inf}, f"{type(error).__name__}: {error} ({where})"


def main():
    """Check the fits, print the failures and a table; exit with 1 if any claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60 fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--only", nargs=2, metavar=("FAMILY", "INDEX"))
    arguments = parser.parse_args()
    if arguments.only:
        family, index = arguments.only
        case = FAMILIES[family](int(index), arguments.seed)
        print(case)
        for claim, deviation in sorted(check(case).items(), key=lambda pair: -pair[1]):
            print(f"{deviation:10.2g}  {claim}")
        return
    start, worst, count, failed = time.perf_counter(), defaultdict(dict), defaultdict(int), 0
    for case in cases(60 if arguments.quick else arguments.fits, arguments.seed):
        began = time.perf_counter()
        claims, error = result(case)
        row = f"{type(case.estimator).__name__} {case.estimator.solver}"
        count[row] += 1
        for claim, deviation in claims.items():
            worst[row][claim] = max(worst[row].get(claim, 0.0), deviation)
        broken = {
            claim: f"{deviation:.2g}"
            for claim, deviation in claims.items()
            if not deviation <= 1 and not claim.startswith("(")
        }
        if broken:
            failed += 1
            print(f"FAILED {case}\n    {error or broken}", flush=True)
        if time.perf_counter() - began > 10:
            print(f"SLOW ({time.perf_counter() - began:.0f} s) {case}", flush=True)
    for row, claims in sorted(worst.items()):
        print(f"\n{row}: {count[row]} fits; deviation / tolerance at worst")
        for claim, deviation in sorted(claims.items(), key=lambda pair: -pair[1]):
            print(f"{deviation:10.2g}  {claim}")
    total, seconds = sum(count.values()), time.perf_counter() - start
    print(f"\n{failed} of {total} fits break a claim; seed {arguments.seed}, {seconds:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
