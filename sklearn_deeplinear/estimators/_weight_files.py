"""Weights of fitted estimators for plain torch and other languages, and weights from there."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._arrays import on_host
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.dynamics.runs._whole_files import whole_file
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways

_PATHWAY = re.compile(r"pathways\.(\d+)\.")


@dataclass(frozen=True, eq=False)
class SavedWeights:
    """Layers of a network, as :func:`load_weights` found them in a file.

    Attributes
    ----------
    weights : list of ndarray, or list of lists of them
        [W_1, ..., W_L] of shapes (h_l, h_{l-1}), for each pathway if there are pathways: what
        `init` takes.
    biases : list of ndarray or None, or list of lists of them
        [b_1, ..., b_L] in the same way, None for layers without.
    intercept : ndarray of shape (m,), or None
        What is added to the sum of pathways.
    metadata : dict of str
        What the file says besides.
    """

    weights: list
    biases: list
    intercept: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)

    def __repr__(self):
        return one_line(self, "weights", "intercept", "metadata")


def to_module(estimator) -> torch.nn.Module:
    """Make a torch module that computes what a fitted estimator predicts.

    Parameters
    ----------
    estimator : estimator
        A fitted one of this package that is trained (a pipeline is not: take its last step).

    Returns
    -------
    module : torch.nn.Module
        Takes inputs as `predict` does, of shape (n, d) and in the precision of the weights, to
        the outputs (n, m): of regressors the predictions, of classifiers the outputs that the
        logistic function or the softmax makes probabilities of. A ``torch.nn.Sequential`` of
        linear layers, all with biases, and activations; of several pathways those in
        ``module.pathways``, whose outputs and ``module.intercept`` are added.

    Raises
    ------
    TypeError
        If the estimator has no weights, or is not fitted yet (a ``NotFittedError``).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn_deeplinear import HomogeneousMLPRegressor
    >>> from sklearn_deeplinear.estimators import to_module
    >>> X, y = np.eye(3), np.array([1.0, 0.0, 2.0])
    >>> model = HomogeneousMLPRegressor(2, 4, max_iter=50, tol=0, random_state=0).fit(X, y)
    >>> with torch.no_grad():
    ...     outputs = to_module(model)(torch.from_numpy(X))
    >>> bool(np.allclose(outputs[:, 0], model.predict(X)))
    True
    """
    if not hasattr(type(estimator), "_problem_on"):
        raise TypeError(f"{type(estimator).__name__} has no weights of its own.")
    check_is_fitted(estimator)
    weights, activation = on_host(estimator.weights_), getattr(estimator, "activation", "identity")
    if isinstance(weights[0], list):
        return _pathways(estimator, activation)
    biases = [np.zeros(len(W)) for W in weights]
    if getattr(estimator, "biases_", None) is not None:
        biases = on_host(estimator.biases_)
    elif hasattr(estimator, "intercept_"):
        biases[-1] = np.atleast_1d(on_host(estimator.intercept_))
    network = HomogeneousNetwork(
        [W.shape for W in weights], activation, True, dtype=_dtype(weights)
    )
    return network.fill(_tensors(weights), _tensors(biases))


def _pathways(estimator, activation):
    weights = on_host(estimator.weights_)
    shapes = [[W.shape for W in path] for path in weights]
    units = activation, estimator.activate_output
    network = ParallelPathways(shapes, *units, bias=True, dtype=_dtype(weights[0]))
    biases = [[np.zeros(len(W)) for W in path] for path in weights]
    if activation != "identity":  # their inputs are less the mean of those of training
        for path, own in zip(weights, biases, strict=True):
            own[0] = -path[0].astype(np.float64) @ estimator.moments_.mean_x
    network.fill([_tensors(path) for path in weights], [_tensors(own) for own in biases])
    network.intercept.copy_(torch.from_numpy(np.atleast_1d(on_host(estimator.intercept_))))
    return network


def save_weights(estimator, path) -> None:
    """Write the weights of a fitted estimator to a file of safetensors.

    Its tensors are those of :func:`to_module`, by the names that they have there, so that a
    plain ``torch.nn.Sequential`` of the same layers loads them: ``"0.weight"``, ``"0.bias"``,
    ``"2.weight"`` (after an activation) and so on; of several pathways ``"pathways.0.0.weight"``
    and so on, and ``"intercept"``. The metadata tell the ``estimator``, its ``activation``,
    of pathways ``activate_output``, and the ``classes`` as JSON.

    Parameters
    ----------
    estimator : estimator
        As in :func:`to_module`.
    path : str or path-like
        Name of the file. If it cannot be written, one of that name stays as it is.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    TypeError
        As in :func:`to_module`.
    safetensors.SafetensorError
        If the folder does not exist or the disk is full.

    See Also
    --------
    load_weights : The way back.
    """
    from safetensors.torch import save_file

    metadata = {
        "format": "pt",
        "estimator": type(estimator).__name__,
        "activation": getattr(estimator, "activation", "identity"),
    }
    if hasattr(estimator, "activate_output"):
        metadata["activate_output"] = json.dumps(estimator.activate_output)
    if hasattr(estimator, "classes_"):
        metadata["classes"] = json.dumps(estimator.classes_.tolist())
    tensors = {name: part.contiguous() for name, part in to_module(estimator).state_dict().items()}
    with whole_file(path) as beside:
        save_file(tensors, beside, metadata)


def load_weights(path) -> SavedWeights:
    """Read the layers of a network from a file of safetensors, whoever wrote it.

    Parameters
    ----------
    path : str or path-like
        A file by :func:`save_weights`, or of the ``state_dict`` of any torch module that is a
        chain of linear layers, in the order of their names (numbers in them count as numbers).

    Returns
    -------
    saved : SavedWeights
        ``saved.weights`` are what `init` and :func:`sklearn_deeplinear.theory.certify` take.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    ValueError
        If the tensors are not the layers of a chain.
    """
    from safetensors import safe_open

    with safe_open(os.fspath(path), framework="pt") as file:
        tensors = {name: _array(file.get_tensor(name)) for name in sorted(file.keys(), key=_order)}
        metadata = dict(file.metadata() or {})
    intercept = tensors.pop("intercept", None)
    chains: dict[str, dict] = {}
    for name, array in tensors.items():
        found = _PATHWAY.match(name)
        chains.setdefault(found[1] if found else "", {})[name] = array
    layers = [_chain(chain, path) for chain in chains.values()]
    if not layers or ("" in chains and len(chains) > 1):
        raise ValueError(f"path must name a file of the layers of a chain, {path!r} is none.")
    weights, biases = layers[0] if "" in chains else map(list, zip(*layers, strict=True))
    return SavedWeights(weights, biases, intercept, metadata)


def _chain(tensors, path):
    """Weights and biases of layers, by names that end in weight and bias."""
    weights, biases = [], []
    for name, W in tensors.items():
        if not name.endswith("weight"):
            continue
        if W.ndim != 2 or (weights and W.shape[1] != len(weights[-1])):
            raise ValueError(
                f"path must name a file of the layers of a chain: in {path!r} {name} has the "
                f"shape {W.shape} after {[W.shape for W in weights]}."
            )
        weights.append(W)
        biases.append(tensors.get(f"{name.removesuffix('weight')}bias"))
    known = len(weights) + sum(b is not None for b in biases)
    if not weights or known < len(tensors):
        raise ValueError(
            f"path must name a file of weights and biases of layers, {path!r} holds "
            f"{', '.join(tensors)}."
        )
    return weights, biases


def _order(name):
    """Names by their parts, numbers as numbers."""
    return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in _parts(name)]


def _parts(name):
    return [part for part in re.split(r"(\d+)", name) if part]


def _array(tensor) -> np.ndarray:
    """A float64 array, or one of float32; half precisions have no better use here."""
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.double()).numpy()


def _tensors(arrays: list[Any]):
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _dtype(weights):
    return torch.from_numpy(np.empty(0, weights[0].dtype)).dtype
