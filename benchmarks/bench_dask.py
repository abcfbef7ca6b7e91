"""How much faster are moments of a data set on two worker processes than in one process?

Chunks of a file are read by the workers, on the machine that holds it; one process reads the same
file as a memory map, with one thread as each worker has. Both run in turn, and the moments must
agree. Beside wall times stand those that the cores had: on a machine that others use, wall times
say how many cores were free.

    python benchmarks/bench_dask.py            # writes 4 GB to a folder
    python benchmarks/bench_dask.py --quick    # a hundredth of it
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import psutil
from _environment import write_results
from _measure import Timings, parser, row, show
from distributed import Client, LocalCluster
from threadpoolctl import threadpool_limits

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.theory import SecondMoments

ROWS, QUICK_ROWS, N_INPUTS, CHUNK = 20_000_000, 1_000_000, 50, 500_000
N_WORKERS, N_REPEATS = 2, 3


def write(path, n):
    """Inputs of mean one, and targets in the last column."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, n, CHUNK):
            rows = rng.standard_normal((min(CHUNK, n - start), N_INPUTS + 1), dtype=np.float32)
            rows[:, :-1] += 1
            rows[:, -1] += rows[:, 0]
            rows.tofile(file)


def stored(path, n):
    return np.memmap(path, np.float32, "r", shape=(n, N_INPUTS + 1))


def lazy(path, n):
    """The same rows in chunks that workers read from the file."""

    def load(block_info=None):
        first, last = block_info[None]["array-location"][0]
        start, shape = first * (N_INPUTS + 1) * 4, (last - first, N_INPUTS + 1)
        return np.memmap(path, np.float32, "r", offset=start, shape=shape)

    sizes = tuple(min(CHUNK, n - start) for start in range(0, n, CHUNK))
    meta, chunks = np.empty((0, 0), np.float32), (sizes, (N_INPUTS + 1,))
    return da.map_blocks(load, chunks=chunks, dtype=np.float32, meta=meta)


JOBS = {
    "moments": lambda rows: SecondMoments.from_data(rows[:, :-1], rows[:, -1]),
    "fit": lambda rows: (
        DeepLinearRegressor(weight_decay=0.1, solver="analytic")
        .fit(rows[:, :-1], rows[:, -1])
        .moments_
    ),
    "CV, 5 folds": lambda rows: DeepLinearRegressorCV(cv=5).fit(rows[:, :-1], rows[:, -1]).moments_,
}


def processor_time(processes):
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def timed(job, rows, processes):
    start = time.perf_counter(), processor_time(processes)
    moments = job(rows)
    return moments, time.perf_counter() - start[0], processor_time(processes) - start[1]


def difference(a, b):
    """Largest difference of two second moments, in the size of the largest."""
    return float(np.abs(a.input_moment - b.input_moment).max() / np.abs(b.input_moment).max())


def measure(name, path, n, workers):
    own = [psutil.Process()]
    runs = []
    for _ in range(N_REPEATS):
        with threadpool_limits(1):
            one = timed(JOBS[name], stored(path, n), own)
        two = timed(JOBS[name], lazy(path, n), workers)
        runs.append([*one[1:], *two[1:]])
    wall, cpu, wall_two, cpu_two = np.transpose(runs).tolist()
    ways = ("one process", "two workers")
    return row(
        f"{name}, {n:,} x {N_INPUTS}, float32",
        Timings(dict(zip(ways, (wall, wall_two), strict=True)), {}),
        [ways],
        agreement=difference(two[0], one[0]),
        figures={"load": os.getloadavg()[0]},
        processor_seconds=Timings(dict(zip(ways, (cpu, cpu_two), strict=True)), {}).medians(),
    )


def main():
    for library in ("OMP", "OPENBLAS", "MKL"):  # of the workers, which start with one thread
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    line = parser(__doc__, "few rows")
    line.add_argument("--rows", type=int, help="number of rows; writes nothing")
    options = line.parse_args()
    n = options.rows or (QUICK_ROWS if options.quick else ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        write(path, n)
        cluster = LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        )
        with cluster, Client(cluster) as client:
            workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
            JOBS["moments"](lazy(path, min(n, 2 * CHUNK)))  # loads what workers need
            rows = [measure(name, path, n, workers) for name in JOBS]
    for found in rows:
        show(found)
    if not options.rows:
        write_results("bench_dask", rows, quick=options.quick)


if __name__ == "__main__":
    main()
