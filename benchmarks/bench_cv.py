"""What does cross-validating weight decay and depth cost beside `RidgeCV`?

Leave-one-out: one fit of `DeepLinearRegressorCV` with 60 decays for each of the depths 1 to 4
against one fit of scikit-learn's `RidgeCV` with 60 penalties, a quarter as many settings. Five
folds: depths 1 to 3 against `RidgeCV(cv=5)`. The two run in turn; times are those of the processor,
and ratios those of the medians. The left-out residuals of the best setting of each depth are then
compared with those of refits, for ten samples.

Two layers are also chosen by `GridSearchCV` over `MLPRegressor(activation="identity")`, whose
objective at alpha = n * gamma is the same, and which L-BFGS minimises: same folds and decays, a
tenth of them, once, the time ten times over. L-BFGS ends near the minimum and not at it, so that
held-out errors are what must agree, to a hundredth of the variance of the targets.

    python benchmarks/bench_cv.py            # about three minutes on one core
    python benchmarks/bench_cv.py --quick    # diabetes only, three repeats
"""

from __future__ import annotations

import time
import warnings

import numpy as np
from _environment import write_results
from _measure import Timings, agreed, in_turn, parser, row, show
from sklearn.datasets import load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV

N_DECAYS = 60
N_REFITS = 10
# Perceptrons are trained at every so many of the decays.
EVERY = 10
# Largest difference of held-out errors, in units of the variance of the targets.
AGREE = 1e-2

# Data, folds (None for leave-one-out) and repeats.
CASES = {
    "diabetes (442 x 10)": (lambda: load_diabetes(return_X_y=True), None, 15),
    "diabetes, 5 folds": (lambda: load_diabetes(return_X_y=True), 5, 5),
    "2,000 x 50": (lambda: made(2_000, 50), None, 9),
    "2,000 x 50, 5 folds": (lambda: made(2_000, 50), 5, 3),
    "10,000 x 100, 5 folds": (lambda: made(10_000, 100), 5, 3),
    "50,000 x 200": (lambda: made(50_000, 200), None, 1),
}
PERCEPTRONS = ["diabetes, 5 folds", "2,000 x 50, 5 folds"]


def made(n, d):
    """Regression data of which half of the variance is noise."""
    X, y, coef = make_regression(n, d, n_informative=d // 2, coef=True, random_state=0)
    return X, y + np.linalg.norm(coef) * np.random.RandomState(1).standard_normal(n)


def largest_difference(X, y, decays, depths):
    """Largest difference of left-out residuals from those of refits, in units of y."""
    worst = 0.0
    for depth in depths:
        model = DeepLinearRegressorCV(decays, [depth]).fit(X, y)
        params = {k: v for k, v in model.best_params_.items() if v is not None}
        for i in np.linspace(0, len(y) - 1, N_REFITS).astype(int):
            keep = np.arange(len(y)) != i
            fit = DeepLinearRegressor(solver="analytic", **params).fit(X[keep], y[keep])
            worst = max(worst, abs(y[i] - fit.predict(X[[i]])[0] - model.loo_residuals_[i]))
    return worst / np.std(y)


def decays_of(X, y):
    """Decays of networks, from some that hardly matter to some that collapse the deeper ones."""
    return np.geomspace(1e-6, 1, N_DECAYS) * np.linalg.norm(np.cov(X.T, y, bias=True)[-1, :-1])


def bench(name, repeats):
    """Time one case; a dict."""
    make, cv, default = CASES[name]
    X, y = make()
    penalties = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1] * np.geomspace(1e-6, 1, N_DECAYS)
    depths = [1, 2, 3, 4] if cv is None else [1, 2, 3]
    ours = decays_of(X, y)
    ways = {
        "ours": lambda: DeepLinearRegressorCV(ours, depths, cv=cv).fit(X, y),
        "RidgeCV": lambda: RidgeCV(len(y) * penalties, cv=cv).fit(X, y),
    }
    timings = in_turn(ways, repeats or default, clock=time.process_time)
    return row(
        name,
        timings,
        [("ours", "RidgeCV")],
        agreement=largest_difference(X, y, ours, depths) if cv is None else None,
        figures={"settings": len(depths) * N_DECAYS},
    )


def beside_perceptrons(name):
    """Time the choice among networks of two layers, and among perceptrons; a dict."""
    make, cv, _ = CASES[name]
    X, y = make()
    decays = decays_of(X, y)
    perceptron = MLPRegressor(
        hidden_layer_sizes=(10,), activation="identity", solver="lbfgs", tol=1e-6, random_state=0
    )
    in_fold = len(y) * (1 - 1 / cv)
    ways = {
        "ours": lambda: DeepLinearRegressorCV(decays, [2], cv=cv).fit(X, y),
        "MLPRegressor": lambda: GridSearchCV(
            perceptron,
            {"alpha": in_fold * decays[::EVERY]},
            cv=cv,
            scoring="neg_mean_squared_error",
            refit=False,
        ).fit(X, y),
    }
    timings = in_turn(ways, 1, clock=time.process_time)
    ours, theirs = (timings.outcomes[way].cv_results_["mean_test_score"] for way in ways)
    error = agreed(name, np.abs(ours[::EVERY] - theirs).max() / np.var(y), AGREE)
    seconds = {way: list(own) for way, own in timings.seconds.items()}
    seconds["MLPRegressor"] = [EVERY * own for own in seconds["MLPRegressor"]]
    return row(
        name,
        Timings(seconds, {}),
        [("MLPRegressor", "ours")],
        agreement=error,
        figures={"settings": N_DECAYS},
        part="two layers, beside GridSearchCV of perceptrons, by held-out errors",
        why=f"perceptrons are trained at one in {EVERY} decays, their time is {EVERY} times that",
    )


def main():
    """Time all cases, print a line each and write the results."""
    quick = parser(__doc__, "diabetes only, three repeats").parse_args().quick
    rows = []
    for name in list(CASES)[: 2 if quick else None]:
        rows.append(bench(name, 3 if quick else None))
        show(rows[-1])
    # At large decays and many samples L-BFGS stops early, as it says.
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in PERCEPTRONS[: 1 if quick else None]:
        rows.append(beside_perceptrons(name))
        show(rows[-1])
    write_results("bench_cv", rows, quick=quick)


if __name__ == "__main__":
    main()
