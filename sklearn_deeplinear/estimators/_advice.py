"""What to do about a run that made all its steps and is not done: advice that helps.

The texts hold no numbers: equal warnings of many fits are to be seen as equal.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._wide_factor import thin_svd

# Gap to the minimum, relative to the objective, that is as good as a gradient of `tol` times
# the first: 1e-8 by default, which no prediction shows.
_GAP_PER_TOL = 1e-2

# Gap, relative to the least loss, with which linear regression counts as done: as good as that
# of the default `tol`.
_DONE = 1e-8

# Ratio of the scales of two features from which these are what makes training slow.
_FAR_APART = 10.0

# Steps that two layers take for one step of linear regression, on one output: 1.7 to 2.9
# on the data sets that scikit-learn ships.
_STEPS_PER_LAYER = 1.15

EXACT_OR_LONGER = (
    'Set solver="analytic" for the exact minimum. To see more of the training raise '
    "max_iter; tol=0 makes max_iter steps without a warning."
)
LONGER = "Raise max_iter, or set tol=0 to make max_iter steps without a warning."
SCALE_OR_EXACT = (
    "The features of X differ widely in scale, which makes it slow: standardise them "
    '(sklearn.preprocessing.StandardScaler), or set solver="analytic" for the exact minimum.'
)
ON_PURPOSE = (
    "Networks with activations seldom reach a small tol: set tol=0 to make max_iter steps on "
    "purpose, or raise max_iter to train on."
)
SCALE_ON_PURPOSE = (
    "The features of X differ widely in scale, or from the constant 1 of the biases, which "
    "makes it slow: standardise them (sklearn.preprocessing.StandardScaler), and set tol=0 to "
    "make max_iter steps on purpose."
)
SCALE_TARGETS = (
    "The targets are small beside the constant 1 of the biases, which makes it slow: scale y "
    "(sklearn.compose.TransformedTargetRegressor) and X to the order of 1, and set tol=0 to "
    "make max_iter steps on purpose."
)


def is_nearly_minimal(problem, objective, tol):
    """Whether the objective is as near its minimum as `tol` asks, where that is cheap to say.

    Parameters
    ----------
    problem : Problem
        Knows whether its exact minimum is cheap, and then the minimum.
    objective : float
        Objective of the run.
    tol : float
        Tolerance on the norm of the gradient, relative to its first value.
    """
    if not problem.has_cheap_minimum:
        return False
    gap = objective - problem.global_minimum.objective
    return gap <= _GAP_PER_TOL * tol * abs(objective)


def linear_advice(moments, depth, weight_decay, n_steps):
    """Advice for a linear network; `depth` None if standardising is not to be weighed up."""
    decay = np.asarray(weight_decay)
    if decay.any() and not decay.all():
        return LONGER  # no weights attain the minimum
    # Decayed layers that are out of balance come to rest in their own time.
    told = depth == 1 or (depth is not None and not decay.any())
    if told and _standardising_would_do(moments, depth, n_steps):
        return SCALE_OR_EXACT
    return EXACT_OR_LONGER


def _standardising_would_do(moments, depth, n_steps):
    """Whether `n_steps` would do on standardised inputs, but do not on these.

    Told by gradient descent of linear regression, whose error in the mode of variance
    lambda_i shrinks by 1 - lambda_i / lambda_1 a step.
    """
    if depth > 1 and moments.n_outputs > 1:
        return False  # modes wait for their turn
    scale = np.linalg.norm(moments.input_factor, axis=0)
    live = scale > 0
    if not live.any() or not _are_far_apart(scale[live]):
        return False
    U, sigma, _ = thin_svd(moments.input_factor[:, live] / scale[live])
    positive = sigma > sigma[0] * len(sigma) * np.finfo(float).eps
    targets = U[:, positive].T @ moments.output_factor
    shrinkage = 1 - (sigma[positive] / sigma[0]) ** 2
    n_effective = n_steps if depth == 1 else n_steps / (_STEPS_PER_LAYER * depth)
    gap = np.sum(shrinkage ** (2 * n_effective) @ targets**2)
    return gap <= _DONE * moments.spectrum.residual


def network_advice(feature_scale, target_scale=None):
    """Advice for a network with activations.

    Parameters
    ----------
    feature_scale : ndarray
        Root mean squares of the features, and of the constant if there are biases.
    target_scale : float, optional
        Root mean square of the targets, if there are biases and it matters.
    """
    if target_scale is not None and 0 < target_scale < 1 / _FAR_APART:
        return SCALE_TARGETS
    return SCALE_ON_PURPOSE if _are_far_apart(feature_scale) else ON_PURPOSE


def _are_far_apart(scale):
    scale = scale[scale > 0]
    return len(scale) > 0 and scale.max() > _FAR_APART * scale.min()
