"""Problems whose minimum and Hessian are known, as torch modules for any optimiser.

Inputs have X^T X / n = V diag(lambda) V^T, and E[y x^T] = U diag(s) V^T. A map U diag(b) V^T has

    J = sum over modes of  s^2 / lambda - 2 s b + lambda b^2 + L gamma b^(2/L),

and s = lambda b + gamma b^(2/L - 1) makes a given b > 0 stationary. No map lies below the lowest of
these where the inputs are white (von Neumann's trace inequality), nor with two layers, whose
objective is a convex one of the map, so that its mean over the signs of the modes is as low. So the
minimum is known to rounding, and nothing is searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sklearn_deeplinear._parameters import as_array

if TYPE_CHECKING:
    from sklearn_deeplinear.datasets._deep_linear_module import DeepLinearModule


@dataclass(frozen=True)
class GroundTruthProblem:
    """A problem of training whose answer is known.

    Attributes
    ----------
    name : str
        Name among the problems.
    description : str
        What makes it hard.
    units : str
        What the loss and the weights are measured in.
    minimum : float
        The lowest value of the loss.
    minimiser : list of ndarray of shape (h_l, h_{l-1})
        Weights where it is taken; those of deeper networks are one point of a family.
    weight_decay : float
        gamma.
    """

    name: str
    description: str
    units: str
    minimum: float
    minimiser: list[np.ndarray]
    weight_decay: float
    _X: np.ndarray = field(repr=False)
    _y: np.ndarray = field(repr=False)
    _start: Callable = field(repr=False)

    def module(self, weights=None) -> DeepLinearModule:
        """Return the network with its data.

        Parameters
        ----------
        weights : list of array-like of shape (h_l, h_{l-1}), default=None
            Weights; None takes those of ``initial_state()``.

        Returns
        -------
        module : torch.nn.Module
            Its ``loss()`` is what is to be lowered.

        Raises
        ------
        ValueError
            If the weights are no arrays of the shapes of `minimiser`.
        """
        # Torch is loaded by those who train only.
        from sklearn_deeplinear.datasets._deep_linear_module import DeepLinearModule

        weights = self._initial_weights(0) if weights is None else weights
        weights = [as_array(W, "weights") for W in weights]
        shapes, wanted = ([W.shape for W in each] for each in (weights, self.minimiser))
        if shapes != wanted:
            raise ValueError(f"weights must be arrays of shapes {wanted}, got {shapes}.")
        return DeepLinearModule(weights, self._X, self._y, self.weight_decay)

    def initial_state(self, seed=0) -> dict:
        """Return where an optimiser is to start, for ``module().load_state_dict``.

        Parameters
        ----------
        seed : int, default=0
            Seed of random weights.

        Returns
        -------
        state : dict of tensors
        """
        return self.module(self._initial_weights(seed)).state_dict()

    def _initial_weights(self, seed):
        rng = np.random.RandomState(seed)
        return [self._start(rng, W.shape) for W in self.minimiser]

    @property
    def hessian(self) -> np.ndarray:
        """Hessian of the loss at `minimiser`, of shape (n_parameters, n_parameters).

        Parameters are in the order of the layers, each row by row. With M = P dW_k Q dW_j R, the
        products of the layers above, between and below, and G = M A - S the slope of the loss,

            d2J / dW_k dW_k = 2 P_k^T P_k x R_k A R_k^T + 2 gamma,
            d2J / dW_k dW_j = 2 P_k^T P_j x R_k A R_j^T + 2 (P_k^T G R_j^T) x Q.
        """
        return _hessian(self.minimiser, self._X, self._y, self.weight_decay)

    @property
    def hessian_eigenvalues(self) -> np.ndarray:
        """Eigenvalues of `hessian`, in ascending order."""
        return np.linalg.eigvalsh(self.hessian)


def ground_truth_problems(names=None) -> list[GroundTruthProblem]:
    """Training problems with known minimum and Hessian, on which any optimiser can be run.

    Each is a deep linear network with its data, whose lowest loss is known exactly, so that what
    an optimiser lacks can be told at every step without a reference run.

    Parameters
    ----------
    names : str or sequence of str, default=None
        The problems wanted, of "ridge", "chain", "two_layers", "bottleneck", "decay", "collapsed",
        "deep_decay" and "ill_conditioned"; None takes all of them.

    Returns
    -------
    problems : list of GroundTruthProblem

    Raises
    ------
    ValueError
        If there is no problem of a name.

    Notes
    -----
    Without weight decay the minimum is the part of the targets that the narrowest layer has no
    room for, the sum of the squares of the weaker singular values [1]_. With it, a mode is a
    problem of one number, the strength b, whose penalty is L gamma b^(2/L) at equal shares of the
    layers [2]_.

    References
    ----------
    .. [1] Baldi, P., Hornik, K. (1989). "Neural networks and principal component analysis:
       learning from examples without local minima." Neural Networks 2 (1), 53-58.
    .. [2] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear network."
       NeurIPS 35.

    Examples
    --------
    >>> import torch
    >>> from sklearn_deeplinear.datasets import ground_truth_problems
    >>> (problem,) = ground_truth_problems("deep_decay")
    >>> module = problem.module()
    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.03, momentum=0.9)
    >>> for _ in range(400):
    ...     optimizer.zero_grad()
    ...     loss = module.loss()
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(abs(module.loss().item() - problem.minimum) < 1e-10)
    True
    """
    wanted = list(_PROBLEMS) if names is None else [names] if isinstance(names, str) else names
    unknown = [name for name in wanted if name not in _PROBLEMS]
    if unknown:
        raise ValueError(f"names must be among {list(_PROBLEMS)}, got {unknown[0]!r}.")
    return [_problem(name, **_PROBLEMS[name]) for name in wanted]


def _random(scale):
    """A start with entries of variance scale^2 / fan-in."""
    return lambda rng, shape: scale * rng.standard_normal(shape) / np.sqrt(shape[1])


def _shifted_identity(scale):
    """A start at multiples of the identity, for chains of one unit."""
    return lambda rng, shape: scale * np.eye(*shape)


# Strengths b of the modes at the minimum, moments lambda of the inputs (as many as there are
# inputs), width, layers, decay. A mode of strength 0 has the target strength `lost`.
_PROBLEMS: dict[str, dict] = {
    "ridge": {
        "description": "one layer: convex, inputs of condition 1,000",
        "strengths": [2.0],
        "moments": np.geomspace(1, 1e-3, 10),
        "depth": 1,
        "gamma": 1e-4,
        "start": _random(1.0),
    },
    "chain": {
        "description": "five layers of one unit: flat at the start, sharp at the minimum",
        "strengths": [3.0],
        "moments": np.ones(1),
        "depth": 5,
        "width": 1,
        "start": _shifted_identity(0.3),
    },
    "two_layers": {
        "description": "matrix factorisation without decay, from small weights: one saddle a mode",
        "strengths": [4.0, 2.0, 1.0],
        "moments": np.ones(5),
        "depth": 2,
        "width": 8,
        "n_outputs": 4,
        "start": _random(1e-3),
    },
    "bottleneck": {
        "description": "three layers, the narrowest too narrow for two of four modes",
        "strengths": [4.0, 3.0],
        "lost": [2.0, 1.0],
        "moments": np.ones(6),
        "depth": 3,
        "width": 2,
        "n_outputs": 5,
        "start": _random(0.5),
    },
    "decay": {
        "description": "two layers with decay, which takes the weaker modes away",
        "strengths": [2.0, 1.0],
        "lost": [0.2, 0.1],
        "moments": np.ones(5),
        "depth": 2,
        "width": 6,
        "gamma": 0.3,
        "n_outputs": 4,
        "start": _random(0.5),
    },
    "collapsed": {
        "description": "four layers, decay beyond what any mode survives: zero is the minimum",
        "strengths": [],
        "lost": [0.4, 0.2],
        "moments": np.ones(4),
        "depth": 4,
        "width": 5,
        "gamma": 0.3,
        "n_outputs": 3,
        "start": _random(1.0),
    },
    "deep_decay": {
        "description": "three layers with decay: zero is a local minimum to stay clear of",
        "strengths": [3.0, 2.0],
        "moments": np.ones(4),
        "depth": 3,
        "width": 5,
        "gamma": 0.1,
        "n_outputs": 2,
        "start": _random(1.0),
    },
    "ill_conditioned": {
        "description": "two layers with a little decay, inputs of condition 100",
        "strengths": [2.0, 1.5, 1.0],
        "moments": np.geomspace(1, 1e-2, 3),
        "depth": 2,
        "width": 4,
        "gamma": 1e-3,
        "n_outputs": 3,
        "start": _random(1.0),
    },
}


def _problem(name, description, strengths, moments, depth, start, **options):
    """Make data and minimiser; `options` are the width, the decay, the outputs and what is lost."""
    gamma, lost = options.get("gamma", 0.0), options.get("lost", [])
    n_outputs, moments = options.get("n_outputs", 1), np.asarray(moments)
    n_inputs, n_modes = len(moments), min(n_outputs, len(moments))
    b, s, lam = np.zeros(n_modes), np.zeros(n_modes), moments[:n_modes]
    alive = np.arange(n_modes) < len(strengths)
    b[alive] = strengths
    s[alive] = lam[alive] * b[alive] + gamma * b[alive] ** (2 / depth - 1)
    s[len(strengths) : len(strengths) + len(lost)] = lost
    minimum = np.sum(s**2 / lam - 2 * s * b + lam * b**2 + depth * gamma * b ** (2 / depth))
    rng = np.random.RandomState(0)
    U, V = (np.linalg.qr(rng.standard_normal((k, k)))[0] for k in (n_outputs, n_inputs))
    X = np.sqrt(n_inputs * moments)[:, None] * V.T
    y = X @ (U[:, :n_modes] * (s / lam) @ V[:, :n_modes].T).T
    width = options.get("width", 1)
    minimiser = _balanced(U[:, :n_modes], b, V[:, :n_modes], depth, width)
    units = f"loss in y^2, each of {depth} layers in (y / x)^(1/{depth})"
    return GroundTruthProblem(
        name, description, units, float(minimum), minimiser, gamma, X, y, start
    )


def _balanced(U, b, V, depth, width):
    """Layers of equal shares whose product is U diag(b) V^T."""
    if depth == 1:
        return [U * b @ V.T]
    k = min(width, len(b))
    root = np.zeros((width, k))
    np.fill_diagonal(root, b[:k] ** (1 / depth))
    inner = [np.diag(np.r_[np.diag(root), np.zeros(width - k)])] * (depth - 2)
    return [root @ V[:, :k].T, *inner, U[:, :k] @ root.T]


def _hessian(weights, X, y, gamma):
    """The Hessian of the loss at any weights; see `GroundTruthProblem.hessian`."""
    A = X.T @ X / len(X)
    M = np.linalg.multi_dot([*weights[::-1], np.eye(A.shape[0])])
    G = M @ A - y.T @ X / len(X)
    depth, sizes = len(weights), [W.size for W in weights]

    def product(low, high):  # W_high ... W_{low + 1}
        sides = np.eye(([W.shape[1] for W in weights] + [len(y.T)])[low])
        for W in weights[low:high]:
            sides = W @ sides
        return sides

    P = [product(layer + 1, depth) for layer in range(depth)]
    R = [product(0, layer) for layer in range(depth)]
    blocks = [[np.zeros(0)] * depth for _ in range(depth)]
    for k in range(depth):
        for j in range(k + 1):
            block = 2 * np.einsum("ac,be->abce", P[k].T @ P[j], R[k] @ A @ R[j].T)
            if j < k:
                block += 2 * np.einsum("ae,bc->abce", P[k].T @ G @ R[j].T, product(j + 1, k))
            blocks[k][j] = block.reshape(sizes[k], sizes[j])
            blocks[j][k] = blocks[k][j].T
    return np.block(blocks) + 2 * gamma * np.eye(sum(sizes))
