"""Does anything lie below the minima of noisy networks of several outputs, or below their bounds?

300 random problems of 2 to 5 inputs, 2 to 4 outputs, two to four layers and 1 to 6 units in
each hidden one, every fourth with structured moments. Noise variances lie between 0.01 and 100,
decays between 1/1000 of the one at which the strongest output would collapse and that one, and
every tenth problem has none. L-BFGS on the full expected objective, with nothing of the package
but the moments, starts from 200 random points; what is lower by more than 1e-6 is an error.

Then the time of 20 problems of 10 outputs and 50 units, the gaps of which are given as well.

    python benchmarks/check_noise.py --quick           # 12 problems, 20 restarts, 4 wide ones
    python benchmarks/check_noise.py --save            # all, some 20 minutes of one core

With `--save` the results of searches are kept as they are found, and a later call goes on from
them; the minima are computed anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import scipy
from _environment import RESULTS, write_results

from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    global_minimum,
    verify,
)

NAME = "check_noise"
QUANTILES = (0.5, 0.9, 0.99, 1.0)

# By how much a search may be lower, and by how much rounding lets it be below a bound.
_LOWER, _ROUNDING = 1e-6, 1e-11

# Rounds of a search: the steps of L-BFGS, and how many of the lowest ends then go on.
_ROUNDS = ((60, 20), (200, 3), (1500, 1))


def small(seed):
    """Moments and parameters of a problem as the docstring says."""
    random = np.random.default_rng(seed)
    d, m, depth = random.integers(2, 6), random.integers(2, 5), int(random.integers(2, 5))
    X = random.normal(size=(30, d)) * np.exp(random.normal(size=d))
    y = X @ random.normal(size=(d, m)) + random.uniform(0.1, 2) * random.normal(size=(30, m))
    moments = SecondMoments.from_data(X, y)
    if seed % 4 == 0:
        A = [np.eye(d), np.diag(2.0 ** np.arange(d)), np.ones((d, d)) + np.eye(d)][seed // 4 % 3]
        M = random.integers(-2, 3, size=(m, d)) + np.eye(m, d)
        moments = SecondMoments.from_moments(A, M @ A, np.trace(M @ A @ M.T) + 0.1)
    width = tuple(map(int, random.integers(1, 7, size=depth - 1)))
    noise = tuple(map(float, 10 ** random.uniform(-2, 2, size=depth - 1)))
    options = {"depth": depth, "width": width, "noise": noise}
    U = np.linalg.svd(moments.cross_moment)[0]
    strongest = U[:, :1].T @ moments.cross_moment
    one = SecondMoments.from_moments(moments.input_moment, strongest, moments.output_moment)
    decay = critical_weight_decay(one, **options).collapse * 10 ** random.uniform(-3, 0)
    return moments, {**options, "weight_decay": 0.0 if seed % 10 == 9 else float(decay)}


def wide(seed):
    """A problem of 10 outputs and 50 units."""
    random = np.random.default_rng([1, seed])
    d, n = random.integers(10, 31), random.integers(200, 2001)
    X = random.normal(size=(n, d)) * np.exp(random.uniform() * random.normal(size=d))
    y = X @ random.normal(size=(d, 10)) / np.sqrt(d)
    y += random.uniform(0.1, 2) * random.normal(size=y.shape)
    moments = SecondMoments.from_data(X, y)
    collapse = np.linalg.norm(moments.cross_moment, 2)
    decay = collapse * 10 ** random.uniform(-3, np.log10(0.3))
    noise = 10 ** random.uniform(-1, np.log10(5))
    return moments, {"depth": 2, "width": 50, "noise": noise, "weight_decay": decay}


def solved(moments, options):
    """What is known of one problem."""
    cpu = time.process_time()
    minimum = global_minimum(moments, **options)
    cpu = time.process_time() - cpu
    return {
        "kind": minimum.kind,
        "zero": minimum.is_zero,
        "objective": minimum.objective,
        "lower_bound": minimum.lower_bound,
        "gap": 1 - minimum.lower_bound / minimum.objective,
        "verified": verify(minimum, moments).ok,
        "cpu_seconds": cpu,
    }


def searched(moments, depth, width, noise, weight_decay, restarts):
    """Least objective of all weights that L-BFGS reaches from random starts."""
    A, S, c = moments.input_moment, moments.cross_moment, moments.output_moment
    sizes = (A.shape[0], *width, S.shape[0])
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    ends = np.cumsum([a * b for a, b in shapes])

    def function(w):
        W = [part.reshape(s) for part, s in zip(np.split(w, ends[:-1]), shapes, strict=True)]
        maps, moment = [np.eye(len(A))], [A]
        for layer, s in zip(W, (*noise, 0.0), strict=True):
            maps.append(layer @ maps[-1])
            C = layer @ moment[-1] @ layer.T
            moment.append(C + s * np.diag(np.diag(C)))
        value = np.trace(moment[-1]) - 2 * np.sum(maps[-1] * S) + c + weight_decay * (w @ w)
        K, back, gradients = np.eye(len(S)), S, []
        for i in range(depth)[::-1]:
            gradients.append((2 * K @ W[i] @ moment[i] - 2 * back @ maps[i].T).ravel())
            K, back = W[i].T @ K @ W[i], W[i].T @ back
            K = K + (noise[i - 1] if i else 0.0) * np.diag(np.diag(K))
        return value / c, (np.concatenate(gradients[::-1]) + 2 * weight_decay * w) / c

    def descended(w, steps):
        limits = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-10}
        options = {"jac": True, "method": "L-BFGS-B", "options": {**limits, "maxcor": 20}}
        found = scipy.optimize.minimize(function, w, **options)
        return found.fun, found.x

    random = np.random.default_rng(0)
    size = (np.linalg.norm(S, 2) / np.linalg.norm(A, 2)) ** (1 / depth)
    points = []
    for _ in range(restarts):
        scale = size * 10 ** random.uniform(-1.5, 0.5)
        start = [scale * random.normal(size=shape) / shape[1] ** 0.5 for shape in shapes]
        points.append(np.concatenate([W.ravel() for W in start]))
    for steps, kept in _ROUNDS:
        found = sorted((descended(w, steps) for w in points), key=lambda end: end[0])[:kept]
        points = [w for _, w in found]
    return float(c * min(1.0, found[0][0]))


def quantiles(rows, name):
    """Quantiles of one column."""
    values = np.quantile([row[name] for row in rows], QUANTILES)
    return dict(zip(map(str, QUANTILES), values.tolist(), strict=True))


def summary(rows, wide_rows):
    """Shares, quantiles and what the searches found."""
    found = {"problems": len(rows), "wide_problems": len(wide_rows)}
    found["zero"] = sum(row["zero"] for row in rows)
    found["share_certified"] = float(np.mean([row["kind"] == "certified" for row in rows]))
    found["share_verified"] = float(np.mean([row["verified"] for row in rows]))
    for name in ("gap", "cpu_seconds"):
        found[f"{name}_quantiles"] = quantiles(rows, name)
        if wide_rows:
            found[f"wide_{name}_quantiles"] = quantiles(wide_rows, name)
    found["least_search_above_minimum"] = min(row["above_minimum"] for row in rows)
    found["least_search_above_bound"] = min(row["above_bound"] for row in rows)
    found["lower_by_more_than_1e-6"] = sum(row["above_minimum"] < -_LOWER for row in rows)
    return found


def main():
    """Print the summary; exit with 1 if anything lies below a minimum or a bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 problems, 20 restarts")
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--restarts", type=int, default=200)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    n, restarts, n_wide = arguments.problems, arguments.restarts, 20
    if arguments.quick:
        n, restarts, n_wide = 12, 20, 4
    path, known, rows = RESULTS / f"{NAME}.json", {}, []
    if arguments.save and path.exists():
        old = json.loads(path.read_text())["results"]
        known = {row["seed"]: row["search"] for row in old["rows"] if row["restarts"] == restarts}
    for seed in range(n):
        moments, options = small(seed)
        row = {"seed": seed, "restarts": restarts, **options, **solved(moments, options)}
        lowest = known.get(seed) or searched(moments, **options, restarts=restarts)
        row["search"] = lowest
        row["above_minimum"] = lowest / row["objective"] - 1
        row["above_bound"] = lowest / row["lower_bound"] - 1
        if row["above_minimum"] < -_LOWER or not row["verified"]:
            print(row, flush=True)
        rows.append(row)
        if arguments.save and seed not in known and seed % 20 == 19:
            result = {"summary": summary(rows, []), "rows": rows}
            write_results(NAME, result, quick=arguments.quick)
    wide_rows = [{"seed": seed, **solved(*wide(seed))} for seed in range(n_wide)]
    found = summary(rows, wide_rows)
    for name, value in found.items():
        print(f"  {name}: {value}")
    if arguments.save:
        result = {"summary": found, "rows": rows, "wide": wide_rows}
        write_results(NAME, result, quick=arguments.quick)
    wrong = found["lower_by_more_than_1e-6"] or found["least_search_above_bound"] < -_ROUNDING
    sys.exit(1 if wrong or found["share_verified"] < 1 else 0)


if __name__ == "__main__":
    main()
