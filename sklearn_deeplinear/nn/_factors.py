"""Balanced factors W_L ... W_1 = M, as tensors.

With M = U diag(s) V^T the factors are W_L = U D Q^T, W_l = Q D Q^T and W_1 = Q D V^T,
D = diag(s^(1/L)), for orthonormal bases Q of the hidden layers. Any bases give balanced
layers, W_l W_l^T = W_{l+1}^T W_{l+1}; the two functions here differ in theirs alone.
"""

from __future__ import annotations

import math

import torch


def truncated_factors(coef, shapes):
    """Factors that give each mode a hidden unit of its own; the other units are zero.

    Parameters
    ----------
    coef : tensor of shape (m, d)
        End-to-end map; modes beyond the narrowest hidden layer are cut off.
    shapes : sequence of (h_l, h_{l-1})

    Returns
    -------
    weights : list of tensors
    """
    return _factors(coef, shapes, _unit_basis)


def spread_factors(coef, shapes):
    """Factors that spread the first mode evenly, and all modes widely, over the units."""
    return _factors(coef, shapes, _cosine_basis)


def _factors(coef, shapes, basis):
    depth = len(shapes)
    if depth == 1:
        return [coef.clone()]
    U, s, Vt = torch.linalg.svd(coef, full_matrices=False)
    rank = min([len(s), *(rows for rows, _ in shapes[:-1])])
    outer = [Vt[:rank].T, *(basis(rows, rank, coef) for rows, _ in shapes[:-1]), U[:, :rank]]
    root = s[:rank] ** (1 / depth)  # D
    return [(outer[layer + 1] * root) @ outer[layer].T for layer in range(depth)]


def _unit_basis(width, rank, like):
    return torch.eye(width, rank, dtype=like.dtype, device=like.device)


def _cosine_basis(width, rank, like):
    # Discrete cosine transform (type II): orthonormal, and its first column is constant.
    unit = torch.arange(width, dtype=like.dtype, device=like.device)[:, None] + 0.5
    order = torch.arange(rank, dtype=like.dtype, device=like.device)
    columns = torch.cos(math.pi * unit * order / width) * math.sqrt(2 / width)
    columns[:, 0] /= math.sqrt(2)
    return columns
