"""Hand-written gradient of a deep linear network's squared loss, from second moments.

With M = W_L ... W_1 and G = M A - S, the gradient of the loss is

    dloss/dW_l = 2 B_l^T R_l,   B_l = W_L ... W_{l+1},   R_1 = G,   R_{l+1} = R_l W_l^T.

All intermediates have m rows, so a step costs O(m sum_l h_l h_{l-1}) whatever the number
of samples. Transposing the network exchanges inputs and outputs: with fewer inputs than
outputs the same recursion runs on W_1^T, ..., W_L^T with d rows.
"""

from __future__ import annotations

import torch


class MomentGradient:
    """Squared loss of a deep linear network, its gradient and its descent step.

    Parameters
    ----------
    input_factor : tensor of shape (k, d)
        R_x with A = R_x^T R_x.
    output_factor : tensor of shape (k, m)
        R_y with S = R_y^T R_x and c = ||R_y||_F^2.
    """

    def __init__(self, input_factor, output_factor):
        self.input_factor = input_factor
        self.output_factor = output_factor
        d, m = input_factor.shape[1], output_factor.shape[1]
        self.transposed = d < m
        # M A costs m d^2, (M R_x^T) R_x costs 2 m d k: fewer rows than half the columns
        # make the factor cheaper, and A need not be formed at all.
        rows = input_factor.shape[0]
        self.uses_factor = 2 * rows < d
        if not self.uses_factor:
            self.input_moment = input_factor.mT @ input_factor  # A
            self.cross_moment = output_factor.mT @ input_factor  # S

    def chain(self, weights):
        """Layers in the order of the recursion: W_L, ..., W_1 or W_1^T, ..., W_L^T."""
        return [W.mT for W in weights] if self.transposed else list(reversed(weights))

    def loss(self, weights):
        """Mean squared error; weights may carry leading batch dimensions."""
        coef = _products(self.chain(weights))[-1]
        coef = coef.mT if self.transposed else coef
        residual = self.input_factor @ coef.mT - self.output_factor
        return residual.square().sum(dim=(-2, -1))

    def gradients(self, weights):
        """Gradients dloss/dW_1, ..., dloss/dW_L; weights may carry batch dimensions."""
        chain = self.chain(weights)
        products = _products(chain)
        back = self._map_gradient(products[-1])  # R_l
        gradients = []
        for layer in range(len(chain) - 1, 0, -1):
            gradients.append(2 * products[layer - 1].mT @ back)
            back = back @ chain[layer].mT
        gradients.append(2 * back)
        return [g.mT for g in reversed(gradients)] if self.transposed else gradients

    def _map_gradient(self, coef):
        if self.uses_factor:
            rows, cols = self.input_factor, self.output_factor
            if self.transposed:
                return rows.mT @ (rows @ coef - cols)
            return (coef @ rows.mT - cols.mT) @ rows
        if self.transposed:
            return self.input_moment @ coef - self.cross_moment.mT
        return coef @ self.input_moment - self.cross_moment

    def stepper(self, weights, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `weights` in place.

        Buffers are allocated once, every operation writes into them, and the decay is
        the factor 1 - 2 eta gamma_l of the same fused update.
        """
        chain = self.chain(weights)
        decay = weight_decay[::-1] if not self.transposed else weight_decay
        products = [chain[0], *(torch.empty_like(p) for p in _products(chain)[1:])]  # B_l
        backs = [torch.empty_like(p) for p in products]  # R_l
        map_gradient = self._map_gradient_into(products[-1], backs[-1])
        forward = [(products[j - 1], chain[j], products[j]) for j in range(1, len(chain))]
        backward = [
            (chain[j], chain[j].mT, backs[j], backs[j - 1], products[j - 1].mT, 2 * decay[j])
            for j in range(len(chain) - 1, 0, -1)
        ]
        first, first_back, first_decay = chain[0], backs[0], 2 * decay[0]
        mm = torch.mm

        def step(eta):
            for left, layer, product in forward:
                mm(left, layer, out=product)
            map_gradient()
            for layer, layer_t, back, next_back, product_t, rate in backward:
                mm(back, layer_t, out=next_back)
                layer.addmm_(product_t, back, beta=1 - eta * rate, alpha=-2 * eta)
            if first_decay:
                first.mul_(1 - eta * first_decay)
            first.add_(first_back, alpha=-2 * eta)

        return step

    def _map_gradient_into(self, coef, out):
        """Return a function that writes G (or G^T) for the map in `coef` into `out`."""
        mm, addmm = torch.mm, torch.addmm
        if self.uses_factor:
            rows, cols = self.input_factor, self.output_factor
            if self.transposed:
                return lambda: mm(rows.mT, addmm(cols, rows, coef, beta=-1), out=out)
            return lambda: mm(addmm(cols.mT, coef, rows.mT, beta=-1), rows, out=out)
        if self.transposed:
            A, minus_S = self.input_moment, -self.cross_moment.mT
            return lambda: addmm(minus_S, A, coef, out=out)
        A, minus_S = self.input_moment, -self.cross_moment
        return lambda: addmm(minus_S, coef, A, out=out)


def _products(chain):
    """Products T_1, T_1 T_2, ..., T_1 ... T_L of the chain."""
    products = [chain[0]]
    for layer in chain[1:]:
        products.append(products[-1] @ layer)
    return products
