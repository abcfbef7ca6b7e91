"""Large steps restore sharing: two linear pathways of equal depth L at the edge of stability.

One mode of strength s, input 1, pathways of width 3 that start balanced.

Left: the largest eigenvalue of the Hessian (of all weights, by automatic differentiation) at
the minimum where one pathway has the mode, and where N share it equally, against the formula
2 L s^(2-2/L) N^(2/L-1).

Others: gradient descent from three head starts, with steps from a half to one and a half of
1 / (L s^(2-2/L)), the largest that is stable at the minimum of one pathway; the share of the
stronger pathway at the end. A share x is stable while x^q + (1 - x)^q <= 1/r, with q = 2 - 2/L
and r the step in that unit: below the black line. Past r = 2^(1-2/L) no share is stable. Runs
should end where the gradient flow does or at the black line, whichever is lower.

    python benchmarks/figures/pathway_edge_of_stability.py compute    # 2 minutes
    python benchmarks/figures/pathway_edge_of_stability.py plot
    python benchmarks/figures/pathway_edge_of_stability.py compute --quick
"""

from __future__ import annotations

import numpy as np
import torch
from figure_command import Figure, run
from scipy.optimize import brentq

from sklearn_deeplinear import MultiPathwayRegressor
from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import balanced_factors, pathway_flow

DEPTHS, WIDTH = (3, 4), 3
TARGETS, NUMBERS = (0.5, 1.0, 2.0, 4.0), (1, 2, 3)
TARGET, START, HEADS, STEPS = 2.0, 0.1, (1.5, 4.0, 16.0), 5000
# A run whose loss is below this at the end has settled.
SETTLED = 1e-6


def sharpness_at_minima(path, quick):
    """The largest eigenvalue of the Hessian at each minimum, and the formula."""
    rows = []
    for depth in DEPTHS:
        for s in TARGETS[:1] if quick else TARGETS:
            for n in NUMBERS:
                strengths = [s / n] * n if n > 1 else [s, 0.0]
                formula = 2 * depth * s ** (2 - 2 / depth) * n ** (2 / depth - 1)
                rows.append(
                    {
                        "depth": depth,
                        "target": s,
                        "sharing": n,
                        "measured": measured_sharpness(strengths, s, depth),
                        "formula": formula,
                    }
                )
    difference = max(abs(row["measured"] / row["formula"] - 1) for row in rows)
    print(f"    largest relative difference {difference:.1e}")
    return {"minima": rows, "largest_relative_difference": difference}


def measured_sharpness(strengths, s, depth):
    """Largest eigenvalue of the Hessian of (sum_p W_pL ... W_p1 - s)^2 at balanced weights."""
    factors = [balanced_factors([[a]], WIDTH, depth=depth) for a in strengths]
    weights = [torch.from_numpy(W) for layers in factors for W in layers]
    sizes = [W.numel() for W in weights]

    def loss(flat):
        layers = [part.view_as(W) for part, W in zip(flat.split(sizes), weights, strict=True)]
        chains = [layers[first : first + depth] for first in range(0, len(layers), depth)]
        total = sum(torch.linalg.multi_dot(chain[::-1]) for chain in chains)
        return (total - s).square().sum()

    flat = torch.cat([W.ravel() for W in weights])
    return float(torch.linalg.eigvalsh(torch.func.hessian(loss)(flat))[-1])


def step_sizes(path, quick):
    """Shares at the end of gradient descent, for each depth, head start and step."""
    ratios = np.linspace(0.5, 1.5, 3 if quick else 41)
    runs = []
    for depth in DEPTHS:
        unit = 1 / (depth * TARGET ** (2 - 2 / depth))
        for head in HEADS[:1] if quick else HEADS:
            starts = TARGET * START * np.array([1.0, 1 / head])
            ends = [descent_end(depth, starts, ratio * unit, quick) for ratio in ratios]
            flow = pathway_flow(TARGET, starts, depths=[depth] * 2)
            result = {
                "depth": depth,
                "head": head,
                "flow_share": round(float(flow.share), 6),
                "ratio": np.round(ratios, 6).tolist(),
                "share": [round(share, 6) for share, _, _ in ends],
                "loss": [float(f"{loss:.3g}") for _, loss, _ in ends],
                "stop_reason": [reason for _, _, reason in ends],
            }
            runs.append(result | agreement(result))
            print(f"    depth {depth}, head start {head:g}: {agreement(result)}", flush=True)
    return {"target": TARGET, "runs": runs}


def descent_end(depth, starts, step_size, quick):
    """Share of the stronger pathway, loss and stop reason of one run."""
    model = MultiPathwayRegressor(
        depth,
        WIDTH,
        init=[balanced_factors([[a]], WIDTH, depth=depth) for a in starts],
        step_size=step_size,
        max_iter=STEPS // 10 if quick else STEPS,
        record_every=STEPS // 10,
        tol=0,
        fit_intercept=False,
    ).fit([[1.0]], [[TARGET]])
    return float(model.dominant_share_[0]), float(model.loss_), model.stop_reason_


def agreement(result):
    """How well the runs that came to rest agree with the lower of flow and stability limit."""
    share, ratio, loss = (np.array(result[name]) for name in ("share", "ratio", "loss"))
    settled = loss < SETTLED
    limit = np.array([stable_share(r, result["depth"]) for r in ratio])
    difference = share - np.minimum(limit, result["flow_share"])
    return {
        "largest_excess_over_limit": float(f"{(share - limit)[settled].max(initial=-1.0):.3g}"),
        "largest_difference": float(f"{np.abs(difference[settled]).max(initial=0.0):.3g}"),
        "at_rest_up_to": float(ratio[settled].max(initial=0.0)),
    }


def stability(x, depth):
    """x^q + (1 - x)^q, the sharpness relative to that of one pathway."""
    return x ** (2 - 2 / depth) + (1 - x) ** (2 - 2 / depth)


def stable_share(ratio, depth):
    """Largest share that is stable with a step of `ratio` units; 1/2 where none is."""
    if ratio <= 1:
        return 1.0
    if stability(0.5, depth) * ratio >= 1 - 1e-12:
        return 0.5
    return brentq(lambda x: stability(x, depth) - 1 / ratio, 0.5, 1.0)


def draw(results):
    """Sharpness on the left, shares on the right."""
    import matplotlib.pyplot as plt

    minima, ends = results
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    draw_sharpness(axes[0], minima["minima"])
    for ax, depth in zip(axes[1:], DEPTHS, strict=True):
        draw_shares(ax, [run for run in ends["runs"] if run["depth"] == depth], depth)
    return figure


def draw_sharpness(ax, rows):
    """Measured sharpness against s, with the formula as lines."""
    for i, depth in enumerate(DEPTHS):
        for n, marker in zip(NUMBERS, "os^", strict=True):
            chosen = [row for row in rows if (row["depth"], row["sharing"]) == (depth, n)]
            s = [row["target"] for row in chosen]
            ax.loglog(s, [row["formula"] for row in chosen], c=COLORS[i], lw=0.9)
            label = f"depth {depth}, " + (f"{n} share" if n > 1 else "one pathway")
            measured = [row["measured"] for row in chosen]
            ax.plot(s, measured, marker, c=COLORS[i], ms=5, label=label)
    ax.set(title="sharpness: formula (lines), Hessian", xlabel="strength s", ylabel="sharpness")
    ax.set_xticks(TARGETS, [f"{s:g}" for s in TARGETS])
    ax.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    ax.minorticks_off()
    ax.legend(fontsize=8)


def draw_shares(ax, runs, depth):
    """Shares at the end against the step."""
    end = 2 ** (1 - 2 / depth)
    ratio = np.linspace(1, end, 200)
    ax.plot(ratio, [stable_share(r, depth) for r in ratio], "k", label="stability limit")
    ax.axvspan(end, 1.5, color="0.93", label="nothing is stable (x)")
    for i, result in enumerate(runs):
        share, loss = np.array(result["share"]), np.array(result["loss"])
        at_rest = loss < SETTLED
        label = f"head start {result['head']:g} : 1"
        ax.axhline(result["flow_share"], color=COLORS[i], ls=":", lw=1)
        x, size = np.array(result["ratio"]), 7 - 2 * i
        ax.plot(x[at_rest], share[at_rest], "o", c=COLORS[i], ms=size, label=label)
        ax.plot(x[~at_rest], share[~at_rest], "x", c=COLORS[i], ms=size)
    ax.set(title=f"depth {depth}: gradient descent (dotted: flow)", ylim=(0.47, 1.03))
    ax.set(xlabel=r"step size $\times\; L s^{2-2/L}$", ylabel="share of the stronger pathway")
    ax.legend(fontsize=8, loc="lower left")


FIGURES = {
    "edge_of_stability": Figure(
        {"edge_sharpness": sharpness_at_minima, "edge_step_sizes": step_sizes}, draw
    )
}


def main(argv=None):
    """Compute or plot."""
    run(FIGURES, "shi2022", __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    main()
