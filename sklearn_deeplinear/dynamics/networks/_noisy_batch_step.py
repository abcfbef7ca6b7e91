"""One descent step of a batch of networks with noisy hidden units, in buffers.

The recursion is that of `_noisy_gradient`; the noise of layer l multiplies the diagonal of a
moment by 1 + s_l, in place.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._stacks import stack, stacked_numbers


class NoisyBatchStep:
    """A function of the step size that moves a batch of networks.

    Parameters
    ----------
    weights : list of tensors of shape (..., h_l, h_{l-1})
        W_1, ..., W_L, views of a state, moved in place.
    input_moment : tensor of shape (..., d, d)
        A, of the batch or the last of its dimensions.
    cross_moment : tensor of shape (..., m, d)
        S.
    noise, weight_decay : lists of floats, or of tensors of the shape of the batch
        s_1, ..., s_{L-1} and gamma_1, ..., gamma_L.
    """

    def __init__(self, weights, input_moment, cross_moment, noise, weight_decay):
        self.batch = batch = weights[0].shape[:-2]
        self.A, self.S = stack(input_moment, batch), stack(cross_moment, batch)
        self.weights = [stack(W, batch) for W in weights]
        self.growth = [1 + stacked_numbers(s, batch, self.S).squeeze(-1) for s in noise]
        self.decays = torch.stack([stacked_numbers(g, batch, self.S) for g in weight_decay])
        self.shrink = torch.empty_like(self.decays)  # 1 - 2 eta gamma_l
        new, networks, d = self.S.new_empty, batch.numel(), self.A.shape[-1]
        shapes = [W.shape for W in self.weights]
        self.noisy = [new(shape) for shape in shapes]  # W_l C^_{l-1}
        self.pulled = [new(shape) for shape in shapes]  # K_l W_l
        self.changes = [new(shape) for shape in shapes]  # the gradients
        widths = [shape[1] for shape in shapes[:-1]]
        self.moments = [new((networks, h, h)) for h in widths]  # C^_l
        self.forms = [new((networks, h, h)) for h in widths]  # K_l
        self.features = [new((networks, h, d)) for h in widths]  # F_l
        self.backs = [new((networks, h, d)) for h in widths]  # B_l^T S

    def __call__(self, eta):
        """Make one step; eta is a float or a tensor of the shape of the batch."""
        rate = -2 * (stacked_numbers(eta, self.batch, self.S) if torch.is_tensor(eta) else eta)
        torch.mul(self.decays, rate, out=self.shrink).add_(1)
        self._propagate()
        form, back = None, self.S  # K_L = I, B_L^T S
        for layer in range(len(self.weights) - 1, -1, -1):
            W = self.weights[layer]
            change = self._half_gradient(layer, form, back).mul_(rate)
            if layer:
                form, back = self._pull_back(layer, form, back)
            torch.addcmul(change, W, self.shrink[layer], out=W)

    def _propagate(self):
        """Moments and mean features of all layers, from the first to the last."""
        moment, feature = self.A, None
        for layer, W in enumerate(self.weights):
            torch.bmm(W, moment, out=self.noisy[layer])
            if layer < len(self.moments):
                moment = torch.bmm(self.noisy[layer], W.mT, out=self.moments[layer])
                _grow(moment, self.growth[layer])
                feature = W if layer == 0 else torch.bmm(W, feature, out=self.features[layer])

    def _feature(self, layer):
        return self.weights[0] if layer == 0 else self.features[layer]

    def _half_gradient(self, layer, form, back):
        """K_l W_l C^_{l-1} - B_l^T S F_{l-1}^T, in a buffer."""
        change = self.noisy[layer]
        if form is not None:
            change = torch.bmm(form, change, out=self.changes[layer])
        if layer == 0:
            return change.sub_(back)
        return change.baddbmm_(back, self._feature(layer - 1).mT, alpha=-1)

    def _pull_back(self, layer, form, back):
        """K_{l-1} and B_{l-1}^T S."""
        W = self.weights[layer]
        KW = W if form is None else torch.bmm(form, W, out=self.pulled[layer])
        form = torch.bmm(W.mT, KW, out=self.forms[layer - 1])
        _grow(form, self.growth[layer - 1])
        return form, torch.bmm(W.mT, back, out=self.backs[layer - 1])


def _grow(moments, factor):
    """Multiply the diagonals by 1 + s_l."""
    moments.diagonal(dim1=-2, dim2=-1).mul_(factor)
