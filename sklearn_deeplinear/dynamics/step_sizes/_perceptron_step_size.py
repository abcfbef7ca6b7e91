"""Step size and initial scale of perceptrons that follow the units of the data.

The Gauss-Newton matrix at the initial weights theta_0 is

    H_0 = rho sum_i shares_i J_i^T J_i,    J_i = d f(x_i) / d theta,

with rho = 2 for the squared error and 1/2, the largest curvature of the softmax, for the
cross-entropy. A network of depth L with homogeneous activations and without biases has
f(k theta) = k^L f(theta), so that H grows by k^(2L - 2) while its outputs grow to the size of
the targets (to 1 for the cross-entropy). The step size is

    eta = 1 / (k^(2L - 2) lambda_max(H_0) + 2 max_l gamma_l),
    k^L = max(1, ||targets|| / ||f_0||),

half of what is stable where the network has the size it needs; it follows the units of the
data. Biases b_l, which start at zero and grow like k^l, only move H_0: those of the outputs
alone give it an eigenvalue of rho. Where all inputs are zero, constants stand in for them, as
hidden biases soon will; where nothing moves but the output biases, for all units are dead, the
network is linear and k = 1.

lambda_max comes from Lanczos iterations with products J v and J^T u.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal

from sklearn_deeplinear.nn._losses import LOSSES
from sklearn_deeplinear.nn._norms import norms

# A start that is almost orthogonal to the top direction converges elsewhere at first.
_MIN_ITERATIONS, _MAX_ITERATIONS = 5, 30
# Distance of the Ritz value from an eigenvalue, relative to it. In 300 random networks lambda_max
# was found to 0.02 % in 6 iterations on average (9 % in 5 with 1e-2).
_TOL = 1e-3
# Sizes of the initial outputs that are left as they are, in those of the targets.
_SMALLEST, _LARGEST = 0.1, 2.0


def gauss_newton_norm(network, X, shares):
    """Largest eigenvalue of sum_i shares_i J_i^T J_i, to about one percent.

    Parameters
    ----------
    network : torch.nn.Module
        Network, not changed.
    X : tensor of shape (n, d)
        Inputs.
    shares : tensor of shape (n,)
        Weights of the samples.

    Returns
    -------
    eigenvalue : float
        0 if no parameter moves an output, infinity if there is an overflow.
    """
    parameters, root = list(network.parameters()), shares.sqrt()[:, None]
    with torch.enable_grad():
        f = root * network(X)
        u = torch.zeros_like(f, requires_grad=True)
        # J^T u is linear in u: its derivative in u is a product with J.
        pulled_back = torch.autograd.grad(f, parameters, u, create_graph=True)

    def push(v):
        return torch.autograd.grad(pulled_back, u, v, retain_graph=True)[0]

    # Not from f, which may be orthogonal to the constants that output biases move, as on
    # centred inputs, or zero; not from random outputs, as copies of a sample have equal ones.
    generator = _generator()
    v = [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p) for p in parameters]
    return _top_eigenvalue(
        lambda w: push(torch.autograd.grad(f, parameters, w, retain_graph=True)), push(v)
    )


def _top_eigenvalue(product, start):
    """Largest eigenvalue of a positive semi-definite operator, by Lanczos iterations."""
    size = float(norms(start.flatten()))
    if not 0 < size < np.inf:
        return size
    former, scale = torch.zeros_like(start), 0.0
    q = start / size
    unit, diagonal, off_diagonal = None, [], []
    for _ in range(_MAX_ITERATIONS):
        w = product(q)
        if unit is None:
            # Of the operator, which is in squared units of the data: norms take the square of
            # that. A power of two rounds nothing.
            unit = float(np.ldexp(0.5, np.frexp(float(w.abs().max()))[1]))
        w = w / unit - scale * former
        diagonal.append(float((w * q).sum()))
        w -= diagonal[-1] * q
        former, scale = q, float(w.norm())
        if not np.isfinite(scale):
            return np.inf
        values, vectors = eigh_tridiagonal(diagonal, off_diagonal)
        # Eigenvalues lie as near as this; none is missing once the subspace is invariant.
        near = scale * abs(vectors[-1, -1])
        rounding = torch.finfo(q.dtype).eps
        if near <= (_TOL if len(diagonal) >= _MIN_ITERATIONS else rounding) * values[-1]:
            break
        off_diagonal.append(scale)
        q = w / scale
    return float(values[-1]) * unit


def fitting_factor(network, X, Y, shares, loss):
    """Factor on all weights that brings the outputs to a tenth to twice the right size.

    It is 1 unless the data are in units that do not suit weights of ordinary size: from
    there gradient descent would start on a plateau, or from outputs that it has to unlearn.
    Parameters as in :func:`auto_network_step_size`; biases must be zero.
    """
    size, wanted = _output_sizes(network, _seen(network, X), Y, shares, loss)
    return size_factor(size, wanted, len(network.linear_layers))


def size_factor(size, wanted, depth):
    """Factor on `depth` layers after which outputs of this size have about the wanted one."""
    if not (size > 0 and wanted > 0):
        return 1.0
    nearest = min(max(size, _SMALLEST * wanted), _LARGEST * wanted)
    return (nearest / size) ** (1 / depth)


def auto_network_step_size(network, X, Y, shares, loss, weight_decay, batch_size=None):
    """Step size from the curvature where the outputs have the size of the targets.

    Parameters
    ----------
    network : torch.nn.Module
        Network with the initial parameters.
    X : tensor of shape (n, d)
        Inputs.
    Y : tensor of shape (n, m)
        Targets.
    shares : tensor of shape (n,)
        Weights of the samples.
    loss : {"squared_error", "cross_entropy"}
        Loss of a sample.
    weight_decay : sequence of L floats
        gamma_1, ..., gamma_L.
    batch_size : int, optional
        Size of the batches. The curvature then is that of the batch with the longest
        inputs, which stands for the worst one.

    Returns
    -------
    step_size : float
        eta; 1 where the objective is flat.
    """
    curvature = network_curvature(network, X, Y, shares, loss, batch_size)
    return inverse_network_curvature(curvature, max(weight_decay))


def inverse_network_curvature(curvature, decay):
    """Step size where the loss has this curvature and the penalty the largest `decay`."""
    curvature = curvature + 2 * decay
    return float(1 / curvature) if 0 < curvature < float("inf") else 1.0


def network_curvature(network, X, Y, shares, loss, batch_size=None):
    """Curvature k^(2L - 2) lambda_max(H_0) of the loss, of :func:`auto_network_step_size`."""
    depth, growth = len(network.linear_layers), 1.0
    if _moves_hidden(network, X):
        X = _seen(network, X)
        size, wanted = _output_sizes(network, X, Y, shares, loss)
        growth = (wanted / size) ** (1 / depth) if 0 < size < wanted else 1.0  # k
    if batch_size is not None and batch_size < len(X):
        X, shares = longest_batch(X, shares, batch_size)
    top = LOSSES[loss].curvature * gauss_newton_norm(network, X, shares)
    return growth ** (2 * depth - 2) * top


def _seen(network, X):
    """X, or constants where X is zero and hidden biases are all that layers get."""
    if X.any() or network.linear_layers[0].bias is None:
        return X
    ones = torch.ones_like(X)
    with torch.no_grad():
        return max(ones, -ones, key=lambda inputs: float(network(inputs[:1]).norm()))


def _moves_hidden(network, X):
    """Whether descent moves more than the output biases, in which the outputs are linear."""
    *others, _ = network.parameters()
    if not others:
        return True
    with torch.enable_grad():
        outputs = network(X)
        # Random, so that samples and outputs that are each other's opposites do not cancel.
        random = torch.randn(outputs.shape, generator=_generator(), dtype=outputs.dtype)
        slopes = torch.autograd.grad(outputs, others, random.to(outputs))
    return any(slope.any() for slope in slopes)


def longest_batch(X, shares, batch_size):
    """The batch with the largest inputs, and the shares of its samples in its mean loss."""
    batch_size = min(batch_size, len(X))  # shares that vanish are left out of the data
    rows = (shares * X.square().sum(dim=1)).topk(batch_size).indices
    return X[rows], shares[rows] * (len(X) / batch_size)


def _output_sizes(network, X, Y, shares, loss):
    """Root mean square of the outputs, and the right one: that of the targets, or 1."""
    with torch.no_grad():
        size = _size(network(X), shares)
    return size, LOSSES[loss].output_size(_size(Y, shares))


def _size(outputs, shares):
    return float((shares * outputs.square().sum(dim=1)).sum().sqrt())


def _generator():
    return torch.Generator().manual_seed(0)
