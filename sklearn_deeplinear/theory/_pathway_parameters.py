"""Checks of the parameters that describe parallel pathways, one full form per pathway.

A number holds for all layers of all pathways, a sequence of numbers for the layers of every
pathway, and a sequence of sequences gives each pathway its own. A sequence of numbers that does
not fit the layers gives each pathway one, for all of its layers.
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
    if isinstance(depth, Integral) and n_pathways is not None:
        depth = [depth] * check_integer(n_pathways, "n_pathways", low=1)
    if isinstance(depth, (str, bytes)) or not np.iterable(depth):
        allowed = "a sequence of ints" if n_pathways is None else "an int or a sequence of ints"
        raise TypeError(f"{name} must be {allowed}, got {depth!r}.")
    depths = tuple(check_depth(L, name) for L in depth)
    if not depths or (n_pathways is not None and len(depths) != n_pathways):
        raise ValueError(
            f"{name} must have one entry per pathway, n_pathways={n_pathways or 'at least 1'}, "
            f"got {len(depths)} entries."
        )
    return depths


def check_pathway_widths(width, depths, name="width"):
    """Return the hidden widths of each pathway, a list of tuples."""
    values = per_pathway(width, depths, name, [L - 1 for L in depths])
    return [check_width(h, L, name) for h, L in zip(values, depths, strict=True)]


def check_pathway_decays(weight_decay, depths, name="weight_decay"):
    """Return the decays of the layers of each pathway, a list of arrays of shape (L_p,)."""
    values = per_pathway(weight_decay, depths, name, depths)
    return [check_weight_decay(g, L, name) for g, L in zip(values, depths, strict=True)]


def per_pathway(value, depths, name, lengths):
    """Return one entry per pathway: `value` itself if it is a number, or fits the layers.

    `lengths` are the numbers of entries that the layers of the pathways ask for.
    """
    if not np.iterable(value) or isinstance(value, (str, bytes)):
        return [value] * len(depths)
    flat = not any(np.iterable(entry) for entry in value)
    if flat and (len(value) != len(depths) or all(len(value) == n for n in lengths)):
        return [value] * len(depths)
    if len(value) != len(depths):
        raise ValueError(
            f"{name} must hold one entry per pathway, {len(depths)}, got {len(value)} entries."
        )
    return list(value)
