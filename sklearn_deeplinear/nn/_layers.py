"""What the network modules share: layers without values yet, and a pickled form for any device."""

from __future__ import annotations

from typing import Any

import torch

from sklearn_deeplinear.nn._activations import ACTIVATIONS


def layer_sequence(shapes, activation, *, activate_output=False, bias=False, device, dtype):
    """Linear layers with activations between them, and behind the last one if asked for.

    Parameters
    ----------
    shapes : list of (h_l, h_{l-1})
        Shapes of the weight matrices.
    activation : str
        One of `ACTIVATIONS`. With "identity" there are none.
    activate_output : bool, default=False
        Whether it also acts on the last layer.
    bias : bool, default=False
        Whether the layers have biases.
    device, dtype
        Where the parameters live and in which precision.

    Returns
    -------
    layers : list of torch.nn.Module
    """
    options = {"bias": bias, "device": device, "dtype": dtype}
    layers: list[torch.nn.Module] = []
    for layer, (rows, columns) in enumerate(shapes, start=1):
        # Values come later: no random numbers may be drawn for them here.
        layers.append(torch.nn.utils.skip_init(torch.nn.Linear, columns, rows, **options))
        if activation != "identity" and (layer < len(shapes) or activate_output):
            layers.append(ACTIVATIONS[activation].module())
    return layers


class PortableModule(torch.nn.Module):
    """A module whose pickled form holds numpy arrays: it loads on any device, on the CPU.

    Attributes
    ----------
    options : dict
        What it was made with, besides `device` and `dtype`.
    """

    options: dict[str, Any]

    def __getstate__(self):
        arrays = {name: tensor.numpy(force=True) for name, tensor in self.state_dict().items()}
        return {"options": self.options, "arrays": arrays}

    def __setstate__(self, state):
        tensors = {name: torch.from_numpy(array) for name, array in state["arrays"].items()}
        dtype = next(iter(tensors.values())).dtype
        self.__init__(**state["options"], dtype=dtype)  # type: ignore[misc]
        self.load_state_dict(tensors)
