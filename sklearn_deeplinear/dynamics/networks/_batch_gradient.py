"""Gradient of the objective on mini-batches in all parameters of a module, written out.

On small batches autograd takes several times as long as the products: for its graph, for its
memory, and for the layers that an optimizer then visits one by one. Here the gradient of a
batch is written into one flat tensor, layer by layer.

A chain of linear layers is a matrix M, and the gradient of the loss in M goes back through the
layers in as many rows as M has, or columns; these may be far fewer than the samples of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sklearn_deeplinear.dynamics.networks._chain_step import ChainGradient
from sklearn_deeplinear.dynamics.networks._flat import layers
from sklearn_deeplinear.dynamics.networks._layer_passes import layer_errors, layer_values
from sklearn_deeplinear.dynamics.networks._module import decay_vector
from sklearn_deeplinear.nn._activations import ACTIVATIONS, Activation
from sklearn_deeplinear.nn._losses import LOSSES


class BatchGradient:
    """Gradient of the objective on one batch after the other.

    Parameters
    ----------
    module : HomogeneousNetwork or ParallelPathways
        Network whose parameters are views of `state`, in their order.
    state : tensor of shape (n_parameters,)
        All parameters.
    loss : str
        Loss of a sample, one of `LOSSES`.
    weight_decay : sequence of floats
        gamma_l of the parameters of two dimensions.

    Attributes
    ----------
    gradient : tensor of shape (n_parameters,)
        What was last written.
    slopes : list of tensors
        That of the loss without the penalty, in the shapes of the parameters.
    """

    def __init__(self, module, state, loss, weight_decay):
        parameters = list(module.parameters())
        self.state, self.slope = state, torch.zeros_like(state)
        self.slopes = layers(self.slope, [p.shape for p in parameters])
        self.loss, self.decay = LOSSES[loss], decay_vector(parameters, weight_decay)
        self.gradient = self.slope if self.decay is None else torch.zeros_like(state)
        self.intercept = getattr(module, "intercept", None)
        slopes = dict(zip(parameters, self.slopes, strict=True))
        self.chains = [_chain(path, slopes, **module.options) for path in module.pathways]
        self.n_inputs = self.chains[0].weights[0].shape[1]
        self.n_outputs = self.chains[0].weights[-1].shape[0]

    def of_size(self, n):
        """Memory for batches of n samples, and the passes through each chain in it."""
        X, errors = (self.state.new_empty((n, k)) for k in (self.n_inputs, self.n_outputs))
        return X, errors, [chain.passes(X, errors) for chain in self.chains]

    def write(self, passes, Y, shares, outputs):
        """Write the outputs, at the inputs that were written into X of `passes`, and the gradient.

        Y (n, m) are targets, and `shares` (n, 1) sample weights over the size of the batch.
        """
        _, errors, chains = passes
        if self.intercept is None:
            chains[0].forward(outputs)
        else:
            torch.add(chains[0].forward(), self.intercept, out=outputs)
        for chain in chains[1:]:
            outputs.add_(chain.forward())
        self.loss.slope(outputs, Y, out=errors).mul_(shares)
        for chain in chains:
            chain.backward()
        if self.decay is not None:
            torch.addcmul(self.slope, self.decay, self.state, value=2, out=self.gradient)


@dataclass(frozen=True)
class _Chain:
    """Layers W_l and b_l, where their gradients go, and the activation; no biases are None."""

    weights: list[torch.Tensor]
    slopes: list[torch.Tensor]
    biases: list[torch.Tensor] | None
    bias_slopes: list[torch.Tensor] | None
    activation: Activation
    activate_output: bool

    def passes(self, X, errors):
        """The passes of fewer operations with inputs X (n, d) and errors (n, m) of outputs."""
        (n, d), m = X.shape, errors.shape[1]
        numbers = sum(W.numel() for W in self.weights)
        by_map = 6 * min(m, d) * numbers + 4 * n * m * d
        linear = self.activation is ACTIVATIONS["identity"] and self.biases is None
        return (_MapPasses if linear and by_map <= 6 * n * numbers else _SamplePasses)(
            self, X, errors
        )


def _chain(path, slopes, activation, activate_output=False, **shapes):
    found = [layer for layer in path if isinstance(layer, torch.nn.Linear)]
    weights, biases = [layer.weight for layer in found], [layer.bias for layer in found]
    return _Chain(
        [W.detach() for W in weights],
        [slopes[W] for W in weights],
        None if biases[0] is None else [b.detach() for b in biases],
        None if biases[0] is None else [slopes[b] for b in biases],
        ACTIVATIONS[activation],
        activate_output,
    )


class _SamplePasses:
    """Passes through a chain with the samples of a batch as rows."""

    def __init__(self, chain, X, errors):
        self.chain, self.X, self.error = chain, X, errors
        self.units = chain.activation, chain.activate_output
        self.memory, self.errors = (
            [X.new_empty((len(X), len(W))) for W in chain.weights] for _ in range(2)
        )

    def forward(self, out=None):
        """Outputs at X, in `out` if it is given."""
        memory = self.memory if out is None else [*self.memory[:-1], out]
        weights, biases = self.chain.weights, self.chain.biases
        self.known = layer_values(weights, self.X, *self.units, out=memory, biases=biases)
        return self.known[0][-1]

    def backward(self):
        """Write the gradients."""
        chain, layer, (values, saved) = self.chain, len(self.chain.weights), self.known
        parts = chain.weights, values, saved, self.error
        for delta, H in layer_errors(*parts, *self.units, out=self.errors):
            layer -= 1
            torch.mm(delta.T, H, out=chain.slopes[layer])
            if chain.bias_slopes is not None:
                torch.sum(delta, 0, out=chain.bias_slopes[layer])


class _MapPasses:
    """Passes through a chain of linear layers with the rows of M, or of M^T, as rows."""

    def __init__(self, chain, X, errors):
        transposed = X.shape[1] < errors.shape[1]
        parts = zip(chain.weights, chain.slopes, strict=True)
        pairs = [(W.T, part.T) for W, part in parts] if transposed else list(parts)[::-1]
        self.chain = ChainGradient(*(list(side) for side in zip(*pairs, strict=True)))
        self.X, self.to_outputs = X, self.chain.product if transposed else self.chain.product.T
        self.sides = (X.T, errors) if transposed else (errors.T, X)

    def forward(self, out=None):
        """Outputs at X, in `out` if it is given."""
        self.chain.forward()
        return torch.mm(self.X, self.to_outputs, out=out)

    def backward(self):
        """Write the gradients."""
        torch.mm(*self.sides, out=self.chain.slope)
        self.chain.backward()
