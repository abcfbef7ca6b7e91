"""
With many targets, decay on two layers or more makes the map low in rank
========================================================================

Pixels of the lower half of a handwritten digit are predicted from the pixels of its upper half: 32
inputs, 32 targets, one linear map. Ridge regression shrinks the singular values of the map and
drops none. The same penalty on the factors of the map, the layers of a deep linear network,
switches the weaker ones off.
"""

# %%
# The map of a network of L layers pays, at its best, L times the weight decay times the sum of
# its singular values to the power 2 / L: with two layers the nuclear norm, which makes the rank
# low as the lasso makes coefficients zero. The path of exact minima is drawn against the decay.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import deep_linear_path

images = load_digits().data / 16
X_train, X_test, Y_train, Y_test = train_test_split(
    images[:, :32], images[:, 32:], train_size=150, random_state=0
)
decays = np.logspace(-4, 0, 25)
kept, errors = {}, {}
for depth in (1, 2):
    path = deep_linear_path(X_train, Y_train, weight_decays=decays, depth=depth, prove=False)
    values = np.linalg.svd(path.coefs, compute_uv=False)
    kept[depth] = np.sum(values > 1e-8 * values.max(), axis=1)
    predictions = X_test @ path.coefs.swapaxes(1, 2) + path.intercepts[:, None]
    errors[depth] = np.mean((predictions - Y_test) ** 2, axis=(1, 2))
    best = errors[depth].argmin()
    print(f"depth {depth}: test error {errors[depth][best]:.4f} at rank {kept[depth][best]}")

# %%
# On the left how many singular values are not zero, on the right the error on the other 1,647
# images. One layer is ridge regression.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
styles = {1: ("#D55E00", "--", "one layer (ridge)"), 2: ("#0072B2", "-", "two layers")}
for depth, (color, linestyle, label) in styles.items():
    style = {"color": color, "linestyle": linestyle, "label": label}
    left.semilogx(decays, kept[depth], **style)
    right.semilogx(decays, errors[depth], **style)
for ax, label in ((left, "rank of the map"), (right, "mean squared test error (white = 1)")):
    ax.set(xlabel="weight decay", ylabel=label)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
plt.show()

# %%
# Training finds the same rank, here with a quasi-Newton method, and depth 1 is ``Ridge`` indeed,
# whose penalty is the number of samples times the decay.

decay = decays[errors[2].argmin()]
network = DeepLinearRegressor(depth=2, width=32, weight_decay=decay, solver="lbfgs", tol=1e-4)
network.fit(X_train, Y_train)
values = np.linalg.svd(network.coef_, compute_uv=False)
ridge = Ridge(alpha=len(X_train) * decay).fit(X_train, Y_train)
values_of_ridge = np.linalg.svd(ridge.coef_, compute_uv=False)
print(f"trained to a gap of {network.optimality_gap_:.0e}")
for name, found in (("two layers, trained", values), ("ridge, same decay", values_of_ridge)):
    print(f"{name:20} {np.sum(found > 1e-4 * found.max())} singular values above 1e-4 of the first")

# %%
# **What was learnt.** At its best decay the network of two layers needs rank 12 where ridge
# regression keeps 28 directions, all that the inputs have. It does not predict better, with an
# error of 0.0560 beside 0.0552: what is gained is a smaller map.
