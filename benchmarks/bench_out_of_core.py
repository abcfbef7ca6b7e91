"""What do fits from a memory map take, in memory and in times of reading the data?

Each case runs in a process of its own. Its memory is the growth of the peak of the resident set
(VmHWM) over what the process held before (VmRSS), pages of the memory map included. Its time is
compared with the bare pass of `bench_moments.py`: products Z^T Z of the same rows in float64,
read in blocks. Bare pass and fit run in turn; ratios are those of the medians of three, of
wall time and of processor time.

    python benchmarks/bench_out_of_core.py            # writes 6 GB to a folder
    python benchmarks/bench_out_of_core.py --quick    # 60 MB
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _environment import write_results
from _measure import Timings, parser, row, show
from bench_moments import products

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.theory import SecondMoments

N_INPUTS, N_REPEATS = 50, 3
ROWS, QUICK_ROWS = 10_000_000, 200_000

JOBS = {
    "moments": SecondMoments.from_data,
    "fit": lambda X, y: DeepLinearRegressor(weight_decay=0.1, solver="analytic").fit(X, y),
    "CV, 5 folds": lambda X, y: DeepLinearRegressorCV(cv=5).fit(X, y),
    "predict": lambda X, y: _fitted(X).predict(X),
    "score": lambda X, y: _fitted(X).score(X, y),
}


def _fitted(X):
    rows = np.asarray(X[:1000], dtype=float)
    return DeepLinearRegressor(solver="analytic").fit(rows, rows[:, 0])


def write(folder, n, dtype):
    """Inputs of mean one and targets, in files."""
    rng = np.random.default_rng(0)
    X = np.memmap(folder / f"X_{dtype}", dtype, "w+", shape=(n, N_INPUTS))
    y = np.memmap(folder / f"y_{dtype}", np.float64, "w+", shape=n)
    for start in range(0, n, 100_000):
        rows = rng.standard_normal((min(100_000, n - start), N_INPUTS), dtype=np.float32) + 1
        X[start : start + len(rows)] = rows
        y[start : start + len(rows)] = rows[:, 0] + rng.standard_normal(len(rows))
    X.flush(), y.flush()


def open_maps(folder, n, dtype):
    X = np.memmap(folder / f"X_{dtype}", dtype, "r", shape=(n, N_INPUTS))
    return X, np.memmap(folder / f"y_{dtype}", np.float64, "r", shape=n)


def memory(name):
    """A line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def clocks(function, *arguments):
    start = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def measure(job, folder, n, dtype):
    """Memory of a job first, then its times beside those of the bare pass."""
    X, y = open_maps(folder, n, dtype)
    JOBS[job](np.asarray(X[:1000]), np.asarray(y[:1000]))  # loads what it needs
    before = memory("VmRSS")
    JOBS[job](X, y)
    grown = memory("VmHWM") - before
    runs = [(clocks(JOBS[job], X, y), clocks(products, X, y)) for _ in range(N_REPEATS)]
    ways = ("fit", "bare pass")
    wall, cpu = (
        Timings({way: [turn[i][clock] for turn in runs] for i, way in enumerate(ways)}, {})
        for clock in (0, 1)
    )
    return row(
        f"{job}, {n:,} x {N_INPUTS}, {dtype}",
        wall,
        [ways],
        figures={
            "processor time over bare pass": cpu.ratio(*ways),
            "memory, MB": grown,
            "load": os.getloadavg()[0],
        },
        processor_seconds=cpu.medians(),
    )


def main():
    line = parser(__doc__, "small data")
    line.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    options = line.parse_args()
    if options.case:
        job, folder, n, dtype = options.case
        print(json.dumps(measure(job, Path(folder), int(n), dtype)))
        return
    n, rows = QUICK_ROWS if options.quick else ROWS, []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "float64"):
            write(Path(folder), n, dtype)
            for job in JOBS:
                command = [sys.executable, __file__, "--case", job, folder, str(n), dtype]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                rows.append(json.loads(done.stdout))
                show(rows[-1])
            for name in ("X", "y"):
                (Path(folder) / f"{name}_{dtype}").unlink()
    write_results("bench_out_of_core", rows, quick=options.quick)


if __name__ == "__main__":
    main()
