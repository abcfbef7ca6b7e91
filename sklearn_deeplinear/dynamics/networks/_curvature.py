"""Extreme eigenvalues of the Hessian, from Hessian-vector products.

With g the gradient of the objective as a differentiable graph, H v is the gradient of
<g, v>: one backward pass through a graph that is built once. Lanczos iterations find the
extreme eigenvalues from such products: those of ARPACK for a single one, which any vector
finds if it stands apart, and those of a block of vectors for more, which see eigenvalues as
often as they occur.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sklearn_deeplinear._parameters import check_integer, check_noise, check_weight_decay
from sklearn_deeplinear.dynamics.networks._block_lanczos import ORDER, block_lanczos
from sklearn_deeplinear.dynamics.networks._flat import pack
from sklearn_deeplinear.dynamics.networks._trainable import trainable_parameters

# Up to this size the whole Hessian costs no more products than Lanczos iterations.
_DENSE = 100
# Up to this one it may be built once iterations have made as many products, at 130 MB.
_AFFORDABLE = 4000
# Error of an eigenvalue relative to the norm of the Hessian, and the least that is asked for, in
# units of eps: Lanczos iterations see products to rounding error.
_TOL = 1e-9
_ROUNDING = 100
# Restarts of ARPACK, of some ten products each, after which a block of vectors takes over: it
# needed 158 products where ARPACK took 60,747.
_RESTARTS = 50


def module_hessian_eigenvalues(module, loss, *, weight_decay=0.0, k=1, which="LA"):
    """Extreme eigenvalues of the Hessian of a module's objective.

    Parameters
    ----------
    module : torch.nn.Module
        Network, not changed.
    loss : callable
        ``loss(module)`` returns the loss on the training data, a tensor of one element,
        twice differentiable and not random.
    weight_decay : float or sequence of floats, default=0.0
        gamma of the trainable parameters of two dimensions or more; others are not
        decayed.
    k : int, default=1
        Number of eigenvalues.
    which : {"LA", "SA", "LM"}, default="LA"
        The largest eigenvalues, the smallest ones, or those largest in magnitude.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        The most extreme one first, multiple ones as often as they occur.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> scales = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    >>> module_hessian_eigenvalues(net, lambda net: (scales * net.weight**2).sum(), k=2)
    array([6., 2.])
    """
    parameters = trainable_parameters(module)
    matrices = [p for p in parameters if p.ndim >= 2]
    gammas = check_weight_decay(weight_decay, len(matrices))
    with torch.enable_grad():
        objective = loss(module) + _penalty(matrices, gammas)
        return _extreme_eigenvalues(objective, parameters, k, which)


def linear_hessian_eigenvalues(
    weights, input_moment, cross_moment, weight_decay=0.0, noise=0.0, *, k=1, which="LA"
):
    """Extreme eigenvalues of the Hessian of a deep linear network's objective.

    Works on moments, so that the cost does not depend on the number of samples.

    Parameters
    ----------
    weights : list of arrays or tensors
        W_1, ..., W_L, W_l of shape (h_l, h_{l-1}).
    input_moment : array or tensor of shape (d, d)
        A = E[x x^T].
    cross_moment : array or tensor of shape (m, d)
        S = E[y x^T].
    weight_decay : float or sequence of L floats, default=0.0
        gamma_l.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the multiplicative noise on the hidden layers; the objective then
        is the expected one.
    k : int, default=1
        Number of eigenvalues.
    which : {"LA", "SA", "LM"}, default="LA"
        The largest eigenvalues, the smallest ones, or those largest in magnitude.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        The most extreme one first.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.
    """
    layers = [torch.as_tensor(W).detach().clone().requires_grad_() for W in weights]
    A, S = (torch.as_tensor(moment).to(layers[0]) for moment in (input_moment, cross_moment))
    gammas = check_weight_decay(weight_decay, len(layers))
    variances = check_noise(noise, len(layers))
    with torch.enable_grad():
        objective = _expected_loss(layers, A, S, variances) + _penalty(layers, gammas)
        return _extreme_eigenvalues(objective, layers, k, which)


def _expected_loss(weights, A, S, variances):
    """tr(C_L) - 2 tr(M S^T), the loss but for a constant."""
    M = weights[-1]
    for W in weights[-2::-1]:
        M = M @ W
    if not variances.any():
        return (M @ A * M).sum() - 2 * (M * S).sum()
    C = weights[0] @ A @ weights[0].T
    for W, s in zip(weights[1:], variances.tolist(), strict=True):
        C = W @ (C + s * torch.diag(C.diagonal())) @ W.T
    return C.trace() - 2 * (M * S).sum()


def _penalty(weights, gammas):
    return sum(gamma * W.square().sum() for W, gamma in zip(weights, gammas.tolist(), strict=True))


def _extreme_eigenvalues(objective, parameters, k, which):
    n = sum(p.numel() for p in parameters)
    k = check_number(k, n)
    if which not in ORDER:
        raise ValueError(f"which must be one of {', '.join(ORDER)}, got {which!r}.")
    product = _hessian_product(objective, parameters)
    start = np.random.RandomState(0).standard_normal(n)
    first = product(start)
    if not first.any():
        return np.zeros(k)
    if not np.isfinite(first).all():
        return np.full(k, np.nan)
    if n <= max(_DENSE, 4 * k):
        return _dense(product, n, k, which)
    # ARPACK takes eigenvalues below 1e-11 for zero, whatever the others are.
    unit = np.abs(first).max()

    def scaled(v):
        return product(v) / unit

    tol = max(_TOL, _ROUNDING * torch.finfo(parameters[0].dtype).eps)
    if k == 1:
        try:
            return unit * _lanczos(scaled, start, which, tol)
        except ArpackNoConvergence:
            pass  # as near a saddle, where many eigenvalues are almost opposite ones
    found = block_lanczos(scaled, n, k, which, tol, n if n <= _AFFORDABLE else None)
    return _dense(product, n, k, which) if found is None else unit * found


def check_number(k, n_parameters):
    """The number k of eigenvalues, of which there are as many as parameters."""
    k = check_integer(k, "k", low=1)
    if k > n_parameters:
        raise ValueError(f"k must be at most the number of parameters, {n_parameters}, got {k}.")
    return k


def _dense(product, n, k, which):
    hessian = np.stack([product(row) for row in np.eye(n)])
    eigenvalues = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    return eigenvalues[ORDER[which](eigenvalues)][:k]


def _lanczos(product, start, which, tol):
    n = len(start)

    def solve(shift, which):
        operator = LinearOperator((n, n), lambda v: product(v) + shift * v, dtype=np.float64)
        options = {"v0": start, "tol": tol, "maxiter": _RESTARTS, "return_eigenvectors": False}
        return eigsh(operator, 1, which=which, **options)

    largest = solve(0.0, "LM")
    if which == "LM" or largest[0] * {"LA": 1, "SA": -1}[which] > 0:
        return largest
    # ARPACK's tolerance is relative to the eigenvalue sought, which may be zero (a
    # minimum of a deep linear network has a flat valley). Shifted by twice the norm of H
    # all eigenvalues are of the size of that norm.
    shift = 2 * np.abs(largest[0])
    return solve(shift, which) - shift


def _hessian_product(objective, parameters):
    """Build the function v -> H v of vectors over all parameters, as float64 arrays."""
    gradient = pack(
        torch.autograd.grad(objective, parameters, create_graph=True, materialize_grads=True)
    )
    options = {"retain_graph": True, "materialize_grads": True}

    def product(v):
        if not gradient.requires_grad:  # of a linear objective
            return np.zeros_like(v)
        v = torch.from_numpy(np.ravel(v)).to(gradient.dtype).to(gradient.device)
        parts = torch.autograd.grad(gradient, parameters, v, **options)
        return pack(parts).cpu().double().numpy()

    return product
