"""The two passes through a chain of layers with an activation, by hand.

With H_0 = X and H_l = f(H_{l-1} W_l^T + 1 b_l^T) the errors are carried back by
E_{l-1} = (E_l W_l) * f'(H_{l-1}); the gradient of W_l is E_l^T H_{l-1}, that of b_l the sum of
the rows of E_l.
"""

from __future__ import annotations

from sklearn_deeplinear.dynamics.networks._stacks import back, through


def layer_values(weights, X, activation, activate_output, keep_inputs=False, out=None, biases=None):
    """Values of the layers of a chain at the inputs X (..., n, d), in memory `out` if given.

    Biases are of shape (h_l,), or (..., 1, h_l) for a batch of networks.

    Returns
    -------
    values : list of L + 1 tensors
        H_0, ..., H_L.
    saved : list of tensors
        What the derivative of the activation takes, for each layer that has one: its
        values, or its inputs if it needs these or they are asked for.
    """
    values, saved = [X], []
    keep_inputs = keep_inputs or activation.saves_input
    for layer, W in enumerate(weights, start=1):
        b, memory = (None if part is None else part[layer - 1] for part in (biases, out))
        value = through(values[-1], W, b, memory)
        if layer < len(weights) or activate_output:
            saved.append(value.clone() if keep_inputs else value)
            value = activation.apply_(value)
        values.append(value)
    return values, saved


def layer_errors(weights, values, saved, error, activation, activate_output, shares=None, out=None):
    """Yield (E_l, H_{l-1}) of a chain, from the last layer to the first.

    `values` and `saved` are those of :func:`layer_values`, and `error` is that of the outputs.
    `shares` of positive inputs stand in for what was `saved` of the units, layer by layer, if
    they are given. Errors of hidden layers are written into `out`, if it is.
    """
    out = out or [None] * len(weights)
    units = list(saved if shares is None else shares)
    damp_ = activation.damp_ if shares is None else activation.damp_by_share_
    delta = damp_(error.clone(), units.pop()) if activate_output else error
    for layer in range(len(weights) - 1, -1, -1):
        yield delta, values[layer]
        if layer:
            delta = damp_(back(delta, weights[layer], out[layer - 1]), units.pop())
