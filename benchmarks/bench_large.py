"""Are many features fitted as fast as by scikit-learn's linear models, and in less memory?

Genomics: 2,000 samples of 20,000 features, one output. `Ridge(solver="svd")` and `RidgeCV` against
`DeepLinearRegressor` ("analytic", and 1,000 steps of "gd") and `DeepLinearRegressorCV` (five
folds, leave-one-out). Text: 20,000 rows of 50,000 features, 50 of them not zero, normalised like
TF-IDF; 80 % are trained on. `Ridge(solver="sparse_cg")` and `LogisticRegression` against the deep
estimators at matched decay: at depth 1 the same penalty, deeper the decay whose minimum is that
ridge solution.

Every way runs in a process of its own, on one thread, after a tiny fit that imports everything;
seconds are processor time, of short fits that of the second to fourth in the process, memory is the
growth of the peak beyond the data.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/bench_large.py          # 8 minutes
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/bench_large.py --quick  # small data
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import scipy.sparse
from _environment import RESULTS, write_results
from _measure import Timings, parser, row, show
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.preprocessing import normalize

from sklearn_deeplinear import DeepLinearClassifier, DeepLinearRegressor, DeepLinearRegressorCV

REPEATS = {"genomics": 1, "text": 3, "classes": 3}
SHORT = 2.0  # seconds of a fit that is repeated in its process
ALPHA = 1.0  # of Ridge, which sums squares; gamma is that over the number of samples
DECAYS = np.geomspace(1e-2, 1e2, 10)


def genomics(quick):
    """Correlated features, thirty of which matter."""
    n, d, n_test = (200, 4000, 50) if quick else (2000, 20_000, 200)
    n += n_test
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 50)) @ rng.normal(size=(50, d)) / 7 + rng.normal(size=(n, d))
    y = X[:, :30] @ rng.normal(size=30) + 3 * rng.normal(size=n) + 5
    return X[n_test:].copy(), y[n_test:], X[:n_test].copy(), y[:n_test]


def text(quick):
    """Words by Zipf's law, weighed by their rarity; a tenth of them tell."""
    n, d, words = (2000, 5000, 50) if quick else (20_000, 50_000, 50)
    rng = np.random.default_rng(0)
    p = np.arange(1, d + 1) ** -0.9
    p /= p.sum()
    places = np.repeat(np.arange(n), words), rng.choice(d, size=n * words, p=p)
    values = (1 - np.log((words * p).clip(1e-5, 1)))[places[1]] * rng.uniform(0.5, 1.5, n * words)
    X = normalize(scipy.sparse.csr_matrix((values, places), shape=(n, d)))
    y = X @ (rng.normal(size=d) * (rng.uniform(size=d) < 0.1))
    y = y / y.std() + 0.5 * rng.normal(size=n)
    cut = 4 * n // 5
    return X[:cut], y[:cut], X[cut:], y[cut:]


def classes(quick):
    """The same with two classes."""
    X, y, X_test, y_test = text(quick)
    return X, y > np.median(y), X_test, y_test > np.median(y)


def deep(depth, X, norm, **options):
    """A network whose minimum is the solution of Ridge: of the same tau.

    The penalty L g r^(2/L) of a map of norm r has the slope tau = g r^(2/L - 2) in r^2.
    """
    gamma = ALPHA / X.shape[0] * norm ** (2 - 2 / depth)
    return DeepLinearRegressor(depth, 10, weight_decay=gamma, **options)


def gamma_of(X, C):
    """The decay of one layer that LogisticRegression's C stands for."""
    return 1 / (2 * X.shape[0] * C)


WAYS = {
    "genomics": {
        "Ridge(svd)": lambda X, norm: Ridge(alpha=ALPHA, solver="svd"),
        "depth 1, analytic": lambda X, norm: deep(1, X, norm, solver="analytic"),
        "depth 2, analytic": lambda X, norm: deep(2, X, norm, solver="analytic"),
        "depth 2, gd, 1000 steps": lambda X, norm: deep(2, X, norm, max_iter=1000, tol=0),
        "RidgeCV, 10 alphas": lambda X, norm: RidgeCV(alphas=DECAYS * len(X)),
        "left out, depths 1 and 2, 10 decays": lambda X, norm: DeepLinearRegressorCV(
            depths=(1, 2), weight_decays=DECAYS
        ),
        "5 folds, depths 1 and 2, 10 decays": lambda X, norm: DeepLinearRegressorCV(
            depths=(1, 2), weight_decays=DECAYS, cv=5
        ),
    },
    "text": {
        "Ridge(sparse_cg)": lambda X, norm: Ridge(alpha=ALPHA, solver="sparse_cg"),
        "depth 1, analytic": lambda X, norm: deep(1, X, norm, solver="analytic"),
        "depth 2, analytic": lambda X, norm: deep(2, X, norm, solver="analytic"),
        "depth 3, analytic": lambda X, norm: deep(3, X, norm, solver="analytic"),
        "depth 2, gd, 1000 steps": lambda X, norm: deep(2, X, norm, max_iter=1000, tol=0),
    },
    "classes": {
        "LogisticRegression": lambda X, norm: LogisticRegression(C=1.0, max_iter=1000),
        "depth 1, lbfgs": lambda X, norm: DeepLinearClassifier(
            1, weight_decay=gamma_of(X, 1.0), tol=1e-4
        ),
        "depth 2, lbfgs": lambda X, norm: DeepLinearClassifier(2, 10, weight_decay=2e-3, tol=1e-4),
    },
}
DATA = {"genomics": genomics, "text": text, "classes": classes}


def peak():
    """Largest memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ridge_norm(data, quick):
    """Print the norm of the solution of Ridge, in a process of its own as well."""
    X, y, *_ = DATA[data](quick)
    ridge = DeepLinearRegressor(1, weight_decay=ALPHA / X.shape[0], solver="analytic")
    print(np.linalg.norm(ridge.fit(X, y).coef_))


def one(data, way, norm, quick):
    """Fit once, and print what it took."""
    warnings.simplefilter("ignore")
    X, y, X_test, y_test = DATA[data](quick)
    make = WAYS[data][way]
    model = make(X, norm)
    make(X[:60, :20], norm).fit(X[:60, :20], y[:60])
    before, start = peak(), time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    found = {"first_seconds": seconds, "memory_mb": peak() - before}
    seconds = [seconds]
    while len(seconds) < 4 and seconds[0] < SHORT:
        start = time.process_time()
        model.fit(X, y)
        seconds.append(time.process_time() - start)
    # The first fit also pays for memory and code that later ones find ready.
    found |= {"seconds": statistics.median(seconds[1:] or seconds)}
    found |= {"score": model.score(X_test, y_test)}
    minimum = None if data == "classes" else getattr(model, "global_minimum_", None)
    if minimum is not None:
        found |= {"kind": minimum.kind, "bracket": minimum.objective - minimum.lower_bound}
    print(json.dumps(found))


def measure(data, quick):
    """All ways on one data set, in turn."""
    here = [sys.executable, __file__, *["--quick"][: int(quick)]]
    norm = subprocess.check_output([*here, "--norm", data], text=True).strip()
    found = {way: [] for way in WAYS[data]}
    for _ in range(1 if quick else REPEATS[data]):
        for way, rows in found.items():
            command = [*here, "--one", data, way, norm]
            rows.append(json.loads(subprocess.check_output(command, text=True)))
    seconds = {way: [fit["seconds"] for fit in fits] for way, fits in found.items()}
    first = next(iter(found))
    results = []
    for way, fits in found.items():
        took = Timings({"fit": seconds[way], first: seconds[first]}, {})
        own = {key: fits[0][key] for key in ("first_seconds", "kind", "bracket") if key in fits[0]}
        figures = {"memory, MB": fits[0]["memory_mb"], "score": fits[0]["score"]}
        made = row(way, took.named({"fit": "fit"}), figures=figures, part=data, **own)
        results.append(made | {"ratios": {f"fit over {first}": took.ratio("fit", first)}})
        show(results[-1])
    return results


def main():
    line = parser(__doc__, "small data, once")
    line.add_argument("--one", nargs=3, help="data, way and norm, for a process of its own")
    line.add_argument("--norm", help="data of which the norm of Ridge's solution is wanted")
    line.add_argument("--only", choices=list(WAYS), help="one data set")
    options = line.parse_args()
    if options.norm:
        ridge_norm(options.norm, options.quick)
        return
    if options.one:
        data, way, norm = options.one
        one(data, way, float(norm), options.quick)
        return
    results = []
    for data in [options.only] if options.only else WAYS:
        results += measure(data, options.quick)
    if options.only and not options.quick:
        old = json.loads((RESULTS / "bench_large.json").read_text())["results"]
        results = [known for known in old if known["part"] != options.only] + results
    write_results("bench_large", results, quick=options.quick)


if __name__ == "__main__":
    main()
