"""Gradient of parallel pathways with a non-linear activation, by hand, on all samples.

With H_0 = X and H_l = f(H_{l-1} W_l^T) the errors are carried back by
E_{l-1} = (E_l W_l) * f'(H_{l-1}), and the gradient of layer l is E_l^T H_{l-1}.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._pathways import in_float64, singular_modes
from sklearn_deeplinear.nn._activations import ACTIVATIONS


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
    activation : Activation
        That of the hidden layers.
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
        self.activation = activation
        self.activate_output = activate_output
        self.free_intercept = free_intercept

    @classmethod
    def from_data(cls, X, Y, share, moments, activation, activate_output, like):
        """Build the term on the device and in the precision of the tensor `like`.

        X (n, d) and Y (n, m) come centred as the `moments` are, with shares (n, 1) of sum
        one; the intercept is free if the moments are centred.
        """
        U, V = singular_modes(moments)
        spectrum = moments.spectrum
        inverse = spectrum.directions / spectrum.sigma**2
        P = share * (X @ (inverse @ (spectrum.directions.T @ V)))
        X, Y, share, U, P = (
            torch.as_tensor(part, dtype=like.dtype, device=like.device)
            for part in (X, Y, share, U, P)
        )
        options = ACTIVATIONS[activation], activate_output, moments.centered
        return cls(X, Y, share, *options, (U, P))

    @cached_property
    def in_float64(self):
        """The same term in float64."""
        X, Y, share, *modes = map(in_float64, (self.X, self.Y, self.share, *self.modes))
        options = self.activation, self.activate_output, self.free_intercept
        return ActivePathways(X, Y, share, *options, tuple(modes))

    def has_kinks(self, depths):
        """Whether pathways of these depths have units with a kink."""
        return self.activation.leak is not None and (self.activate_output or max(depths) > 1)

    def _passes(self, pathways, keep_inputs=False):
        """:func:`layer_values` of each pathway."""
        options = self.activation, self.activate_output, keep_inputs
        return [layer_values(weights, self.X, *options) for weights in pathways]

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
        output = sum(values[-1] for values, _ in self._passes(pathways))
        return (self.share * (self.Y - output)).sum(dim=0)

    def loss(self, pathways):
        """Weighted mean of the squared errors."""
        error = self.errors(sum(values[-1] for values, _ in self._passes(pathways)))
        return (self.share * error.square()).sum()

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
        passes = self._passes(pathways)
        error = self.errors(sum(values[-1] for values, _ in passes))
        loss = (self.share * error.square()).sum()
        U, P = self.modes
        strengths = torch.stack([((values[-1] @ U) * P).sum(0) for values, _ in passes])
        return loss, self._gradients(pathways, passes, 2 * self.share * error), strengths

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
        passes = self._passes(pathways, keep_inputs=True)
        error = 2 * self.share * self.errors(sum(values[-1] for values, _ in passes))

        def gradients(shares=None):
            return self._gradients(pathways, passes, error, shares)

        return [Z for _, inputs in passes for Z in inputs], gradients

    def _gradients(self, pathways, passes, error, shares=None):
        shares = None if shares is None else iter(shares)
        gradients = []
        for weights, (values, saved) in zip(pathways, passes, strict=True):
            own = None if shares is None else [next(shares) for _ in saved]
            deltas = self._deltas(weights, values, saved, error, own)
            gradients.append([delta.mT @ H for delta, H in deltas][::-1])
        return gradients

    def _deltas(self, weights, values, saved, error, shares=None):
        """Yield (E_l, H_{l-1}) from the last layer to the first.

        `shares` of positive inputs stand in for what was `saved` of the units, layer by
        layer, if they are given.
        """
        units = list(saved if shares is None else shares)
        damp_ = self.activation.damp_ if shares is None else self.activation.damp_by_share_
        delta = damp_(error.clone(), units.pop()) if self.activate_output else error
        for layer in range(len(weights) - 1, -1, -1):
            yield delta, values[layer]
            if layer:
                delta = damp_(delta @ weights[layer], units.pop())

    def stepper(self, pathways, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `pathways` in place."""
        twice_share = 2 * self.share

        def step(eta):
            passes = self._passes(pathways)
            error = self.errors(sum(values[-1] for values, _ in passes)).mul_(twice_share)
            for weights, (values, saved), decays in zip(
                pathways, passes, weight_decay, strict=True
            ):
                # The errors below a layer need its weights as they were.
                deltas = list(self._deltas(weights, values, saved, error))
                for W, decay, (delta, H) in zip(weights, decays, reversed(deltas), strict=True):
                    W.addmm_(delta.mT, H, beta=1 - 2 * eta * decay, alpha=-eta)

        return step

    def cost(self, n_parameters):
        """Floating-point operations of a step."""
        return 6 * len(self.X) * n_parameters


def layer_values(weights, X, activation, activate_output, keep_inputs=False):
    """Values of the layers of one pathway at the inputs X (n, d).

    Returns
    -------
    values : list of L + 1 tensors
        H_0, ..., H_L.
    saved : list of tensors
        What the derivative of the activation takes, for each layer that has one: its
        values, or its inputs if it needs these or they are asked for.
    """
    values, saved = [X], []
    keep_inputs = keep_inputs or activation.saves_input
    for layer, W in enumerate(weights, start=1):
        value = values[-1] @ W.mT
        if layer < len(weights) or activate_output:
            saved.append(value.clone() if keep_inputs else value)
            value = activation.apply_(value)
        values.append(value)
    return values, saved


def predict_active(pathways, X, activation, activate_output):
    """Sum of the outputs of pathways given as arrays, at the inputs X (n, d) in float64."""
    X = torch.from_numpy(np.asarray(X, dtype=np.float64))
    outputs = []
    for weights in pathways:
        tensors = [torch.from_numpy(np.asarray(W, dtype=np.float64)) for W in weights]
        values, _ = layer_values(tensors, X, ACTIVATIONS[activation], activate_output)
        outputs.append(values[-1])
    return torch.stack(outputs).sum(dim=0).numpy()
