"""
The package at a glance
=======================

Three things that one can see of a deep linear network, whose coefficients are a product of
matrices: training and the exact minimum that it should reach, what depth does to the coefficients,
and in which order a network learns.
"""

# %%
# **Training and theory.** Networks of one to four matrices are trained on the diabetes data by
# gradient descent. The least objective that any such network can have is known: the dashed lines.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.datasets import make_linear_teacher
from sklearn_deeplinear.theory import deep_linear_path, mode_flow

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]  # Okabe and Ito's
DEPTHS = [1, 2, 3, 4]

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
models = [
    DeepLinearRegressor(depth, 20, weight_decay=0.05, max_iter=5000, record_every=1).fit(X, y)
    for depth in DEPTHS
]

# %%
# **Depth.** The minima at 200 weight decays, for each depth. One matrix is ridge regression, which
# shrinks all coefficients a little. More of them shrink harder, and from three on there is a decay
# at which all coefficients vanish at once.

decays = np.geomspace(1e-3, 3, 200)
norms = [
    np.linalg.norm(deep_linear_path(X, y, weight_decays=decays, depth=depth).coefs, axis=(1, 2))
    for depth in DEPTHS
]

# %%
# **The order of learning.** Four targets that know four directions of white inputs, of strengths 4,
# 3, 2 and 1. A network of two matrices that starts small learns one after the other; the formula,
# dashed, says when.

strengths = np.array([4.0, 3.0, 2.0, 1.0])
Z, T, _ = make_linear_teacher(200, 4, 4, singular_values=strengths, whiten=True, random_state=0)
race = DeepLinearRegressor(2, 4, init_scale=1e-4, step_size=0.002, max_iter=2000, tol=0)
run = race.set_params(record_every=10, record_weights=True).fit(Z, T).trajectory_
learned = [np.linalg.svd(W_2 @ W_1, compute_uv=False) for W_1, W_2 in run.weights]
predicted = mode_flow(strengths, learned[0], depth=2)(run.time)

# %%
# All of it in one figure.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for depth, model, norm, colour in zip(DEPTHS, models, norms, COLOURS, strict=True):
    label = "depth 1 (ridge)" if depth == 1 else f"depth {depth}"
    left.plot(model.trajectory_.iteration + 1, model.trajectory_.objective, color=colour)
    left.axhline(model.global_minimum_.objective, color=colour, linestyle="--", linewidth=1)
    middle.plot(decays, norm, color=colour, label=label)
left.set(xscale="log", xlabel="steps of gradient descent", ylabel="objective")
left.set_title("training, and the exact minimum (dashed)", fontsize="medium")
middle.set(xscale="log", xlabel="weight decay", ylabel="norm of the coefficients")
middle.set_title("what depth does to the coefficients", fontsize="medium")
middle.legend(frameon=False, fontsize="small")
right.plot(run.time, learned, color=COLOURS[0], linewidth=4, alpha=0.4)
right.plot(run.time, predicted, "k--", linewidth=1)
right.set(xlabel="time (sum of step sizes)", ylabel="strength learned")
right.set_title("strong directions first, as predicted (dashed)", fontsize="medium")
plt.show()

reached = max(model.optimality_gap_ for model in models)
error = np.abs(learned - predicted).max()
print(f"largest gap {reached:.0e}, largest error of the formula {error:.2f}")

# %%
# **What was learnt.** Descent reaches the exact minimum at all four depths. Depth is a regulariser
# that can shrink to nothing, and a formula tells when each direction is learnt.
