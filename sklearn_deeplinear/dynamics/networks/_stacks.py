"""Batches of networks of one shape: numbers and moments of each, as they are multiplied.

A batch (...) is what leads the shape (..., n_parameters) of the state, such as
configurations x folds. What belongs to the last of its dimensions alone, such as the moments
of folds, need not be repeated for the others.
"""

from __future__ import annotations

import numpy as np
import torch


def per_network(value, batch, like):
    """A number that all networks share as a float, others as a tensor of shape `batch`."""
    if np.ndim(value) == 0:
        return float(value)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(batch)


def column(values):
    """Numbers for each network so that they multiply matrices; a float as it is."""
    return values[..., None, None] if isinstance(values, torch.Tensor) else values


def stack(tensor, batch):
    """Matrices (..., rows, columns) of a batch as (n_networks, rows, columns).

    A view of layers of a state; moments that networks share are repeated.
    """
    if not batch:
        return tensor
    return tensor.expand(*batch, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])


def stacked_numbers(value, batch, like):
    """Numbers of each network, or one of all, as (n_networks, 1, 1) beside stacks."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return value.expand(batch).reshape(-1, 1, 1)


def stacked_factors(moments, like):
    """Factors of one distribution, or of an array of them, as tensors.

    Parameters
    ----------
    moments : SecondMoments or (nested) list of them
        Moments of equal numbers of inputs and outputs.
    like : tensor
        Of the device and the precision that are wanted.

    Returns
    -------
    input_factor : tensor of shape (..., k, d)
        R_x, with (...) the shape of the list. Rows of zeros, which leave the moments as they
        are, fill factors of fewer rows.
    output_factor : tensor of shape (..., k, m)
        R_y.
    """
    each = np.asarray(moments, dtype=object)
    d, factor = each.flat[0].n_inputs, each.flat[0].factor
    if each.ndim:
        rows = max(len(one.factor) for one in each.flat)
        factor = np.zeros((*each.shape, rows, factor.shape[1]))
        for index, one in np.ndenumerate(each):
            factor[index][: len(one.factor)] = one.factor
    return tuple(
        torch.as_tensor(part, dtype=like.dtype, device=like.device)
        for part in (factor[..., :d], factor[..., d:])
    )


def from_right(rows, matrix):
    """``rows @ matrix`` of records (n_records, ..., r, c) and what is the same for all of them.

    A batch of matrices takes all records as rows of one product: matmul would copy it for
    each of them.
    """
    common = matrix.shape[:-2]
    extra = rows.ndim - matrix.ndim
    if not common or extra <= 0 or rows.shape[extra:-2] != common:
        return rows @ matrix
    records = rows.shape[:extra]
    folded = rows.flatten(0, extra - 1).movedim(0, -3)
    r = rows.shape[-2]
    product = folded.flatten(-3, -2) @ matrix
    return product.unflatten(-2, (-1, r)).movedim(-3, 0).unflatten(0, records)


def from_left(matrix, columns):
    """``matrix @ columns``, the same for factors on the other side."""
    if matrix.ndim == 2 or matrix.ndim >= columns.ndim:
        return matrix @ columns
    return from_right(columns.mT, matrix.mT).mT
