"""Width compressed away: the same trajectory in the few dimensions in which it moves.

Let orthonormal bases Q_l of subspaces of the hidden layers (Q_0 = I, Q_L = I) be closed under
the initial weights,

    W_l range(Q_{l-1}) in range(Q_l),      W_l^T range(Q_l) in range(Q_{l-1}).

Then W_l = Q_l C_l Q_{l-1}^T + N_l with N_l Q_{l-1} = 0 and Q_l^T N_l = 0, the gradient of the
loss is Q_l (dloss/dC_l) Q_{l-1}^T, and both stay so for ever: the cores C_l are trained like a
network of widths rank Q_l, and N_l only shrinks, by the factor 1 - 2 eta gamma_l each step.

The smallest closed subspaces grow from the range of W_1 and of W_L^T by W_l and W_l^T. They
are spanned by units where most units are connected to neither inputs nor outputs, as in
balanced factors padded with zeros; that takes no arithmetic. Otherwise they are narrow after
one sweep if there are two layers, or if the layers are multiples of orthogonal matrices (d + m
dimensions; Yaras et al. 2024). For other weights further sweeps make the part that leaks out of
them smaller: a Krylov method.

Near a saddle, components of the size of rounding errors grow until they decide the run. So no
direction is dropped for being small, and none may be: subspaces that do not consist of units
are taken only if the d + m directions are clearly independent (then all modes start with
slopes far above rounding), and the network is trained in full otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

# What counts as rounding error of subspaces, relative to the layers.
_TOLERANCE = 1000 * torch.finfo(torch.float64).eps
# Singular values of clearly independent directions, relative to the largest: they keep ten
# digits. Gaussian and orthogonal layers that are worth compressing have a tenth or so.
_CLEAR = 1e-6
# Part of an image outside of a subspace from which on it is not closed: measured with 30 to 300
# hidden units, 1e-15 of orthogonal layers is outside, and half or more of Gaussian ones.
_OUTSIDE = 1e-6


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

        def moved(part):
            # In this order: not every device knows float64.
            return None if part is None else part.to(like.dtype).to(like.device).contiguous()

        names = "bases", "cores", "rests"
        return replace(self, **{name: list(map(moved, getattr(self, name))) for name in names})

    def weights(self, cores, shrinkage):
        """Full weights Q_l C_l Q_{l-1}^T + shrinkage_l N_l."""
        full = []
        for C, N, (Q_in, Q_out), sigma in zip(
            cores, self.rests, _around(self.bases), shrinkage, strict=True
        ):
            W = C if Q_out is None else Q_out @ C
            W = W if Q_in is None else W @ Q_in.mT
            full.append(W if N is None else torch.add(W, N, alpha=float(sigma)))
        return full


def _around(bases):
    """Bases (Q_{l-1}, Q_l) of the inputs and outputs of each layer; None for Q_0 and Q_L."""
    return zip([None, *bases], [*bases, None], strict=True)


def live_units(weights):
    """Indices of the units of each hidden layer that move: others never get a gradient.

    A unit moves if weights connect it to an input or an output, be it through other units.
    """
    used = [W.numpy(force=True) != 0 for W in weights]
    reached = [np.ones(used[0].shape[1], dtype=bool)]
    reached += [np.zeros(len(U), dtype=bool) for U in used[:-1]]
    reached.append(np.ones(len(used[-1]), dtype=bool))
    count, all_units = -1, sum(map(len, reached))
    while count != (count := sum(map(np.count_nonzero, reached))) < all_units:
        for layer, U in enumerate(used):
            reached[layer + 1] |= U[:, reached[layer]].any(1)
        for layer, U in reversed(list(enumerate(used))):
            reached[layer] |= U[reached[layer + 1]].any(0)
    return [torch.from_numpy(np.flatnonzero(r)).to(weights[0].device) for r in reached[1:-1]]


def may_be_closed(weights):
    """Whether narrow subspaces can be closed under the weights, judged from one vector.

    W_2^T W_2 maps the range of W_1 into the first subspace, which is spanned by the ranges of
    W_1 and of (W_L ... W_2)^T. Random weights of three layers or more fail, and are told
    from others here at the price of a step.
    """
    if len(weights) < 3:
        return True
    first, second = weights[:2]
    back = torch.linalg.multi_dot(weights[:0:-1])
    Q = torch.linalg.qr(torch.cat([first, back.mT], dim=1)).Q
    image = second.mT @ (second @ first.sum(1))
    outside = image - Q @ (Q.mT @ image)
    return bool(torch.linalg.norm(outside) <= _OUTSIDE * torch.linalg.norm(image))


def close(weights, live=None):
    """Compress a network to closed subspaces from which nothing is left out.

    Parameters
    ----------
    weights : list of L float64 tensors of shape (h_l, h_{l-1})
        Initial weights.
    live : list of L - 1 tensors of indices, optional
        The :func:`live_units`, where they are known.

    Returns
    -------
    compression : Compression or None
        None if one sweep does not find such subspaces.
    """
    live = live_units(weights) if live is None else live
    blocks = live_blocks(weights, live)
    hidden = closed_widths(weights, live)[1:-1]
    whole = [k == len(units) for k, units in zip(hidden, live, strict=True)]
    if not all(whole) and not may_be_closed(blocks):
        return None
    bases = _independent_bases(blocks, whole)
    if bases is None:
        return None
    rounding = 0.0 if all(whole) else _TOLERANCE
    if any(
        torch.count_nonzero(W) > torch.count_nonzero(B)
        for W, B in zip(weights, blocks, strict=True)
    ):
        # Weights between units that never move belong to the rests.
        bases = [_spread(Q, part, len(W)) for Q, part, W in zip(bases, live, weights, strict=False)]
        blocks, live = weights, [torch.arange(len(W), device=W.device) for W in weights[:-1]]
    compression = _assembled(blocks, bases, live, [len(W) for W in weights[:-1]], rounding)
    return compression if compression.is_exact else None


def _assembled(blocks, bases, live, widths, rounding):
    """Compression of layers of these widths, from the blocks and bases of their live units."""
    around = zip(blocks, _around(bases), strict=True)
    parts = (_split(W, Q_in, Q_out, rounding) for W, (Q_in, Q_out) in around)
    cores, rests, leaks = zip(*parts, strict=True)
    bases = [_spread(Q, units, h) for Q, units, h in zip(bases, live, widths, strict=True)]
    rests = [
        None if N is None else _spread(_spread(N, live[i], widths[i]).mT, live[i - 1], N_width).mT
        for i, (N, N_width) in enumerate(zip(rests, [0, *widths], strict=True))
    ]
    return Compression(bases, list(cores), rests, max(leaks))


def closed_widths(weights, live):
    """Widths d, k_1, ..., k_{L-1}, m of the cores of a network with these live units.

    The images of the inputs and those of the outputs span the subspaces. Where they have as
    many dimensions as a layer, all of it is mapped on.
    """
    d, hidden, m = weights[0].shape[1], [len(units) for units in live], len(weights[-1])
    found = [0] * len(hidden)
    while True:
        forth = _image_dimensions(d, hidden, found)
        back = _image_dimensions(m, hidden[::-1], found[::-1])[::-1]
        former = found
        found = [min(p + q, h) for p, q, h in zip(forth, back, hidden, strict=True)]
        if found == former:
            return [d, *found, m]


def _image_dimensions(start, widths, found):
    dimensions = [start]
    for h, k in zip(widths, found, strict=True):
        dimensions.append(h if k == h else min(h, dimensions[-1]))
    return dimensions[1:]


def _independent_bases(weights, whole):
    """Bases of the images of inputs and outputs; None if these are not clearly independent."""
    forth = _images(weights[:-1], whole)
    back = _images([W.mT for W in weights[:0:-1]], whole[::-1])
    if forth is None or back is None:
        return None
    bases = [
        torch.eye(len(W)).to(W) if all_of_it else _independent(torch.cat([F, B], dim=1))
        for F, B, all_of_it, W in zip(forth, back[::-1], whole, weights, strict=False)
    ]
    return None if any(Q is None for Q in bases) else bases


def _images(weights, whole):
    """Bases of the images of all inputs, None for whole layers; or None, if they collapse."""
    bases, F = [], None
    for W, all_of_it in zip(weights, whole, strict=True):
        F = None if all_of_it else _independent(W if F is None else W @ F)
        if F is None and not all_of_it:
            return None
        bases.append(F)
    return bases


def _independent(columns):
    """Orthonormal basis of columns, None if they are not clearly independent."""
    Q, R = torch.linalg.qr(columns)
    sizes = torch.linalg.svdvals(R)
    return Q if sizes[-1] > _CLEAR * sizes[0] else None


def compress(weights, sweeps=1):
    """Compress a network to the subspaces that `sweeps` sweeps grow, small directions left out.

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
    live = live_units(weights)
    widths = [len(W) for W in weights[:-1]]
    weights = live_blocks(weights, live)
    return _assembled(weights, _swept_bases(weights, sweeps), live, widths, _TOLERANCE)


def live_blocks(weights, live):
    """The weights between live units."""
    blocks = list(weights)
    for layer, units in enumerate(live):
        if len(units) < len(weights[layer]):
            blocks[layer] = blocks[layer][units]
            blocks[layer + 1] = blocks[layer + 1][:, units]
    return blocks


def between(live, blocks, shapes):
    """Weights of these shapes out of :func:`live_blocks`, zero beside them."""
    weights = list(blocks)
    for layer, units in enumerate(live):
        size = shapes[layer][0]
        if len(weights[layer]) < size:
            weights[layer] = _spread(weights[layer], units, size)
            weights[layer + 1] = _spread(weights[layer + 1].mT, units, size).mT
    return weights


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


def _split(W, Q_in, Q_out, rounding):
    """Core, rest and relative leak of one layer."""
    right = W if Q_in is None else W @ Q_in
    left = W if Q_out is None else Q_out.mT @ W
    C = right if Q_out is None else Q_out.mT @ right
    kept = C if Q_out is None else Q_out @ C
    size = torch.linalg.norm(W)
    out = torch.linalg.norm(right - kept)
    back = torch.linalg.norm(left - (C if Q_in is None else C @ Q_in.mT))
    rest = None
    if Q_in is not None and Q_out is not None:
        rest = torch.addmm(W, kept, Q_in.mT, alpha=-1)
        if torch.linalg.norm(rest) <= rounding * size:
            rest = None
    return C, rest, float(max(out, back) / size) if size > 0 else 0.0
