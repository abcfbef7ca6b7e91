"""Euclidean norms, also of tensors whose squares are no numbers of their precision."""

from __future__ import annotations

import torch

# Where a number can be read without waiting for what the device has been asked for before.
_READ_AT_ONCE = {"cpu"}


def norms(values, dim=-1):
    """Norms of finite `values` over one dimension or several, with the digits of each value.

    Squares are taken as they are where that loses nothing, in units of the largest value where
    they overflow or vanish: gradients in the units of X and y do so from about 1e77 on, with
    both.
    """
    norm = torch.linalg.vector_norm(values, dim=dim)
    if values.numel() == 0:
        return norm
    limits = torch.finfo(values.dtype)
    # Squares of values that count are then normal numbers, of which a sum cannot overflow either.
    least, largest = limits.tiny**0.5 / limits.eps, limits.max**0.5
    fits = (norm > least) & (norm < largest)
    if values.device.type in _READ_AT_ONCE and bool(fits.all()):
        return norm
    unit = values.abs().amax(dim=dim, keepdim=True)
    unit = torch.where((unit > 0) & torch.isfinite(unit), unit, torch.ones_like(unit))
    scaled = torch.linalg.vector_norm(values / unit, dim=dim) * unit.amax(dim=dim)
    return torch.where(fits, norm, scaled)
