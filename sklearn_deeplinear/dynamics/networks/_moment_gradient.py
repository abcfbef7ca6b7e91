"""Squared loss of a deep linear network from second moments: G = M A - S."""

from __future__ import annotations

from functools import partial

import torch

from sklearn_deeplinear.dynamics.networks._curvature import linear_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._map_gradient import MapGradient
from sklearn_deeplinear.dynamics.networks._stacks import chosen, from_left, from_right, stack
from sklearn_deeplinear.nn._norms import norms


class MomentGradient(MapGradient):
    """Squared loss of a deep linear network.

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

    def loss_of(self, product):
        """Mean squared error of the product of a chain."""
        coef = product.mT if self.transposed else product
        residual = from_left(self.input_factor, coef.mT) - self.output_factor
        return residual.square().sum(dim=(-2, -1))

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
        """See the base class."""
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

    def slope_size(self):
        """||S||_F."""
        cross = self.output_factor.mT @ self.input_factor
        return norms(cross, dim=(-2, -1))

    def hessian_eigenvalues(self, weights, weight_decay, k, which):
        """Extreme eigenvalues of the Hessian, from second moments."""
        A = self.input_factor.mT @ self.input_factor
        S = self.output_factor.mT @ self.input_factor
        return linear_hessian_eigenvalues(weights, A, S, weight_decay, k=k, which=which)
