"""Multilayer perceptrons with homogeneous activations, as torch modules."""

from __future__ import annotations

import torch

from sklearn_deeplinear.nn._activations import ACTIVATIONS


class HomogeneousNetwork(torch.nn.Sequential):
    """f(x) = W_L a(... a(W_1 x + b_1) ...) + b_L as a sequence of torch layers.

    Its pickled form holds numpy arrays, so that it loads on any device, on the CPU.

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

    def __init__(self, shapes, activation="identity", bias=False, device=None, dtype=None):
        self.options = {"shapes": list(shapes), "activation": activation, "bias": bias}
        layers: list[torch.nn.Module] = []
        for rows, columns in shapes:
            if layers and activation != "identity":
                layers.append(ACTIVATIONS[activation].module())
            # Values come later: no random numbers may be drawn for them here.
            layers.append(
                torch.nn.utils.skip_init(
                    torch.nn.Linear, columns, rows, bias=bias, device=device or "cpu", dtype=dtype
                )
            )
        super().__init__(*layers)

    @property
    def linear_layers(self):
        """The layers that have parameters."""
        return [layer for layer in self if isinstance(layer, torch.nn.Linear)]

    @torch.no_grad()
    def fill(self, weights, biases=None):
        """Copy [W_1, ..., W_L] and [b_1, ..., b_L] into the layers; return the network."""
        for layer, W in zip(self.linear_layers, weights, strict=True):
            layer.weight.copy_(W)
        for layer, b in zip(self.linear_layers, biases or [], strict=False):
            layer.bias.copy_(b)
        return self

    def __getstate__(self):
        arrays = {name: p.numpy(force=True) for name, p in self.named_parameters()}
        return {"options": self.options, "arrays": arrays}

    def __setstate__(self, state):
        tensors = {name: torch.from_numpy(array) for name, array in state["arrays"].items()}
        self.__init__(**state["options"], dtype=tensors["0.weight"].dtype)  # type: ignore[misc]
        self.load_state_dict(tensors)
