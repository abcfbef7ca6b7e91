"""Activations of hidden units, all that the package knows about each in one entry.

To add one, write an `Activation` and give it a name in `ACTIVATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

NEGATIVE_SLOPE = 0.01


@dataclass(frozen=True)
class Activation:
    """A function a of single units and its derivative, as passes through a network use them.

    Attributes
    ----------
    apply_ : callable
        ``apply_(Z)`` replaces inputs by values, in place, and returns them.
    damp_ : callable
        ``damp_(delta, saved)`` multiplies errors by a', in place, and returns them; `saved`
        are the values, or the inputs if `saves_input`.
    module : callable
        Makes the torch module.
    homogeneous : bool
        Whether a(c z) = c a(z) for c > 0.
    leak : float or None
        Slope where the input is negative, of a function with a kink at zero and slope one
        above; None without a kink.
    saves_input : bool
        Whether the derivative follows from the input, not from the value.
    """

    apply_: Callable
    damp_: Callable
    module: Callable[[], torch.nn.Module]
    homogeneous: bool = False
    leak: float | None = None
    saves_input: bool = False

    def damp_by_share_(self, delta, share):
        """Multiply errors by the mean slope where a `share` of the inputs is positive."""
        return delta.mul_(self.leak + (1 - self.leak) * share)


def _damp_gelu(delta, inputs):
    return torch.ops.aten.gelu_backward(delta, inputs, grad_input=delta)


def _damp_relu(delta, values):
    return torch.ops.aten.threshold_backward(delta, values, 0, grad_input=delta)


def _damp_leaky_relu(delta, values):
    return torch.ops.aten.leaky_relu_backward(delta, values, NEGATIVE_SLOPE, True, grad_input=delta)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(
        lambda Z: Z, lambda delta, values: delta, torch.nn.Identity, homogeneous=True
    ),
    "relu": Activation(torch.relu_, _damp_relu, torch.nn.ReLU, homogeneous=True, leak=0.0),
    "leaky_relu": Activation(
        lambda Z: torch.nn.functional.leaky_relu_(Z, NEGATIVE_SLOPE),
        _damp_leaky_relu,
        lambda: torch.nn.LeakyReLU(NEGATIVE_SLOPE),
        homogeneous=True,
        leak=NEGATIVE_SLOPE,
    ),
    "tanh": Activation(
        torch.tanh_, lambda delta, values: delta.mul_(1 - values.square()), torch.nn.Tanh
    ),
    # z Phi(z) with the normal distribution Phi; not monotone, so its slope needs z.
    "gelu": Activation(torch.ops.aten.gelu_, _damp_gelu, torch.nn.GELU, saves_input=True),
}
HOMOGENEOUS = {name for name, activation in ACTIVATIONS.items() if activation.homogeneous}
