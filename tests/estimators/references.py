"""Slow, obvious references for DeepLinearRegressor, written from its docstring alone."""

import numpy as np
import torch


def centred(X, Y, weight=None):
    """X and Y less their weighted means; Y as a matrix."""
    Y = np.reshape(Y, (len(X), -1))
    return (
        X - np.average(X, axis=0, weights=weight),
        Y - np.average(Y, axis=0, weights=weight),
    )


def data_objective(weights, X, Y, gammas, sample_weight):
    """J of centred tensors, sample by sample."""
    output = X
    for W in weights:
        output = output @ W.T
    loss = (sample_weight * ((output - Y) ** 2).sum(dim=1)).sum() / sample_weight.sum()
    return loss + sum(gamma * (W**2).sum() for gamma, W in zip(gammas, weights, strict=True))


def gradients(weights, X, Y, gammas=None, sample_weight=None):
    """J and its gradients by automatic differentiation, on centred data."""
    gammas = np.zeros(len(weights)) if gammas is None else gammas
    sample_weight = np.ones(len(X)) if sample_weight is None else sample_weight
    X, Y = (torch.tensor(part) for part in centred(X, Y, sample_weight))
    layers = [torch.tensor(W, dtype=torch.float64, requires_grad=True) for W in weights]
    J = data_objective(layers, X, Y, gammas, torch.tensor(sample_weight, dtype=torch.float64))
    return J.item(), [g.numpy() for g in torch.autograd.grad(J, layers)]


def descent(weights, steps, gradients_of):
    """Weights after each of the given steps W <- W - eta dJ/dW, the first ones included."""
    path = [[np.array(W, dtype=float) for W in weights]]
    for eta in steps:
        slopes = gradients_of(path[-1])[1]
        path.append([W - eta * g for W, g in zip(path[-1], slopes, strict=True)])
    return path


def reduced_rank_regression(X, Y, rank):
    """Least squares of rank at most `rank`: project the fitted values (Izenman 1975)."""
    X, Y = centred(X, Y)
    coef = np.linalg.lstsq(X, Y, rcond=None)[0]
    _, _, Vt = np.linalg.svd(X @ coef, full_matrices=False)
    return (coef @ Vt[:rank].T @ Vt[:rank]).T
