"""
With one target, depth is another way to set the ridge penalty
==============================================================

Depth and weight decay together regularise a deep linear network. Is that better than ridge
regression? Both are chosen here by cross-validation, on three data sets that come with
scikit-learn. The answer is sober, and the theory says why.
"""

# %%
# The targets are the progression of diabetes, and one column of the wine and of the breast cancer
# data, which is predicted from the others. ``RidgeCV`` and ``DeepLinearRegressorCV`` both choose
# by leaving out every sample once. The latter compares exact minima: nothing is trained.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressorCV

wine, cancer = load_wine().data, load_breast_cancer().data
data = {
    "diabetes": load_diabetes(return_X_y=True),
    "wine": (np.delete(wine, 9, axis=1), wine[:, 9]),
    "breast cancer": (np.delete(cancer, 26, axis=1), cancer[:, 26]),
}
models = {"ridge": RidgeCV(alphas=np.logspace(-4, 4, 41))}
for depth in (1, 2, 3):
    models[f"depth {depth}"] = DeepLinearRegressorCV(depths=[depth])
models["depth by CV"] = DeepLinearRegressorCV(depths=[1, 2, 3])

# %%
# Ten outer folds score the whole procedure, the choice of the penalty included.

folds = KFold(10, shuffle=True, random_state=0)
scores = {
    source: {
        name: cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=folds)
        for name, model in models.items()
    }
    for source, (X, y) in data.items()
}
for source, found in scores.items():
    print(f"{source:14}", *(f"{name} {r2.mean():.4f}  " for name, r2 in found.items()))

# %%
# Every point on the left is the mean over the folds of the R2 of a network less that of ridge
# regression, and the bar is its standard error.
#
# On the right is the reason. Take a network of three layers at its minimum, with decay
# :math:`\gamma` and coefficients w of norm ||w||. Setting the slope of the objective to zero
# shows that w solves ridge regression, too, with the penalty
# :math:`\alpha = n \gamma \|w\|^{2/3 - 2}` for n samples.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
networks = list(models)[1:]
for shift, (source, color, marker) in enumerate(
    zip(scores, ("#0072B2", "#D55E00", "#009E73"), "os^", strict=True)
):
    differences = np.array([scores[source][name] - scores[source]["ridge"] for name in networks])
    spread = differences.std(axis=1, ddof=1) / np.sqrt(folds.n_splits)
    places = np.arange(len(networks)) + 0.15 * (shift - 1)
    style = {"fmt": marker, "color": color, "capsize": 3, "label": source}
    left.errorbar(places, differences.mean(axis=1), spread, **style)
left.axhline(0, color="black", linewidth=0.8)
left.set_xticks(range(len(networks)), networks)
left.set(ylabel="R2 less that of RidgeCV")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)

X, y = data["diabetes"]
X = StandardScaler().fit_transform(X)
deep = DeepLinearRegressorCV(depths=[3]).fit(X, y)
norm = np.linalg.norm(deep.coef_)
ridge = Ridge(alpha=len(y) * deep.best_params_["weight_decay"] * norm ** (2 / 3 - 2)).fit(X, y)
print(f"largest difference {np.abs(deep.coef_ - ridge.coef_).max():.0e}, alpha {ridge.alpha:.3f}")
right.plot(deep.coef_, "o", fillstyle="none", markersize=11, color="#0072B2", label="three layers")
right.plot(ridge.coef_, "x", markersize=8, color="#D55E00", label="ridge regression")
right.set(xlabel="input", ylabel="coefficient (units of the target)")
right.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
plt.show()

# %%
# **What was learnt.** With one target a network of any depth is ridge regression at another
# penalty: the coefficients agree to 1e-11, and no R2 differs from that of RidgeCV by more than
# 0.002. Depth only moves the penalties that a grid tries, so look for its gains where there are
# many targets (:ref:`sphx_glr_auto_examples_plot_low_rank.py`) or in how networks learn.
