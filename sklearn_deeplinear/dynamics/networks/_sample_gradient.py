"""Loss of classes of a deep linear network on samples, at its best intercept.

With P the slopes of the loss in the outputs X M^T + 1 b^T and b where they add up to zero,
G = P^T diag(shares) X / 2. An intercept that is always the best one is no parameter: as with
the squared loss, which centring rids of it, only the layers move, and the flow conserves their
balance. Where it is the best one, the gradient in M needs no term for its change.
"""

from __future__ import annotations

import math

import torch

from sklearn_deeplinear.dynamics.networks._best_intercept import best_intercept
from sklearn_deeplinear.dynamics.networks._curvature import module_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._map_gradient import MapGradient
from sklearn_deeplinear.dynamics.networks._stacks import chosen
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._losses import LOSSES
from sklearn_deeplinear.nn._norms import norms


class SampleGradient(MapGradient):
    """Mean loss of the outputs of a deep linear network on samples.

    Parameters
    ----------
    X : tensor of shape (..., n, d)
        Inputs, best centred. Leading dimensions are those of a batch of networks, or the last of
        them; samples of weight zero fill those of networks that have fewer.
    Y : tensor of shape (..., n, m)
        Targets.
    shares : tensor of shape (..., n)
        Weights of the samples, of sum one.
    loss : {"log_loss", "cross_entropy"}
        Loss of a sample.
    free_intercept : bool
        Whether there is an intercept; every class needs a positive share then.

    Attributes
    ----------
    intercept : tensor of shape (..., 1, m)
        The best one for the map that was last evaluated.
    """

    def __init__(self, X, Y, shares, loss, free_intercept):
        self.X, self.Y, self.shares = X, Y, shares.unsqueeze(-1)
        self.name, self.sample_loss = loss, LOSSES[loss]
        self.free_intercept = free_intercept
        self.transposed = X.shape[-1] < Y.shape[-1]
        self.intercept = Y.new_zeros((1, Y.shape[-1]))

    def part(self, index, batch):
        """That of the networks that an index chooses from a batch."""
        X, Y, shares = (chosen(part, batch, index, 2) for part in (self.X, self.Y, self.shares))
        return SampleGradient(X, Y, shares.squeeze(-1), self.name, self.free_intercept)

    def loss_of(self, product):
        """Mean loss of the product of a chain."""
        return self._loss(self._outputs(product))

    def map_gradient(self, product):
        """G for the product M of a chain, or G^T for M^T."""
        return self._map_gradient(self._outputs(product))

    def loss_and_map_gradient(self, product):
        """Both :meth:`loss_of` and :meth:`map_gradient`, from the same outputs."""
        outputs = self._outputs(product)
        return self._loss(outputs), self._map_gradient(outputs)

    def _loss(self, outputs):
        return (self.sample_loss.terms(outputs, self.Y) * self.shares).sum(dim=(-2, -1))

    def _map_gradient(self, outputs):
        slope = self.sample_loss.slope(outputs, self.Y, out=outputs).mul_(self.shares / 2)
        return self.X.mT @ slope if self.transposed else slope.mT @ self.X

    def map_gradient_into(self, product, out, batch=()):
        """See the base class."""
        shape = (*batch, *product.shape[-2:])

        def write():
            out.copy_(self.map_gradient(product.view(shape)).view(out.shape))

        return write

    def _outputs(self, product):
        outputs = self.X @ (product if self.transposed else product.mT)
        if not self.free_intercept:
            return outputs
        shape, data = (*outputs.shape[:-2], 1, outputs.shape[-1]), (self.Y, self.shares)
        same = self.intercept.numel() == math.prod(shape)  # networks as before: near their best
        start = self.intercept.reshape(shape) if same else outputs.new_zeros(shape)
        self.intercept = best_intercept(self.sample_loss, outputs, *data, start)
        return outputs.add_(self.intercept)

    def outputs_of(self, product, X):
        """Outputs at inputs X, with the best intercept on the samples of training."""
        kept = self.intercept  # from which the next search starts, so that it ends the same
        self._outputs(product)
        best, self.intercept = self.intercept, kept
        return super().outputs_of(product, X) + best

    def slope_size(self):
        """Mean norm of the inputs: slopes in the outputs are of the order of one."""
        return (self.shares.squeeze(-1) * norms(self.X)).sum(-1)

    def hessian_eigenvalues(self, weights, weight_decay, k, which):
        """Extreme eigenvalues of the Hessian of the objective of a single network."""
        network = HomogeneousNetwork(
            [W.shape for W in weights], device=self.X.device, dtype=self.X.dtype
        ).fill(weights)
        options = {"weight_decay": weight_decay, "k": k, "which": which}
        return module_hessian_eigenvalues(network, self._profile(network), **options)

    def _profile(self, network):
        """Loss of a network near this one, differentiable twice.

        One Newton step from the best intercept follows it to first order, which is all that
        second derivatives see of it.
        """
        loss, Y, shares = self.sample_loss, self.Y, self.shares
        with torch.no_grad():
            outputs = network(self.X)
            if self.free_intercept:
                best = best_intercept(loss, outputs, Y, shares, self.intercept)
                inverse = torch.linalg.pinv(loss.mean_hessian(outputs + best, shares))

        def value(network):
            outputs = network(self.X)
            if self.free_intercept:
                outputs = outputs + best
                slope = (_slope(loss, outputs, Y) * shares).sum(dim=-2, keepdim=True)
                outputs = outputs - slope @ inverse
            return (loss.terms(outputs, Y) * shares).sum()

        return value


def _slope(loss, outputs, Y):
    """Slopes as a part of a graph."""
    (slopes,) = torch.autograd.grad(loss.terms(outputs, Y).sum(), outputs, create_graph=True)
    return slopes
