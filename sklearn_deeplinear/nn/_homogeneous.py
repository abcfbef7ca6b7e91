"""Multilayer perceptrons with homogeneous activations, as torch modules."""

from __future__ import annotations

import torch

from sklearn_deeplinear.nn._layers import PortableModule, layer_sequence


class HomogeneousNetwork(PortableModule, torch.nn.Sequential):
    """f(x) = W_L a(... a(W_1 x + b_1) ...) + b_L as a sequence of torch layers.

    Parameters
    ----------
    shapes : list of (h_l, h_{l-1})
        Shapes of the weight matrices.
    activation : {"identity", "relu", "leaky_relu"}, default="identity"
        Activation between layers. With "identity" there are none.
    bias : bool, default=False
        Whether the layers have biases.
    device, dtype : optional
        Where the parameters live and in which precision.
    """

    def __init__(self, shapes, activation="identity", bias=False, device="cpu", dtype=None):
        self.options = {"shapes": shapes, "activation": activation, "bias": bias}
        super().__init__(*layer_sequence(**self.options, device=device, dtype=dtype))

    @property
    def linear_layers(self):
        """The layers that have parameters."""
        return [layer for layer in self if isinstance(layer, torch.nn.Linear)]

    @property
    def pathways(self):
        """Itself, the only chain of layers, as `ParallelPathways` has several."""
        return [self]

    @torch.no_grad()
    def fill(self, weights, biases=None):
        """Copy [W_1, ..., W_L] and [b_1, ..., b_L] into the layers; return the network."""
        for layer, W in zip(self.linear_layers, weights, strict=True):
            layer.weight.copy_(W)
        for layer, b in zip(self.linear_layers, biases or [], strict=False):
            layer.bias.copy_(b)
        return self
