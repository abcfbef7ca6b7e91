"""Hand-written gradient of a deep linear network's squared loss, from second moments.

With M = W_L ... W_1 and G = M A - S, the gradient of the loss is

    dloss/dW_l = 2 B_l^T R_l,   B_l = W_L ... W_{l+1},   R_1 = G,   R_{l+1} = R_l W_l^T.

All intermediates have m rows, so a step costs O(m sum_l h_l h_{l-1}) whatever the number
of samples. Transposing the network exchanges inputs and outputs: with fewer inputs than
outputs the same recursion runs on W_1^T, ..., W_L^T with d rows.
"""

from __future__ import annotations

from functools import partial

import torch

from sklearn_deeplinear.dynamics.networks._chain_step import (
    ChainStepper,
    chain_gradients,
    products,
)
from sklearn_deeplinear.dynamics.networks._stacks import chosen, from_left, from_right, stack


class MomentGradient:
    """Squared loss of a deep linear network, its gradient and its descent step.

    Parameters
    ----------
    input_factor : tensor of shape (..., k, d)
        R_x with A = R_x^T R_x. Leading dimensions are those of a batch of networks, or the
        last of them: (n_folds, k, d) suits weights of (n_configurations, n_folds, h, d).
    output_factor : tensor of shape (..., k, m)
        R_y with S = R_y^T R_x and c = ||R_y||_F^2.
    """

    def __init__(self, input_factor, output_factor):
        self.input_factor = input_factor
        self.output_factor = output_factor
        d, m = input_factor.shape[-1], output_factor.shape[-1]
        self.transposed = d < m
        # M A costs m d^2, (M R_x^T) R_x costs 2 m d k: fewer rows than half the columns
        # make the factor cheaper, and A need not be formed at all.
        rows = input_factor.shape[-2]
        self.uses_factor = 2 * rows < d
        if not self.uses_factor:
            self.input_moment = input_factor.mT @ input_factor  # A
            self.cross_moment = output_factor.mT @ input_factor  # S

    def part(self, index, batch):
        """That of the networks that an index chooses from a batch."""
        R_x, R_y = (chosen(R, batch, index, 2) for R in (self.input_factor, self.output_factor))
        return MomentGradient(R_x, R_y)

    def chain(self, weights):
        """Layers in the order of the recursion: W_L, ..., W_1 or W_1^T, ..., W_L^T."""
        return [W.mT for W in weights] if self.transposed else list(reversed(weights))

    def loss(self, weights):
        """Mean squared error; weights may carry leading batch dimensions."""
        return self.loss_of(products(self.chain(weights))[-1])

    def loss_of(self, product):
        """Mean squared error of the product of a chain."""
        coef = product.mT if self.transposed else product
        residual = from_left(self.input_factor, coef.mT) - self.output_factor
        return residual.square().sum(dim=(-2, -1))

    def gradients(self, weights):
        """Gradients dloss/dW_1, ..., dloss/dW_L; weights may carry batch dimensions."""
        chain = self.chain(weights)
        partial = products(chain)
        return self.unchained(chain_gradients(chain, partial, self.map_gradient(partial[-1])))

    def unchained(self, parts):
        """Undo :meth:`chain`."""
        return [part.mT for part in parts] if self.transposed else list(reversed(parts))

    def map_gradient(self, product):
        """G = M A - S for the product M of a chain, or G^T for M^T."""
        if self.uses_factor:
            rows, cols = self.input_factor, self.output_factor
            if self.transposed:
                return from_left(rows.mT, from_left(rows, product) - cols)
            return from_right(from_right(product, rows.mT) - cols.mT, rows)
        if self.transposed:
            return from_left(self.input_moment, product) - self.cross_moment.mT
        return from_right(product, self.input_moment) - self.cross_moment

    def map_gradient_into(self, product, out, batch=()):
        """Return a function that writes the :meth:`map_gradient` of `product` into `out`.

        Of a `batch` of networks these are stacks, as :class:`ChainStepper` has them.
        """
        mm, addmm = (torch.bmm, torch.baddbmm) if batch else (torch.mm, torch.addmm)
        stacked = partial(stack, batch=batch)
        if self.uses_factor:
            rows, cols = stacked(self.input_factor), stacked(self.output_factor)
            if self.transposed:
                return lambda: mm(rows.mT, addmm(cols, rows, product, beta=-1), out=out)
            return lambda: mm(addmm(cols.mT, product, rows.mT, beta=-1), rows, out=out)
        if self.transposed:
            A, minus_S = stacked(self.input_moment), -stacked(self.cross_moment).mT
            return lambda: addmm(minus_S, A, product, out=out)
        A, minus_S = stacked(self.input_moment), -stacked(self.cross_moment)
        return lambda: addmm(minus_S, product, A, out=out)

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
