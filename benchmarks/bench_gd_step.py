"""How much faster is `fit` than the loop a torch user writes?

A whole `DeepLinearRegressor.fit` (validation, moments, steps, default recording) is timed
against a bare autograd loop (nn.Sequential, mean squared error, torch.optim.SGD) that starts
from the same weights, makes the same steps and records nothing. Final weights must agree to
1e-8. The two run in turn, and the ratio is that of the medians. Initial weights are random;
cases called spectral start from the estimator's default.

    python benchmarks/bench_gd_step.py            # about 7 minutes on two cores
    python benchmarks/bench_gd_step.py --quick    # a tenth of the steps, one repeat
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from _environment import write_results

from sklearn_deeplinear import DeepLinearRegressor

WEIGHT_DECAY = 1e-3

# name: n, d, m, h, L, steps, least ratio claimed
CASES = {
    "small": (1000, 10, 1, 32, 3, 1000, 15),
    "wide data": (10_000, 100, 1, 100, 3, 1000, 60),
    "wide data, 10 outputs": (10_000, 100, 10, 100, 3, 1000, 60),
    "diabetes, depth 4": (442, 10, 1, 50, 4, 1000, 10),
    "ridge": (442, 10, 1, 1, 1, 1000, 1),
    "tiny": (20, 2, 1, 2, 2, 1000, 1),
    "more outputs than inputs": (500, 5, 40, 30, 3, 1000, 1),
    "more inputs than rows": (60, 2000, 1, 50, 3, 1000, 1),
    "images": (1000, 784, 10, 50, 3, 1000, 1),
    "hierarchical, depth 2": (8, 8, 15, 1000, 2, 1000, 1),
    "hierarchical, depth 3": (8, 8, 15, 1000, 3, 1000, 1),
    "hierarchical, depth 7": (8, 8, 15, 1000, 7, 500, 1),
    "depth 2, 50 steps": (8, 8, 15, 1000, 2, 50, 1),
    "depth 3, 50 steps": (8, 8, 15, 1000, 3, 50, 0.7),
    "depth 7, 50 steps": (8, 8, 15, 1000, 7, 50, 0.7),
    "small, 50 steps": (1000, 10, 1, 32, 3, 50, 1),
    "depth 3, 50 steps, spectral": (8, 8, 15, 1000, 3, 50, 5),
    "depth 7, 50 steps, spectral": (8, 8, 15, 1000, 7, 50, 5),
    "depth 7, 500 steps, spectral": (8, 8, 15, 1000, 7, 500, 10),
}


def make_case(n, d, m, h, depth):
    """Random regression data and initial weights that neither vanish nor explode."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    sizes = [d, *[h] * (depth - 1), m]
    weights = [
        0.7 * rng.standard_normal((rows, columns)) / np.sqrt(max(rows, columns))
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return X, y, weights


def default_weights(X, y, weights):
    """Weights of the same shapes from the estimator's default `init`."""
    widths = [len(W) for W in weights[:-1]]
    return DeepLinearRegressor(len(weights), widths, max_iter=0, tol=0).fit(X, y).weights_


def bare_loop(X, y, weights, step_size, steps):
    """Train with autograd and SGD; return the final weights."""
    X = torch.from_numpy(X - X.mean(axis=0))
    y = torch.from_numpy(y - y.mean(axis=0))
    layers = [torch.nn.Linear(*W.shape[::-1], bias=False, dtype=torch.float64) for W in weights]
    net = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for layer, W in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(W))
    optimizer = torch.optim.SGD(net.parameters(), lr=step_size, weight_decay=2 * WEIGHT_DECAY)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(X) - y).square().sum() / len(X)
        loss.backward()
        optimizer.step()
    return [layer.weight.detach().numpy() for layer in layers]


def whole_fit(X, y, weights, steps):
    """Fit the estimator; return it."""
    return DeepLinearRegressor(
        depth=len(weights),
        width=[len(W) for W in weights[:-1]],
        weight_decay=WEIGHT_DECAY,
        init=weights,
        max_iter=steps,
        tol=0,
        device="cpu",
    ).fit(X, y)


def run_case(name, steps, repeats):
    """Time one case; return its figures."""
    n, d, m, h, depth, _, claim = CASES[name]
    X, y, weights = make_case(n, d, m, h, depth)
    if "spectral" in name:
        weights = default_weights(X, y, weights)
    step_size = whole_fit(X, y, weights, 2).step_size_  # also warms up
    bare_loop(X, y, weights, step_size, 2)
    ours, bare = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        model = whole_fit(X, y, weights, steps)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        final = bare_loop(X, y, weights, model.step_size_, steps)
        bare.append(time.perf_counter() - start)
    error = max(np.abs(a - b).max() for a, b in zip(model.weights_, final, strict=True))
    if not error < 1e-8:
        raise AssertionError(f"{name}: the final weights differ by {error:.1e}")
    return {
        "case": name,
        "n": n,
        "d": d,
        "m": m,
        "h": h,
        "depth": depth,
        "steps": steps,
        "records": len(model.trajectory_),
        "fit_seconds": statistics.median(ours),
        "bare_seconds": statistics.median(bare),
        "ratio": statistics.median(bare) / statistics.median(ours),
        "claimed_ratio": claim,
        "weight_error": float(error),
    }


def main():
    """Run all cases and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--only", help="part of the name of the cases to run")
    parser.add_argument("--save", action="store_true", help="write results/bench_gd_step.json")
    arguments = parser.parse_args()
    print(f"{'case':28} {'n, d, m, h, L':26} {'steps':>5} {'fit':>9} {'bare':>9} {'ratio':>8}")
    rows = []
    for name, case in CASES.items():
        if arguments.only and arguments.only not in name:
            continue
        steps = max(20, case[5] // 10) if arguments.quick else case[5]
        row = run_case(name, steps, 1 if arguments.quick else 3)
        rows.append(row)
        print(
            f"{name:28} {', '.join(map(str, case[:5])):26} {steps:5} {row['fit_seconds']:8.3f}s "
            f"{row['bare_seconds']:8.3f}s {row['ratio']:7.1f}x",
            flush=True,
        )
    if arguments.save:
        write_results("bench_gd_step", rows)


if __name__ == "__main__":
    main()
