"""Tensors beside NumPy arrays: the few steps between the data of a fit and what is trained on."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear._arrays import Place, is_tensor, on_host


def through_torch(function, array):
    """A function of torch tensors, of an array of any library."""
    if is_tensor(array):
        return function(array)
    writable = np.require(on_host(array), requirements=["C", "W"])  # as torch wants memory
    return Place.of(array).moved(function(torch.from_numpy(writable)).numpy())


def log_softmax(outputs):
    """Of each row of a tensor."""
    return torch.log_softmax(outputs, dim=1)


def as_float64(array):
    """In double precision; tensors of devices that have none come to the host."""
    if not is_tensor(array):
        return np.asarray(array, dtype=np.float64)
    if array.device.type == "mps":
        array = array.cpu()
    return array.double()


def less(array, mean):
    """Rows less their mean, a NumPy array, in double precision and one after another in memory.

    However they came in: sums in another order round to other numbers.
    """
    rows = as_float64(array)
    if is_tensor(rows):
        return (rows - rows.new_tensor(mean)).contiguous()
    return np.subtract(rows, mean, order="C")


def like(part, tensor):
    """An array of any library as a tensor on the device and in the precision of another one."""
    if is_tensor(part):
        return part.to(tensor)
    return tensor.new_tensor(np.ascontiguousarray(on_host(part)))  # with no negative strides
