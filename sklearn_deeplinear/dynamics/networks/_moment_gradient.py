"""Hand-written gradient of a deep linear network's squared loss, from second moments.

With M = W_L ... W_1 and G = M A - S, the gradient of the loss is

    dloss/dW_l = 2 B_l^T R_l,   B_l = W_L ... W_{l+1},   R_1 = G,   R_{l+1} = R_l W_l^T.

All intermediates have m rows, so a step costs O(m sum_l h_l h_{l-1}) whatever the number
of samples. Transposing the network exchanges inputs and outputs: with fewer inputs than
outputs the same recursion runs on W_1^T, ..., W_L^T with d rows.
"""

from __future__ import annotations

import torch

# Size of a layer from which on threads share its products.
_WIDE = 100_000


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
        return self.loss_of(products(self.chain(weights))[-1])

    def loss_of(self, product):
        """Mean squared error of the product of a chain."""
        coef = product.mT if self.transposed else product
        residual = self.input_factor @ coef.mT - self.output_factor
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
                return rows.mT @ (rows @ product - cols)
            return (product @ rows.mT - cols.mT) @ rows
        if self.transposed:
            return self.input_moment @ product - self.cross_moment.mT
        return product @ self.input_moment - self.cross_moment

    def map_gradient_into(self, product, out):
        """Return a function that writes the :meth:`map_gradient` of `product` into `out`."""
        mm, addmm = torch.mm, torch.addmm
        if self.uses_factor:
            rows, cols = self.input_factor, self.output_factor
            if self.transposed:
                return lambda: mm(rows.mT, addmm(cols, rows, product, beta=-1), out=out)
            return lambda: mm(addmm(cols.mT, product, rows.mT, beta=-1), rows, out=out)
        if self.transposed:
            A, minus_S = self.input_moment, -self.cross_moment.mT
            return lambda: addmm(minus_S, A, product, out=out)
        A, minus_S = self.input_moment, -self.cross_moment
        return lambda: addmm(minus_S, product, A, out=out)

    def stepper(self, weights, weight_decay):
        """Return ``step(eta)``, which makes one descent step on `weights` in place."""
        chain = ChainStepper(self.chain(weights), self.chain_order(weight_decay))
        forward, backward = chain.forward, chain.backward
        map_gradient = self.map_gradient_into(chain.product, chain.slope)

        def step(eta):
            forward()
            map_gradient()
            backward(eta)

        return step

    def chain_order(self, values):
        """Values of layers 1, ..., L in the order of the chain."""
        return list(values) if self.transposed else list(reversed(values))


class ChainStepper:
    """One descent step of a chain of layers, in two halves.

    Buffers are allocated once, every operation writes into them, and the decay is the
    factor 1 - 2 eta gamma_l of the same fused update.

    Parameters
    ----------
    chain : list of tensors
        T_1, ..., T_L, moved in place.
    weight_decay : list of floats
        Their decays.
    slope : tensor, optional
        Buffer to read G from; by default one is made.

    Attributes
    ----------
    product : tensor
        T_1 ... T_L, written by `forward`.
    slope : tensor
        G, read by `backward` and to be written in between.
    """

    def __init__(self, chain, weight_decay, slope=None):
        partial = [chain[0], *(_buffer(p) for p in products(chain)[1:])]  # B_l
        self.product = partial[-1]
        self.slope = _buffer(self.product) if slope is None else slope
        backs = [*(_buffer(p) for p in partial[:-1]), self.slope]  # R_l
        self.forward = self._forward(chain, partial)
        self.backward = self._backward(chain, partial, backs, weight_decay)

    @staticmethod
    def _forward(chain, partial):
        calls = [thin_product(partial[j - 1], chain[j], partial[j]) for j in range(1, len(chain))]

        def forward():
            for multiply in calls:
                multiply()

        return forward

    @staticmethod
    def _backward(chain, partial, backs, weight_decay):
        calls = [
            (
                thin_product(backs[j], chain[j].mT, backs[j - 1]),
                (chain[j], partial[j - 1].mT, backs[j], 2 * weight_decay[j]),
            )
            for j in range(len(chain) - 1, 0, -1)
        ]
        first, first_back, first_rate = chain[0], backs[0], 2 * weight_decay[0]

        def backward(eta):
            for multiply, (layer, product_t, back, rate) in calls:
                multiply()
                layer.addmm_(product_t, back, beta=1 - eta * rate, alpha=-2 * eta)
            if first_rate:
                first.mul_(1 - eta * first_rate)
            first.add_(first_back, alpha=-2 * eta)

        return backward


def thin_product(left, layer, out):
    """Return a function that writes ``left @ layer``, of few rows, into `out`.

    On a CPU one product of few rows hardly gains from a second thread; blocks of columns,
    one for each thread, do.
    """
    mm, bmm = torch.mm, torch.bmm
    n = torch.get_num_threads() if out.device.type == "cpu" else 1
    if n == 1 or layer.numel() < _WIDE or layer.shape[1] % n:
        return lambda: mm(left, layer, out=out)
    lefts = left.expand(n, *left.shape)
    blocks, parts = (whole.unflatten(1, (n, -1)).movedim(1, 0) for whole in (layer, out))
    buffer = torch.empty_like(parts, memory_format=torch.contiguous_format)

    def multiply():
        bmm(lefts, blocks, out=buffer)
        parts.copy_(buffer)

    return multiply


def _buffer(like):
    # Thin products run three times faster into rows than into columns.
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def products(chain):
    """Products T_1, T_1 T_2, ..., T_1 ... T_L of the chain."""
    partial = [chain[0]]
    for layer in chain[1:]:
        partial.append(partial[-1] @ layer)
    return partial


def chain_gradients(chain, partial, slope):
    """Gradients of the loss in T_1, ..., T_L, from the products and G."""
    gradients = []
    for layer in range(len(chain) - 1, 0, -1):
        gradients.append(2 * partial[layer - 1].mT @ slope)
        slope = slope @ chain[layer].mT
    gradients.append(2 * slope)
    return gradients[::-1]
