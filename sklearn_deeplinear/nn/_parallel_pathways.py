"""Parallel pathways, f(x) = sum_p f_p(x) + b, as a torch module."""

from __future__ import annotations

import torch

from sklearn_deeplinear.nn._activations import ACTIVATIONS


class ParallelPathways(torch.nn.Module):
    """Networks without biases side by side; their outputs are added.

    Parameters come in the order W_11, ..., W_1L, W_21, ...: pathway by pathway, from the
    inputs to the outputs. The intercept b is a buffer, at first zero: optimizers leave it
    alone. The pickled form holds numpy arrays, so that it loads on any device, on the CPU.

    Parameters
    ----------
    shapes : list of lists of (h_l, h_{l-1})
        Shapes of the weight matrices of each pathway.
    activation : {"identity", "relu", "leaky_relu", "tanh", "gelu"}, default="identity"
        Activation between layers. With "identity" there are none.
    activate_output : bool, default=False
        Whether it also acts on the last layer of each pathway, before the sum.
    device, dtype : optional
        Where the parameters live and in which precision.
    """

    intercept: torch.Tensor

    def __init__(
        self, shapes, activation="identity", activate_output=False, device=None, dtype=None
    ):
        super().__init__()
        shapes = [list(layers) for layers in shapes]
        self.options = {
            "shapes": shapes,
            "activation": activation,
            "activate_output": activate_output,
        }
        where = {"device": device or "cpu", "dtype": dtype}
        self.pathways = torch.nn.ModuleList(
            _pathway(layers, activation, activate_output, where) for layers in shapes
        )
        self.register_buffer("intercept", torch.zeros(shapes[0][-1][0], **where))

    def forward(self, X):
        """Outputs (n, m) at the inputs X (n, d)."""
        return sum((pathway(X) for pathway in self.pathways), start=self.intercept)

    @torch.no_grad()
    def fill(self, pathways):
        """Copy [W_1, ..., W_L] of each pathway into the layers; return the network."""
        weights = (W for weights in pathways for W in weights)
        for p, W in zip(self.parameters(), weights, strict=True):
            p.copy_(W)
        return self

    def __getstate__(self):
        arrays = {name: tensor.numpy(force=True) for name, tensor in self.state_dict().items()}
        return {"options": self.options, "arrays": arrays}

    def __setstate__(self, state):
        tensors = {name: torch.from_numpy(array) for name, array in state["arrays"].items()}
        self.__init__(**state["options"], dtype=tensors["intercept"].dtype)  # type: ignore[misc]
        self.load_state_dict(tensors)


def _pathway(shapes, activation, activate_output, where):
    layers: list[torch.nn.Module] = []
    for layer, (rows, columns) in enumerate(shapes, start=1):
        # Values come later: no random numbers may be drawn for them here.
        layers.append(torch.nn.utils.skip_init(torch.nn.Linear, columns, rows, bias=False, **where))
        if activation != "identity" and (layer < len(shapes) or activate_output):
            layers.append(ACTIVATIONS[activation].module())
    return torch.nn.Sequential(*layers)
