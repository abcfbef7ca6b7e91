"""Units of the data in which networks can be trained, or what is wrong.

Inputs of size x and targets of size y are fitted by L layers of the size c = (y / x)^(1/L). What
a run computes is then of the sizes of x and y, of c and its square, and of

    y c^(L-l)  gradient in the values of layer l,     y / c  in weights,
    (y / c)^2  curvature,                             y^2    loss,

and of steps, which are its inverse, times gradients. As long as these are numbers, a run in other
units is the same but for powers of the units, and for the biases: these multiply 1, beside which
inputs of the layers, from x to y / c, may be too small for their weights to be moved.
"""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.nn._losses import LOSSES
from sklearn_deeplinear.nn._norms import norms

# Least inputs of a layer beside the constant 1 of the biases. The gradient in its weights is by
# that smaller than the one in biases, and below the default `tol`; the curvature is by its square:
# in 500 steps "gd" learns nothing from 1e-3 on, and "lbfgs" little below 1e-6.
_LEAST = 1e-6
# What sums, shares and single entries may differ from the sizes, as a power of two.
_MARGIN = 20


def check_units(problem, X, Y, named="X and y"):
    """Raise a ValueError if a perceptron cannot be trained on data in their units.

    Parameters
    ----------
    problem : PerceptronProblem
        The objective.
    X, Y : arrays of shapes (n, d) and (n, m)
        Inputs and targets as they were given, perhaps in a precision of more numbers.
    named : str, default="X and y"
        What has units: of a classifier "X" alone.
    """
    loss, depth = LOSSES[problem.loss], len(problem.shapes)
    x = _size(problem.X, problem.shares)
    y = loss.output_size(_size(problem.Y, problem.shares))
    vanished = any(
        not own.any() and bool((given != 0).any())
        for own, given in ((problem.X, X), (problem.Y, Y))
    )
    if not vanished and not (x > 0 and y > 0):
        return  # zero is so in all units
    check_numbers(0.0 if vanished else x, y, depth, problem.X.dtype, named)
    inputs = min(x, 2 ** (np.log2(y) - (np.log2(y) - np.log2(x)) / depth))
    if problem.fit_bias and inputs < _LEAST:
        how = "Standardise X (sklearn.preprocessing.StandardScaler)"
        how += ", and scale y (sklearn.compose.TransformedTargetRegressor)" * (named != "X")
        raise ValueError(
            f"{named} must be in larger units, or fit_bias=False: with {_told(x, y)}, a layer gets "
            f"inputs of the size of {inputs:.1g} beside the constant 1 that biases multiply, and "
            f"training would move nothing but biases. {how}."
        )


def check_numbers(x, y, depth, dtype, named="X and y", linear=False):
    """Raise a ValueError unless all that a run computes is within the numbers of a precision.

    Networks that are `linear` are trained on moments, in which samples and values of the layers
    do not appear.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_x, log_y = np.log2([x, y])
        c = (log_y - log_x) / depth
        step = 2 * (c - log_y)
        sizes = [log_x, c, 2 * log_y, step, -step]
        if linear:
            sizes += [2 * log_x, log_x + log_y, 2 * log_y - c]
        else:
            slopes = log_y, log_y + (depth - 1) * c, log_y - c
            sizes += [*slopes, *(step + slope for slope in slopes)]
    limits = torch.finfo(dtype)
    low, high = np.log2(limits.tiny) + _MARGIN, np.log2(limits.max) - _MARGIN
    if not (low < min(sizes) and max(sizes) < high and (linear or 2 * c < high)):
        raise ValueError(
            f"{named} must be in units nearer to 1: with {_told(x, y)}, gradients, steps or "
            f"squares on the way of training are no {dtype} numbers."
        )


def check_moments(moments, depth, dtype, linear):
    """:func:`check_numbers` of data of which the moments are known; zero is so in all units."""
    factors = moments.input_factor, moments.output_factor
    x, y = (float(norms(torch.from_numpy(R), dim=(0, 1))) for R in factors)
    if x > 0 and y > 0:
        check_numbers(x, y, depth, dtype, linear=linear)


def check_inputs(X, shares, depth, dtype):
    """:func:`check_numbers` of inputs whose outputs tell classes apart, and have the size of 1."""
    x = _size(X, shares)
    if x > 0:
        check_numbers(x, 1.0, depth, dtype, "X")


def _told(x, y):
    return f"inputs of the size of {x:.1g} and targets of the size of {y:.1g}"


def _size(values, shares):
    """Root mean square of rows (n, k), the squares of which need be no numbers."""
    rows, shares = (part.numpy(force=True).astype(float) for part in (norms(values), shares))
    unit = rows[shares > 0].max(initial=0.0)
    if not 0 < unit < np.inf:
        return unit
    return unit * np.sqrt(shares[shares > 0] @ np.square(rows[shares > 0] / unit))
