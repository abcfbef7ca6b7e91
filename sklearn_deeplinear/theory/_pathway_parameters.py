"""Checks of the parameters that describe parallel pathways, one full form per pathway.

A number holds for all layers of all pathways, a sequence of numbers for the layers of every
pathway, and a sequence of sequences gives each pathway its own.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np

from sklearn_deeplinear._parameters import (
    check_depth,
    check_integer,
    check_weight_decay,
    check_width,
)


def check_depths(depth, n_pathways=None, name="depth"):
    """Return the depth of each pathway as a tuple of ints of at least 1.

    An int stands for `n_pathways` pathways of that depth; a sequence must agree with
    `n_pathways` if that is given.
    """
    if isinstance(depth, Integral):
        depth = [depth] * check_integer(n_pathways, "n_pathways", low=1)
    if isinstance(depth, (str, bytes)) or not np.iterable(depth):
        raise TypeError(f"{name} must be an int or a sequence of ints, got {depth!r}.")
    depths = tuple(check_depth(L, name) for L in depth)
    if not depths or (n_pathways is not None and len(depths) != n_pathways):
        raise ValueError(
            f"{name} must have one entry per pathway, n_pathways={n_pathways or 'at least 1'}, "
            f"got {len(depths)} entries."
        )
    return depths


def check_pathway_widths(width, depths, name="width"):
    """Return the hidden widths of each pathway, a list of tuples."""
    values = per_pathway(width, depths, name)
    return [check_width(h, L, name) for h, L in zip(values, depths, strict=True)]


def check_pathway_decays(weight_decay, depths, name="weight_decay"):
    """Return the decays of the layers of each pathway, a list of arrays of shape (L_p,)."""
    values = per_pathway(weight_decay, depths, name)
    return [check_weight_decay(g, L, name) for g, L in zip(values, depths, strict=True)]


def per_pathway(value, depths, name):
    """Return one entry per pathway: `value` itself unless it is a sequence of sequences."""
    nested = np.iterable(value) and not isinstance(value, (str, bytes))
    if not nested or not any(np.iterable(entry) for entry in value):
        return [value] * len(depths)
    if len(value) != len(depths):
        raise ValueError(
            f"{name} must hold one entry per pathway, {len(depths)}, got {len(value)} entries."
        )
    return list(value)
