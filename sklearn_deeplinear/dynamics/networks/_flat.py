"""All layers of a network in one flat tensor, and the layers as views of it."""

from __future__ import annotations

import math

import torch


def pack(weights, batch=()):
    """Copy layers, those of a batch with its shape in front, into one (..., n_parameters)."""
    return torch.cat([W.reshape(*batch, -1) for W in weights], dim=-1)


def layers(state, shapes):
    """View a flat tensor (..., n_parameters) as layers of shape (..., h_l, h_{l-1}).

    Other shapes than those of matrices will do, too, also those of single numbers.
    """
    parts = state.split_with_sizes([math.prod(shape) for shape in shapes], dim=-1)
    lead = state.shape[:-1]
    return [part.view((*lead, *shape)) for part, shape in zip(parts, shapes, strict=True)]
