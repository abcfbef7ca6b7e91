"""Layers stay balanced: the experiments of Du, Hu, Lee (2018), with our numbers.

(a) A 1000-100-100-10 ReLU network without biases on 1000 points, quadratic loss, 10,000
    steps of gradient descent, from two initialisations: entry variances that balance the
    layers (1e-4 / 100, 1e-4 / 10, 1e-4) and the same variance, 1e-4, for all. Shown: the
    differences and the ratios of squared norms of adjacent layers against iteration.
(b) Asymmetric matrix factorisation, min ||U V^T - M*||_F^2, as a network of depth 2 on the
    identity: with decaying steps, 1 / (20 (t + 1)^0.6 ||M*||_F), the factors stay balanced
    with and without a penalty on their imbalance; with a constant step the distance to a
    matrix of rank one shrinks linearly. Steps of 1 / (100 (t + 1) ||M*||_F^(3/2)) are run
    too, and sum up to so little that they hardly move.

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
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from _environment import RESULTS, environment

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor
from sklearn_deeplinear.dynamics import gradient_descent
from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import balance

SHAPES = [(100, 1000), (100, 100), (10, 100)]
VARIANCES = {
    "balanced": (1e-4 / 100, 1e-4 / 10, 1e-4),
    "unbalanced": (1e-4, 1e-4, 1e-4),
}
STEP_SIZE = 1e-2
N_ROWS, N_COLUMNS = 20, 15


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
        fit_bias=False,
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


def matrix_and_factors(rank):
    """Return M* of shape (15, 20), and small initial factors W_1 and W_2."""
    rng = np.random.RandomState(1)
    target = rng.standard_normal((N_ROWS, rank)) @ rng.standard_normal((rank, N_COLUMNS))
    small = 1e-2 * np.sqrt(np.linalg.norm(target)) / np.sqrt(N_ROWS)
    init = [
        small * rng.standard_normal((rank, N_ROWS)),
        small * rng.standard_normal((N_COLUMNS, rank)),
    ]
    return target, init


def step_schedules(size):
    """Step sizes of the sum of squares, by name; `size` is ||M*||_F."""
    return {
        "decaying": lambda t: 1 / (20 * size * (t + 1) ** 0.6),
        "as proved": lambda t: 1 / (100 * (t + 1) * size**1.5),
        "constant": lambda t: 1 / (20 * size),
    }


def factorisation(name, steps):
    """Factorise a matrix of rank one or three; return distance and imbalance of the run."""
    target, init = matrix_and_factors(1 if name == "constant" else 3)
    schedule = step_schedules(np.linalg.norm(target))[name]
    model = DeepLinearRegressor(
        2,
        len(init[0]),
        init=init,
        fit_intercept=False,
        step_size=lambda t: N_ROWS * schedule(t),
        max_iter=steps,
        tol=0,
        record_every=max(1, steps // 200),
    ).fit(np.eye(N_ROWS), target)
    run = model.trajectory_
    return {
        "iteration": run.iteration.tolist(),
        "squared_distance": (N_ROWS * run.loss).tolist(),
        "imbalance": model.balance_history_.matrix[:, 0].tolist(),
        "squared_norm_of_target": np.linalg.norm(target) ** 2,
        "stop_reason": model.stop_reason_,
    }


def regularised_factorisation(name, steps):
    """Factorise with the penalty ||W_1 W_1^T - W_2^T W_2||_F^2 / 4, as others had to."""
    target, init = matrix_and_factors(3)
    M = torch.from_numpy(target.T)
    net = torch.nn.ParameterList([torch.from_numpy(W) for W in init])

    def loss(net):
        W_1, W_2 = net
        imbalance = W_1 @ W_1.T - W_2.T @ W_2
        return (W_2 @ W_1 - M).square().sum() + imbalance.square().sum() / 4

    run = gradient_descent(
        net,
        loss,
        step_size=step_schedules(np.linalg.norm(target))[name],
        max_iter=steps,
        record_every=max(1, steps // 200),
        record_weights=True,
    )
    imbalance = [float(balance(weights).matrix[0]) for weights in run.weights]
    return {
        "iteration": run.iteration.tolist(),
        "squared_distance": [
            float(np.sum((W_2 @ W_1 - target.T) ** 2)) for W_1, W_2 in run.weights
        ],
        "imbalance": imbalance,
        "squared_norm_of_target": np.linalg.norm(target) ** 2,
    }


PARTS = {
    **{f"relu, {name}": (relu_network, name, 10_000) for name in VARIANCES},
    "factorisation, decaying": (factorisation, "decaying", 200_000),
    "factorisation, regularised": (regularised_factorisation, "decaying", 200_000),
    "factorisation, as proved": (factorisation, "as proved", 10_000),
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


def _draw_layers(difference, ratio, result, name):
    """Differences and ratios of squared norms of adjacent layers."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    norms, t = np.array(result["squared_norms"]), result["iteration"]
    for layer, color in zip(range(2), COLORS, strict=False):
        label = f"layers {layer + 2} and {layer + 1}"
        difference.plot(t, norms[:, layer + 1] - norms[:, layer], color=color, label=label)
        ratio.plot(t, norms[:, layer + 1] / norms[:, layer], color=color, label=label)
    difference.set(title=f"{name}: difference of squared norms")
    ratio.set(title=f"{name}: ratio of squared norms")
    if norms[0, 1] < 0.5 * norms[0, 0]:
        ratio.set_yscale("log")
        ratio.set_yticks([0.1, 0.2, 0.5, 1.0])
        ratio.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ratio.yaxis.set_minor_formatter(NullFormatter())
    for ax in (difference, ratio):
        ax.legend(loc="center right", frameon=False)


def _draw_factorisation(axis, result, name, color):
    t = result["iteration"]
    axis.semilogy(t, result["squared_distance"], color=color, label=f"{name}: distance²")
    axis.semilogy(t, result["imbalance"], ":", color=color, label=f"{name}: imbalance")


def plot(results, path):
    """Draw both parts into one figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for row, name in zip(axes, VARIANCES, strict=True):
        _draw_layers(*row[:2], results[f"relu, {name}"], name)
    for name, color in zip(("decaying", "regularised", "as proved"), COLORS, strict=False):
        _draw_factorisation(axes[0, 2], results[f"factorisation, {name}"], name, color)
    axes[0, 2].set(title="factorisation, rank three", ylim=(1e-7, 1e9))
    _draw_factorisation(axes[1, 2], results["factorisation, constant"], "constant", COLORS[0])
    axes[1, 2].set(title="factorisation, rank one", ylim=(1e-29, 1e9))
    for axis in axes[:, 2]:
        axis.legend(fontsize="small", loc="upper right", frameon=False)
    for axis in axes.ravel():
        axis.set_xlabel("iteration")
        axis.ticklabel_format(axis="x", style="plain")
    figure.savefig(path, dpi=90)
    plt.close(figure)
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
