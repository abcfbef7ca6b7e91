"""Gradient of parallel pathways with a non-linear activation, by hand, on all samples.

With H_0 = X and H_l = f(H_{l-1} W_l^T) the errors are carried back by
E_{l-1} = (E_l W_l) * f'(H_{l-1}), and the gradient of layer l is E_l^T H_{l-1}. The
derivatives of the activations are functions of their values, so only these are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._pathways import singular_modes
from sklearn_deeplinear.theory._location import shares_of

_LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """A function, applied in place, its derivative as a function of its value, and its kink.

    `leak` is the slope of the function where its input is negative, if it has a kink at 0.
    """

    apply_: Callable
    slope: Callable
    leak: float | None = None


ACTIVATIONS = {
    "relu": Activation(torch.relu_, lambda value: value > 0, leak=0.0),
    "leaky_relu": Activation(
        lambda x: torch.nn.functional.leaky_relu_(x, _LEAK),
        lambda value: (value > 0).to(value.dtype).mul_(1 - _LEAK).add_(_LEAK),
        leak=_LEAK,
    ),
    "tanh": Activation(torch.tanh_, lambda value: 1 - value.square()),
}


class ActivePathways:
    """Squared loss of parallel pathways of non-linear units.

    Parameters
    ----------
    X : tensor of shape (n, d)
        Inputs.
    Y : tensor of shape (n, m)
        Targets.
    share : tensor of shape (n, 1)
        Sample weights, of sum one.
    activation : {"relu", "leaky_relu", "tanh"}
        Activation of the hidden layers.
    activate_output : bool
        Whether it also acts on the last layer of each pathway.
    free_intercept : bool
        Whether the loss is taken at the best intercept, the weighted mean of Y - f(X).
    modes : (U, P), tensors of shapes (m, r) and (n, r)
        The strengths of a pathway are diag(U^T F^T P) for its outputs F (n, m): those of
        the linear map that is closest to it on the data, if P = diag(share) X A^+ V.
    """

    linear = False

    def __init__(self, X, Y, share, activation, activate_output, free_intercept, modes):
        self.X, self.Y, self.share, self.modes = X, Y, share, modes
        self.activation = ACTIVATIONS[activation]
        self.kinked = self.activation.leak is not None
        self.activate_output = activate_output
        self.free_intercept = free_intercept

    @classmethod
    def from_data(cls, X, Y, sample_weight, moments, activation, activate_output, like):
        """Build the rule on the device and in the precision of the tensor `like`.

        X and Y are centred as the `moments` are, and the intercept is free if they are.
        """
        X, Y, share = centred_data(X, Y, sample_weight, moments)
        U, V = singular_modes(moments)
        spectrum = moments.spectrum
        inverse = spectrum.directions / spectrum.sigma**2
        P = share * (X @ (inverse @ (spectrum.directions.T @ V)))
        X, Y, share, U, P = (
            torch.as_tensor(part, dtype=like.dtype, device=like.device)
            for part in (X, Y, share, U, P)
        )
        return cls(X, Y, share, activation, activate_output, moments.centered, (U, P))

    def outputs(self, weights, inputs=None):
        """Values [H_0, ..., H_L] of the layers of one pathway."""
        return layer_values(weights, self.X, self.activation, self.activate_output, inputs)

    def errors(self, output):
        """Y - f(X) with the sign turned, less its mean if the intercept is free."""
        error = output - self.Y
        if self.free_intercept:
            error -= (self.share * error).sum(dim=0)
        return error

    def mean_residual(self, pathways):
        """Weighted mean of Y - f(X) if the intercept is free, else zero; shape (m,)."""
        if not self.free_intercept:
            return self.Y.new_zeros(self.Y.shape[1])
        output = sum(self.outputs(weights)[-1] for weights in pathways)
        return (self.share * (self.Y - output)).sum(dim=0)

    def measure(self, pathways):
        """Loss, gradients and mode strengths; a batch of weights is taken one by one."""
        if pathways[0][0].ndim == 2:
            loss, gradients, strengths = self._measure(pathways)
            return loss, gradients, {"mode_strengths": strengths}
        records = [
            self._measure([[W[i] for W in weights] for weights in pathways])
            for i in range(pathways[0][0].shape[0])
        ]
        gradients = [
            [torch.stack([record[1][p][layer] for record in records]) for layer in range(len(W))]
            for p, W in enumerate(pathways)
        ]
        loss, _, strengths = zip(*records, strict=True)
        return torch.stack(loss), gradients, {"mode_strengths": torch.stack(strengths)}

    def _measure(self, pathways):
        values = [self.outputs(weights) for weights in pathways]
        error = self.errors(sum(value[-1] for value in values))
        loss = (self.share * error.square()).sum()
        U, P = self.modes
        strengths = torch.stack([((value[-1] @ U) * P).sum(0) for value in values])
        error = 2 * self.share * error
        parts = zip(pathways, values, strict=True)
        gradients = [
            [delta.mT @ H for delta, H in self._deltas(weights, value, error)][::-1]
            for weights, value in parts
        ]
        return loss, gradients, strengths

    def linearised(self, pathways):
        """Inputs of the units, and the gradients as a function of their slopes.

        Returns
        -------
        inputs : list of tensors
            Inputs of the units of each pathway in turn, layer by layer.
        gradients : callable
            ``gradients(shares)`` gives the gradients of the loss, of the shapes of
            `pathways`, with `shares` in place of the indicators of positive `inputs`;
            None takes these.
        """
        inputs: list[torch.Tensor] = []
        values = [self.outputs(weights, inputs) for weights in pathways]
        error = 2 * self.share * self.errors(sum(value[-1] for value in values))
        leak = self.activation.leak

        def gradients(shares=None):
            slopes = None if shares is None else iter([leak + (1 - leak) * s for s in shares])
            return [
                [delta.mT @ H for delta, H in self._deltas(weights, value, error, slopes)][::-1]
                for weights, value in zip(pathways, values, strict=True)
            ]

        return inputs, gradients

    def _deltas(self, weights, values, error, slopes=None):
        """Yield (E_l, H_{l-1}) from the last layer to the first.

        `slopes` gives those of the units, layer by layer from the first one, where they are
        not what follows from the values.
        """
        units = values[1:] if self.activate_output else values[1:-1]
        if slopes is None:
            slopes = map(self.activation.slope, units)
        by_layer = [next(slopes) for _ in units]
        delta = error * by_layer.pop() if self.activate_output else error
        for layer in range(len(weights) - 1, -1, -1):
            yield delta, values[layer]
            if layer:
                delta = (delta @ weights[layer]).mul_(by_layer.pop())

    def stepper(self, pathways, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `pathways` in place."""
        twice_share = 2 * self.share

        def step(eta):
            values = [self.outputs(weights) for weights in pathways]
            error = self.errors(sum(value[-1] for value in values)).mul_(twice_share)
            for weights, value, decays in zip(pathways, values, weight_decay, strict=True):
                # The errors below a layer need its weights as they were.
                deltas = list(self._deltas(weights, value, error))
                for W, decay, (delta, H) in zip(weights, decays, reversed(deltas), strict=True):
                    W.addmm_(delta.mT, H, beta=1 - 2 * eta * decay, alpha=-eta)

        return step

    def cost(self, n_parameters):
        """Floating-point operations of a step."""
        return 6 * len(self.X) * n_parameters


def centred_data(X, Y, sample_weight, moments):
    """X (n, d) and Y (n, m) less the means of `moments`, and shares (n, 1) of sum one."""
    weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
    X = np.asarray(X, dtype=np.float64) - moments.mean_x
    Y = np.reshape(np.asarray(Y, dtype=np.float64), (len(X), -1)) - moments.mean_y
    return X, Y, shares_of(weight)[:, None]


def layer_values(weights, X, activation, activate_output, inputs=None):
    """Values [H_0, ..., H_L] of the layers of one pathway at the inputs X (n, d).

    What the activation is applied to is appended to `inputs`, if these are given.
    """
    values = [X]
    for layer, W in enumerate(weights, start=1):
        value = values[-1] @ W.mT
        if layer < len(weights) or activate_output:
            if inputs is not None:
                inputs.append(value.clone())
            activation.apply_(value)
        values.append(value)
    return values


def predict_active(pathways, X, activation, activate_output):
    """Sum of the outputs of pathways given as arrays, at the inputs X (n, d) in float64."""
    X, rule = torch.from_numpy(np.asarray(X, dtype=np.float64)), ACTIVATIONS[activation]
    tensors = [
        [torch.from_numpy(np.asarray(W, dtype=np.float64)) for W in weights] for weights in pathways
    ]
    outputs = [layer_values(W, X, rule, activate_output)[-1] for W in tensors]
    return torch.stack(outputs).sum(dim=0).numpy()
