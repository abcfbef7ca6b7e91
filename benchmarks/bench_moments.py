"""How near do second moments come to the matrix product that they cannot do without?

`SecondMoments.from_data` is timed against the products Z^T Z of the same rows in float64, read
in the same blocks, and their Cholesky factor: what one writes oneself, without means and with
half of the digits where columns are nearly dependent. Wide data, which are kept as they are,
are timed against X X^T. The ways run in turn; ratios are those of the medians. Before,
both moments must agree.

    python benchmarks/bench_moments.py            # about a minute; writes 2 GB to a folder
    python benchmarks/bench_moments.py --quick    # small data, nothing written
"""

from __future__ import annotations

import resource
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse
from _environment import write_results
from _measure import agreed, in_turn, parser, row, show

from sklearn_deeplinear.theory import SecondMoments

BLOCK_BYTES = 2**25
# Largest difference of the products, relative to the largest of them.
AGREE = 1e-12

# name: rows, columns, kind, repeats
CASES = {
    "1,000,000 x 50": (1_000_000, 50, "float64", 5),
    "100,000 x 500": (100_000, 500, "float64", 5),
    "2,000 x 5,000": (2000, 5000, "wide", 3),
    "10,000,000 x 50, float32, memmap": (10_000_000, 50, "memmap", 1),
    "200,000 x 300, 1 % filled": (200_000, 300, "sparse", 3),
}
QUICK = {
    "50,000 x 50": (50_000, 50, "float64", 5),
    "2,000 x 200": (2000, 200, "float64", 5),
    "200 x 1,000": (200, 1000, "wide", 5),
    "20,000 x 100, 1 % filled": (20_000, 100, "sparse", 3),
}


def data(n, d, kind, folder):
    """Inputs of mean one and targets."""
    rng = np.random.default_rng(0)
    if kind == "sparse":
        filled = np.sort(rng.choice(n * d, size=n * d // 100, replace=False))
        X = scipy.sparse.csr_array((rng.normal(size=len(filled)), divmod(filled, d)), shape=(n, d))
        return X, rng.normal(size=n)
    if kind != "memmap":
        X = rng.normal(size=(n, d)) + 1
        return X, X[:, 0] + rng.normal(size=n)
    X = np.memmap(Path(folder) / "X", np.float32, "w+", shape=(n, d))
    for start in range(0, n, 100_000):
        rows = X[start : start + 100_000]
        rows[:] = rng.normal(size=rows.shape) + 1
    X.flush()
    return np.memmap(Path(folder) / "X", np.float32, "r", shape=(n, d)), rng.normal(size=n)


def products(X, y):
    """Cholesky factor of the products of the rows of (X, y), a block at a time."""
    n, d = X.shape
    if d > n:
        return np.asarray(X) @ np.asarray(X).T
    gram, size = 0.0, BLOCK_BYTES // (8 * d)
    for start in range(0, n, size):
        rows = slice(start, start + size)
        part = X[rows]
        part = part.toarray() if scipy.sparse.issparse(part) else np.asarray(part, np.float64)
        Z = np.column_stack([part, y[rows]])
        gram = gram + Z.T @ Z
    return scipy.linalg.cholesky(gram / n)


def difference(X, y):
    """Relative difference of the products about zero, where there are few enough of them."""
    if X.shape[1] > X.shape[0]:
        return None
    moments, R = SecondMoments.from_data(X, y, center=False), products(X, y)
    gram = R.T @ R
    return float(np.abs(moments.factor.T @ moments.factor - gram).max() / np.abs(gram).max())


def main():
    quick = parser(__doc__, "small data").parse_args().quick
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (n, d, kind, repeats) in (QUICK if quick else CASES).items():
            X, y = data(n, d, kind, folder)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ways = {"moments": SecondMoments.from_data, "products": products}
            timings = in_turn({w: partial(call, X, y) for w, call in ways.items()}, repeats)
            error = difference(X, y) if kind != "memmap" else None
            if error is not None:
                agreed(name, error, AGREE)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
            figures = {"memory, MB": grown}
            ratios = [("moments", "products")]
            rows.append(row(name, timings, ratios, agreement=error, figures=figures))
            show(rows[-1])
            del X, y
    write_results("bench_moments", rows, quick=quick)


if __name__ == "__main__":
    main()
