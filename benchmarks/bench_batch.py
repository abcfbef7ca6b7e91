"""How much faster are many networks at once than one after the other?

A sweep (36 configurations of decay and step size x 3 folds) of one shape is trained by
gradient descent as one batch, and as 108 single networks, from the same weights and moments,
with the same records and without. Final weights must agree to 1e-10. The two run in turn, and
the ratio is that of the medians.

    python benchmarks/bench_batch.py            # about 4 minutes on two cores
    python benchmarks/bench_batch.py --quick    # a tenth of the steps, one repeat
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from _environment import write_results

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.theory import SecondMoments

BATCH = (36, 3)
# name: n, d, m, h, L, noise, steps
CASES = {
    "diabetes": (442, 10, 1, 20, 3, 0.0, 300),
    "diabetes, noise": (442, 10, 1, 20, 3, 0.1, 300),
    "3 outputs": (442, 10, 3, 20, 3, 0.0, 300),
    "more outputs than inputs": (442, 5, 20, 20, 3, 0.0, 300),
    "width 100": (442, 10, 1, 100, 3, 0.0, 100),
}


def make_case(n, d, m, h, depth):
    """Moments of the folds, weights of all networks, their decays and step sizes."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    fold = np.arange(n) % BATCH[1]
    moments = [SecondMoments.from_data(X[fold != k], y[fold != k]) for k in range(BATCH[1])]
    sizes = [d, *[h] * (depth - 1), m]
    weights = [
        torch.from_numpy(0.7 * rng.standard_normal((*BATCH, rows, columns)) / np.sqrt(rows))
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    decay = torch.from_numpy(np.geomspace(1e-4, 1e-1, BATCH[0]))[:, None].expand(BATCH)
    step_size = torch.from_numpy(rng.uniform(1e-3, 1e-2, BATCH))
    return moments, weights, [decay] * depth, step_size


def batch_run(case, noise, iterations):
    """Train all networks at once; return their state."""
    moments, weights, decays, step_size = case
    dynamics = LinearDynamics.from_moments(weights, moments, decays, noise)
    descend(dynamics, lambda t: step_size, iterations)
    return dynamics.state


def single_runs(case, noise, iterations):
    """Train them one after the other; return their states."""
    moments, weights, decays, step_size = case
    states = torch.empty((*BATCH, sum(W[0, 0].numel() for W in weights)), dtype=torch.float64)
    for index in np.ndindex(*BATCH):
        dynamics = LinearDynamics.from_moments(
            [W[index] for W in weights],
            moments[index[1]],
            [float(gamma[index]) for gamma in decays],
            noise,
        )
        eta = float(step_size[index])
        descend(dynamics, lambda t, eta=eta: eta, iterations)
        states[index] = dynamics.state
    return states


def seconds(run, *arguments):
    """Time and outcome of a run."""
    start = time.perf_counter()
    outcome = run(*arguments)
    return time.perf_counter() - start, outcome


def run_case(name, steps, records, repeats):
    """Time one case; return its figures."""
    n, d, m, h, depth, variance, _ = CASES[name]
    case, noise = make_case(n, d, m, h, depth), [variance] * (depth - 1)
    iterations = record_iterations(steps, max(1, steps // records))
    together, apart = [], []
    for _ in range(repeats):
        elapsed, states = seconds(batch_run, case, noise, iterations)
        together.append(elapsed)
        elapsed, own = seconds(single_runs, case, noise, iterations)
        apart.append(elapsed)
    error = float((states - own).abs().max())
    if not error < 1e-10:
        raise AssertionError(f"{name}: the final weights differ by {error:.1e}")
    return {
        "case": name,
        **dict(zip("ndmhL", CASES[name], strict=False)),
        "noise": variance,
        "networks": int(np.prod(BATCH)),
        "steps": steps,
        "records": len(iterations),
        "batch_seconds": statistics.median(together),
        "single_seconds": statistics.median(apart),
        "ratio": statistics.median(apart) / statistics.median(together),
        "weight_error": error,
    }


def main():
    """Run all cases and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--only", help="part of the name of the cases to run")
    parser.add_argument("--save", action="store_true", help="write results/bench_batch.json")
    arguments = parser.parse_args()
    print(f"{'case':28} {'steps':>5} {'records':>7} {'batch':>9} {'single':>9} {'ratio':>8}")
    rows = []
    for name, case in CASES.items():
        if arguments.only and arguments.only not in name:
            continue
        steps = max(20, case[6] // 10) if arguments.quick else case[6]
        for records in (1, steps):
            row = run_case(name, steps, records, 1 if arguments.quick else 3)
            rows.append(row)
            print(
                f"{name:28} {steps:5} {row['records']:7} {row['batch_seconds']:8.3f}s "
                f"{row['single_seconds']:8.3f}s {row['ratio']:7.1f}x",
                flush=True,
            )
    if arguments.save:
        write_results("bench_batch", rows)


if __name__ == "__main__":
    main()
