"""Tensors as numpy arrays."""

from __future__ import annotations

import torch


def arrays(parts, copy=False):
    """Tensors, in lists or dicts of any depth, as arrays."""
    if isinstance(parts, dict):
        return {name: arrays(part, copy) for name, part in parts.items()}
    if isinstance(parts, list):
        return [arrays(part, copy) for part in parts]
    if parts.dtype == torch.bfloat16:  # which numpy does not have
        parts = parts.float()
    array = parts.numpy(force=True)
    return array.copy() if copy else array
