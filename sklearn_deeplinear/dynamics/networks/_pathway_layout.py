"""Where the weights of parallel pathways lie in the flat state.

Linear pathways of two layers add up to one network of their widths together:
W_12 W_11 + W_22 W_21 = [W_12 W_22] [W_11; W_21]. Laid out so, all of them make a step in
the operations that one needs.
"""

from __future__ import annotations

from sklearn_deeplinear.dynamics.networks._flat import layers, pack


class Consecutive:
    """W_11, ..., W_1L, W_21, ...: the order of the parameters of a module.

    Parameters
    ----------
    pathways : list of lists of tensors
        Weights, of which the shapes count.
    """

    def __init__(self, pathways):
        self.depths = [len(weights) for weights in pathways]
        self.batch = pathways[0][0].shape[:-2]
        self.shapes = [tuple(W.shape[-2:]) for weights in pathways for W in weights]
        self.size = sum(rows * columns for rows, columns in self.shapes)

    def pack(self, pathways):
        """Copy weights into one flat tensor (..., n_parameters)."""
        return pack([W for weights in pathways for W in weights], self.batch)

    def views(self, states):
        """View flat states (..., n_parameters) as the layers of each pathway."""
        flat = iter(layers(states[..., : self.size], self.shapes))
        return [[next(flat) for _ in range(depth)] for depth in self.depths]

    def networks(self, state, weight_decay):
        """Weights and decays of networks that together are the pathways."""
        return self.views(state), weight_decay


class Stacked:
    """[W_11; W_21; ...], then [W_12 W_22 ...]^T, of pathways of two layers.

    Parameters
    ----------
    pathways : list of lists of tensors
        Weights, of which the shapes count.
    """

    def __init__(self, pathways):
        self.widths = [len(first) for first, _ in pathways]
        (d, m), width = (pathways[0][0].shape[1], len(pathways[0][1])), sum(self.widths)
        self.shapes = [(width, d), (width, m)]
        self.size = width * (d + m)

    def pack(self, pathways):
        """Copy weights into one flat tensor."""
        return pack([first for first, _ in pathways] + [second.mT for _, second in pathways])

    def views(self, states):
        """View flat states (..., n_parameters) as the layers of each pathway."""
        below, above = layers(states[..., : self.size], self.shapes)
        parts = zip(below.split(self.widths, -2), above.split(self.widths, -2), strict=True)
        return [[first, second.mT] for first, second in parts]

    def networks(self, state, weight_decay):
        """Weights and decays of networks that together are the pathways."""
        below, above = layers(state[: self.size], self.shapes)
        return [[below, above.mT]], weight_decay[:1]


def fastest_layout(pathways, weight_decay):
    """Stack linear pathways of two layers that decay alike."""
    same = all(list(decays) == list(weight_decay[0]) for decays in weight_decay)
    two_layers = all(len(weights) == 2 for weights in pathways)
    return Stacked(pathways) if two_layers and same else Consecutive(pathways)
