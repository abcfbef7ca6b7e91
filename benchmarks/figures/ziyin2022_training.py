"""Trains networks of one input over a grid of signals E[xy] and weight decays, with Adam."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor

SEED, WIDTH = 0, 32
ACTIVATIONS = {
    "linear": nn.Identity(),
    "ReLU": nn.ReLU(),
    "tanh": nn.Tanh(),
    "swish": nn.SiLU(),
}
STEP_SIZE, BATCH, SAMPLES, NOISE = 0.01, 100, 1000, 0.1


def scalar_data(signal):
    """A thousand samples with E[x] = E[y] = 0, E[x^2] = 1, E[xy] = signal.

    Mirrored, in x and in the noise: a ReLU sees half of each moment on either side.
    """
    rng = np.random.RandomState(SEED)
    x, noise = rng.standard_normal((2, SAMPLES // 4))
    x, noise = x / np.sqrt(np.mean(x**2)), NOISE * noise / np.sqrt(np.mean(noise**2))
    x, noise = np.concatenate([x, x, -x, -x]), np.concatenate([noise, -noise, noise, -noise])
    return x[:, None], signal * x + noise


def train(name, hidden, signals, decays, epochs):
    """Train a network for each decay (row) and signal (column).

    Returns
    -------
    loss, squared_norm : ndarray of shape (len(decays), len(signals))
        At the end: mean squared error of all samples, sum of squares of all weights.
    """
    how = _by_estimator if name in ("linear", "ReLU") else _in_a_stack
    return how(name, hidden, signals, decays, epochs)


def _by_estimator(name, hidden, signals, decays, epochs):
    options = {
        "depth": hidden + 1,
        "width": WIDTH,
        "init": "xavier_uniform",
        "solver": "adam",
        "step_size": STEP_SIZE,
        "batch_size": BATCH,
        "max_iter": epochs,
        "tol": 0,
        "record_every": epochs,
        "random_state": SEED,
        "dtype": "float32",
    }
    if name == "linear":
        model = DeepLinearRegressor(fit_intercept=False, **options)
    else:
        model = HomogeneousMLPRegressor(fit_bias=False, **options)
    loss, norm = np.empty((2, len(decays), len(signals)))
    for column, signal in enumerate(signals):
        data = scalar_data(signal)
        for row, decay in enumerate(decays):
            model.set_params(weight_decay=decay).fit(*data)
            loss[row, column] = model.loss_
            norm[row, column] = sum(np.sum(W**2) for W in model.weights_)
    return loss, norm


def _in_a_stack(name, hidden, signals, decays, epochs):
    """Train all cells at once: Adam treats every weight by itself, so they do not meet."""
    data = [scalar_data(signal) for signal in signals]
    x = torch.tensor(data[0][0], dtype=torch.float32)
    y = torch.tensor(np.array([y for _, y in data]), dtype=torch.float32).repeat(len(decays), 1)
    decay = torch.tensor(np.repeat(decays, len(signals)), dtype=torch.float32)
    generator = torch.Generator().manual_seed(SEED)
    sizes = [1, *[WIDTH] * hidden, 1]
    weights = [
        _xavier(rows, columns, generator).repeat(len(decay), 1, 1).requires_grad_()
        for columns, rows in zip(sizes, sizes[1:], strict=False)
    ]
    optimiser = torch.optim.Adam(weights, lr=STEP_SIZE)

    def losses(rows):
        z = x[rows].T
        for W in weights[:-1]:
            z = ACTIVATIONS[name](W @ z)
        return (y[:, rows] - (weights[-1] @ z)[:, 0]).square().mean(dim=1)

    def squared_norms():
        return sum(W.square().sum(dim=(1, 2)) for W in weights)

    for _ in range(epochs):
        for rows in torch.randperm(SAMPLES, generator=generator).split(BATCH):
            optimiser.zero_grad()
            (losses(rows) + decay * squared_norms()).sum().backward()
            optimiser.step()
    shape = len(decays), len(signals)
    with torch.no_grad():
        found = losses(torch.arange(SAMPLES)), squared_norms()
    return tuple(values.double().numpy().reshape(shape) for values in found)


def _xavier(rows, columns, generator):
    return nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator)
