"""
The time to stop is a setting, too, and can be chosen by cross-validation
=========================================================================

Without weight decay a network that trains for long fits the noise of its data. Stopping early
prevents that. When to stop can be told by data that were set aside, or by cross-validation,
which uses all of them.
"""

# %%
# Eighty samples of forty inputs, five of which matter.

import matplotlib.pyplot as plt
from sklearn.datasets import make_regression
from sklearn.model_selection import train_test_split

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.inspection import StoppingDisplay, TrajectoryDisplay

X, y = make_regression(1080, 40, n_informative=5, noise=50, random_state=0)
X_few, X_test, y_few, y_test = train_test_split(X, y, train_size=80, random_state=0)

# %%
# **With validation data.** Twenty samples are set aside. ``early_stopping=True`` ends the run when
# their loss has not fallen for ten records, and keeps the weights of its least value.

X_train, X_val, y_train, y_val = train_test_split(X_few, y_few, test_size=20, random_state=0)
network = DeepLinearRegressor(depth=2, max_iter=500, tol=0, record_every=1)
network.fit(X_train, y_train, X_val=X_val, y_val=y_val)
stopped = DeepLinearRegressor(depth=2, max_iter=500, record_every=1, early_stopping=True)
stopped.fit(X_train, y_train, X_val=X_val, y_val=y_val)

# %%
# **By cross-validation.** Networks are trained on nine tenths of the samples, ten times, and the
# number of steps with the best mean score is kept. The final network makes as many on all samples.

search = DeepLinearRegressorCV(
    [0.0], depths=[2], cv=10, solver="gd", stopping="cv", max_iter=500
).fit(X_few, y_few)
for name, model in {
    "never stopped": network,
    "stopped by 20 samples": stopped,
    "stopped by ten folds": search,
}.items():
    steps = getattr(model, "estimator_", model).n_iter_
    print(f"{name:22} {steps:3} steps, R2 on test data {model.score(X_test, y_test):.3f}")

# %%
# The loss on the data trained on falls for ever; the loss on others has a minimum.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
TrajectoryDisplay.from_estimator(network, ax=left, curve="loss", name="training")
TrajectoryDisplay.from_estimator(network, ax=left, curve="validation_loss", name="validation")
left.axvline(stopped.n_iter_, color="#009E73", linestyle="--", label="stopped here")
left.set(xlim=(0, 200), ylabel="mean squared error")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
StoppingDisplay.from_estimator(search, ax=right)
right.set(xscale="linear", xlim=(0, 200))
plt.show()

# %%
# **What was learnt.** Both ways to stop do far better than 500 steps: R2 of 0.75 and 0.81 on test
# data instead of 0.54. Cross-validation comes out ahead, as its network is trained on all eighty
# samples and its stopping time rests on all of them, not on twenty.
