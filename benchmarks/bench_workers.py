"""Do two processes search faster than one?

`GridSearchCV` with n_jobs=1 and n_jobs=2, in turn, over fits that take some tenths of a second,
after one search that starts the workers. Scores must agree before times are told; these are
seconds of the wall clock, medians of several repeats, for processes share the cores. What torch
takes for its number of threads is asked in the processes that fit, where joblib limits it.

    python benchmarks/bench_workers.py            # about two minutes
    python benchmarks/bench_workers.py --quick    # one repeat
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings

import numpy as np
import torch
from _environment import write_results
from sklearn.datasets import make_regression
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor

REPEATS = 5
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
    seconds, found = {1: [], 2: []}, {}

    def search(n_jobs):
        options = {"scoring": scores, "refit": False, "n_jobs": n_jobs}
        return GridSearchCV(model, DECAYS, cv=3, **options).fit(X, y).cv_results_

    search(2)
    for _ in range(repeats):
        for n_jobs, times in seconds.items():
            begin = time.perf_counter()
            found[n_jobs] = search(n_jobs)
            times.append(time.perf_counter() - begin)
    medians = {n_jobs: statistics.median(times) for n_jobs, times in seconds.items()}
    one, two = (found[n_jobs]["mean_test_r2"] for n_jobs in (1, 2))
    return {
        "case": name,
        "largest_difference_of_scores": float(np.abs(one - two).max()),
        "torch_threads": {k: float(r["mean_test_threads"].max()) for k, r in found.items()},
        "seconds": medians,
        "one_job_over_two": medians[1] / medians[2],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one repeat")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    results = []
    for name in CASES:
        results.append(measure(name, 1 if quick else REPEATS))
        results[-1]["load_average"] = os.getloadavg()[0]
        print(results[-1])
    if not quick:
        write_results("bench_workers", results)


if __name__ == "__main__":
    main()
