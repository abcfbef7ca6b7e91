"""Squared loss of parallel linear pathways from second moments, for `PathwayDynamics`."""

from __future__ import annotations

from functools import cached_property
from operator import itemgetter

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._chain_step import (
    ChainStepper,
    chain_gradients,
    products,
)
from sklearn_deeplinear.dynamics.networks._moment_gradient import MomentGradient
from sklearn_deeplinear.dynamics.networks._stacks import (
    each,
    from_right,
    stack,
    stacked,
    stacked_factors,
)
from sklearn_deeplinear.theory._decompositions import svd


class LinearPathways:
    """Squared loss of parallel linear pathways: their maps M_p add, and share one G.

    Parameters
    ----------
    input_factor : tensor of shape (..., k, d)
        R_x with A = R_x^T R_x; leading dimensions as those of :class:`MomentGradient`.
    output_factor : tensor of shape (..., k, m)
        R_y with S = R_y^T R_x and c = ||R_y||_F^2.
    modes : (U, V), tensors of shapes (..., m, r) and (..., d, r)
        Singular vectors of S, in which strengths are measured.
    """

    linear = True

    def __init__(self, input_factor, output_factor, modes):
        self.single = MomentGradient(input_factor, output_factor)  # that of one network
        self.modes = modes

    @classmethod
    def from_moments(cls, moments, like):
        """Build the term on the device and in the precision of the tensor `like`.

        `moments` may be those of a batch, as :meth:`LinearDynamics.from_moments` takes them.
        """
        modes = each(singular_modes, moments)
        U, V = (stacked(each(itemgetter(side), modes), like) for side in (0, 1))
        R_x, R_y = stacked_factors(moments, like)
        return cls(R_x, R_y, (U, V))

    def of(self, function):
        """The same term with a function of its matrices in their place."""
        factors = self.single.input_factor, self.single.output_factor
        R_x, R_y, U, V = map(function, (*factors, *self.modes))
        return LinearPathways(R_x, R_y, (U, V))

    @cached_property
    def in_float64(self):
        """The same term in float64, in which Lanczos iterations converge."""
        return self.of(in_float64)

    def has_kinks(self, depths):
        """Whether pathways of these depths have units with a kink."""
        return False

    def mean_residual(self, pathways):
        """Weighted mean of y - f(x): zero, for the moments are centred if it is to be fitted."""
        like = pathways[0][-1]
        return like.new_zeros(like.shape[:-1])

    def loss(self, pathways):
        """Mean squared error; weights may carry batch dimensions."""
        maps = [products(self.single.chain(weights))[-1] for weights in pathways]
        return self.single.loss_of(sum(maps))

    def outputs(self, pathways, X):
        """Outputs of weights (n_records, ...) at inputs X, of shape (n_records, ..., n, m)."""
        maps = [products(self.single.chain(weights))[-1] for weights in pathways]
        return self.single.outputs_of(sum(maps), X)

    def outputs_cost(self, n_parameters, n_rows):
        """Floating-point operations of the outputs of a record."""
        U, V = self.modes
        m, d = U.shape[-2], V.shape[-2]
        return 2 * (min(m, d) * n_parameters + n_rows * m * d)

    def gradients(self, pathways):
        """Gradients of the loss, of the shapes of `pathways`."""
        return self.measure(pathways)[1]

    def measure(self, pathways):
        """Loss, gradients and mode strengths; weights may carry batch dimensions.

        Returns
        -------
        loss : tensor of shape (...)
        gradients : list of lists of tensors, of the shapes of `pathways`
        others : dict with "mode_strengths", a tensor of shape (..., n_pathways, r)
            diag(U^T M_p V).
        """
        single = self.single
        chains = [single.chain(weights) for weights in pathways]
        partial = [products(chain) for chain in chains]
        maps = [part[-1] for part in partial]
        total = sum(maps)
        slope = single.map_gradient(total)
        gradients = [
            single.unchained(chain_gradients(chain, part, slope))
            for chain, part in zip(chains, partial, strict=True)
        ]
        left, right = self.modes[::-1] if single.transposed else self.modes
        strengths = [(from_right(M, right) * left).sum(-2) for M in maps]
        return single.loss_of(total), gradients, {"mode_strengths": torch.stack(strengths, dim=-2)}

    def stepper(self, pathways, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `pathways` in place."""
        single = self.single
        if len(pathways) == 1:
            return single.stepper(pathways[0], weight_decay[0])
        batch = pathways[0][0].shape[:-2]
        total = stack(products(single.chain(pathways[0]))[-1], batch).clone()
        slope = torch.empty_like(total)
        chains = [
            ChainStepper(single.chain(weights), single.chain_order(decays), slope)
            for weights, decays in zip(pathways, weight_decay, strict=True)
        ]
        first, *others = [chain.product for chain in chains]
        map_gradient = single.map_gradient_into(total, slope, batch)
        forward = [chain.forward for chain in chains]
        # The pathway that was read last is still in the cache.
        backward = [chain.backward for chain in reversed(chains)]

        def step(eta):
            for run in forward:
                run()
            total.copy_(first)
            for product in others:
                total.add_(product)
            map_gradient()
            for run in backward:
                run(eta)

        return step

    def cost(self, n_parameters):
        """Floating-point operations of a step."""
        return 6 * min(part.shape[-2] for part in self.modes) * n_parameters


def singular_modes(moments):
    """Singular vectors U (m, r) and V (d, r) of S, modes of rounding error left out."""
    S = moments.cross_moment
    U, s, Vt = svd(S, full_matrices=False)
    size = np.linalg.norm(moments.input_factor, 2) * np.linalg.norm(moments.output_factor, 2)
    rank = int(np.sum(s > max(S.shape) * np.finfo(float).eps * size))
    return U[:, :rank], Vt[:rank].T


def in_float64(tensor):
    """The tensor in float64, on the CPU where its device has none."""
    return tensor.to("cpu" if tensor.device.type == "mps" else tensor.device).double()
