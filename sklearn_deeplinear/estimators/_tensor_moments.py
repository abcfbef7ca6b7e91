"""Second moments of tensors, decomposed where they are: their factor alone comes to the host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sklearn_deeplinear._arrays import is_tensor
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._location import Location, two_sum, weighed

# Devices whose data NumPy reads: in place on the CPU; MPS has no float64.
_READ_BY_NUMPY = {"cpu", "mps"}

# A block of rows is copied to float64: 64 MB are little on an accelerator, and much beside the
# factor of at most p^2 numbers that each block sends to the host.
_BLOCK_BYTES = 2**26
_ROWS_PER_COLUMN = 40


def moments_of(X, y, sample_weight, center) -> SecondMoments:
    """Moments of data that are NumPy arrays or tensors.

    Parameters
    ----------
    X, y : both arrays or both tensors, of shapes (n, d) and (n,) or (n, m)
        Finite data. Those of tensors on the CPU are read by NumPy in place, those on a device
        without float64 copied there.
    sample_weight : ndarray of shape (n,) or None
        Weights.
    center : bool
        Whether the means are taken out.

    Returns
    -------
    moments : SecondMoments
    """
    if not is_tensor(X):
        return SecondMoments.from_data(X, y, sample_weight, center=center)
    if X.device.type in _READ_BY_NUMPY:
        arrays = X.numpy(force=True), y.numpy(force=True)
        return SecondMoments.from_data(*arrays, sample_weight, center=center)
    return on_device(X, y, sample_weight, center)


def on_device(X, y, sample_weight, center, block_bytes=_BLOCK_BYTES) -> SecondMoments:
    """:func:`moments_of` tensors of a device with float64, in blocks of rows."""
    if sample_weight is not None and (sample_weight < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    total: Any = None
    Y, (n, d) = y.reshape(len(y), -1), X.shape
    columns = d + Y.shape[1]
    size = max(block_bytes // (8 * columns), _ROWS_PER_COLUMN * columns)
    for rows in (slice(start, start + size) for start in range(0, n, size)):
        Z = torch.cat([X[rows].double(), Y[rows].double()], dim=1)
        weight = None if sample_weight is None else sample_weight[rows]
        if weight is not None:
            used = weight > 0  # what weighs nothing must not widen the range
            Z, weight = Z[torch.from_numpy(used).to(Z.device)], weight[used]
        if len(Z):
            block = _block(Z, weight, center, d)
            total = block if total is None else total + block
    return replace(total, n_samples=n, single_target=y.ndim == 1)


def _block(Z, weight, center, n_inputs):
    """Moments of the rows Z (n, p), which are overwritten; see `Location.of_rows`."""
    share, root, scale, total = weighed(weight, len(Z))
    least = largest = np.full(Z.shape[1], np.nan)
    mean, low = np.zeros((2, Z.shape[1]))
    if center:
        share, ends = Z.new_tensor(share), torch.aminmax(Z, dim=0)
        first = torch.clamp(share @ Z, *ends)
        Z -= first
        second = share @ Z
        Z -= second
        least, largest, first, second = (part.numpy(force=True) for part in (*ends, first, second))
        mean, low = two_sum(first, second)
    if root is not None:
        Z *= Z.new_tensor(root)[:, None]
    factor = scale * torch.linalg.qr(Z, mode="r").R.numpy(force=True)
    location = Location(mean, low, least, largest, *total)
    return SecondMoments._at(location, factor, n_inputs, n_samples=len(Z), centered=center)
