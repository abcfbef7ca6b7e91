"""Is what is left of a fit that fails what can be used, wherever it fails?

Small fits of every estimator are interrupted (Ctrl-C), or run out of memory, before each line of
the package that they pass: fresh estimators where it is passed first, fitted ones where it is
passed last. Afterwards

- the call has raised, and the estimator has the very attributes that it had before, or
- it has returned: a whole fit, or one that says "interrupted" and whose records and weights are
  bit for bit the first ones of the whole fit.

In either case the state of the process is as before (random numbers, threads, modes of PyTorch
and NumPy, warning filters, environment, loggers), and the next fit is the one that was to be made.
Besides, fits in other processes are compared bit for bit, and workers die in a search.

    python benchmarks/check_faults.py              # all lines
    python benchmarks/check_faults.py --places 20  # of each fit
    python benchmarks/check_faults.py --only "linear gd" 1234   # one place
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

# Behind what is installed, so that PYTHONPATH chooses the package to be checked.
sys.path.append(str(Path(__file__).parents[1]))

from sklearn_deeplinear import DeepLinearRegressor  # noqa: E402
from sklearn_deeplinear.model_selection import BatchedGridSearchCV  # noqa: E402
from tests.fault_cases import CASES, Faults, X, Y, assert_untouched, quiet  # noqa: E402
from tests.faults import assert_same, fitted, positions_of  # noqa: E402

ERRORS = KeyboardInterrupt, MemoryError


def failure(faults, *place):
    """What happens at a place, and what is wrong with it, if anything."""
    try:
        return faults.check(*place), None
    except (Exception, KeyboardInterrupt) as error:
        return "wrong", f"{type(error).__name__}: {str(error)[:200]}"


def check_lines(name, n_places):
    """Fail at all lines of a case, or at some; print what is wrong and return how often."""
    faults, rng, outcomes, lines = Faults(name), random.Random(0), Counter(), set()
    begin = time.process_time()
    for index, refit in enumerate((False, True)):
        places = positions_of(faults.lines[refit], ("last" if refit else "first",))
        if n_places is not None:
            places = sorted(rng.sample(places, min(n_places // 2, len(places))))
        for number, position in enumerate(places):
            lines.add(faults.lines[refit][position])
            error = ERRORS[(number + index) % 2]
            outcome, wrong = failure(faults, position, refit, error)
            outcomes[outcome] += 1
            if wrong:
                file, line = faults.lines[refit][position]
                print(f"  {Path(file).name}:{line} ({position}, {refit}, {error.__name__}) {wrong}")
    passed = {line for kind in faults.lines.values() for line in kind}
    found = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    seconds = time.process_time() - begin
    print(f"{name:30s} {len(lines)} of {len(passed)} lines: {found} ({seconds:.0f} s)", flush=True)
    return outcomes["wrong"], lines


def trained(name):
    """A case that has made its call after a former one."""
    with quiet():
        return CASES[name].call(CASES[name].start(refit=True))


class Kill:
    """A step size that ends any process but this one."""

    def __init__(self):
        self.parent = os.getpid()

    def __call__(self, t):
        if t == 3 and os.getpid() != self.parent:
            os._exit(1)
        return 0.01


def check_processes():
    """Fits of other processes, and searches whose workers die."""
    for name, model in zip(
        CASES, Parallel(2)(delayed(trained)(name) for name in CASES), strict=True
    ):
        assert_same(fitted(model), fitted(trained(name)), name)
    for solver in ("gd", "momentum"):  # in stacks, and one by one
        model = DeepLinearRegressor(2, 3, solver=solver, max_iter=5, tol=0)
        search = BatchedGridSearchCV(model, {"depth": [1, 2]}, cv=2)
        with quiet():
            search.fit(X, Y)
            search.set_params(n_jobs=2, estimator__step_size=Kill())
            before = dict(vars(search))
            try:
                search.fit(X, Y)
            except TerminatedWorkerError:
                assert_untouched(search, before)
            else:
                raise AssertionError("no worker has died")
            search.set_params(estimator__step_size=0.01).fit(X, Y)
    print("processes: fits are the same, workers that die end a search that is as before")


def main():
    """Check all cases; exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, help="number in each fit, drawn at random")
    parser.add_argument("--only", nargs="+", metavar=("CASE", "POSITION"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only and len(arguments.only) > 1:
        faults = Faults(arguments.only[0])
        for refit in (False, True):
            for error in ERRORS:
                position = int(arguments.only[1])
                print(refit, error.__name__, failure(faults, position, refit, error))
        return
    n_wrong, lines = 0, set()
    for name in arguments.only or CASES:
        wrong, reached = check_lines(name, arguments.places)
        n_wrong, lines = n_wrong + wrong, lines | reached
    print(f"{len(lines)} lines in all, {n_wrong} places at which something is wrong")
    if not arguments.only:
        check_processes()
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main()
