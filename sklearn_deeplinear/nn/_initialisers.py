"""Initial weights of a network W_1, ..., W_L, drawn from a local random generator.

An initialiser takes the shapes of the layers and returns one float64 tensor per layer.
To add one, write a function of the same signature and give it a name in `INITIALISERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from sklearn_deeplinear.nn._factors import spread_factors, truncated_factors
from sklearn_deeplinear.nn._norms import norms

Shapes = Sequence[tuple[int, int]]


def normal(shapes: Shapes, scale, generator, first_step):
    """Independent normal entries of standard deviation `scale`, 1/sqrt(h_{l-1}) if None."""
    if scale is None:
        scale = [1 / math.sqrt(fan_in) for _, fan_in in shapes]
    return [
        torch.normal(0.0, std, shape, generator=generator, dtype=torch.float64)
        for std, shape in zip(_per_layer(scale, shapes), shapes, strict=True)
    ]


def xavier_uniform(shapes: Shapes, scale, generator, first_step):
    """Uniform entries of variance 2/(h_{l-1} + h_l), times `scale` (Glorot, Bengio 2010)."""
    return _filled(torch.nn.init.xavier_uniform_, shapes, scale, generator)


def xavier_normal(shapes: Shapes, scale, generator, first_step):
    """Normal entries of variance 2/(h_{l-1} + h_l), times `scale` (Glorot, Bengio 2010)."""
    return _filled(torch.nn.init.xavier_normal_, shapes, scale, generator)


def orthogonal(shapes: Shapes, scale, generator, first_step):
    """Random matrices with orthonormal rows or columns, times `scale`."""
    return _filled(torch.nn.init.orthogonal_, shapes, scale, generator)


def identity(shapes: Shapes, scale, generator, first_step):
    """Ones on the diagonal, zeros elsewhere, times `scale`."""
    factors = _per_layer(1.0 if scale is None else scale, shapes)
    return [
        factor * torch.eye(*shape, dtype=torch.float64)
        for factor, shape in zip(factors, shapes, strict=True)
    ]


def balanced(shapes: Shapes, scale, generator, first_step):
    """Balanced factors of a random normal map of Frobenius norm `scale`.

    None takes the norm of the first gradient step, so that the size suits the units of
    the data. Arora, Cohen, Golowich, Hu (2019), Procedure 1.
    """
    draw = torch.normal(0.0, 1.0, first_step.shape, generator=generator, dtype=torch.float64)
    size = norms(first_step, dim=(0, 1)) if scale is None else scale
    return truncated_factors(draw * (size / torch.linalg.norm(draw)), shapes)


def spectral(shapes: Shapes, scale, generator, first_step):
    """Balanced factors of the first gradient step S / lambda_max(A), times `scale`."""
    return truncated_factors(first_step * (1.0 if scale is None else scale), shapes)


def spread_spectral(shapes: Shapes, scale, generator, first_step):
    """As `spectral`, with every mode shared equally by all hidden units.

    Noise on the hidden units averages out only over units that are in use, so noisy
    networks start here: a mode on one unit alone would be a symmetric saddle.
    """
    return spread_factors(first_step * (1.0 if scale is None else scale), shapes)


INITIALISERS: dict[str, Callable] = {
    "spectral": spectral,
    "balanced": balanced,
    "normal": normal,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "orthogonal": orthogonal,
    "identity": identity,
}


def _filled(fill, shapes, scale, generator):
    factors = _per_layer(1.0 if scale is None else scale, shapes)
    return [
        fill(torch.empty(shape, dtype=torch.float64), gain=factor, generator=generator)
        for factor, shape in zip(factors, shapes, strict=True)
    ]


def _per_layer(value, shapes):
    return [value] * len(shapes) if isinstance(value, (int, float)) else list(value)
