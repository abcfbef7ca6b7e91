"""Loss of a module on a data set, as a function of the module alone."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._module import takes_arguments
from sklearn_deeplinear.dynamics.networks._trainable import trainable_parameters


def is_module(network, name, method, loss, weight_decay):
    """Tell a module from an estimator of this package, which has a loss and decay of its own.

    Parameters
    ----------
    network : object
        What a user gave.
    name : str
        Name of the parameter.
    method : str
        Method by which estimators offer what is asked for.
    loss, weight_decay
        As given, for modules only.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or the other parameters do not suit it.
    """
    if isinstance(network, torch.nn.Module):
        return True
    if not hasattr(network, method):
        raise TypeError(
            f"{name} must be a regressor or classifier of sklearn_deeplinear or a "
            f"torch.nn.Module, got {type(network).__name__}."
        )
    if loss is not None or np.any(weight_decay):
        raise ValueError("loss and weight_decay must be left out: an estimator brings its own.")
    return False


def data_loss(module, X, y, loss=None):
    """Loss of a module on data, as a function of the module alone.

    Parameters
    ----------
    module : torch.nn.Module
        Network whose dtype and device the data are moved to.
    X, y : array-like or tensor
        Inputs and targets.
    loss : callable or None
        ``loss(module(X), y)``; None chooses by the dtype of y.

    Returns
    -------
    closure : callable
        ``closure(module)``, a tensor of one element.
    """
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be callable, loss(outputs, y), got {loss!r}.")
    if loss is not None and not takes_arguments(loss, 2):
        raise TypeError(
            "loss must take two arguments, loss(outputs, y) with outputs = module(X); that of "
            "gradient_descent and gradient_flow is another, loss(module)."
        )
    like = trainable_parameters(module)[0]
    inputs = _tensor(X, "X").to(like.dtype).to(like.device)
    targets = _tensor(y, "y")
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            "X and y must have the same number of samples, at least one; got shapes "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    real = targets.is_floating_point()
    targets = targets.to(like.dtype if real else torch.int64).to(like.device)
    chosen = loss or (mean_squared_error if real else torch.nn.functional.cross_entropy)
    return lambda net: chosen(net(inputs), targets)


def _tensor(data, name):
    """Arrays, data frames and lists as tensors."""
    if isinstance(data, torch.Tensor):
        return data
    try:
        return torch.as_tensor(np.require(data, requirements="W"))
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must hold numbers (for classes their codes 0, 1, ...), got "
            f"{type(data).__name__}."
        ) from None


def mean_squared_error(outputs, targets):
    """Squared error, summed over the outputs and averaged over the samples."""
    if outputs.numel() != targets.numel():
        raise ValueError(
            f"y must have the shape of the outputs, {tuple(outputs.shape)}, got "
            f"{tuple(targets.shape)}."
        )
    return (outputs.reshape(targets.shape) - targets).square().sum() / len(targets)
