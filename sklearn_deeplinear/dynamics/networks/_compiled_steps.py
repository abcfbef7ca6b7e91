"""Descent steps of tiny linear networks in compiled code, where numba is installed.

A dozen calls of small operations take longer than what they compute in networks of some tens of
units. Here plain loops make many steps in one call, and copy out the states to be recorded. With
B_l = W_L ... W_{l+1} and G = M A - S, as in :class:`MapGradient`,

    dJ/dW_l = 2 B_l^T R_l + 2 gamma_l W_l,    R_1 = G,    R_{l+1} = R_l W_l^T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._moment_gradient import MomentGradient

# Floating-point operations of a step beyond which products by BLAS are as fast: these took 9 us
# where one thread took 23 with 1.2e5 of them, 28 and 40 with 4.9e5, 66 and 70 with 1.3e6.
_TINY = 5e5
# Seconds of a step of the smallest networks, and operations a second of the largest of these.
_STEP_SECONDS, _RATE = 0.5e-6, 1e10
# Seconds after which there may be a look at what was recorded, which takes .5 ms itself.
_LOOK_SECONDS = 1e-3


@dataclass(frozen=True)
class CompiledSteps:
    """Many steps of descent in one call.

    Attributes
    ----------
    make : callable
        ``make(etas, ends, records)`` moves the state by a list of step sizes, floats or tensors
        of the shape of the batch. After each of so many steps as `ends` holds, ascending, the
        state is copied into the next of `records`, a tensor (n_ends, ..., n_parameters), if
        there are any.
    at_once : int
        Number of steps that take no longer than a look at what they have led to.
    """

    make: Callable
    at_once: int

    def __call__(self, etas, ends=(), records=None):
        self.make(etas, ends, records)


def compiled_steps(state, weights, data_term, weight_decay):
    """Return the steps of one chain of linear layers, or None where they would not pay.

    Parameters
    ----------
    state : tensor of shape (..., n_parameters)
        State of the network, or of a batch of them.
    weights : list of tensors of shape (..., h_l, h_{l-1})
        Its layers W_1, ..., W_L, views of `state`.
    data_term : MapGradient or NoisyMomentGradient
        Mean loss of the data.
    weight_decay : list of floats or tensors of the shape of the batch
        gamma_l.

    Returns
    -------
    steps : CompiledSteps or None
    """
    if not isinstance(data_term, MomentGradient) or data_term.transposed or data_term.uses_factor:
        return None
    m, batch, n = weights[-1].shape[-2], state.shape[:-1], state[..., 0].numel()
    work = 6 * m * sum(W.shape[-2] * W.shape[-1] for W in weights)
    if work > _TINY or state.dtype != torch.float64 or state.device.type != "cpu":
        return None
    if any(W.stride(-1) != 1 or W.stride(-2) != W.shape[-1] for W in weights[:-1]):
        return None
    if find_spec("numba") is None:
        return None

    def of_each(matrices):
        matrices = matrices.expand(*batch, *matrices.shape[-2:])
        return np.ascontiguousarray(matrices.reshape(n, *matrices.shape[-2:]))

    kernel, states = _kernel(), state.view(n, -1).numpy()
    begin = np.array([W.storage_offset() - state.storage_offset() for W in weights])
    sizes = np.array([weights[0].shape[-1], *(W.shape[-2] for W in weights)])
    data = of_each(data_term.input_moment), of_each(data_term.cross_moment)
    decays, strides = _by_network(weight_decay, n), np.array(weights[-1].stride()[-2:])
    network = states, begin, sizes, strides, *data, decays

    def make(etas, ends, records):
        etas = _by_network(etas, n) if batch else np.array([etas], dtype=np.float64)
        rows = np.empty((0, *states.shape)) if records is None else records.numpy()
        ends = np.array(ends, dtype=np.int64)
        kernel(*network, etas, ends, rows.reshape(len(ends), *states.shape))

    seconds = n * (_STEP_SECONDS + work / _RATE)
    return CompiledSteps(make, int(_LOOK_SECONDS / seconds))


def _by_network(values, n):
    """An array (n, n_values) of numbers that all networks share, or tensors of one for each."""
    if any(isinstance(value, torch.Tensor) for value in values):
        values = [np.broadcast_to(np.ravel(value), n) for value in values]
        return np.ascontiguousarray(np.transpose(values))
    return np.tile(np.asarray(values, dtype=np.float64), (n, 1))


@cache
def _kernel():
    import numba

    # Sums may be reordered; infinities and NaN must stay what they are.
    options = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(_descend)
    except RuntimeError:  # nowhere to keep what was compiled
        return numba.njit(**options)(_descend)


def _descend(states, begin, sizes, strides, A, S, decays, etas, ends, records):
    """Move states (n, n_parameters) in place by step sizes (n, n_steps).

    Layer l begins at `begin[l]`, row by row; the last one has `strides` of its own. The states
    after `ends` (n_ends,) steps go into `records` (n_ends, n, n_parameters).
    """
    depth, d, m, widest = len(begin), sizes[0], sizes[-1], sizes.max()
    B = np.zeros((depth, m, widest))  # of layers 0 to L - 1
    R, R_next = np.zeros((m, widest)), np.zeros((m, widest))
    for network in range(len(states)):
        state, row = states[network], 0
        for t, eta in enumerate(etas[network]):
            # B_l from the last layer down to M.
            h, last = sizes[depth - 1], state[begin[depth - 1] :]
            for o in range(m):
                for j in range(h):
                    B[depth - 1, o, j] = last[o * strides[0] + j * strides[1]]
            for layer in range(depth - 2, -1, -1):
                W, h = state[begin[layer] :], sizes[layer]
                for o in range(m):
                    for j in range(h):
                        B[layer, o, j] = 0.0
                    for i in range(sizes[layer + 1]):
                        b = B[layer + 1, o, i]
                        for j in range(h):
                            B[layer, o, j] += b * W[i * h + j]
            # G = M A - S.
            for o in range(m):
                for j in range(d):
                    R[o, j] = -S[network, o, j]
                for i in range(d):
                    b = B[0, o, i]
                    for j in range(d):
                        R[o, j] += b * A[network, i, j]
            # R_{l+1} = R_l W_l^T before W_l moves.
            for layer in range(depth - 1):
                W, h = state[begin[layer] :], sizes[layer]
                keep, rate = 1 - 2 * eta * decays[network, layer], -2 * eta
                for i in range(sizes[layer + 1]):
                    for o in range(m):
                        total = 0.0
                        for j in range(h):
                            total += R[o, j] * W[i * h + j]
                        R_next[o, i] = total
                    for j in range(h):
                        W[i * h + j] *= keep
                    for o in range(m):
                        b = rate * B[layer + 1, o, i]
                        for j in range(h):
                            W[i * h + j] += b * R[o, j]
                R, R_next = R_next, R
            keep, rate = 1 - 2 * eta * decays[network, depth - 1], -2 * eta
            for o in range(m):
                for j in range(sizes[depth - 1]):
                    k = o * strides[0] + j * strides[1]
                    last[k] = keep * last[k] + rate * R[o, j]
            if row < len(ends) and t + 1 == ends[row]:
                records[row, network] = state
                row += 1
