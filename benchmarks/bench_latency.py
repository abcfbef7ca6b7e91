"""How long does one wait for imports, for a first fit, and for predictions?

- "import": `import sklearn_deeplinear` and its estimator, beside `sklearn.linear_model`, in fresh
  processes. The times are those of the statements, so that the start of Python does not count.
- "first fit": import and fit of diabetes in a fresh process, beside `Ridge`; defaults, and the
  minimum without training.
- "predict": one row and 10,000 rows of 10 and of 100 features, beside `Ridge` on the same data.
  Both map the inputs by one matrix, and the predictions of the network of one layer must agree
  with those of `Ridge` at the same penalty.

The contestants run in turn; ratios are those of the medians.

    python benchmarks/bench_latency.py            # some two minutes
    python benchmarks/bench_latency.py --quick    # two processes each
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
from _environment import write_results
from _measure import Timings, agreed, in_turn, parser, row, show
from sklearn.linear_model import Ridge

from sklearn_deeplinear import DeepLinearRegressor

DATA = "from sklearn.datasets import load_diabetes; X, y = load_diabetes(return_X_y=True)"
OURS = "from sklearn_deeplinear import DeepLinearRegressor"
# Case: what is done before the clock starts, and while it runs, by contestant.
PROCESSES = {
    "import": {
        "sklearn.linear_model": ("", "import sklearn.linear_model"),
        "sklearn_deeplinear": ("", "import sklearn_deeplinear"),
        "DeepLinearRegressor": ("", OURS),
        "torch": ("", "import torch"),
    },
    "first fit": {
        "Ridge": (DATA, "from sklearn.linear_model import Ridge; Ridge().fit(X, y)"),
        "DeepLinearRegressor": (DATA, f"{OURS}; DeepLinearRegressor().fit(X, y)"),
        "analytic": (DATA, f"{OURS}; DeepLinearRegressor(solver='analytic').fit(X, y)"),
    },
}
FIRST = {"import": "sklearn.linear_model", "first fit": "Ridge"}
N_PROCESSES, N_PREDICTIONS = 7, 301
# Penalty of Ridge, and the largest difference of predictions of size one.
ALPHA, AGREE = 1.0, 1e-10


def in_fresh_process(before, statements):
    """Seconds of statements in a process of its own."""
    code = (
        f"{before}\nimport time\nbegin = time.perf_counter()\n{statements}\n"
        "print(time.perf_counter() - begin)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def processes(case, repeats):
    """Times of one case, after one turn that fills the caches of files."""
    calls = {way: partial(in_fresh_process, *parts) for way, parts in PROCESSES[case].items()}
    seconds = {way: [] for way in calls}
    for turn in range(-1, repeats):
        for way, call in calls.items():
            elapsed = call()
            if turn >= 0:
                seconds[way].append(elapsed)
    return beside(case, Timings(seconds, {}), FIRST[case], part=case)


def predictions(n_rows, n_features, repeats):
    """Times of predictions of one batch of rows."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((1000, n_features))
    y = X @ rng.standard_normal(n_features) / np.sqrt(n_features) + rng.standard_normal(1000)
    ridge = Ridge(alpha=ALPHA).fit(X, y)
    exact = {"weight_decay": ALPHA / len(X), "solver": "analytic"}
    one_layer = DeepLinearRegressor(1, **exact).fit(X, y)
    two_layers = DeepLinearRegressor(2, **exact).fit(X, y)
    rows = rng.standard_normal((n_rows, n_features))
    models = {"Ridge": ridge, "DeepLinearRegressor": one_layer, "two layers": two_layers}
    ways = {way: partial(model.predict, rows) for way, model in models.items()}
    timings = in_turn(ways, repeats, warm_up=1)
    name = f"{n_rows:,} x {n_features}"
    ours, theirs = (timings.outcomes[way] for way in ("DeepLinearRegressor", "Ridge"))
    error = agreed(name, np.abs(ours - theirs).max(), AGREE)
    return beside(name, timings, "Ridge", agreement=error, part="predict")


def beside(case, timings, first, **others):
    """The row of a case, whose ratios are those to the first contestant."""
    ratios = [(way, first) for way in timings.seconds if way != first]
    return row(case, timings, ratios, **others)


def main():
    """Run all cases and print a line a contestant."""
    quick = parser(__doc__, "two processes each").parse_args().quick
    rows = [processes(case, 2 if quick else N_PROCESSES) for case in PROCESSES]
    for n_features in (10, 100):
        for n_rows in (1, 10_000):
            rows.append(predictions(n_rows, n_features, 31 if quick else N_PREDICTIONS))
    for found in rows:
        show(found)
    write_results("bench_latency", rows, quick=quick)


if __name__ == "__main__":
    main()
