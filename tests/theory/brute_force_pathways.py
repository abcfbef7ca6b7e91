"""Slow, obvious reference: minimise the objective over the weights of all pathways."""

import numpy as np
import torch
from scipy.optimize import minimize


def brute_force_pathways(moments, widths, decays, *, restarts=10, seed=0):
    """Lowest J that restarts of L-BFGS find, by automatic differentiation."""
    A, S = (torch.as_tensor(part) for part in (moments.input_moment, moments.cross_moment))
    shapes = []
    for hidden in widths:
        sizes = [moments.n_inputs, *hidden, moments.n_outputs]
        shapes.append(list(zip(sizes[1:], sizes[:-1], strict=True)))
    ends = [rows * cols for path in shapes for rows, cols in path]

    def function(vector):
        flat = torch.tensor(vector, requires_grad=True)
        parts, coef, penalty = iter(flat.split(ends)), 0.0, 0.0
        for path, gammas in zip(shapes, decays, strict=True):
            M = None
            for shape, gamma in zip(path, gammas, strict=True):
                W = next(parts).view(shape)
                penalty = penalty + gamma * W.square().sum()
                M = W if M is None else W @ M
            coef = coef + M
        J = torch.trace(coef @ A @ coef.T) - 2 * (coef * S).sum() + penalty
        J.backward()
        return J.item() + moments.output_moment, flat.grad.numpy()

    random = np.random.RandomState(seed)
    best = moments.output_moment  # zero weights
    for _ in range(restarts):
        start = random.standard_normal(sum(ends))
        options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 30}
        best = min(
            best, minimize(function, start, jac=True, method="L-BFGS-B", options=options).fun
        )
    return best
