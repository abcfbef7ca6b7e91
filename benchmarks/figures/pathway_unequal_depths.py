"""Two linear pathways of unequal depth race: (2, 3) and (3, 5), theory against training.

Left and middle: pathways of width 1000 that start as N(0, 0.01^2), on the tree, 10,000 steps
as in `shi2022_figures.py`; dashed is `pathway_flow` from the strengths measured at the start,
with no parameter fitted. To first order a pathway of such weights learns at the rate of the
reduced equation if imbalance = width * variance * L^(1/(L-1)); the number of the shallow
pathway, which moves first, is taken for both.

Right: the share of the deep pathway at the end, when both start balanced and equally strong,
against that strength. Balanced networks follow the flow of one mode whatever their width, so
these have one unit per layer; they are trained with steps of a fiftieth of the largest stable
one. A small start and a weak mode favour the shallow pathway, others the deep one.

    python benchmarks/figures/pathway_unequal_depths.py compute    # about 10 minutes
    python benchmarks/figures/pathway_unequal_depths.py plot
    python benchmarks/figures/pathway_unequal_depths.py compute --quick
"""

from __future__ import annotations

from functools import partial

import numpy as np
from figure_command import Figure, run
from pathway_training import RATE, SCALE, WIDTH, train
from shi2022_figures import COLOURS, LEVELS

from sklearn_deeplinear import MultiPathwayRegressor
from sklearn_deeplinear.datasets import make_hierarchical
from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import balanced_factors, pathway_flow

PAIRS = ((2, 3), (3, 5))
STEPS, QUICK_STEPS, QUICK_WIDTH = 10_000, 400, 50
TARGETS = (0.5, 2.0, 8.0)


def race(path, quick, depths):
    """Train Gaussian pathways of unequal depth; add the prediction."""
    steps, width = (QUICK_STEPS, QUICK_WIDTH) if quick else (STEPS, WIDTH)
    result = train(path, list(depths), steps, width=width)
    shallow = min(depths)
    flow = pathway_flow(
        np.linalg.svd(make_hierarchical()[1], compute_uv=False),
        result["mode_strengths"][0],
        depths=depths,
        imbalance=SCALE**2 * WIDTH * shallow ** (1 / (shallow - 1)),
    )
    # The inputs have A = I / 8 and the step is RATE * 8, so that a step takes time RATE.
    predicted = flow(RATE * np.array(result["iteration"]))
    deviation = np.abs(predicted - result["mode_strengths"])
    return result | {
        "imbalance": flow.imbalance,
        "predicted": np.round(predicted, 6).tolist(),
        "largest_difference": float(deviation.max()),
        "largest_difference_at_the_end": float(deviation[-1].max()),
    }


def shares(path, quick):
    """End of races that start with equal strengths, by training and by the flow."""
    measured = []
    for depths in PAIRS:
        for s in TARGETS[1:2] if quick else TARGETS:
            starts = s * np.geomspace(1e-3, 0.3, 41)
            flow = pathway_flow(np.full(41, s), np.tile(starts, (2, 1)), depths=depths)
            predicted = flow(np.inf)[1] / s
            some = slice(None, None, 20 if quick else 5)
            trained = [trained_share(s, start, depths) for start in starts[some]]
            difference = np.abs(trained - predicted[some]).max()
            measured.append(
                {
                    "depths": list(depths),
                    "target": s,
                    "start": np.round(starts, 6).tolist(),
                    "predicted": np.round(predicted, 6).tolist(),
                    "trained_start": np.round(starts[some], 6).tolist(),
                    "trained": np.round(trained, 6).tolist(),
                    "largest_difference": float(f"{difference:.3g}"),
                }
            )
            print(f"    {depths}, s = {s:g}: training and flow differ by {difference:.2g}")
    return {"races": measured}


def trained_share(s, start, depths):
    """Share of the deep pathway after gradient descent in small steps."""
    model = MultiPathwayRegressor(
        depths,
        1,
        init=[balanced_factors([[start]], 1, depth=L) for L in depths],
        step_size=0.02 / (max(depths) * max(s ** (2 - 2 / L) for L in depths)),
        max_iter=100_000,
        record_every=500,
        tol=1e-7,
        fit_intercept=False,
    ).fit([[1.0]], [[s]])
    return model.mode_strengths_[1, 0] / model.mode_strengths_[:, 0].sum()


def draw(results):
    """Races on the left, shares on the right, a row per pair of depths."""
    import matplotlib.pyplot as plt

    *raced, ends = results
    figure, axes = plt.subplots(
        2, 3, figsize=(12, 5.6), width_ratios=[1, 1, 1.1], layout="constrained"
    )
    for row, result in zip(axes, raced, strict=True):
        draw_race(row[:2], result)
        races = [end for end in ends["races"] if end["depths"] == result["depth"]]
        draw_shares(row[2], races, result["depth"])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def draw_race(axes, result):
    """Strengths in the two pathways until they have settled, and their prediction."""
    iteration = np.array(result["iteration"])
    strengths, predicted = np.array(result["mode_strengths"]), np.array(result["predicted"])
    moving = np.abs(strengths - strengths[-1]).max(axis=(1, 2)) > 0.01 * strengths.max()
    for p, ax in enumerate(axes):
        for k, level in enumerate(LEVELS):
            label = level if LEVELS.index(level) == k else None
            ax.plot(iteration, strengths[:, p, k], COLOURS[level], lw=1.4, label=label)
        ax.plot(iteration, predicted[:, p, 0], "k--", lw=0.9, label="flow")
        ax.plot(iteration, predicted[:, p, 1:], "k--", lw=0.9)
        ax.set_title(f"depths {tuple(result['depth'])}: pathway of depth {result['depth'][p]}")
        ax.set(xlim=(0, 1.25 * iteration[np.sum(moving)]), ylim=(-0.2, 4.1), xlabel="epoch")
    axes[0].set_ylabel("strength")


def draw_shares(ax, races, depths):
    """Share of the deep pathway against the common start."""
    for number, end in enumerate(races):
        start = np.array(end["start"]) / end["target"]
        colour = COLORS[len(COLOURS) + number]
        ax.semilogx(start, end["predicted"], c=colour, label=f"$s$ = {end['target']:g}")
        ax.plot(np.array(end["trained_start"]) / end["target"], end["trained"], "o", c=colour)
    ax.axhline(0.5, color="0.7", lw=0.8, zorder=0)
    ax.set(xlabel="starting strength of both / s", ylabel=f"share of depth {max(depths)}")
    ax.set(ylim=(-0.03, 1.03), title="balanced start: flow, training (dots)")
    ax.legend(fontsize=8)


FIGURES = {
    "unequal_depths": Figure(
        {
            **{f"unequal_{a}_{b}": partial(race, depths=(a, b)) for a, b in PAIRS},
            "unequal_shares": shares,
        },
        draw,
    )
}


def main(argv=None):
    """Compute or plot."""
    run(FIGURES, "shi2022", __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    main()
