"""
One run of gradient descent, in motion
======================================

A deep linear network learns the directions of its task one after the other, and each time it has
learned one the loss falls by a step. The sharpness, the largest curvature of the objective at the
weights, follows the strongest direction.
"""

# %%
# A teacher with four directions of different strengths, and a network of three layers that starts
# near zero. The weights and the sharpness are recorded on the way.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.datasets import make_linear_teacher

STRENGTHS = [4.0, 3.0, 2.0, 1.5]
X, Y, _ = make_linear_teacher(200, 4, 4, singular_values=STRENGTHS, whiten=True, random_state=0)
model = DeepLinearRegressor(
    depth=3,
    width=4,
    init_scale=0.001,
    step_size=0.004,
    max_iter=1200,
    tol=0,
    record_every=20,
    record_weights=True,
    record=["sharpness"],
    random_state=0,
).fit(X, Y)
run = model.trajectory_
maps = [np.linalg.multi_dot(weights[::-1]) for weights in run.weights]
learned = np.array([np.linalg.svd(M, compute_uv=False) for M in maps])

# %%
# Three curves of the same run grow together.

figure, axes = plt.subplots(3, 1, figsize=(5, 5), sharex=True, layout="constrained")
curves = {
    "singular values\nof the map": (learned, "#0072B2"),
    "loss": (run.loss[:, None], "#D55E00"),
    "sharpness": (run.sharpness[:, None], "#009E73"),
}
lines = []
for ax, (label, (values, color)) in zip(axes, curves.items(), strict=True):
    for column in values.T:
        lines.append((*ax.plot([], [], color=color), column))
    ax.set(xlim=(0, run.iteration[-1]), ylim=(0, 1.08 * values.max()), ylabel=label)
    ax.spines[["top", "right"]].set_visible(False)
axes[2].set(xlabel="steps of gradient descent")


def draw(frame):
    """Draw the run up to a record."""
    for line, column in lines:
        line.set_data(run.iteration[: frame + 1], column[: frame + 1])
    return [line for line, _ in lines]


motion = FuncAnimation(figure, draw, frames=len(run), interval=80, blit=True)
plt.show()

# %%
# **What was learnt.** Strong directions come first and each of them lowers the loss by a step. The
# sharpness rises with the first one and then stays: it is that of the strongest direction.
