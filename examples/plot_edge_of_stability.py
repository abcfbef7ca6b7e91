"""
Steps too large for the minimum train on the edge of stability
==============================================================

Where the objective is curved, large steps overshoot. The *sharpness* is its largest curvature at
the present weights, the largest eigenvalue of the matrix of its second derivatives. Steps of size
:math:`\\eta` are stable as long as the sharpness is below :math:`2 / \\eta`. What happens if all
the way to the minimum it is not?
"""

# %%
# First the sharpness at the minimum, where three layers share the best map evenly.
# ``solver="analytic"`` makes such weights.

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import hessian_eigenvalues

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
minimum = DeepLinearRegressor(depth=3, width=10, solver="analytic").fit(X, y)
at_minimum = hessian_eigenvalues(minimum, X, y)[0]
print(f"sharpness at the minimum {at_minimum:.2f}, steps up to {2 / at_minimum:.3f} are stable")

# %%
# Then two runs from small weights, whose steps lie on both sides of that limit.

runs = {}
for share in (0.9, 1.3):
    network = DeepLinearRegressor(
        depth=3,
        width=10,
        init="balanced",
        init_scale=0.1,
        step_size=share * 2 / at_minimum,
        max_iter=1500,
        tol=0,
        record=["sharpness"],
        record_every=15,
        random_state=0,
    ).fit(X, y)
    runs[share] = network
    end = hessian_eigenvalues(network, X, y)[0]
    limit = 2 / network.step_size_
    print(f"step {network.step_size_:.3f}: sharpness {end:.2f}, 2 / step {limit:.2f}")

# %%
# Horizontal lines are the limits :math:`2 / \eta`.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for network, color in zip(runs.values(), ("#0072B2", "#D55E00"), strict=True):
    run = network.trajectory_
    excess = run.loss - minimum.loss_
    label = f"step {network.step_size_:.2f}"
    left.plot(run.iteration, run.sharpness, color=color, label=label)
    left.axhline(2 / network.step_size_, color=color, linestyle="--")
    right.semilogy(run.iteration, excess, color=color, label=label)
    print(f"{label}: loss above the minimum {excess[-1]:.0e}")
left.set(xlabel="iteration", ylabel="sharpness (dashed: 2 / step)")
right.set(xlabel="iteration", ylabel="mean squared error less its minimum")
for ax in (left, right):
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
plt.show()

# %%
# **What was learnt.** Steps of 0.22 converged, with a sharpness of 7.8 at the end, below their
# limit of 9.0. With steps of 0.32 the sharpness grew past the limit of 6.2, the loss jumped up
# within 700 steps, and from then on the sharpness stayed about the limit: the loss ended 3e-4 above
# the minimum instead of 2e-7.
