"""Initial weights of a linear network, from the parameters `init` and `init_scale`."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear._parameters import as_array, check_real
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import size_factor
from sklearn_deeplinear.nn._initialisers import INITIALISERS, spread_spectral

_ONE_SCALE = {"spectral", "balanced"}  # and they follow the units of the data


def initial_weights(init, init_scale, shapes, generator, first_step, noisy):
    """Return the initial layers as float64 tensors on the CPU.

    Parameters
    ----------
    init : str or list of array-like
        Name of an initialiser, or the weights.
    init_scale : float, sequence of floats or None
        See the estimators.
    shapes : list of (h_l, h_{l-1})
        Shapes of the layers.
    generator : torch.Generator
        Source of random numbers.
    first_step : ndarray of shape (m, d)
        S / lambda_max(A).
    noisy : bool
        Whether hidden units are noisy.

    Returns
    -------
    weights : list of tensors

    Raises
    ------
    ValueError
        If given weights do not have the shapes, or the scale does not suit `init`.
    """
    if not isinstance(init, str):
        return given_weights(init, shapes, "init")
    scale = _check_scale(init_scale, init, len(shapes))
    initialise = spread_spectral if init == "spectral" and noisy else INITIALISERS[init]
    return initialise(shapes, scale, generator, torch.from_numpy(first_step))


def sized_weights(init, init_scale, weights, moments, share=1.0):
    """Bring outputs to a tenth to twice the size of a share of the targets, if left to us.

    Weights of ordinary size make gradient descent in other units start on a plateau, which a
    step that suits the size of the fitted weights does not leave, or from outputs that it has
    to unlearn. See :func:`fitting_factor`, which does it for perceptrons.
    """
    if _is_sized(init, init_scale):
        return weights
    outputs = moments.input_factor
    for W in weights:
        outputs = outputs @ W.numpy().T
    size, wanted = np.linalg.norm(outputs), share * np.linalg.norm(moments.output_factor)
    return sized_outputs(init, init_scale, weights, size, wanted)


def sized_outputs(init, init_scale, weights, size, wanted):
    """:func:`sized_weights` for outputs of known size."""
    if _is_sized(init, init_scale):
        return weights
    factor = size_factor(float(size), float(wanted), len(weights))
    return [factor * W for W in weights]


def _is_sized(init, init_scale):
    return not isinstance(init, str) or init_scale is not None or init in _ONE_SCALE


def given_weights(weights, shapes, name):
    """Check weights given by the user and copy them into float64 tensors."""
    if isinstance(weights, (str, bytes)) or not np.iterable(weights):
        raise TypeError(f"{name} must be a list of arrays, one per layer, got {weights!r}.")
    if len(weights) != len(shapes):
        raise ValueError(
            f"{name} must hold depth = {len(shapes)} arrays, got {len(weights)}."
            + _of_another_shape(name)
        )
    tensors = []
    for layer, (W, shape) in enumerate(zip(weights, shapes, strict=True), start=1):
        W = as_array(W, f"W_{layer} of {name}").copy()
        if W.shape != shape:
            raise ValueError(
                f"{name} must hold W_{layer} of shape {shape}, got {W.shape}."
                + _of_another_shape(name)
            )
        if not np.isfinite(W).all():
            raise ValueError(f"{name} must hold finite numbers; W_{layer} does not.")
        tensors.append(torch.from_numpy(W))
    return tensors


def _of_another_shape(name):
    """What to do when the weights are those of the previous fit, or of an earlier batch."""
    what = "the depth, the widths and the numbers of features and outputs of the previous"
    if name.startswith("warm_start"):
        return f" Set warm_start=False, or keep {what} fit."
    return f" Keep {what} call, or start anew by fit." if name.startswith("partial_fit") else ""


def first_gradient_step(moments):
    """S / lambda_max(A), the map that one step of linear regression from zero reaches."""
    sigma, targets = moments.spectrum.sigma, moments.spectrum.targets
    if sigma.size == 0:
        return np.zeros((moments.n_outputs, moments.n_inputs))
    # Squares of small units are no numbers.
    return (targets.T / sigma[0] * (sigma / sigma[0])) @ moments.spectrum.directions.T


def _check_scale(init_scale, init, depth):
    if init_scale is None:
        return None
    if np.ndim(init_scale) == 0:
        return check_real(init_scale, "init_scale", closed=False)
    if init in _ONE_SCALE or len(init_scale) != depth:
        allowed = "a float" if init in _ONE_SCALE else f"a float or depth = {depth} floats"
        raise ValueError(f"init_scale must be {allowed} with init={init!r}, got {init_scale!r}.")
    return [check_real(scale, "init_scale", closed=False) for scale in init_scale]
