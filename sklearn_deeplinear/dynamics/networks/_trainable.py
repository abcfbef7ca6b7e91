"""The parameters of a torch module that training moves."""

from __future__ import annotations

import torch


def trainable_parameters(module):
    """Parameters of `module` that require a gradient, of one dtype and device.

    Raises
    ------
    TypeError
        If `module` is not a torch module.
    ValueError
        If it has no trainable parameters, or they differ in dtype or device, or are not
        real.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}.")
    parameters = [p for p in module.parameters() if p.requires_grad]
    kinds = {(p.dtype, p.device) for p in parameters}
    if len(kinds) != 1 or not parameters[0].is_floating_point():
        found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "none"
        raise ValueError(
            f"module must have trainable real parameters of one dtype and device, got {found}."
        )
    return parameters
