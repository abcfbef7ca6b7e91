"""The objective along the exact solution of linear networks, for other activations as well."""

from __future__ import annotations

import numpy as np
import torch
from ziyin2022_training import ACTIVATIONS, NOISE, SAMPLES, SEED, WIDTH

from sklearn_deeplinear.inspection._plotting import COLORS
from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay, global_minimum


def regression_data():
    """Five standard normal inputs, and a target of which they explain the larger part."""
    rng = np.random.RandomState(SEED)
    X = rng.standard_normal((SAMPLES, 5))
    return X, X @ rng.standard_normal(5) / np.sqrt(5) + NOISE * rng.standard_normal(SAMPLES)


def weights_along(b, moments, hidden, decay):
    """Weights [W_1, ..., W_L] of the exact solution's family at b, equal widths and decays.

    The signs r are all positive. With as many of each, which the theory allows as well, ReLU
    and swish networks with one hidden layer would both be half the linear one.
    """
    h, A, S = WIDTH, moments.input_moment, moments.cross_moment[0]
    r, middle = np.ones(h), np.ones((h, h)) * b / np.sqrt(h)
    k = b**hidden * h ** ((hidden + 1) / 2)  # the map is k v
    v = k * np.linalg.solve(k**2 * A + decay * h * np.eye(len(A)), S)
    return [np.outer(r, v), *[middle] * (hidden - 1), b * r[None]]


def objective(weights, activation, X, y, decay):
    """Mean squared error plus penalty of a network without biases."""
    z = torch.from_numpy(X.T)
    for W in weights[:-1]:
        z = activation(torch.from_numpy(W) @ z)
    prediction = (torch.from_numpy(weights[-1]) @ z).numpy()[0]
    return np.mean((y - prediction) ** 2) + decay * sum(np.sum(W**2) for W in weights)


def landscapes(path, quick):
    """Objectives along b, at decays below, near and above the one where zero wins."""
    X, y = regression_data()
    moments = SecondMoments.from_data(X, y, center=False)
    panels = []
    for hidden in (1, 2):
        collapse = critical_weight_decay(moments, depth=hidden + 1).collapse
        for share in (0.1, 0.5, 1.2):
            decay = share * collapse
            # At a small decay |M| is about |S|, and all layers weigh the same.
            reach = 1.5 * np.linalg.norm(moments.cross_moment) ** (1 / (hidden + 1))
            b = np.linspace(-reach, reach, 41 if quick else 201) / np.sqrt(WIDTH)
            curves = {
                name: [
                    objective(weights_along(x, moments, hidden, decay), f, X, y, decay) for x in b
                ]
                for name, f in ACTIVATIONS.items()
            }
            least = global_minimum(moments, depth=hidden + 1, weight_decay=decay).objective
            panel = {"hidden": hidden, "share": share, "decay": decay, "least": least}
            curves = {name: np.round(curve, 6).tolist() for name, curve in curves.items()}
            panels.append(panel | {"b": np.round(b, 6).tolist(), "curves": curves})
    return {"seed": SEED, "panels": panels}


def draw_landscapes(results):
    """One row per number of hidden layers, one panel per decay."""
    import matplotlib.pyplot as plt

    [result] = results
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.8), layout="constrained")
    for ax, panel in zip(axes.ravel(), result["panels"], strict=True):
        for (name, curve), colour, style in zip(
            panel["curves"].items(), COLORS, ("-", "--", "-.", ":"), strict=False
        ):
            ax.plot(panel["b"], curve, style, color=colour, lw=1.8, label=name)
        at_zero = panel["curves"]["linear"][len(panel["b"]) // 2]
        ax.axhline(panel["least"], color="0.5", lw=0.8, label="global minimum of the linear one")
        ax.set_ylim(0, 1.6 * at_zero)
        hidden, share = panel["hidden"], panel["share"]
        ax.set_title(f"{hidden} hidden, decay {share:g} × collapse", fontsize=10)
        ax.set_xlabel("scalar b of the upper layers")
    for ax in axes[:, 0]:
        ax.set_ylabel("loss + penalty")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, frameon=False)
    return figure
