"""Layers stay balanced: the experiments of Du, Hu, Lee (2018), with our numbers.

(a) A 1000-100-100-10 ReLU network without biases on 1000 points, quadratic loss, 10,000
    steps of gradient descent, from two initialisations: entry variances that balance the
    layers (1e-4 / 100, 1e-4 / 10, 1e-4) and the same variance, 1e-4, for all. Shown: the
    differences and the ratios of squared norms of adjacent layers against iteration.
(b) Asymmetric matrix factorisation, min ||U V^T - M*||_F^2, as a network of depth 2 on the
    identity: with decaying steps, here 1 / (20 (t + 1)^0.6 ||M*||_F), the factors stay
    balanced; with a constant step the distance to a matrix of rank one shrinks linearly.
    (Steps of 1 / (100 (t + 1) ||M*||_F^(3/2)), for which convergence is proved, sum up to
    so little that nothing moves in any affordable run.)

Data and inputs are random normal; the loss is ours (no factor 1/2, mean over samples), so
that (b) multiplies its steps by the number of rows.

    python benchmarks/figures/du2018_balance.py            # about 5 minutes, then plots
    python benchmarks/figures/du2018_balance.py --quick    # a fiftieth of the steps
    python benchmarks/figures/du2018_balance.py --plot     # from the saved results

A part whose results are in ``results/du2018_balance.json`` is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from _environment import RESULTS, environment

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.estimators._mlp_regressor import HomogeneousMLPRegressor

SHAPES = [(100, 1000), (100, 100), (10, 100)]
VARIANCES = {
    "balanced": (1e-4 / 100, 1e-4 / 10, 1e-4),
    "unbalanced": (1e-4, 1e-4, 1e-4),
}
STEP_SIZE = 1e-2


def relu_network(name, steps):
    """Train from one initialisation; return squared norms of the layers along the run."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((1000, 1000))
    Y = rng.standard_normal((1000, 10))
    init = [
        np.sqrt(variance) * rng.standard_normal(shape)
        for variance, shape in zip(VARIANCES[name], SHAPES, strict=True)
    ]
    model = HomogeneousMLPRegressor(
        init=init,
        step_size=STEP_SIZE,
        max_iter=steps,
        tol=0,
        record_every=max(1, steps // 100),
        record_weights=True,
    ).fit(X, Y)
    run = model.trajectory_
    norms = [[float(np.sum(W**2)) for W in weights] for weights in run.weights]
    return {
        "iteration": run.iteration.tolist(),
        "loss": run.loss.tolist(),
        "squared_norms": norms,
        "stop_reason": model.stop_reason_,
    }


def factorisation(name, steps):
    """Factorise a matrix of rank one or three; return loss and imbalance along the run."""
    rng = np.random.RandomState(1)
    n, m, rank = 20, 15, {"decaying": 3, "constant": 1}[name]
    target = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m))
    scale = np.linalg.norm(target)
    small = 1e-2 * np.sqrt(scale) / np.sqrt(n)
    init = [small * rng.standard_normal((rank, n)), small * rng.standard_normal((m, rank))]
    schedules = {
        "decaying": lambda t: n / (20 * scale * (t + 1) ** 0.6),
        "constant": n / (20 * scale),
    }
    model = DeepLinearRegressor(
        2,
        rank,
        init=init,
        fit_intercept=False,
        step_size=schedules[name],
        max_iter=steps,
        tol=0,
        record_every=max(1, steps // 200),
    ).fit(np.eye(n), target)
    run = model.trajectory_
    return {
        "iteration": run.iteration.tolist(),
        "squared_distance": (n * run.loss).tolist(),
        "imbalance": model.balance_history_.matrix[:, 0].tolist(),
        "squared_norm_of_target": scale**2,
        "stop_reason": model.stop_reason_,
    }


PARTS = {
    **{f"relu, {name}": (relu_network, name, 10_000) for name in VARIANCES},
    "factorisation, decaying": (factorisation, "decaying", 10_000),
    "factorisation, constant": (factorisation, "constant", 1000),
}


def compute(path, quick):
    """Run what has not been run; return all results."""
    results = json.loads(path.read_text())["results"] if path.exists() else {}
    for part, (experiment, name, steps) in PARTS.items():
        if part not in results:
            results[part] = experiment(name, steps // 50 if quick else steps)
            content = {"environment": environment(), "results": results}
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{part}: {summary(results[part])}", flush=True)
    return results


def summary(result):
    """Return the figures to quote for one part."""
    if "squared_norms" in result:
        norms = np.array(result["squared_norms"])
        change = np.abs(np.diff(norms, axis=1)[-1] - np.diff(norms, axis=1)[0])
        growth = norms[-1] - norms[0]
        return (
            f"loss {result['loss'][0]:.3g} to {result['loss'][-1]:.3g}, differences changed by "
            f"{change.max():.2g} while norms grew by {growth.max():.3g}; ratios at the end "
            f"{np.round(norms[-1, 1:] / norms[-1, :-1], 4).tolist()}"
        )
    distance = np.array(result["squared_distance"])
    return (
        f"squared distance {distance[0]:.3g} to {distance[-1]:.3g}, imbalance "
        f"{result['imbalance'][0]:.2g} to {result['imbalance'][-1]:.2g}"
    )


def plot(results, path):
    """Draw both parts into one figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for row, name in zip(axes, VARIANCES, strict=True):
        result = results[f"relu, {name}"]
        norms, t = np.array(result["squared_norms"]), result["iteration"]
        for layer in range(2):
            label = f"layers {layer + 2} and {layer + 1}"
            row[0].plot(t, norms[:, layer + 1] - norms[:, layer], label=label)
            row[1].plot(t, norms[:, layer + 1] / norms[:, layer], label=label)
        row[0].set(title=f"{name}: difference of squared norms", xlabel="iteration")
        row[1].set(title=f"{name}: ratio of squared norms", xlabel="iteration", yscale="log")
        row[0].legend()
    for axis, name in zip(axes[:, 2], ("decaying", "constant"), strict=True):
        result = results[f"factorisation, {name}"]
        axis.semilogy(result["iteration"], result["squared_distance"], label="squared distance")
        axis.semilogy(result["iteration"], result["imbalance"], label="imbalance")
        axis.set(title=f"factorisation, {name} steps", xlabel="iteration")
        axis.legend()
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main():
    """Compute what is missing, then plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the steps")
    parser.add_argument("--plot", action="store_true", help="plot the saved results only")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    RESULTS.mkdir(exist_ok=True)
    stem = "du2018_balance_quick" if arguments.quick else "du2018_balance"
    path = RESULTS / f"{stem}.json"
    if arguments.plot:
        results = json.loads(path.read_text())["results"]
    else:
        results = compute(path, arguments.quick)
    plot(results, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
