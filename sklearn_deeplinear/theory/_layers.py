"""Networks as lists of their layers W_1, ..., W_L, with W_l of shape (h_l, h_{l-1})."""

from __future__ import annotations

from functools import reduce

import numpy as np

from sklearn_deeplinear._parameters import as_array
from sklearn_deeplinear.theory._moments import check_moments


def check_weights(weights, name="weights", moments=None):
    """Return the layers W_1, ..., W_L as a list of float64 matrices that fit each other.

    They must fit `moments`, too, if these are given.
    """
    if isinstance(weights, (str, bytes)) or not np.iterable(weights):
        raise TypeError(f"{name} must be a list of matrices, got {weights!r}.")
    layers = [as_array(W, name) for W in weights]
    if not layers:
        raise ValueError(f"{name} must hold at least one matrix, got none.")
    for W in layers:
        if W.ndim != 2 or 0 in W.shape or not np.isfinite(W).all():
            raise ValueError(
                f"{name} must hold finite matrices, got an array of shape {W.shape} "
                "or one with NaN or infinity."
            )
    for i, (W, V) in enumerate(zip(layers[:-1], layers[1:], strict=True), start=1):
        if W.shape[0] != V.shape[1]:
            raise ValueError(
                f"{name} must be matrices W_l of shape (h_l, h_(l-1)); layer {i} has shape "
                f"{W.shape}, which does not fit {V.shape} of layer {i + 1}."
            )
    if moments is not None:
        check_moments(moments)
        m, d = layers[-1].shape[0], layers[0].shape[1]
        if (m, d) != (moments.n_outputs, moments.n_inputs):
            raise ValueError(
                f"{name} must map {moments.n_inputs} inputs to {moments.n_outputs} outputs as "
                f"the moments do, but map {d} to {m}."
            )
    return layers


def end_to_end(weights):
    """Product ``M = W_L ... W_1`` of the layers, shape (m, d)."""
    if weights[0].shape[1] <= weights[-1].shape[0]:
        return reduce(lambda P, W: W @ P, weights)
    return reduce(lambda B, W: B @ W, reversed(weights))


def partial_products(weights):
    """B_l = W_L ... W_{l+1} for l = 1, ..., L and P_l = W_l ... W_1 for l = 0, ..., L."""
    below = [np.eye(weights[0].shape[1])]
    for W in weights:
        below.append(W @ below[-1])
    above = [np.eye(weights[-1].shape[0])]
    for W in weights[:0:-1]:
        above.append(above[-1] @ W)
    return above[::-1], below


def chain_gradients(products, slope):
    """Gradients of <slope, W_L ... W_1> in W_1, ..., W_L, from their partial products."""
    above, below = products
    return [B.T @ slope @ P.T for B, P in zip(above, below[:-1], strict=True)]


def packed(matrices):
    """All entries as one vector."""
    return np.concatenate([W.ravel() for W in matrices])


def unpacked(vector, like):
    """Matrices with the entries of `vector` and the shapes of those in `like`."""
    matrices, first = [], 0
    for W in like:
        matrices.append(vector[first : first + W.size].reshape(W.shape))
        first += W.size
    return matrices
