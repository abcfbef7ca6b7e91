"""
Weight decay can put out a network
==================================

Ridge regression shrinks its coefficients with a growing penalty, but never to zero. A network of
two layers or more does reach zero, at a finite weight decay, and predicts the mean from there on.
With three layers this happens at a jump, and training can end at zero even though a better
network exists.
"""

# %%
# The critical decays follow from the data. At the *collapse* zero becomes the best network; at
# the *spinodal* the other minimum disappears.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay, deep_linear_path

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
moments = SecondMoments.from_data(X, y)
critical = {depth: critical_weight_decay(moments, depth=depth) for depth in (2, 3)}
for depth, found in critical.items():
    print(f"{depth} layers: collapse at {found.collapse:.4f}, spinodal at {found.spinodal:.4f}")

# %%
# Networks are trained from a large start, and from a small one, at decays around these values.
# The lines are the exact minima.

decays = np.linspace(0.01, 1.2, 120)
trained_decays = np.linspace(0.05, 1.15, 12)
starts = {"large": 1.0, "small": 0.01}
norms, minima = {}, {}
for depth in critical:
    path = deep_linear_path(X, y, weight_decays=decays, depth=depth)
    minima[depth] = np.linalg.norm(path.coefs[:, 0], axis=1)
    for start, init_scale in starts.items():
        found = []
        for decay in trained_decays:
            network = DeepLinearRegressor(
                depth=depth,
                width=5,
                weight_decay=decay,
                init="balanced",
                init_scale=init_scale,
                max_iter=5000,
                random_state=0,
            ).fit(X, y)
            found.append(np.linalg.norm(network.coef_))
        norms[depth, start] = found

# %%
# The size of the map against the decay.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
styles = {"large": ("#0072B2", "o"), "small": ("#D55E00", "x")}
for ax, (depth, found) in zip(axes, critical.items(), strict=True):
    ax.plot(decays, minima[depth], color="black", label="global minimum")
    for start, (color, marker) in styles.items():
        label = f"trained, {start} start"
        ax.plot(trained_decays, norms[depth, start], marker, color=color, label=label)
    ax.axvline(found.collapse, color="#009E73", linestyle="--", label="collapse")
    if depth > 2:
        ax.axvline(found.spinodal, color="#CC79A7", linestyle=":", label="spinodal")
    ax.set(xlabel="weight decay", ylabel="norm of the coefficients")
    ax.set_title(f"{depth} layers")
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5)
plt.show()

# %%
# **What was learnt.** Two layers shrink to zero continuously, at a decay of 1.21 here, while three
# layers fall from a norm of about 0.2 to nothing at 0.34. At a decay of 0.25 the small start ended
# at zero although a better network exists: where a network predicts a constant, try less weight
# decay or a larger start.
