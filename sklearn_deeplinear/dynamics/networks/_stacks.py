"""Batches of networks of one shape: numbers and moments of each, as they are multiplied.

A batch (...) is what leads the shape (..., n_parameters) of the state, such as
configurations x folds. What belongs to the last of its dimensions alone, such as the moments
of folds, need not be repeated for the others.
"""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import torch


def per_network(value, batch, like):
    """A number that all networks share as a float, others as a tensor of shape `batch`."""
    if np.ndim(value) == 0:
        return float(value)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(batch)


def is_zero(value):
    """Whether a number that all networks share is zero."""
    return isinstance(value, float) and value == 0


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


def each(function, *nested):
    """The values of a function, in lists like those of its arguments."""
    if isinstance(nested[0], list):
        return [each(function, *parts) for parts in zip(*nested, strict=True)]
    return function(*nested)


def stacked(matrices, like):
    """A matrix, or a (nested) list of them, as a tensor (..., rows, columns).

    Zeros fill those that are smaller: rows of data that have no weight, rows of a factor that
    leave its moments as they are, or modes of no strength. The tensor `like` is of the device
    and the precision that are wanted.
    """
    if not isinstance(matrices, list):
        return torch.as_tensor(matrices, dtype=like.dtype, device=like.device)
    parts = [stacked(matrix, like) for matrix in matrices]
    rows, columns = (max(part.shape[axis] for part in parts) for axis in (-2, -1))
    pad = torch.nn.functional.pad
    return torch.stack(
        [pad(part, (0, columns - part.shape[-1], 0, rows - part.shape[-2])) for part in parts]
    )


def stacked_factors(moments, like):
    """Factors of one distribution, or of a (nested) list of them, as :func:`stacked` tensors.

    Parameters
    ----------
    moments : SecondMoments or (nested) list of them
        Moments of equal numbers of inputs and outputs.
    like : tensor
        Of the device and the precision that are wanted.

    Returns
    -------
    input_factor : tensor of shape (..., k, d)
        R_x, with (...) the shape of the list.
    output_factor : tensor of shape (..., k, m)
        R_y.
    """
    names = ("input_factor", "output_factor")
    return tuple(stacked(each(attrgetter(name), moments), like) for name in names)


def chosen(value, batch, index, trailing=0):
    """What belongs to the networks that an index chooses from a batch.

    Parameters
    ----------
    value : float, or tensor of shape (..., *s)
        What each network has, with `trailing` dimensions s, or what all share.
    batch : tuple
        Shape of the batch, of which (...) may be the last dimensions alone, or none.
    index : tuple of ints or of arrays of indices
        Of one network, or of several that become a batch of one dimension.
    trailing : int
        Number of dimensions that are not the batch's.

    Returns
    -------
    value : float or tensor
        A number of a single network is a float.
    """
    if not isinstance(value, torch.Tensor) or (trailing and value.ndim == trailing):
        return value
    found = value.expand(*batch, *value.shape[value.ndim - trailing :])[index]
    return found if found.ndim else float(found)


def of_each(dynamics, state, **options):
    """Eigenvalues of the Hessians of a batch, one network after the other: shape (..., k)."""
    found = [
        dynamics.part(index).hessian_eigenvalues(state[index], **options)
        for index in np.ndindex(*dynamics.batch)
    ]
    return np.reshape(found, (*dynamics.batch, -1))


def spread(samples, batch):
    """Samples (..., n, k) for every network of a batch, in columns."""
    if not batch:
        return samples
    columns = samples.mT.contiguous()
    every = columns.expand(*batch, *columns.shape[-2:])
    # Strides of zero are fine where all networks share the samples; other products copy.
    return (every if samples.ndim == 2 else every.contiguous()).mT


def through(H, W, b=None, out=None):
    """Values H W^T + b of a layer at samples (..., n, k).

    Those of a batch are laid out by columns, which are long: products of layers of 10 to 30
    units then take about half as long.
    """
    if W.ndim == 2:
        return torch.mm(H, W.T, out=out) if b is None else torch.addmm(b, H, W.T, out=out)
    values = torch.matmul(W, H.mT, out=None if out is None else out.mT).mT
    return values if b is None else values.add_(b)


def back(errors, W, out=None):
    """Errors E W below a layer, laid out like the values there."""
    if W.ndim == 2:
        return torch.mm(errors, W, out=out)
    return torch.matmul(W.mT, errors.mT, out=None if out is None else out.mT).mT


def sample_buffer(like, batch, n, k):
    """Memory for values (..., n, k) of a layer."""
    return like.new_empty((*batch, k, n)).mT if batch else like.new_empty((n, k))


def over_samples(left, right):
    """Products ``left @ right`` of a batch, of few rows or columns and a sum over many samples.

    Fewer rows than columns take half as long: 27 in place of 57 us with 10 and 100.
    """
    if left.shape[-2] <= right.shape[-1]:
        return left @ right
    return (right.mT @ left.mT).mT


def lower(W, left, right, eta, decay):
    """Make the step W - eta (left @ right + 2 decay W), in place."""
    if W.ndim == 2:
        W.addmm_(left, right, beta=1 - 2 * eta * decay, alpha=-eta)
    else:
        # Batched products cannot be added to the layers of a state, which are not adjacent.
        eta = column(eta)
        W.mul_(1 - 2 * eta * column(decay)).sub_(over_samples(left, right).mul_(eta))


def lower_by(b, slope, eta):
    """Make the step b - eta slope, in place."""
    if isinstance(eta, torch.Tensor):
        b.sub_(slope * column(eta))
    else:
        b.sub_(slope, alpha=eta)


def with_decay(slope, W, gamma, out):
    """Write slope + 2 gamma W, the gradient of loss and penalty in W, into `out`."""
    if isinstance(gamma, torch.Tensor):
        torch.addcmul(slope, W, 2 * column(gamma), out=out)
    elif gamma or slope is not out:
        torch.add(slope, W, alpha=2 * gamma, out=out)


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
