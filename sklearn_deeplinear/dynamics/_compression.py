"""Width compressed away: the same trajectory in the few dimensions in which it moves.

Let orthonormal bases Q_l of subspaces of the hidden layers (Q_0 = I, Q_L = I) be closed under
the initial weights,

    W_l range(Q_{l-1}) in range(Q_l),      W_l^T range(Q_l) in range(Q_{l-1}).

Then W_l = Q_l C_l Q_{l-1}^T + N_l with N_l Q_{l-1} = 0 and Q_l^T N_l = 0, the gradient of the
loss is Q_l (dloss/dC_l) Q_{l-1}^T, and both stay so for ever: the cores C_l are trained like a
network of widths rank Q_l, and N_l only shrinks, by the factor 1 - 2 eta gamma_l each step.

The smallest closed subspaces grow from the range of W_1 and of W_L^T by W_l and W_l^T. They
are narrow after one sweep if there are two layers (d + m dimensions), if the layers are
balanced (min(d, m)), or multiples of orthogonal matrices (d + m; Yaras et al. 2024). For
other weights further sweeps make the part that leaks out of them smaller: a Krylov method.
Units without any weight, as balanced factors padded with zeros have, are left out first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

# What counts as rounding error of subspaces, relative to the layers.
_TOLERANCE = 1000 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Compression:
    """Bases of the hidden layers of one network, and what they do not hold.

    Attributes
    ----------
    bases : list of L - 1 tensors of shape (h_l, k_l)
        Q_l, orthonormal columns.
    cores : list of L tensors of shape (k_l, k_{l-1})
        C_l = Q_l^T W_l Q_{l-1}.
    rests : list of L tensors of shape (h_l, h_{l-1}), or None
        N_l; None where it is zero.
    leak : float
        Largest ||W_l Q_{l-1} - Q_l C_l||_F or ||W_l^T Q_l - Q_{l-1} C_l^T||_F, relative to
        ||W_l||_F: rounding if the subspaces are closed.
    """

    bases: list
    cores: list
    rests: list
    leak: float

    @property
    def is_exact(self):
        """Whether the subspaces are closed, up to rounding."""
        return self.leak <= _TOLERANCE

    def to(self, like):
        """The same compression on the device and in the precision of the tensor `like`."""

        def moved(parts):
            # In this order: not every device knows float64.
            return [
                None if part is None else part.to(like.dtype).to(like.device).contiguous()
                for part in parts
            ]

        return replace(
            self, bases=moved(self.bases), cores=moved(self.cores), rests=moved(self.rests)
        )

    def weights(self, cores, shrinkage):
        """Full weights Q_l C_l Q_{l-1}^T + shrinkage_l N_l."""
        full = []
        for layer, (C, N) in enumerate(zip(cores, self.rests, strict=True)):
            W = C if layer == len(cores) - 1 else self.bases[layer] @ C
            W = W if layer == 0 else W @ self.bases[layer - 1].mT
            full.append(W if N is None else torch.add(W, N, alpha=float(shrinkage[layer])))
        return full


def live_units(weights):
    """Indices of the units of each hidden layer that have a weight: others never get one."""
    used = [W.numpy(force=True) != 0 for W in weights]
    return [
        torch.from_numpy(np.flatnonzero(rows.any(1) | columns.any(0))).to(weights[0].device)
        for rows, columns in zip(used, used[1:], strict=False)
    ]


def may_be_closed(weights):
    """Whether narrow subspaces can be closed under the weights, judged from one vector.

    W_2^T W_2 maps the range of W_1 into the first subspace, which is spanned by the ranges of
    W_1 and of (W_L ... W_2)^T. Random weights of three layers or more fail, and are told
    from others here at the price of a step.
    """
    if len(weights) < 3:
        return True
    first, second = weights[0], weights[1]
    back = weights[-1]
    for W in weights[-2:0:-1]:
        back = back @ W
    Q = torch.linalg.qr(torch.cat([first, back.mT], dim=1)).Q
    image = second.mT @ (second @ first.sum(1))
    return bool(torch.linalg.norm(image - Q @ (Q.mT @ image)) <= 1e-6 * torch.linalg.norm(image))


def compress(weights, sweeps=1, live=None):
    """Compress a network to the subspaces that `sweeps` sweeps grow.

    Parameters
    ----------
    weights : list of L float64 tensors of shape (h_l, h_{l-1})
        Initial weights.
    sweeps : int, default=1
        Sweeps forth and back through the layers.
    live : list of L - 1 tensors of indices, optional
        The :func:`live_units`, where they are known.

    Returns
    -------
    compression : Compression
        Its `is_exact` tells whether training the cores is training the network.
    """
    live = live_units(weights) if live is None else live
    widths = [len(W) for W in weights[:-1]]
    weights = live_blocks(weights, live)
    bases = _swept_bases(weights, sweeps)
    cores, rests, leaks = zip(
        *(_split(W, bases, layer) for layer, W in enumerate(weights)), strict=True
    )
    bases = [_spread(Q, units, h) for Q, units, h in zip(bases, live, widths, strict=True)]
    rests = [
        None if N is None else _spread(_spread(N, live[i], widths[i]).mT, live[i - 1], N_width).mT
        for i, (N, N_width) in enumerate(zip(rests, [0, *widths], strict=True))
    ]
    return Compression(bases, list(cores), rests, max(leaks))


def live_blocks(weights, live):
    """The weights between live units."""
    blocks = list(weights)
    for layer, units in enumerate(live):
        if len(units) < len(weights[layer]):
            blocks[layer] = blocks[layer][units]
            blocks[layer + 1] = blocks[layer + 1][:, units]
    return blocks


def _spread(part, units, size):
    """Rows of live units among `size` rows, zeros elsewhere."""
    if len(units) == size:
        return part
    return part.new_zeros((size, part.shape[1])).index_copy_(0, units, part)


def _swept_bases(weights, sweeps):
    bases = [W.new_zeros((len(W), 0)) for W in weights[:-1]]
    for _ in range(sweeps):
        for layer, W in enumerate(weights[:-1]):
            image = W if layer == 0 else W @ bases[layer - 1]
            bases[layer] = _extended(bases[layer], image)
        for layer in range(len(weights) - 2, -1, -1):
            W = weights[layer + 1]
            image = W.mT if layer == len(weights) - 2 else W.mT @ bases[layer + 1]
            bases[layer] = _extended(bases[layer], image)
    return bases


def _extended(basis, image):
    """Orthonormal basis of the sum of two spans, directions of rounding error left out."""
    rounding = _TOLERANCE * torch.linalg.norm(image)
    if basis.shape[1]:
        for _ in range(2):  # once more against rounding
            image = image - basis @ (basis.mT @ image)
        if torch.linalg.norm(image) <= rounding:
            return basis
    U, s, _ = torch.linalg.svd(image, full_matrices=False)
    return torch.cat([basis, U[:, s > rounding]], dim=1)


def _split(W, bases, layer):
    """Core, rest and relative leak of one layer."""
    right = W if layer == 0 else W @ bases[layer - 1]
    last = layer == len(bases)
    C = right if last else bases[layer].mT @ right
    left = W if last else bases[layer].mT @ W
    size = torch.linalg.norm(W)
    kept = C if last else bases[layer] @ C
    out = torch.linalg.norm(right - kept)
    back = torch.linalg.norm(left - (C if layer == 0 else C @ bases[layer - 1].mT))
    rest = None
    if 0 < layer < len(bases):
        rest = torch.addmm(W, kept, bases[layer - 1].mT, alpha=-1)
        if torch.linalg.norm(rest) <= _TOLERANCE * size:
            rest = None
    return C, rest, float(max(out, back) / size) if size > 0 else 0.0
