"""What the rectifying units of a network do between two states: their inputs and slopes.

The gradient of a network with ReLU units jumps where the input of a unit changes sign.
A solver that steps over many such jumps is of first order, whatever its order for smooth
equations, unless it knows for which share of the step each unit was active. So the inputs
of the units are kept in the forward pass, and the backward pass takes slopes from outside.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.overrides import TorchFunctionMode


class RectifierTape(TorchFunctionMode):
    """Keeps the inputs of all ReLU and leaky ReLU units that are called in its context.

    Attributes
    ----------
    inputs : list of tensors
        Inputs of the units, call by call.
    shares : list of tensors or None
        What the backward pass takes for the indicator of a positive input, of the shapes
        of `inputs`; None takes the indicator itself.
    """

    def __init__(self):
        super().__init__()
        self.inputs: list[torch.Tensor] = []
        self.shares: list[torch.Tensor] | None = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call the differentiable rectifier in place of torch's."""
        rectifier = _RECTIFIERS.get(func)
        if rectifier is None:
            return func(*args, **(kwargs or {}))
        return rectifier(self, *args, **(kwargs or {}))


class _Rectify(torch.autograd.Function):
    """max(z, slope z), whose derivative is what the tape says when it is asked for."""

    @staticmethod
    def forward(ctx, z, slope, tape):
        ctx.slope, ctx.tape, ctx.call = slope, tape, len(tape.inputs)
        tape.inputs.append(z.detach())
        return torch.where(z > 0, z, slope * z)

    @staticmethod
    def backward(ctx, g):
        shares, z = ctx.tape.shares, ctx.tape.inputs[ctx.call]
        share = (z > 0).to(g.dtype) if shares is None else shares[ctx.call]
        return g * (ctx.slope + (1 - ctx.slope) * share), None, None


def _leaky_relu(tape, input, negative_slope=0.01, inplace=False):
    if not inplace:
        return _Rectify.apply(input, negative_slope, tape)
    # The input is kept beyond its being overwritten.
    return input.copy_(_Rectify.apply(input.clone(), negative_slope, tape))


def _relu(tape, input, inplace=False):
    return _leaky_relu(tape, input, 0.0, inplace)


_RECTIFIERS = {
    torch.relu: _relu,
    torch.relu_: partial(_relu, inplace=True),
    torch.Tensor.relu: _relu,
    torch.Tensor.relu_: partial(_relu, inplace=True),
    torch.nn.functional.relu: _relu,
    torch.nn.functional.leaky_relu: _leaky_relu,
    torch.nn.functional.leaky_relu_: partial(_leaky_relu, inplace=True),
}


def positive_share(start, end):
    """Share of a step in which an input is positive that moves evenly from `start` to `end`."""
    above, below = start.clamp(min=0) + end.clamp(min=0), start.clamp(max=0) + end.clamp(max=0)
    share = above / (above - below)
    return torch.where(above > below, share, 0.0)  # 0 for an input that stays at 0
