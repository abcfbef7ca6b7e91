"""Slow, obvious reference: minimise the full expected objective over all the weights."""

import numpy as np
import torch
from scipy.optimize import minimize


def full_objective(weights, moments, weight_decay, noise):
    """J of a noisy linear network by the forward recursion of its second moments.

    Written without any formula of the package: C_0 = A, C_l = W_l C~_{l-1} W_l^T and
    C~_l = C_l + s_l diag(C_l), then tr(C_L) - 2 tr(M S^T) + c and the penalties.
    """
    A = torch.as_tensor(moments.input_moment)
    S = torch.as_tensor(moments.cross_moment)
    C, M, penalty = A, None, 0.0
    for i, (W, gamma) in enumerate(zip(weights, weight_decay, strict=True)):
        C = W @ C @ W.T
        M = W if M is None else W @ M
        penalty = penalty + gamma * (W**2).sum()
        if i < len(weights) - 1:
            C = C + noise[i] * torch.diag(torch.diag(C))
    return torch.trace(C) - 2 * (M * S).sum() + moments.output_moment + penalty


def objective_and_gradient(weights, moments, weight_decay, noise):
    """J and the list of its gradients at numpy weights, by automatic differentiation."""
    layers = [torch.tensor(W, dtype=torch.float64, requires_grad=True) for W in weights]
    value = full_objective(layers, moments, weight_decay, noise)
    return float(value.detach()), [g.numpy() for g in torch.autograd.grad(value, layers)]


def brute_force(
    moments, widths, weight_decay, noise=None, *, restarts=12, seed=0, scale=1.0, max_iter=5000
):
    """Lowest J found by restarts of L-BFGS over all the weights, and its weights."""
    sizes = (moments.n_inputs, *widths, moments.n_outputs)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weight_decay = np.broadcast_to(weight_decay, (len(shapes),))
    noise = np.zeros(len(widths)) if noise is None else np.broadcast_to(noise, (len(widths),))
    ends = np.cumsum([rows * cols for rows, cols in shapes])[:-1]

    def unpack(vector):
        parts = np.split(vector, ends)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def function(vector):
        value, gradients = objective_and_gradient(unpack(vector), moments, weight_decay, noise)
        return value, np.concatenate([g.ravel() for g in gradients])

    random = np.random.RandomState(seed)
    zero = np.zeros(sum(rows * cols for rows, cols in shapes))
    best, best_value = zero, moments.output_moment
    for _ in range(restarts):
        start = scale * random.randn(zero.size)
        options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "maxcor": 30}
        options |= {"ftol": 1e-15, "gtol": 1e-10}
        result = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
        if result.fun < best_value:
            best, best_value = result.x, float(result.fun)
    return best_value, unpack(best)
