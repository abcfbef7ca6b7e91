"""
ReLU layers keep their differences, whatever they learn
=======================================================

Scale the weights into a ReLU unit up and those out of it down by the same factor, and the network
computes the same. From this symmetry follows a conserved quantity: under training with small
steps and without weight decay, the squared norm of the weights into a unit less that of the
weights out of it never changes. So layers that start alike in size stay alike, and layers that do
not never meet.
"""

# %%
# A network of three layers without biases, in whose second layer the weights start twice as large.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_deeplinear import HomogeneousMLPRegressor
from sklearn_deeplinear.inspection import BalanceDisplay

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
networks = {}
for step in (0.01, 0.1):
    networks[step] = HomogeneousMLPRegressor(
        depth=3,
        width=20,
        init_scale=[0.5, 1.0, 0.5],
        fit_bias=False,
        step_size=step,
        max_iter=round(50 / step),
        tol=0,
        record_every=round(0.5 / step),
        record_weights=True,
        random_state=0,
    ).fit(X, y)

# %%
# Left the squared norms of the three layers, which grow or shrink with what is learnt, and right
# how far the differences of adjacent ones drift.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
run = networks[0.01].trajectory_
norms = np.array([[np.sum(W**2) for W in weights] for weights in run.weights])
for layer, (color, linestyle) in enumerate(
    (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."))
):
    label = f"layer {layer + 1}"
    left.plot(run.time, norms[:, layer], color=color, linestyle=linestyle, label=label)
left.set(xlabel="time (sum of step sizes)", ylabel="squared norm of the weights")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
drifts = {}
for (step, network), linestyle in zip(networks.items(), ("-", "--"), strict=True):
    history = network.balance_history_
    drifts[step] = np.abs(history.layer - history.layer[0]).max(axis=1)
    right.plot(history.time, drifts[step], linestyle, color="#0072B2", label=f"step {step}")
    print(f"step {step}: R2 {network.score(X, y):.3f}, drift {drifts[step].max():.4f}")
growth = np.ptp(norms, axis=0).max()
print(f"change of the squared norms: at most {growth:.3f}")
right.set(xlabel="time (sum of step sizes)", ylabel="largest drift of a difference", yscale="log")
right.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
plt.show()

# %%
# Each difference as a curve of its own: they look like straight lines.

BalanceDisplay.from_estimator(networks[0.01], quantity="layer", against="time")
plt.show()

# %%
# **What was learnt.** While the squared norms of the layers changed by up to 3.5, their
# differences drifted by 0.002 with steps of 0.01, and by 0.03 with steps ten times as large. The
# differences in size that layers start with are those that they end with: without weight decay no
# training evens them out.
