"""Initial weights of parallel pathways, small enough for a race between them."""

from __future__ import annotations

import math

import torch

from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
    sized_weights,
)
from sklearn_deeplinear.nn._activations import ACTIVATIONS
from sklearn_deeplinear.nn._norms import norms
from sklearn_deeplinear.theory._pathway_parameters import per_pathway

# Share of the map that one step of linear regression makes, which all pathways together
# start with: small enough for a race, not so small that it starts with a long wait.
_START = 0.1


def pathway_initial_weights(init, init_scale, problem, generator):
    """Return the initial layers of all pathways as float64 tensors on the CPU.

    Parameters
    ----------
    init : str or list of lists of array-like
        Name of an initialiser, or the weights.
    init_scale : float, sequence of floats, list of them or None
        See the estimator.
    problem : PathwayProblem
        Gives the shapes and the scale of the data.
    generator : torch.Generator
        Source of random numbers.

    Returns
    -------
    pathways : list of lists of tensors

    Raises
    ------
    ValueError
        If given weights do not have the shapes, or a parameter does not suit another.
    """
    if not isinstance(init, str):
        return given_pathways(init, problem.shapes, "init")
    if init == "spectral" and not problem.linear:
        raise ValueError('init="spectral" is for activation="identity"; take "balanced".')
    share = first_gradient_step(problem.moments) / len(problem.depths)
    scales = per_pathway(init_scale, problem.depths, "init_scale", problem.depths)
    pathways = []
    for shapes, scale in zip(problem.shapes, scales, strict=True):
        if init == "normal" and scale is None:
            scale = _normal_scale(shapes, share)
        elif init == "balanced" and scale is None:
            scale = _START * _size(share) or None
        weights = initial_weights(init, scale, shapes, generator, share, noisy=False)
        if ACTIVATIONS[problem.activation].homogeneous:  # others follow no factor on the layers
            weights = sized_weights(init, scale, weights, problem.moments, 1 / len(problem.depths))
        pathways.append(weights)
    return pathways


def given_pathways(pathways, shapes, name):
    """Check weights given by the user and copy them into float64 tensors."""
    if len(pathways) != len(shapes):
        raise ValueError(
            f"{name} must hold a list of weights per pathway, {len(shapes)}, got {len(pathways)}."
        )
    return [
        given_weights(weights, layer_shapes, f"{name}[{p}]")
        for p, (weights, layer_shapes) in enumerate(zip(pathways, shapes, strict=True))
    ]


def _normal_scale(shapes, share):
    """Standard deviation at which E||M_p||_F^2 = m d h_1 ... h_{L-1} std^(2L) is as wished."""
    size = _START * _size(share) or _START
    n_paths = sum(math.log(rows) for rows, _ in shapes) + math.log(shapes[0][1])
    return math.exp((math.log(size) - n_paths / 2) / len(shapes))


def _size(share):
    """Norm of a map, of the units of y over those of X, whose squares may be no numbers."""
    return float(norms(torch.from_numpy(share), dim=(0, 1)))
