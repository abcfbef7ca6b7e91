"""Do two processes search faster than one?

`GridSearchCV` with n_jobs=1 and n_jobs=2, in turn, over fits that take some tenths of a second,
after one search that starts the workers. Scores must agree before times are told; these are
seconds of the wall clock, medians of several repeats, for processes share the cores. What torch
takes for its number of threads is asked in the processes that fit, where joblib limits it.

    python benchmarks/bench_workers.py            # about two minutes
    python benchmarks/bench_workers.py --quick    # one repeat
"""

from __future__ import annotations

import os
import warnings
from functools import partial

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, in_turn, parser, row, show
from sklearn.datasets import make_regression
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor

REPEATS = 5
# Largest difference of scores; a score is 1 at best.
AGREE = 1e-8
DECAYS = {"weight_decay": [0.0, 1e-3, 1e-2, 0.1]}
CASES = {
    "linear, noise": (DeepLinearRegressor(3, 60, noise=0.1, max_iter=800, tol=0), 500, 50),
    "perceptrons": (HomogeneousMLPRegressor(2, 60, max_iter=300, tol=0, random_state=0), 800, 20),
    "wide perceptrons": (
        HomogeneousMLPRegressor(3, 150, max_iter=15, tol=0, random_state=0),
        4000,
        50,
    ),
}


def scores(model, X, y):
    """R^2, and the number of threads that torch would use here."""
    return {"r2": model.score(X, y), "threads": torch.get_num_threads()}


def measure(name, repeats):
    """Agreement of the scores, and seconds of both searches."""
    model, n, d = CASES[name]
    X, y = make_regression(n, d, noise=1.0, random_state=0)
    X, y = X / X.std(), y / y.std()

    def search(n_jobs):
        options = {"scoring": scores, "refit": False, "n_jobs": n_jobs}
        return GridSearchCV(model, DECAYS, cv=3, **options).fit(X, y).cv_results_

    search(2)
    jobs = {"one process": 1, "two processes": 2}
    timings = in_turn({way: partial(search, n_jobs) for way, n_jobs in jobs.items()}, repeats)
    found = timings.outcomes
    one, two = (found[way]["mean_test_r2"] for way in jobs)
    return row(
        name,
        timings,
        [tuple(jobs)],
        agreement=agreed(name, np.abs(one - two).max(), AGREE),
        figures={"load": os.getloadavg()[0]},
        torch_threads={way: float(r["mean_test_threads"].max()) for way, r in found.items()},
    )


def main():
    quick = parser(__doc__, "one repeat").parse_args().quick
    warnings.simplefilter("ignore")
    results = []
    for name in CASES:
        results.append(measure(name, 1 if quick else REPEATS))
        show(results[-1])
    write_results("bench_workers", results, quick=quick)


if __name__ == "__main__":
    main()
