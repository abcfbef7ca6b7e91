"""Parallel pathways, f(x) = sum_p f_p(x) + b, as a torch module."""

from __future__ import annotations

import torch

from sklearn_deeplinear.nn._layers import PortableModule, layer_sequence


class ParallelPathways(PortableModule):
    """Networks side by side, trained without biases; their outputs are added.

    Parameters come in the order W_11, ..., W_1L, W_21, ...: pathway by pathway, from the
    inputs to the outputs. The intercept b is a buffer, at first zero: optimizers leave it
    alone.

    Parameters
    ----------
    shapes : list of lists of (h_l, h_{l-1})
        Shapes of the weight matrices of each pathway.
    activation : {"identity", "relu", "leaky_relu", "tanh", "gelu"}, default="identity"
        Activation between layers. With "identity" there are none.
    activate_output : bool, default=False
        Whether it also acts on the last layer of each pathway, before the sum.
    bias : bool, default=False
        Whether the layers have biases.
    device, dtype : optional
        Where the parameters live and in which precision.
    """

    intercept: torch.Tensor

    def __init__(
        self,
        shapes,
        activation="identity",
        activate_output=False,
        bias=False,
        device="cpu",
        dtype=None,
    ):
        super().__init__()
        units = {"activation": activation, "activate_output": activate_output, "bias": bias}
        self.options = {"shapes": shapes, **units}
        where = {"device": device, "dtype": dtype}
        self.pathways = torch.nn.ModuleList(
            torch.nn.Sequential(*layer_sequence(path, **units, **where)) for path in shapes
        )
        self.register_buffer("intercept", torch.zeros(shapes[0][-1][0], **where))

    def forward(self, X):
        """Outputs (n, m) at the inputs X (n, d)."""
        return sum((pathway(X) for pathway in self.pathways), start=self.intercept)

    @torch.no_grad()
    def fill(self, pathways, biases=None):
        """Copy [W_1, ..., W_L] and [b_1, ..., b_L] of each pathway; return the network."""
        layers = [layer for layer in self.modules() if isinstance(layer, torch.nn.Linear)]
        weights = (W for path in pathways for W in path)
        for layer, W in zip(layers, weights, strict=True):
            layer.weight.copy_(W)
        for layer, b in zip(layers, (b for path in biases or [] for b in path), strict=False):
            layer.bias.copy_(b)
        return self
