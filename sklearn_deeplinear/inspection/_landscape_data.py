"""Objectives on a line and in a plane of weights, for the display of landscapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._parameters import check_depth, check_weight_decay, check_width
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._layers import packed, unpacked

# Directions that are shorter than this part of the longest weights would show what is left of
# an unfinished run, or rounding.
_SHORT = 1e-3
# The plane is drawn from the points outwards by this part of their distance.
_MARGIN = 0.4


def _swish(Z):
    return Z / (1 + np.exp(-np.clip(Z, -700, None)))  # beyond, the exponential overflows


ACTIVATIONS = {
    "identity": lambda Z: Z,
    "relu": lambda Z: np.maximum(Z, 0),
    "tanh": np.tanh,
    "swish": _swish,
}


@dataclass(frozen=True, eq=False)
class ScaleFamily:
    """Networks of one output with a single number left, the scale b of their last layer.

    All entries of a layer above the first are equal, and so are the penalties of these layers;
    all rows of the first layer are the best ones of a linear network, given the others. The
    global minimum of a linear network is among these networks.

    Attributes
    ----------
    moments : SecondMoments
        Moments of the data, of one output.
    width : tuple of L - 1 ints
        Hidden widths h_l, of one or more layers.
    gamma : ndarray of shape (L,)
        Positive decays.
    """

    moments: SecondMoments
    width: tuple
    gamma: np.ndarray

    @classmethod
    def checked(cls, moments, depth, width, weight_decay):
        """The family of checked parameters."""
        if check_depth(depth) < 2:
            raise ValueError(f"depth must be at least 2, got {depth}: one layer has no scale.")
        if moments.n_outputs > 1:
            raise ValueError(
                f"y must have one target, got {moments.n_outputs}: the family is that of one."
            )
        gamma = check_weight_decay(weight_decay, depth)
        if not gamma.all():
            raise ValueError(f"weight_decay must be positive in all layers, got {weight_decay}.")
        return cls(moments, check_width(width, depth), gamma)

    def scale_of(self, t):
        """The scale b of networks whose layers have a penalty `t` each."""
        return float(np.sqrt(t / (self.gamma[-1] * self.width[-1])))

    def weights(self, b):
        """Row v (d,) of W_1, what each layer above multiplies the units by, and the penalty."""
        t = self.gamma[-1] * self.width[-1] * b**2
        inner = np.array(self.width)
        entries = np.sqrt(t / (self.gamma[1:-1] * inner[1:] * inner[:-1]))
        gains = inner * np.append(entries, b)
        q, ridge = np.prod(gains), self.gamma[0] * self.width[0]
        spectrum = self.moments.spectrum
        sigma, target = spectrum.sigma, spectrum.targets[:, 0]
        v = spectrum.directions @ (q * sigma * target / ((q * sigma) ** 2 + ridge))
        return v, gains, ridge * (v @ v) + len(gains) * t

    def objectives(self, scales, activation, X, y, sample_weight):
        """Objective of networks of an activation at each scale, on rows less their means."""
        act = ACTIVATIONS[activation]
        values = np.empty(len(scales))
        for i, b in enumerate(scales):
            v, gains, penalty = self.weights(b)
            units = X @ v
            for gain in gains:  # units of a layer are equal: one stands for all
                units = gain * act(units)
            residual = y - units
            if self.moments.centered:
                residual = residual - np.average(residual, weights=sample_weight)
            values[i] = np.average(residual**2, weights=sample_weight) + penalty
        return values


def default_scales(family, candidates, n_scales=201):
    """Scales from twice the largest of a stationary point to that of the other sign.

    Where zero is the only one, the last layers have so large a penalty that zero is better.
    """
    largest = max((point.scale for point in candidates), default=0.0)
    t = 4 * largest or family.moments.output_moment / (len(family.gamma) - 1)
    return np.linspace(-1.0, 1.0, n_scales) * (family.scale_of(t) or 1.0)


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through zero and two networks, or random directions for what they lack.

    Attributes
    ----------
    directions : list of two lists of ndarray
        Orthonormal directions in the space of all weights.
    sources : list of two str
        Names of the networks that they lead to, or "random".
    """

    directions: list
    sources: list

    @classmethod
    def through(cls, networks, rng):
        """The plane of two networks, named lists of layers of the same shapes."""
        vectors = [(name, packed(layers)) for name, layers in networks.items()]
        longest = max(np.linalg.norm(vector) for _, vector in vectors)
        vectors += [("random", rng.standard_normal(vectors[0][1].size)) for _ in range(2)]
        basis, sources = [], []
        for name, vector in vectors:
            for _ in range(2):  # twice is enough for orthogonality to rounding
                for other in basis:
                    vector = vector - (other @ vector) * other
            size = np.linalg.norm(vector)
            if len(basis) < 2 and size > (0.0 if name == "random" else _SHORT * longest):
                basis.append(vector / size)
                sources.append(name)
        like = next(iter(networks.values()))
        return cls([unpacked(vector, like) for vector in basis], sources)

    def coordinates(self, layers):
        """Coordinates (x, y) of a network."""
        return tuple(
            float(sum(np.sum(W * D) for W, D in zip(layers, direction, strict=True)))
            for direction in self.directions
        )

    def at(self, x, y):
        """The network with these coordinates."""
        return [x * D + y * E for D, E in zip(*self.directions, strict=True)]


def window(points, size, n_points):
    """Axes of a square grid around points (x, y); of side `size` if they are as good as one."""
    points = np.array(points)
    low, high = points.min(axis=0), points.max(axis=0)
    apart = (high - low).max()
    side = apart * (1 + 2 * _MARGIN) if apart > _SHORT * size else size
    steps = np.linspace(-0.5, 0.5, n_points) * side
    middle = (low + high) / 2
    return middle[0] + steps, middle[1] + steps
