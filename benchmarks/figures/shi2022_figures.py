"""Figures 3 to 8 of Shi, Shea-Brown and Buice (2022, NeurIPS 35), with our numbers.

Figure 3: the reduced equation of two pathways, K = p (p^2 + 1)^((D-1)/2), in the plane of
    their strengths, from p(0) ~ N(0, 0.1^2) and N(0, 0.5^2), with S = 10.
Figure 4: the task, 8 items and the 15 features of a binary tree, and its singular modes.
Figures 5 to 8: the strength diag(U^T M_p V) of each mode in each of two pathways of width
    1000: linear ones of depth 2, 3, 4 and 7; depth 7 from two seeds; ReLU; tanh (which also
    act on the outputs of the pathways, before their sum). Weights start as N(0, 0.01^2),
    the summed squared error has rate 0.01, there are no biases.

    python benchmarks/figures/shi2022_figures.py compute            # all, about an hour
    python benchmarks/figures/shi2022_figures.py compute figure_7   # one figure
    python benchmarks/figures/shi2022_figures.py plot
    python benchmarks/figures/shi2022_figures.py compute --quick    # width 50, 400 steps at most

`compute` skips what has been computed and takes up runs that were stopped; delete a JSON file
to compute it again. The spreads of Figure 3 and the depths of Figures 7 and 8 are ours.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from figure_command import Figure, run
from pathway_training import WIDTH, train

from sklearn_deeplinear.datasets import make_hierarchical
from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import pathway_flow

# depth: steps
STEPS = {2: 1000, 3: 10_000, 4: 10_000, 7: 20_000}
QUICK_STEPS, QUICK_WIDTH = 400, 50

TARGET, DEPTHS, SPREADS, STARTS = 10.0, (2, 3, 4, 8), (0.1, 0.5), 24

# Modes of equal singular value are one level of the tree.
LEVELS = ["root", "halves", *["pairs"] * 2, *["leaves"] * 4]
COLOURS = dict(zip(("root", "halves", "pairs", "leaves"), COLORS, strict=False))
NAMES = {"identity": "linear", "relu": "ReLU", "tanh": "tanh"}


def race(path, quick, depth, activation="identity", seed=0):
    """Train two pathways on the tree."""
    steps, width = (QUICK_STEPS, QUICK_WIDTH) if quick else (STEPS[depth], WIDTH)
    result = train(path, depth, steps, width=width, seed=seed, activation=activation)
    return result | {"activation": activation}


def races(activation, depths):
    """Experiments with one activation."""
    return {
        f"{NAMES[activation].lower()}_{depth}": partial(race, depth=depth, activation=activation)
        for depth in depths
    }


def phase_planes(path, quick):
    """Trajectories of the reduced equation, at twice its speed in the paper."""
    time = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 45), [np.inf]])
    starts, planes = 3 if quick else STARTS, []
    for depth in DEPTHS:
        for spread in SPREADS:
            p = spread * np.random.RandomState(0).standard_normal((2, starts))
            flow = pathway_flow(
                np.full(starts, TARGET),
                p * (p**2 + 1) ** ((depth - 1) / 2),
                depths=[depth] * 2,
                imbalance=1.0,
            )
            curves = np.round(flow(time), 4).tolist()
            planes.append({"depth": depth, "spread": spread, "strengths": curves})
    return {"target": TARGET, "planes": planes}


def task(path, quick):
    """The features of the items and their singular value decomposition."""
    _, Y = make_hierarchical()
    U, s, Vt = np.linalg.svd(Y.T, full_matrices=False)
    signs = np.sign(Vt[np.arange(len(Vt)), np.abs(Vt).argmax(axis=1)])
    U, Vt = U * signs, signs[:, None] * Vt
    parts = {"features": Y.T, "output_modes": U, "singular_values": s, "input_modes": Vt}
    return {name: np.round(values, 6).tolist() for name, values in parts.items()}


def draw_phase_planes(results):
    """One panel per depth and spread; lines and end points in the colour of the winner."""
    import matplotlib.pyplot as plt

    [result] = results
    target, shape = result["target"], (len(SPREADS), len(DEPTHS))
    figure, axes = plt.subplots(
        *shape, figsize=(9, 5.3), sharex=True, sharey=True, layout="compressed"
    )
    for ax, plane in zip(axes.T.ravel(), result["planes"], strict=True):
        ax.plot([0, target], [target, 0], "k--", lw=1, label="$K_a + K_b = S$")
        for colour, winner in zip(COLORS, "ab", strict=False):
            ax.plot([], [], "o-", c=colour, ms=4, lw=0.8, label=f"pathway {winner} ends ahead")
        ax.plot([], [], ".", c="0.5", ms=4, label="start")
        for a, b in np.moveaxis(np.array(plane["strengths"]), 2, 0).transpose(0, 2, 1):
            colour = COLORS[0] if a[-1] > b[-1] else COLORS[1]
            ax.plot(a, b, c=colour, lw=0.8)
            ax.plot(a[0], b[0], ".", c="0.5", ms=4)
            ax.plot(a[-1], b[-1], "o", c=colour, ms=4)
        ax.set_title(f"depth {plane['depth']}, spread {plane['spread']:g}", fontsize=9)
        ax.set(xlim=(-3, 13), ylim=(-3, 13), aspect="equal", yticks=(0, 5, 10))
    for ax in axes[-1]:
        ax.set_xlabel("strength $K_a$ in pathway a")
    for ax in axes[:, 0]:
        ax.set_ylabel("strength $K_b$ in pathway b")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def draw_task(results):
    """The tree, the feature matrix and the parts of its singular value decomposition."""
    import matplotlib.pyplot as plt

    [result] = results
    figure, axes = plt.subplots(
        1, 5, figsize=(14, 3.8), width_ratios=[1.1, 0.8, 0.8, 1, 1.1], layout="constrained"
    )
    draw_tree(axes[0])
    sides = {"features": "item", "output_modes": "mode", "input_modes": "item"}
    titles = {"features": "features $Y^T$", "output_modes": "modes $U$", "input_modes": "$V^T$"}
    for ax, (name, xlabel) in zip(axes[[1, 2, 4]], sides.items(), strict=True):
        image = ax.imshow(result[name], cmap="RdBu_r", vmin=-1, vmax=1)
        rows, columns = np.shape(result[name])
        ax.set_xticks(range(columns), range(1, columns + 1))
        ax.set_yticks(range(rows), range(1, rows + 1))
        ax.set(title=titles[name], xlabel=xlabel, ylabel="feature" if rows > 8 else "mode")
    axes[3].bar(range(1, 9), result["singular_values"], color=[COLOURS[k] for k in LEVELS])
    axes[3].set(title="singular values", xlabel="mode", xticks=range(1, 9))
    figure.colorbar(image, ax=axes[4], shrink=0.7)
    return figure


def draw_tree(ax):
    """The tree: every node is a feature of the items, the leaves, below it."""
    for level, (name, colour) in enumerate(COLOURS.items()):
        centres = (np.arange(2**level) + 0.5) * 8 / 2**level
        for i, x in enumerate(centres):
            if level:
                parent = (i // 2 + 0.5) * 8 / 2 ** (level - 1)
                ax.plot([parent, x], [1 - level, -level], "0.6", lw=1, zorder=0)
        ax.scatter(centres, np.full(2**level, -level), c=colour, s=50)
        ax.text(8.4, -level, name, color=colour, va="center")
    for item in range(8):
        ax.text(item + 0.5, -3.35, item + 1, ha="center", va="center", fontsize=8)
    ax.set(title="items and features", xlim=(0, 10.2), ylim=(-3.7, 0.4))
    ax.axis("off")


def draw_races(results):
    """One row per run, one panel per pathway, up to where the last mode has settled."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(results), 2, figsize=(9, 2.3 * len(results)), sharey=True, layout="constrained"
    )
    singular_values = np.linalg.svd(make_hierarchical()[1], compute_uv=False)
    several_seeds = len({result["seed"] for result in results}) > 1
    for row, result in zip(axes, results, strict=True):
        iteration, strengths = np.array(result["iteration"]), np.array(result["mode_strengths"])
        moving = np.abs(strengths - strengths[-1]).max(axis=(1, 2)) > 0.01 * strengths.max()
        last = iteration[min(1 + np.sum(moving), len(iteration) - 1)]
        for p, ax in enumerate(row):
            for k, level in enumerate(LEVELS):
                first = LEVELS.index(level) == k
                label = f"{level}, $s$ = {singular_values[k]:.2f}" if first else None
                ax.plot(iteration, strengths[:, p, k], COLOURS[level], lw=1.4, label=label)
                ax.axhline(singular_values[k], color=COLOURS[level], ls=":", lw=0.8, zorder=0)
            name = f"{NAMES[result['activation']]}, depth {result['depth']}"
            name += f", seed {result['seed']}" if several_seeds else ""
            ax.set_title(f"{name}: pathway {p + 1}", fontsize=10)
            ax.set_xlim(0, min(1.25 * last, iteration[-1]))
        row[0].set_ylabel("strength")
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


LINEAR = races("identity", STEPS)
FIGURES = {
    "figure_3": Figure({"phase_planes": phase_planes}, draw_phase_planes),
    "figure_4": Figure({"task": task}, draw_task),
    "figure_5": Figure(LINEAR, draw_races),
    "figure_6": Figure(
        {"linear_7": LINEAR["linear_7"], "linear_7_seed_1": partial(race, depth=7, seed=1)},
        draw_races,
    ),
    "figure_7": Figure(races("relu", (2, 3, 4)), draw_races),
    "figure_8": Figure(races("tanh", (2, 3, 4)), draw_races),
}


def main(argv=None):
    """Compute or plot."""
    run(FIGURES, "shi2022", __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    main()
