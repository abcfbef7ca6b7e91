"""Gradient of parallel pathways with a non-linear activation, by hand, on all samples."""

from __future__ import annotations

from functools import cached_property
from operator import itemgetter

import torch

from sklearn_deeplinear.dynamics.networks._layer_passes import layer_errors, layer_values
from sklearn_deeplinear.dynamics.networks._linear_pathways import in_float64, singular_modes
from sklearn_deeplinear.dynamics.networks._stacks import (
    each,
    lower,
    sample_buffer,
    spread,
    stacked,
)
from sklearn_deeplinear.nn._activations import ACTIVATIONS


class ActivePathways:
    """Squared loss of parallel pathways of non-linear units.

    Parameters
    ----------
    X : tensor of shape (..., n, d)
        Inputs. Leading dimensions are those of a batch of networks, or the last of them; samples
        of weight zero fill those of networks that have fewer.
    Y : tensor of shape (..., n, m)
        Targets.
    share : tensor of shape (..., n, 1)
        Sample weights, of sum one.
    activation : Activation
        That of the hidden layers.
    activate_output : bool
        Whether it also acts on the last layer of each pathway.
    free_intercept : bool
        Whether the loss is taken at the best intercept, the weighted mean of Y - f(X).
    modes : (U, P), tensors of shapes (..., m, r) and (..., n, r)
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

        X (n, d) and Y (n, m), arrays or tensors, come centred as the `moments` are, with shares
        (n, 1) of sum one; the intercept is free if the moments are centred. Of a batch all four are
        (nested) lists of its shape or of the last of its dimensions, such as one for each fold.
        """
        modes, one = each(_modes, X, share, moments), moments
        while isinstance(one, list):
            one = one[0]
        U, P = (stacked(each(itemgetter(side), modes), like) for side in (0, 1))
        X, Y, share = (stacked(part, like) for part in (X, Y, share))
        options = ACTIVATIONS[activation], activate_output, one.centered
        return cls(X, Y, share, *options, (U, P))

    def of(self, function):
        """The same term with a function of its matrices in their place."""
        X, Y, share, *modes = map(function, (self.X, self.Y, self.share, *self.modes))
        options = self.activation, self.activate_output, self.free_intercept
        return ActivePathways(X, Y, share, *options, tuple(modes))

    @cached_property
    def in_float64(self):
        """The same term in float64."""
        return self.of(in_float64)

    def has_kinks(self, depths):
        """Whether pathways of these depths have units with a kink."""
        return self.activation.leak is not None and (self.activate_output or max(depths) > 1)

    def _passes(self, pathways, keep_inputs=False, X=None):
        """:func:`layer_values` of each pathway, at other inputs than those of training if given."""
        options = self.activation, self.activate_output, keep_inputs
        X = self.X if X is None else X
        return [layer_values(weights, X, *options) for weights in pathways]

    def errors(self, output):
        """Y - f(X) with the sign turned, less its mean if the intercept is free."""
        error = output - self.Y
        if self.free_intercept:
            error -= (self.share * error).sum(dim=-2, keepdim=True)
        return error

    def mean_residual(self, pathways):
        """Weighted mean of Y - f(X) if the intercept is free, else zero; shape (..., m)."""
        if not self.free_intercept:
            return pathways[0][-1].new_zeros(pathways[0][-1].shape[:-1])
        output = sum(values[-1] for values, _ in self._passes(pathways))
        return (self.share * (self.Y - output)).sum(dim=-2)

    def outputs(self, pathways, X):
        """Outputs of records at inputs X with the intercept of the training data, one by one."""
        records = [
            [[W[i] for W in weights] for weights in pathways] for i in range(len(pathways[0][0]))
        ]
        return torch.stack(
            [
                sum(values[-1] for values, _ in self._passes(record, X=X))
                + self.mean_residual(record).unsqueeze(-2)
                for record in records
            ]
        )

    def outputs_cost(self, n_parameters, n_rows):
        """Floating-point operations of the outputs of a record."""
        return 2 * (n_rows + self.X.shape[-2]) * n_parameters

    def loss(self, pathways):
        """Weighted mean of the squared errors."""
        error = self.errors(sum(values[-1] for values, _ in self._passes(pathways)))
        return (self.share * error.square()).sum(dim=(-2, -1))

    def gradients(self, pathways):
        """Gradients of the loss, of the shapes of `pathways`."""
        return self._measure(pathways)[1]

    def measure(self, pathways):
        """Loss, gradients and mode strengths of records, which are taken one by one."""
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
        loss = (self.share * error.square()).sum(dim=(-2, -1))
        U, P = self.modes
        strengths = torch.stack([((values[-1] @ U) * P).sum(-2) for values, _ in passes], -2)
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
            units = self.activation, self.activate_output
            deltas = layer_errors(weights, values, saved, error, *units, own)
            gradients.append([delta.mT @ H for delta, H in deltas][::-1])
        return gradients

    def stepper(self, pathways, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `pathways` in place."""
        batch, n = pathways[0][0].shape[:-2], self.X.shape[-2]
        twice_share, X = 2 * self.share, spread(self.X, batch)
        units = self.activation, self.activate_output
        # Memory for H_l and E_l: the system would hand out that of a batch anew at each use.
        values, errors = (
            [[sample_buffer(X, batch, n, W.shape[-2]) for W in weights] for weights in pathways]
            for _ in range(2)
        )

        def step(eta):
            passes = [
                layer_values(weights, X, *units, out=out)
                for weights, out in zip(pathways, values, strict=True)
            ]
            error = self.errors(sum(values[-1] for values, _ in passes)).mul_(twice_share)
            for weights, (known, saved), decays, out in zip(
                pathways, passes, weight_decay, errors, strict=True
            ):
                # The errors below a layer need its weights as they were.
                deltas = list(layer_errors(weights, known, saved, error, *units, out=out))
                for W, decay, (delta, H) in zip(weights, decays, reversed(deltas), strict=True):
                    lower(W, delta.mT, H, eta, decay)

        return step

    def cost(self, n_parameters):
        """Floating-point operations of a step."""
        return 6 * self.X.shape[-2] * n_parameters


def _modes(X, share, moments):
    """U, and P = diag(share) X A^+ V."""
    U, V = singular_modes(moments)
    spectrum = moments.spectrum
    # Twice 1 / sigma, whose square may be no number.
    whiten = spectrum.directions / spectrum.sigma
    to_modes = whiten.T @ V
    if torch.is_tensor(X):
        whiten, to_modes = X.new_tensor(whiten), X.new_tensor(to_modes)
    return U, share * ((X @ whiten) @ to_modes)


def predict_active(pathways, X, activation, activate_output):
    """Sum of the outputs of pathways at the inputs X (n, d), tensors of one device and dtype."""
    outputs = []
    for weights in pathways:
        values, _ = layer_values(weights, X, ACTIVATIONS[activation], activate_output)
        outputs.append(values[-1])
    return torch.stack(outputs).sum(dim=0)
