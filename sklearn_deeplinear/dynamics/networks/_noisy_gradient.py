"""Gradient of the expected loss of a deep linear network with noisy hidden units.

The units of hidden layer l are multiplied by independent noise of mean 1 and variance
s_l. Second moments propagate exactly (no sampling): with C_l^ the moments after the noise,

    C_l = W_l C^_{l-1} W_l^T,   C^_l = C_l + s_l diag(C_l),   C^_0 = A,
    E[loss] = tr(C_L) - 2 tr(M S^T) + c.

The same recursion run backwards, K_L = I and K_{l-1} = T + s_{l-1} diag(T) with
T = W_l^T K_l W_l, gives dE[loss]/dW_l = 2 K_l W_l C^_{l-1} - 2 B_l^T S F_{l-1}^T, where
B_l = W_L ... W_{l+1} and F_l = W_l ... W_1.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._curvature import linear_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._noisy_batch_step import NoisyBatchStep
from sklearn_deeplinear.dynamics.networks._stacks import (
    chosen,
    column,
    from_left,
    from_right,
)
from sklearn_deeplinear.nn._norms import norms


class NoisyMomentGradient:
    """Expected squared loss under multiplicative noise, its gradient and descent step.

    Parameters
    ----------
    input_factor : tensor of shape (..., k, d)
        R_x with A = R_x^T R_x; leading dimensions as those of :class:`MomentGradient`.
    output_factor : tensor of shape (..., k, m)
        R_y with S = R_y^T R_x and c = ||R_y||_F^2.
    noise : sequence of L - 1 floats, or of tensors of the shape of the batch
        Variances s_1, ..., s_{L-1}.
    """

    def __init__(self, input_factor, output_factor, noise):
        self.input_factor = input_factor
        self.output_factor = output_factor
        self.noise = [s if torch.is_tensor(s) else float(s) for s in noise]
        self.input_moment = input_factor.mT @ input_factor  # A
        self.cross_moment = output_factor.mT @ input_factor  # S

    def part(self, index, batch):
        """That of the networks that an index chooses from a batch."""
        R_x, R_y = (chosen(R, batch, index, 2) for R in (self.input_factor, self.output_factor))
        return NoisyMomentGradient(R_x, R_y, [chosen(s, batch, index) for s in self.noise])

    def loss(self, weights):
        """Expected loss; weights may carry leading batch dimensions.

        Hidden layer l adds s_l sum_i (F_l A F_l^T)_ii (T_{l+1})_ii to the loss of the
        mean network, so the sum is free of cancellation.
        """
        features, variances = self.input_factor, []  # R_x F_l^T, diag(F_l A F_l^T)
        for W in weights:
            features = from_left(features, W.mT)
            variances.append(features.square().sum(-2))
        loss = (features - self.output_factor).square().sum(dim=(-2, -1))
        form = None  # K_l
        for layer in range(len(weights) - 1, 0, -1):
            T = _pulled_back(form, weights[layer])
            loss = loss + self.noise[layer - 1] * (variances[layer - 1] * _diagonal(T)).sum(-1)
            form = T + column(self.noise[layer - 1]) * torch.diag_embed(_diagonal(T))
        return loss

    def outputs(self, weights, X):
        """Outputs of the mean network at inputs X (..., n, d)."""
        for W in weights:
            X = from_left(X, W.mT)
        return X

    def gradients(self, weights):
        """Gradients of the expected loss; weights may carry batch dimensions."""
        depth = len(weights)
        moment, noisy, forward = self.input_moment, [], []
        for layer, W in enumerate(weights):
            product = from_right(W, moment)  # W_l C^_{l-1}
            noisy.append(product)
            if layer < depth - 1:
                C = product @ W.mT
                moment = C + column(self.noise[layer]) * torch.diag_embed(_diagonal(C))
                forward.append(W if layer == 0 else W @ forward[-1])  # F_l
        gradients, form, back = [], None, self.cross_moment  # K_L = I, B_L^T S
        for layer in range(depth - 1, -1, -1):
            W = weights[layer]
            product = noisy[layer] if form is None else form @ noisy[layer]
            cross = back @ forward[layer - 1].mT if layer else back
            gradients.append(2 * (product - cross))
            if layer:
                T = _pulled_back(form, W)
                form = T + column(self.noise[layer - 1]) * torch.diag_embed(_diagonal(T))
                back = W.mT @ back
        return gradients[::-1]

    def loss_and_gradients(self, weights):
        """Both :meth:`loss` and :meth:`gradients`."""
        return self.loss(weights), self.gradients(weights)

    def slope_size(self):
        """||S||_F."""
        return norms(self.cross_moment, dim=(-2, -1))

    def hessian_eigenvalues(self, weights, weight_decay, k, which):
        """Extreme eigenvalues of the Hessian of the expected objective of a single network."""
        moments = self.input_moment, self.cross_moment
        options = {"k": k, "which": which}
        return linear_hessian_eigenvalues(weights, *moments, weight_decay, self.noise, **options)

    def stepper(self, weights, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `weights` in place.

        Weights and decays as :meth:`MomentGradient.stepper` takes them.
        """
        if weights[0].ndim > 2:
            A, S = self.input_moment, self.cross_moment
            return NoisyBatchStep(weights, A, S, self.noise, weight_decay)

        def step(eta):
            for W, gradient, decay in zip(
                weights, self.gradients(weights), weight_decay, strict=True
            ):
                W.mul_(1 - 2 * eta * decay).sub_(gradient, alpha=eta)

        return step


def _pulled_back(form, W):
    """T = W^T K W, with None for K = I."""
    return W.mT @ (W if form is None else form @ W)


def _diagonal(matrix):
    return matrix.diagonal(dim1=-2, dim2=-1)
