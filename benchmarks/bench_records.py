"""What does a fit cost beside its steps?

- "share": time that measuring the default records takes, in that of the same fit with the first
  and the last record only.
- "default": whole default fits of small data (validation, start, automatic step, steps, records),
  beside scikit-learn's models of the same kind.

Times are processor times. The contestants of a case run in turn, and figures are medians.

    python benchmarks/bench_records.py            # about 2 minutes on one core
    python benchmarks/bench_records.py --quick    # two repeats of fewer cases
"""

from __future__ import annotations

import time
import warnings
from functools import partial

import numpy as np
from _environment import write_results
from _measure import chosen, in_turn, parser, row, show
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

SEED = {"random_state": 0, "tol": 0, "device": "cpu"}
ADAM = {"solver": "adam", **SEED}
NORMAL = {"init": "normal", **SEED}


def regression(n, d, m=1):
    """Random regression data."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    return X, y[:, 0] if m == 1 else y


def digits(dtype=np.float32):
    """Images of digits between 0 and 1."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


# name: data, estimator with its number of steps or epochs
SHARES = {
    "linear, gd, diabetes": (
        load_diabetes(return_X_y=True),
        DeepLinearRegressor(max_iter=1000, **SEED),
    ),
    "linear, gd, d=10, h=20": (
        regression(1000, 10),
        DeepLinearRegressor(3, 20, max_iter=1000, **NORMAL),
    ),
    "linear, gd, d=200, h=100": (
        regression(1000, 200),
        DeepLinearRegressor(3, 100, max_iter=1000, **NORMAL),
    ),
    "linear, gd, d=10, h=800": (
        regression(1000, 10),
        DeepLinearRegressor(3, 800, max_iter=1000, **NORMAL),
    ),
    "linear, adam, n=442": (load_diabetes(return_X_y=True), DeepLinearRegressor(**ADAM)),
    "linear, adam, n=2,000": (
        regression(2000, 20, 3),
        DeepLinearRegressor(3, 50, max_iter=100, **ADAM),
    ),
    "linear, adam, n=20,000": (
        regression(20_000, 50),
        DeepLinearRegressor(3, 100, max_iter=20, **ADAM),
    ),
    "pathways, gd, d=10, h=50": (
        regression(1000, 10, 3),
        MultiPathwayRegressor(3, 50, max_iter=1000, **NORMAL),
    ),
    "pathways, adam, n=2,000": (
        regression(2000, 20, 3),
        MultiPathwayRegressor(3, 50, max_iter=100, **ADAM),
    ),
    "linear classifier, gd, iris": (
        load_iris(return_X_y=True),
        DeepLinearClassifier(max_iter=1000, **SEED),
    ),
    "linear classifier, adam, digits": (digits(), DeepLinearClassifier(max_iter=50, **ADAM)),
    "perceptron, gd, diabetes": (
        load_diabetes(return_X_y=True),
        HomogeneousMLPRegressor(max_iter=200, **SEED),
    ),
    "perceptron, adam, iris": (
        load_iris(return_X_y=True),
        HomogeneousMLPClassifier(max_iter=200, **ADAM),
    ),
    "perceptron, adam, digits": (digits(), HomogeneousMLPClassifier(max_iter=50, **ADAM)),
    "perceptron, adam, digits, h=50": (
        digits(),
        HomogeneousMLPClassifier(width=50, max_iter=200, **ADAM),
    ),
}
REGRESSORS = {
    "DeepLinearRegressor": DeepLinearRegressor(),
    "DeepLinearRegressor, 20 steps": DeepLinearRegressor(max_iter=20),
    "DeepLinearRegressor, 300 steps": DeepLinearRegressor(max_iter=300),
    "DeepLinearRegressor, 3000 steps": DeepLinearRegressor(max_iter=3000),
    "MultiPathwayRegressor": MultiPathwayRegressor(random_state=0),
    "HomogeneousMLPRegressor": HomogeneousMLPRegressor(random_state=0),
    "Ridge": Ridge(),
    "MLPRegressor": MLPRegressor(random_state=0),
}
CLASSIFIERS = {
    "DeepLinearClassifier": DeepLinearClassifier(random_state=0),
    "HomogeneousMLPClassifier": HomogeneousMLPClassifier(random_state=0),
    "LogisticRegression": LogisticRegression(),
    "MLPClassifier": MLPClassifier(random_state=0),
}


def fits(contestants, X, y, repeats):
    """Processor time of each fit."""
    ways = {name: partial(model.fit, X, y) for name, model in contestants.items()}
    return in_turn(ways, repeats, warm_up=1, clock=time.process_time)


def share(name, repeats):
    """Share of measuring in one case."""
    data, model = SHARES[name]
    iterations = model.max_iter
    bare = type(model)(**{**model.get_params(), "record_every": iterations})
    timings = fits({"default records": model, "none between": bare}, *data, repeats)
    added = timings.median("default records") - timings.median("none between")
    figures = {
        "steps or epochs": iterations,
        "records": len(model.trajectory_),
        "ms a record": 1e3 * added / max(1, len(model.trajectory_) - 2),
        "share of measuring": added / timings.median("none between"),
    }
    return row(name, timings, figures=figures, part="share of measuring")


def main():
    """Run all and print a line each."""
    arguments = parser(__doc__, "two repeats of fewer cases", only="cases").parse_args()
    warnings.simplefilter("ignore")
    repeats, rows = 2 if arguments.quick else 5, []
    for name in chosen(list(SHARES)[:: 3 if arguments.quick else 1], arguments.only):
        rows.append(share(name, repeats))
        show(rows[-1])
    defaults = {"diabetes": (load_diabetes, REGRESSORS), "iris": (load_iris, CLASSIFIERS)}
    for data, (load, models) in defaults.items():
        if arguments.only and arguments.only != "default":
            continue
        timings = fits(models, *load(return_X_y=True), repeats)
        for name in models:
            rows.append(row(name, timings.named({name: "fit"}), part=f"default fits of {data}"))
            show(rows[-1])
    if not arguments.only:
        write_results("bench_records", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
