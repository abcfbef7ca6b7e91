"""Gradient of a loss of the end-to-end map in the layers of a deep linear network.

With M = W_L ... W_1 and 2 G the gradient of the loss in M,

    dloss/dW_l = 2 B_l^T R_l,   B_l = W_L ... W_{l+1},   R_1 = G,   R_{l+1} = R_l W_l^T.

All intermediates have m rows, so that a step costs O(m sum_l h_l h_{l-1}) besides G.
Transposing the network exchanges inputs and outputs: with fewer inputs than outputs the same
recursion runs on W_1^T, ..., W_L^T with d rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sklearn_deeplinear.dynamics.networks._chain_step import (
    ChainStepper,
    chain_gradients,
    products,
)
from sklearn_deeplinear.dynamics.networks._stacks import from_left


class MapGradient(ABC):
    """A loss of the end-to-end map, its gradient in the layers and its descent step.

    Attributes
    ----------
    transposed : bool
        Whether the chain runs from the inputs to the outputs, so that its product is M^T.
    """

    transposed: bool

    @abstractmethod
    def part(self, index, batch):
        """That of the networks that an index chooses from a batch."""

    @abstractmethod
    def loss_of(self, product):
        """Loss of the product of a chain."""

    @abstractmethod
    def map_gradient(self, product):
        """G for the product M of a chain, or G^T for M^T."""

    @abstractmethod
    def map_gradient_into(self, product, out, batch=()):
        """Return a function that writes the :meth:`map_gradient` of `product` into `out`.

        Of a `batch` of networks these are stacks, as :class:`ChainStepper` has them.
        """

    @abstractmethod
    def slope_size(self):
        """Frobenius norm, of each network, that the terms which make up G can have near M = 0."""

    @abstractmethod
    def hessian_eigenvalues(self, weights, weight_decay, k, which):
        """Extreme eigenvalues of the Hessian of the objective of a single network."""

    def chain(self, weights):
        """Layers in the order of the recursion: W_L, ..., W_1 or W_1^T, ..., W_L^T."""
        return [W.mT for W in weights] if self.transposed else list(reversed(weights))

    def loss(self, weights):
        """Loss of weights, which may carry leading batch dimensions."""
        return self.loss_of(products(self.chain(weights))[-1])

    def outputs_of(self, product, X):
        """Outputs (..., n, m) of the product of a chain at inputs X (..., n, d)."""
        return from_left(X, product if self.transposed else product.mT)

    def outputs(self, weights, X):
        """Outputs of weights (n_records, ...) at inputs X, of shape (n_records, ..., n, m)."""
        return self.outputs_of(products(self.chain(weights))[-1], X)

    def gradients(self, weights):
        """Gradients dloss/dW_1, ..., dloss/dW_L; weights may carry batch dimensions."""
        chain = self.chain(weights)
        partial = products(chain)
        return self.unchained(chain_gradients(chain, partial, self.map_gradient(partial[-1])))

    def loss_and_gradients(self, weights):
        """Both :meth:`loss` and :meth:`gradients`."""
        chain = self.chain(weights)
        partial = products(chain)
        loss, slope = self.loss_and_map_gradient(partial[-1])
        return loss, self.unchained(chain_gradients(chain, partial, slope))

    def loss_and_map_gradient(self, product):
        """Both :meth:`loss_of` and :meth:`map_gradient`."""
        return self.loss_of(product), self.map_gradient(product)

    def unchained(self, parts):
        """Undo :meth:`chain`."""
        return [part.mT for part in parts] if self.transposed else list(reversed(parts))

    def stepper(self, weights, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `weights` in place.

        Parameters
        ----------
        weights : list of tensors of shape (..., h_l, h_{l-1})
            Views of a state: stacks of layers are views of them.
        weight_decay : list of floats or tensors of shape (...)
            gamma_l.
        """
        chain = ChainStepper(self.chain(weights), self.chain_order(weight_decay))
        forward, backward = chain.forward, chain.backward
        batch = weights[0].shape[:-2]
        map_gradient = self.map_gradient_into(chain.product, chain.slope, batch)

        def step(eta):
            forward()
            map_gradient()
            backward(eta)

        return step

    def chain_order(self, values):
        """Values of layers 1, ..., L in the order of the chain."""
        return list(values) if self.transposed else list(reversed(values))
