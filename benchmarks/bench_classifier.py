"""Does sweeping a deep linear classifier cost more than a cross-validated logistic regression?

For networks of 1, 2 and 3 layers, 20 decays and 5 folds: `GridSearchCV` of
`DeepLinearClassifier`, trained by "lbfgs" and put at its minimum by "analytic", against
scikit-learn's `LogisticRegressionCV` on the same folds and 20 penalties, which knows one layer
only. All run in turn; ratios are those of the median times of one core. Before, the minimum of
each depth at one decay is bracketed, and ten networks from random weights are trained beside it.

    python benchmarks/bench_classifier.py            # some five minutes
    python benchmarks/bench_classifier.py --quick    # breast cancer only
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
from _environment import write_results
from _measure import in_turn, parser, row, show
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearClassifier

PEER = "LogisticRegressionCV"
DEPTHS = (1, 2, 3)
N_DECAYS, N_FOLDS, N_NETWORKS, REPEATS = 20, 5, 10, 3
CASES = {
    "breast cancer, 569 x 30": lambda: load_breast_cancer(return_X_y=True),
    "random, 2000 x 50": lambda: _random(2000, 50),
    "random, 300 x 200": lambda: _random(300, 200),
}


def _random(n, d):
    return make_classification(n, d, n_informative=10, flip_y=0.05, random_state=0)


def bracket(X, y, depth, gamma):
    """Gap of the bracket and where ten trained networks end, above the minimum."""
    model = DeepLinearClassifier(depth, 10, weight_decay=gamma, tol=1e-8)
    start = time.process_time()
    minimum = model.fit(X, y).global_minimum_
    seconds = time.process_time() - start
    ends = [
        model.set_params(init="xavier_normal", random_state=seed).fit(X, y).objective_
        for seed in range(N_NETWORKS)
    ]
    return {
        "depth": depth,
        "weight_decay": gamma,
        "kind": minimum.kind,
        "objective": minimum.objective,
        "bracket": (minimum.objective - minimum.lower_bound) / minimum.objective,
        "seconds_of_fit_and_minimum": seconds,
        "lowest_network": min(ends) - minimum.objective,
        "median_network": statistics.median(ends) - minimum.objective,
        "highest_network": max(ends) - minimum.objective,
    }


def agreement(X, y, gamma):
    """Largest difference of the probabilities of one layer and of `LogisticRegression`."""
    C = 1 / (2 * len(X) * gamma)
    other = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    ours = DeepLinearClassifier(1, weight_decay=gamma, tol=1e-9).fit(X, y)
    return float(np.abs(ours.predict_proba(X) - other.fit(X, y).predict_proba(X)).max())


def ways(X, y):
    """Return the functions to be timed, by name."""
    folds = list(StratifiedKFold(N_FOLDS).split(X, y))
    decays = np.geomspace(1e-4, 1e-1, N_DECAYS)
    settings = {"scoring": "neg_log_loss", "cv": folds}
    penalties = 1 / (2 * len(X) * (1 - 1 / N_FOLDS) * decays)
    logistic = LogisticRegressionCV(
        Cs=penalties, max_iter=1000, l1_ratios=(0,), use_legacy_attributes=False, **settings
    )
    found = {PEER: lambda: logistic.fit(X, y)}
    for solver in ("lbfgs", "analytic"):
        for depth in DEPTHS:
            model = DeepLinearClassifier(depth, 10, solver=solver)
            search = GridSearchCV(model, {"weight_decay": decays}, **settings)
            found[f"{solver}, depth {depth}"] = lambda search=search: search.fit(X, y)
    return found


def measure(name, repeats):
    """Check and time all ways on one data set."""
    X, y = CASES[name]()
    X = StandardScaler().fit_transform(X)
    error = agreement(X, y, 0.01)
    minima = [bracket(X, y, depth, 0.01) for depth in DEPTHS]
    timings = in_turn(ways(X, y), repeats, clock=time.process_time)
    ratios = [(way, PEER) for way in timings.seconds if way != PEER]
    return row(name, timings, ratios, agreement=error, minima=minima)


def main():
    quick = parser(__doc__, "the first data set, once").parse_args().quick
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = []
    for name in list(CASES)[: 1 if quick else None]:
        results.append(measure(name, 1 if quick else REPEATS))
        show(results[-1])
    write_results("bench_classifier", results, quick=quick)


if __name__ == "__main__":
    main()
