"""The races of Shi, Shea-Brown and Buice (2022, NeurIPS 35), with two pathways of width 1000.

Task: 8 items and 15 features of a binary tree, weights N(0, 0.01^2), no bias, summed squared
error with rate 0.01 (step_size 0.08 of the mean loss). Shown is the strength diag(U^T M_p V)
of each mode in each pathway: linear pathways of depth 2, 3, 4 and 7, ReLU and tanh pathways
(whose activation also acts on their outputs), and the end points of the reduced equation from
p(0) = (0.1, 0.05) with S = 10. Linear pathways of depth 3 and 4 run in Krylov spaces, with
the error that is printed and saved.

    python benchmarks/figures/shi2022_figures.py compute           # all; about 15 minutes
    python benchmarks/figures/shi2022_figures.py compute linear_2  # one experiment
    python benchmarks/figures/shi2022_figures.py plot

`compute` skips what has been computed; delete a JSON file to compute it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from _environment import environment  # noqa: E402

from sklearn_deeplinear.datasets._hierarchical import make_hierarchical  # noqa: E402
from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor  # noqa: E402
from sklearn_deeplinear.theory._pathway_flow import pathway_flow  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "shi2022"
WIDTH, SEED, RECORDS = 1000, 0, 200

# name: depth, activation, compression, steps
RUNS = {
    "linear_2": (2, "identity", "exact", 1000),
    "linear_3": (3, "identity", "krylov", 10_000),
    "linear_4": (4, "identity", "krylov", 10_000),
    "linear_7": (7, "identity", "exact", 20_000),
    "relu_2": (2, "relu", "exact", 1000),
    "relu_3": (3, "relu", "exact", 10_000),
    "tanh_2": (2, "tanh", "exact", 1000),
    "tanh_3": (3, "tanh", "exact", 10_000),
}
REDUCED = [(2, 2), (3, 3), (4, 4), (8, 8), (3, 5)]


def train(name):
    """Train one pair of pathways; return what is plotted."""
    depth, activation, compression, steps = RUNS[name]
    X, Y = make_hierarchical()
    model = MultiPathwayRegressor(
        depth,
        WIDTH,
        activation=activation,
        activate_output=True,
        compression=compression,
        init_scale=0.01,
        step_size=0.01 * len(X),
        max_iter=steps,
        record_every=steps // RECORDS,
        tol=0,
        fit_intercept=False,
        dtype="float32",
        device="cpu",
        random_state=SEED,
    ).fit(X, Y)
    curves = model.trajectory_
    return {
        "iteration": curves.iteration.tolist(),
        "loss": curves.loss.tolist(),
        "mode_strengths": curves.mode_strengths.round(6).tolist(),
        "compression_error": model.compression_error_,
    }


def reduced():
    """Curves of the reduced equation, on a logarithmic grid of times."""
    t = np.geomspace(1e-3, 10, RECORDS)
    races = []
    for depths in REDUCED:
        p = np.array([0.1, 0.05])
        a_0 = p * (p**2 + 1) ** ((np.array(depths) - 1) / 2)
        flow = pathway_flow(10.0, a_0, depths=depths, imbalance=1.0)
        races.append(
            {"depths": depths, "strengths": flow(t).tolist(), "end": flow(np.inf).tolist()}
        )
    return {"time": t.tolist(), "races": races}


def compute(names):
    """Compute the experiments that have no result yet."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for number, name in enumerate(names, start=1):
        path = RESULTS / f"{name}.json"
        if path.exists():
            print(f"[{number}/{len(names)}] {name}: there already", flush=True)
            continue
        start = time.perf_counter()
        result = reduced() if name == "reduced" else train(name)
        seconds = time.perf_counter() - start
        result |= {"seconds": seconds, "seed": SEED, "environment": environment()}
        path.write_text(json.dumps(result) + "\n")
        error = result.get("compression_error")
        note = f", compression error {error:.0e}" if error else ""
        print(f"[{number}/{len(names)}] {name}: {seconds:.1f} s{note}", flush=True)


def plot(names):
    """Draw the results that exist."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for name in names:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        if name == "reduced":
            figure, axes = plt.subplots(1, len(REDUCED), figsize=(15, 3), sharey=True)
            for ax, race in zip(axes, result["races"], strict=True):
                ax.semilogx(result["time"], race["strengths"], label=race["depths"])
                ax.set(title=f"depths {tuple(race['depths'])}", xlabel="time")
            axes[0].set_ylabel("strength")
        else:
            figure, ax = plt.subplots(figsize=(5, 3.5))
            strengths = np.array(result["mode_strengths"])
            for p, style in enumerate(("-", "--")):
                for k in range(strengths.shape[2]):
                    label = f"pathway {p + 1}" if k == 0 else None
                    ax.plot(result["iteration"], strengths[:, p, k], style, c=f"C{k}", label=label)
            ax.set(title=name.replace("_", ", depth "), xlabel="iteration", ylabel="strength")
            ax.legend()
        figure.tight_layout()
        figure.savefig(path.with_suffix(".png"), dpi=150)
        plt.close(figure)
        print(f"wrote {path.with_suffix('.png')}")


def main():
    """Compute or plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["compute", "plot"])
    every = ["reduced", *RUNS]
    parser.add_argument("names", nargs="*", help=f"experiments, among {', '.join(every)}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(every)
    if unknown:
        parser.error(f"unknown experiments: {', '.join(sorted(unknown))}")
    {"compute": compute, "plot": plot}[arguments.action](arguments.names or every)


if __name__ == "__main__":
    main()
