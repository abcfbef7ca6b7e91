"""Does a sweep over decays and depths cost less than one cross-validated ridge regression?

Four calls of `deep_linear_path(X, y, ...)`, for networks of 1, 2, 3 and 4 layers and 60
decays each, every call reading the data anew, are timed against one fit of scikit-learn's
`RidgeCV` with 60 penalties and against one `MLPRegressor(activation="identity",
solver="lbfgs")` fit of a single decay and depth. The ways run in turn; ratios are those of
the medians. Every minimum of the sweep is then compared with `global_minimum`.

    python benchmarks/bench_path.py            # about a minute on two cores
    python benchmarks/bench_path.py --quick    # diabetes only, three repeats
"""

from __future__ import annotations

import warnings

import numpy as np
from _environment import write_results
from _measure import in_turn, parser, row, show
from sklearn.datasets import load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path, global_minimum

DEPTHS = (1, 2, 3, 4)
N_DECAYS = 60

# name: function of no arguments that returns X, y; repeats
CASES = {
    "diabetes, 442 x 10": (lambda: load_diabetes(return_X_y=True), 30),
    "random, 10000 x 100": (lambda: _regression(10_000, 100), 5),
    "random, 2000 x 300": (lambda: _regression(2000, 300), 5),
}


def _regression(n, d):
    return make_regression(n, d, n_informative=d // 2, noise=10.0, random_state=0)


def ways(X, y, decays):
    """Return the functions to be timed, by name."""
    ridge = RidgeCV(alphas=decays * len(y))
    mlp = MLPRegressor(
        hidden_layer_sizes=(100,),
        activation="identity",
        solver="lbfgs",
        max_iter=200,
        random_state=0,
    )

    def sweep():
        for depth in DEPTHS:
            deep_linear_path(X, y, weight_decays=decays, depth=depth)

    return {
        "sweep": sweep,
        "RidgeCV": lambda: ridge.fit(X, y),
        "MLPRegressor": lambda: mlp.fit(X, y),
    }


def largest_difference(X, y, decays):
    """Return the largest relative difference between the sweep and single minima."""
    moments = SecondMoments.from_data(X, y)
    differences = []
    for depth in DEPTHS:
        path = deep_linear_path(X, y, weight_decays=decays, depth=depth)
        for gamma, objective in zip(decays, path.objectives, strict=True):
            single = global_minimum(moments, depth=depth, weight_decay=gamma).objective
            differences.append(abs(objective / single - 1))
    return max(differences)


def bench(name, repeats):
    """Time one case; a dict."""
    make, default = CASES[name]
    X, y = make()
    # From decays that hardly matter to some that collapse the deeper networks.
    top = np.linalg.norm(SecondMoments.from_data(X, y).cross_moment)
    decays = top * np.geomspace(1e-6, 1, N_DECAYS)
    timings = in_turn(ways(X, y, decays), repeats or default, primed=True)
    ratios = [(peer, "sweep") for peer in ("RidgeCV", "MLPRegressor")]
    return row(name, timings, ratios, agreement=largest_difference(X, y, decays))


def main():
    """Time all cases, print a line each and write the results."""
    quick = parser(__doc__, "diabetes only, three repeats").parse_args().quick
    # An lbfgs run that stops at max_iter only flatters the peer.
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for name in list(CASES)[: 1 if quick else None]:
        rows.append(bench(name, 3 if quick else None))
        show(rows[-1])
    write_results("bench_path", rows, quick=quick)


if __name__ == "__main__":
    main()
