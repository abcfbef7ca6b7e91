"""Adjacent layers of any torch module, as the matrices whose balance is measured."""

from __future__ import annotations

import torch

_LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
# What leaves the balance of whole matrices alone between two linear layers.
_TRANSPARENT = (torch.nn.Sequential, torch.nn.Linear, torch.nn.Identity, torch.nn.Flatten)


def find_layers(module, names=None):
    """Linear and convolutional layers in the order of ``module.named_modules()``.

    Parameters
    ----------
    module : torch.nn.Module
        Network that applies its layers in sequence.
    names : list of str, optional
        Names of the layers, in the order in which they are applied; None takes all.

    Returns
    -------
    layers : dict of str to torch.nn.Module

    Raises
    ------
    ValueError
        If a name is not that of such a layer, or there are none.
    """
    found = {name: m for name, m in module.named_modules() if isinstance(m, _LAYERS)}
    for name in names or []:
        if name not in found:
            raise ValueError(
                f"layers must name linear or convolutional layers, one of {list(found)}, "
                f"got {name!r}."
            )
    if not found:
        raise ValueError("The module of the net must have linear or convolutional layers.")
    return found if names is None else {name: found[name] for name in names}


def is_linear(module):
    """Whether `module` is certainly linear: a sequence of linear layers and nothing else."""
    return all(isinstance(m, _TRANSPARENT) for m in module.modules())


def layer_pairs(layers):
    """Pairs of matrices (incoming, outgoing) whose rows and columns are the shared units.

    The units of a convolution are its channels: a row holds all parameters that produce a
    channel, its bias among them, and a column all that read it. A linear layer after a
    convolution reads the flattened channels, each through as many columns as it has
    positions.

    Parameters
    ----------
    layers : dict of str to torch.nn.Module
        Layers in the order in which they are applied, from :func:`find_layers`.

    Returns
    -------
    pairs : list of pairs of tensors of shapes (units, ...) and (..., units)

    Raises
    ------
    ValueError
        If a layer cannot read the output of the one before.
    """
    named = list(layers.items())
    pairs = []
    for (name, layer), (next_name, following) in zip(named[:-1], named[1:], strict=True):
        incoming = layer.weight.detach().flatten(1)
        if layer.bias is not None:
            incoming = torch.cat([incoming, layer.bias.detach()[:, None]], dim=1)
        outgoing = _read_by_unit(following, len(incoming))
        if outgoing is None:
            raise ValueError(
                f"The layers of the net must be applied in sequence, but {next_name!r} cannot "
                f"read the {len(incoming)} units of {name!r}: name them in `layers`."
            )
        pairs.append((incoming, outgoing))
    return pairs


def _read_by_unit(layer, n_units):
    """Weights of `layer` as a matrix whose columns belong to the units that it reads."""
    weight = layer.weight.detach()
    if isinstance(layer, torch.nn.Linear):
        if weight.shape[1] % n_units:
            return None
        by_unit = weight.unflatten(1, (n_units, -1))
        return by_unit.movedim(1, -1).flatten(0, -2)
    if layer.in_channels != n_units:
        return None
    # Of a grouped convolution, each group of outputs reads its own group of channels.
    grouped = weight.unflatten(0, (layer.groups, -1)).movedim((0, 2), (-2, -1))
    return grouped.flatten(-2).flatten(0, -2)
