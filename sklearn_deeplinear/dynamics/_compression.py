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
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
            return [None if part is None else part.to(like).contiguous() for part in parts]

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


def compress(weights, sweeps=1):
    """Compress a network to the subspaces that `sweeps` sweeps grow.

    Parameters
    ----------
    weights : list of L float64 tensors of shape (h_l, h_{l-1})
        Initial weights.
    sweeps : int, default=1
        Sweeps forth and back through the layers.

    Returns
    -------
    compression : Compression
        Its `is_exact` tells whether training the cores is training the network.
    """
    bases = [W.new_zeros((len(W), 0)) for W in weights[:-1]]
    for _ in range(sweeps):
        for layer, W in enumerate(weights[:-1]):
            image = W if layer == 0 else W @ bases[layer - 1]
            bases[layer] = _extended(bases[layer], image)
        for layer in range(len(weights) - 2, -1, -1):
            W = weights[layer + 1]
            image = W.mT if layer == len(weights) - 2 else W.mT @ bases[layer + 1]
            bases[layer] = _extended(bases[layer], image)
    cores, rests, leaks = [], [], []
    for layer, W in enumerate(weights):
        C, N, leak = _split(W, bases, layer)
        cores.append(C)
        rests.append(N)
        leaks.append(leak)
    return Compression(bases, cores, rests, max(leaks))


def _extended(basis, image):
    """Orthonormal basis of the sum of two spans, directions of rounding error left out."""
    size = torch.linalg.norm(image, 2) if image.numel() else 0.0
    for _ in range(2):  # once more against rounding
        image = image - basis @ (basis.mT @ image)
    U, s, _ = torch.linalg.svd(image, full_matrices=False)
    return torch.cat([basis, U[:, s > _TOLERANCE * size]], dim=1)


def _split(W, bases, layer):
    """Core, rest and relative leak of one layer."""
    right = W if layer == 0 else W @ bases[layer - 1]
    last = layer == len(bases)
    C = right if last else bases[layer].mT @ right
    left = W if last else bases[layer].mT @ W
    size = torch.linalg.norm(W)
    out = torch.linalg.norm(right - (C if last else bases[layer] @ C))
    back = torch.linalg.norm(left - (C if layer == 0 else C @ bases[layer - 1].mT))
    rest = None
    if 0 < layer < len(bases):
        rest = W - bases[layer] @ C @ bases[layer - 1].mT
        if torch.linalg.norm(rest) <= _TOLERANCE * size:
            rest = None
    return C, rest, float(max(out, back) / size) if size > 0 else 0.0
