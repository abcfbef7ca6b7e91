"""Figures 2 and 3 of Ziyin, Li and Meng (2022, NeurIPS 35), with our numbers.

phase_diagram: what zero weights are, saddle, local or global minimum, in the plane of
    |E[xy]| and of a weight decay common to all layers, for one to three hidden layers.
landscape: the objective along the scalar b of the exact solution of a linear network,
    W_L = b r^T, W_l = b r r^T / |r| between, W_1 = r v(b)^T, for networks of the same weights
    that are linear, ReLU, tanh or swish.
trained: what is left of networks of width 32, with one and two hidden layers, after training
    with Adam, step size 0.01, batches of 100, beside the critical decays of linear networks.

    python benchmarks/figures/ziyin2022_figures.py compute            # 6 minutes
    python benchmarks/figures/ziyin2022_figures.py compute landscape  # one figure
    python benchmarks/figures/ziyin2022_figures.py plot
    python benchmarks/figures/ziyin2022_figures.py compute --quick    # coarse grids, 40 steps

From the paper: the four activations, one hidden layer for the landscape, two for training,
width 32, Adam, its step size and batches. Ours: all data (one standard normal input for
the phases and the training, five for the landscape), the grids, the start (Xavier), the 3,000
steps, two hidden layers in the landscape and one in training. There are no biases.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from figure_command import Figure, run
from ziyin2022_landscape import draw_landscapes, landscapes
from ziyin2022_training import ACTIVATIONS, NOISE, SEED, scalar_data, train

from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import (
    SecondMoments,
    critical_weight_decay,
    global_minimum,
    zero_hessian,
)

# Slopes at zero; of ReLU, whose sides have 0 and 1, what symmetric inputs make of it.
SLOPES = {"linear": 1.0, "ReLU": 0.5, "tanh": 1.0, "swish": 0.5}
PHASES = ("saddle", "local minimum", "global minimum")

LARGEST = 2.0  # of |E[xy]| and of the decay in the phase diagram
EPOCHS, QUICK_EPOCHS = 300, 4
# The map is zero if it explains less of the targets than this: Adam's steps keep its
# weights from being exactly zero.
EXPLAINED = 0.01


def scalar_moments(signal):
    """Second moments of one standardised input and a target with E[xy] = signal."""
    return SecondMoments.from_moments([[1.0]], [[signal]], signal**2 + NOISE**2)


def phase(moments, depth, decay):
    """Index in PHASES of zero weights."""
    hessian = zero_hessian(moments, depth=depth, width=1, weight_decay=decay)
    if hessian.is_saddle:
        return 0
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    return 1 if np.any(minimum.coef) else 2


def phases(path, quick):
    """Classify a grid of problems by their minima, and compare with the critical decays."""
    n = 8 if quick else 60
    grid = (np.arange(n) + 0.5) * LARGEST / n
    diagrams = []
    for depth in (2, 3, 4):
        problems = [scalar_moments(signal) for signal in grid]
        critical = [critical_weight_decay(problem, depth=depth) for problem in problems]
        table = np.array([[phase(problem, depth, g) for problem in problems] for g in grid])
        expected = grid[:, None] >= np.array([c.collapse for c in critical])
        diagrams.append(
            {
                "depth": depth,
                "phase": table.tolist(),
                "collapse": [c.collapse for c in critical],
                "spinodal": [c.spinodal for c in critical],
                "disagreements": int(np.sum(expected != (table == 2))),
            }
        )
    return {"grid": grid.tolist(), "diagrams": diagrams}


def trained(path, quick, name, hidden):
    """Train a grid of networks; what share of the targets they explain, and their norms."""
    n = 3 if quick else 12
    signals = (np.arange(n) + 1) * LARGEST / n
    decays = (np.arange(n) + 0.5) * LARGEST / n
    loss, norm = train(name, hidden, signals, decays, QUICK_EPOCHS if quick else EPOCHS)
    powers = [np.mean(scalar_data(signal)[1] ** 2) for signal in signals]
    explained = 1 - loss / powers
    return {
        "seed": SEED,
        "activation": name,
        "hidden": hidden,
        "signals": signals.tolist(),
        "decays": decays.tolist(),
        "explained": np.round(explained, 4).tolist(),
        "squared_norm": np.round(norm, 5).tolist(),
    }


def predicted_zero(signals, decays, hidden, slope=1.0):
    """Where nothing but zero is left to train to: past the spinodal of a linear network."""
    critical = [critical_weight_decay(scalar_moments(slope * s), depth=hidden + 1) for s in signals]
    return np.array(decays)[:, None] >= [c.spinodal for c in critical]


def compare(result):
    """Say how many networks ended at zero, and how many against the prediction."""
    name, hidden, *grid = (result[key] for key in ("activation", "hidden", "signals", "decays"))
    zero = np.array(result["explained"]) < EXPLAINED
    print(f"{name}, {hidden} hidden: {zero.sum()} of {zero.size} networks at zero")
    print(f"    {np.sum(zero != predicted_zero(*grid, hidden))} against the theory of linear ones")
    if hidden == 1:
        own = predicted_zero(*grid, 1, SLOPES[name])
        print(f"    {np.sum(zero != own)} against it with the slope of the activation at zero")


def draw_phases(results):
    """One panel per depth: three colours and the critical decays."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap, to_rgb
    from matplotlib.patches import Patch

    [result] = results
    pale = [0.45 * np.array(to_rgb(c)) + 0.55 for c in (COLORS[2], COLORS[4], COLORS[3])]
    grid, diagrams = np.array(result["grid"]), result["diagrams"]
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.8), sharey=True, layout="constrained")
    for ax, diagram in zip(axes, diagrams, strict=True):
        hidden = diagram["depth"] - 1
        ax.pcolormesh(grid, grid, diagram["phase"], cmap=ListedColormap(pale), vmin=0, vmax=2)
        ax.plot(grid, diagram["collapse"], "k", label="collapse: zero becomes the global minimum")
        if hidden > 1:
            ax.plot(grid, diagram["spinodal"], "k--", label="spinodal: no other minimum is left")
        ax.set(xlabel="signal |E[xy]|, with E[x²] = 1", xlim=(0, LARGEST), ylim=(0, LARGEST))
        ax.set(title=f"{hidden} hidden layer{'s'[: hidden - 1]}", aspect="equal")
    axes[0].set_ylabel("weight decay of every layer")
    lines, labels = axes[1].get_legend_handles_labels()
    patches = [Patch(color=c, label=f"zero is a {p}") for c, p in zip(pale, PHASES, strict=True)]
    labels = [patch.get_label() for patch in patches] + labels
    figure.legend(patches + lines, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def draw_trained(results):
    """One row per number of hidden layers, one panel per activation."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, 4, figsize=(12, 6.6), sharex=True, sharey=True, layout="constrained"
    )
    line = np.linspace(1e-3, LARGEST * 1.05, 40)
    critical = {
        hidden: [critical_weight_decay(scalar_moments(s), depth=hidden + 1) for s in line]
        for hidden in (1, 2)
    }
    for ax, result in zip(axes.ravel(), results, strict=True):
        signals, decays = np.array(result["signals"]), np.array(result["decays"])
        explained = np.array(result["explained"])
        name, hidden = result["activation"], result["hidden"]
        compare(result)
        image = ax.pcolormesh(signals, decays, explained, cmap="cividis", vmin=0, vmax=1)
        rows, columns = np.nonzero(explained < EXPLAINED)
        ax.plot(signals[columns], decays[rows], "x", color="white", ms=4, label="trained to zero")
        ax.plot(line, [c.collapse for c in critical[hidden]], COLORS[1], label="collapse (linear)")
        if hidden > 1:
            spinodal = [c.spinodal for c in critical[hidden]]
            ax.plot(line, spinodal, "--", color=COLORS[1], label="spinodal (linear)")
        elif SLOPES[name] != 1:
            own, label = SLOPES[name] * line, "zero is a saddle below (slope at zero × E[xy])"
            ax.plot(line, own, ":", color=COLORS[1], label=label)
        ax.set_title(f"{name}, {hidden} hidden layer{'s'[: hidden - 1]}", fontsize=10)
        ax.set(ylim=(0, LARGEST), xlim=(signals[0] / 2, signals[-1] + signals[0] / 2))
    for ax in axes[-1]:
        ax.set_xlabel("signal E[xy], with E[x²] = 1")
    for ax in axes[:, 0]:
        ax.set_ylabel("weight decay of every layer")
    figure.colorbar(image, ax=axes, pad=0.01, label="share of E[y²] explained after training")
    found = [ax.get_legend_handles_labels() for ax in axes.ravel()]
    handles = {label: h for hs, labels in found for h, label in zip(hs, labels, strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=4,
        facecolor="0.75",
    )
    return figure


FIGURES = {
    "phase_diagram": Figure({"phases": phases}, draw_phases),
    "landscape": Figure({"landscapes": landscapes}, draw_landscapes),
    "trained": Figure(
        {
            f"trained_{name.lower()}_{hidden}": partial(trained, name=name, hidden=hidden)
            for hidden in (1, 2)
            for name in ACTIVATIONS
        },
        draw_trained,
    ),
}


def main(argv=None):
    """Compute or plot."""
    run(FIGURES, "ziyin2022", __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    main()
