"""One descent step of a product of layers: the two sweeps over them, in buffers.

A batch of networks of one shape makes its steps in the same operations on stacked layers,
each network with decays and a step size of its own.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._stacks import stack, stacked_numbers

# Size of a layer from which on threads share its products.
_WIDE = 100_000


class ChainStepper:
    """One descent step of a chain of layers, in two halves.

    Buffers are allocated once, every operation writes into them, and the decay is the
    factor 1 - 2 eta gamma_l of the same fused update.

    Parameters
    ----------
    chain : list of tensors of shape (..., rows, columns)
        T_1, ..., T_L, moved in place. Those of a batch are worked on as stacks
        (n_networks, rows, columns).
    weight_decay : list of floats or tensors of shape (...)
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
        batch = chain[0].shape[:-2]
        chain = [stack(layer, batch) for layer in chain]
        partial = [chain[0], *(_buffer(p) for p in products(chain)[1:])]  # B_l
        self.product = partial[-1]
        self.slope = _buffer(self.product) if slope is None else slope
        backs = [*(_buffer(p) for p in partial[:-1]), self.slope]  # R_l
        self.forward = self._forward(chain, partial)
        if batch:
            self.backward = self._batch_backward(chain, partial, backs, weight_decay, batch)
        else:
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

    @staticmethod
    def _batch_backward(chain, partial, backs, weight_decay, batch):
        """The same for a batch: G is scaled by -2 eta, and so is all that comes of it."""
        slope, scaled = backs[-1], torch.empty_like(backs[-1])
        backs = [*backs[:-1], scaled]
        decays = torch.stack([stacked_numbers(gamma, batch, slope) for gamma in weight_decay])
        shrink = torch.empty_like(decays)  # 1 - 2 eta gamma_l
        calls = [
            (
                thin_product(backs[j], chain[j].mT, backs[j - 1]),
                *_outer_product(partial[j - 1], backs[j], chain[j]),
                (chain[j], shrink[j]),
            )
            for j in range(len(chain) - 1, 0, -1)
        ]
        first, first_back, first_shrink = chain[0], backs[0], shrink[0]
        addcmul = torch.addcmul

        def backward(eta):
            rate = -2 * (stacked_numbers(eta, batch, slope) if torch.is_tensor(eta) else eta)
            torch.mul(slope, rate, out=scaled)
            torch.mul(decays, rate, out=shrink).add_(1)
            for multiply, form, change, (layer, keep) in calls:
                multiply()
                form()
                addcmul(change, layer, keep, out=layer)
            addcmul(first_back, first, first_shrink, out=first)

        return backward


class ChainGradient:
    """The same two halves, with the gradients in the layers in place of a step.

    `product` is written by `forward`, and `slope`, here 2 G, is read by `backward`.

    Parameters
    ----------
    chain : list of tensors of shape (rows, columns)
        T_1, ..., T_L.
    gradients : list of tensors of these shapes
        Where the gradients of the loss are written.
    """

    def __init__(self, chain, gradients):
        partial = [chain[0], *(_buffer(p) for p in products(chain)[1:])]
        backs = [gradients[0], *(_buffer(p) for p in partial[1:])]
        self.product, self.slope = partial[-1], backs[-1]
        self.forward = ChainStepper._forward(chain, partial)
        calls = [
            (thin_product(backs[j], chain[j].mT, backs[j - 1]), partial[j - 1].mT, backs[j], part)
            for j, part in reversed(list(enumerate(gradients)))
            if j > 0
        ]
        mm = torch.mm

        def backward():
            for multiply, product_t, back, part in calls:
                multiply()
                mm(product_t, back, out=part)

        self.backward = backward


def _outer_product(product, back, layer):
    """Return a function that writes stacks ``P^T R``, and where to: a tensor like `layer`.

    It is a buffer of its own, for batched products fall back to a loop, 30 times slower,
    where they are to be added to the layers of a state: these are not adjacent.
    """
    flipped = layer.stride(-1) != 1
    left, right = (back.mT, product) if flipped else (product.mT, back)
    out = layer.new_empty((len(layer), left.shape[-2], right.shape[-1]))
    # Outer products of vectors are faster by broadcasting.
    multiply = torch.mul if product.shape[-2] == 1 else torch.bmm
    return lambda: multiply(left, right, out=out), out.mT if flipped else out


def thin_product(left, layer, out):
    """Return a function that writes ``left @ layer``, of few rows, into `out`.

    On a CPU one product of few rows hardly gains from a second thread; blocks of columns,
    one for each thread, do.
    """
    mm, bmm = torch.mm, torch.bmm
    if layer.ndim == 3:  # one for each network of a batch
        return lambda: bmm(left, layer, out=out)
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
