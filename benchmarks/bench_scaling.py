"""How do time and memory grow with samples, features, outputs, width, depth and candidates?

Each size runs in a process of its own, which first makes the smallest size once, so that nothing
is loaded or compiled on the clock. Times are those of the processor, the least of three; memory is
what the process grew by at its peak besides the data. Exponents are slopes of straight lines
through the logarithms of the larger half of the sizes, where overheads are small, and stand beside
those that counting operations and numbers predicts.

    python benchmarks/bench_scaling.py            # about five minutes on one core
    python benchmarks/bench_scaling.py --quick    # the three smallest sizes of each
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from _environment import write_results
from _measure import parser

REPEATS = 3


def data(n, d, m):
    """Standard normal inputs, and outputs of which half is noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal((d, m)) / np.sqrt(d) + rng.standard_normal((n, m))


def moments(n=20_000, d=50, m=1):
    """Second moments of data in memory."""
    from sklearn_deeplinear.theory import SecondMoments

    X, Y = data(n, d, m)
    return lambda: SecondMoments.from_data(X, Y)


def minimum(n=2_000, d=100, m=20, depth=2):
    """Exact minimum of two layers from moments, where half of the modes live."""
    from sklearn_deeplinear.theory import SecondMoments, global_minimum

    known = SecondMoments.from_data(*data(n, d, m))
    decay = 0.5 * np.linalg.norm(known.cross_moment, 2)
    return lambda: global_minimum(known, depth=depth, weight_decay=decay)


def descent(n=200, d=50, m=50, width=100, depth=3, steps=100):
    """Full-batch steps on moments from random weights, first and last recorded."""
    from sklearn_deeplinear import DeepLinearRegressor

    X, Y = data(n, d, m)
    options = {"init": "normal", "step_size": 1e-4, "tol": 0, "random_state": 0}
    model = DeepLinearRegressor(depth, width, max_iter=steps, record_every=steps, **options)
    return lambda: model.fit(X, Y)


def perceptron(n=2_000, d=50, width=100, depth=3, steps=20):
    """Full-batch steps of a ReLU network, first and last recorded."""
    from sklearn_deeplinear import HomogeneousMLPRegressor

    X, Y = data(n, d, 1)
    options = {"step_size": 1e-4, "tol": 0, "random_state": 0}
    model = HomogeneousMLPRegressor(depth, width, max_iter=steps, record_every=steps, **options)
    return lambda: model.fit(X, Y[:, 0])


def search(candidates=32, n=500, d=20, width=50):
    """A batched search over decays, 100 steps on three folds."""
    from sklearn_deeplinear import DeepLinearRegressor
    from sklearn_deeplinear.model_selection import BatchedGridSearchCV

    X, Y = data(n, d, 1)
    model = DeepLinearRegressor(3, width, max_iter=100, tol=0, step_size=1e-3)
    grid = {"weight_decay": np.geomspace(1e-3, 1, candidates)}
    return lambda: BatchedGridSearchCV(model, grid, cv=3, refit=False).fit(X, Y[:, 0])


# What runs, the size that varies, its values, and predicted exponents of time and memory; None
# where counting tells nothing.
SWEEPS = {
    "moments, samples": (moments, "n", [2**k for k in range(14, 21)], 1, 0),
    "moments, features": (moments, "d", [50, 100, 200, 400, 800], 2, None),
    "minimum, outputs": (minimum, "m", [5, 10, 20, 40, 80], None, None),
    "descent, width": (descent, "width", [100, 200, 400, 800, 1600], 2, 2),
    "descent, layers": (descent, "depth", [2, 4, 8, 16, 32], 1, 1),
    "perceptron, samples": (perceptron, "n", [1000, 2000, 4000, 8000, 16000], 1, 1),
    "perceptron, width": (perceptron, "width", [50, 100, 200, 400, 800], 2, None),
    "search, candidates": (search, "candidates", [16, 32, 64, 128, 256], 1, None),
}


def point(name, value):
    """Seconds and bytes at one size, in this process."""
    make, size, values, *_ = SWEEPS[name]
    make(**{size: values[0]})()
    run = make(**{size: value})
    before, seconds = peak(), []
    for _ in range(REPEATS):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return {"seconds": min(seconds), "bytes": peak() - before}


def peak():
    """Largest resident memory so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def apart(name, value):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--point", name, str(value)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def exponent(values, measured):
    """Slope through the larger half of the sizes, in logarithms; None if nothing was measured."""
    values, measured = np.log(values[len(values) // 2 :]), np.array(measured[len(values) // 2 :])
    if len(values) < 2 or (measured <= 0).any():
        return None
    return float(np.polyfit(values, np.log(measured), 1)[0])


def sweep(name, values):
    """All sizes of one sweep; a dict."""
    points = [apart(name, value) for value in values]
    seconds, memory = ([p[key] for p in points] for key in ("seconds", "bytes"))
    return {
        "sweep": name,
        "sizes": values,
        "seconds": seconds,
        "bytes": memory,
        "exponent_of_time": exponent(values, seconds),
        "predicted_for_time": SWEEPS[name][3],
        "exponent_of_memory": exponent(values, memory),
        "predicted_for_memory": SWEEPS[name][4],
    }


def main():
    """Run all sweeps, print a table and write the results."""
    line = parser(__doc__, "the three smallest sizes of each")
    line.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    arguments = line.parse_args()
    if arguments.point:
        name, value = arguments.point
        print(json.dumps(point(name, int(value))))
        return
    print(f"{'sweep':32}{'sizes':>16}{'time ~ size^':>14}{'predicted':>11}{'memory':>9}")
    rows = []
    for name, (_, _, values, *_) in SWEEPS.items():
        row = sweep(name, values[: 3 if arguments.quick else None])
        rows.append(row)
        cells = row["exponent_of_time"], row["predicted_for_time"], row["exponent_of_memory"]
        ends = f"{row['sizes'][0]}-{row['sizes'][-1]}"
        shown = ["-" if cell is None else f"{cell:.2f}" for cell in cells]
        print(f"{name:32}{ends:>16}{shown[0]:>14}{shown[1]:>11}{shown[2]:>9}", flush=True)
    write_results("bench_scaling", rows, quick=arguments.quick, repeats=REPEATS)


if __name__ == "__main__":
    main()
