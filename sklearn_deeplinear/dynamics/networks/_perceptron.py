"""Homogeneous multilayer perceptron in training: forward and backward pass on all data.

With H_0 = X and Z_l = H_{l-1} W_l^T + 1 b_l^T, H_l = a(Z_l) for l < L, and Delta_L the gradient
of the loss in the outputs Z_L,

    Delta_{l-1} = (Delta_l W_l) * a'(Z_{l-1}),   dJ/dW_l = Delta_l^T H_{l-1} + 2 gamma_l W_l.

The passes are written out, in buffers that are allocated once: for small and middling
networks about half of what autograd takes goes into its graph and its memory.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._balance import Balance, BalanceMeter
from sklearn_deeplinear.dynamics.networks._curvature import module_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._flat import layers, pack
from sklearn_deeplinear.dynamics.networks._stacks import (
    back,
    chosen,
    lower,
    lower_by,
    of_each,
    over_samples,
    per_network,
    sample_buffer,
    spread,
    through,
    with_decay,
)
from sklearn_deeplinear.nn._activations import ACTIVATIONS
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._losses import LOSSES
from sklearn_deeplinear.nn._norms import norms

# How the flow is followed where units have no kink, and where the input of a unit changes
# sign for a sample.
_SMOOTH_FLOW = {"method": "DOP853", "rtol": 1e-6}
_KINKED_FLOW = {"method": "trapezoidal", "rtol": 1e-6}


class PerceptronDynamics:
    """The state of a perceptron and the rule by which it moves.

    Weights with leading dimensions are a batch of networks, which share nothing but the
    calls of their operations.

    Parameters
    ----------
    weights : list of tensors of shape (..., h_l, h_{l-1})
        Initial W_1, ..., W_L.
    biases : list of tensors of shape (..., h_l), or None
        Initial b_1, ..., b_L.
    X : tensor of shape (..., n, d)
        Inputs. Leading dimensions are those of a batch of networks, or the last of them; samples
        of weight zero fill those of networks that have fewer (see `_stacks.stacked`).
    Y : tensor of shape (..., n, m)
        Targets; for the cross-entropy one row of class probabilities per sample.
    shares : tensor of shape (..., n)
        Sample weights of sum 1.
    activation : {"identity", "relu", "leaky_relu"}
        Activation of the hidden layers.
    loss : {"squared_error", "cross_entropy"}
        Loss of a sample.
    weight_decay : sequence of L floats, or of tensors of the shape of the batch
        gamma_1, ..., gamma_L.

    Attributes
    ----------
    state : tensor of shape (..., n_parameters)
        W_1, b_1, W_2, ... in one; writing into it moves the network.
    gradient : tensor of shape (..., n_parameters)
        Gradient of the objective where it was last evaluated or measured.
    flow_options : dict
        Method and relative tolerance by which an ODE solver follows the gradient.
    """

    rounding = 0.0
    flow_options = _SMOOTH_FLOW

    def __init__(
        self,
        weights,
        biases,
        X,
        Y,
        shares,
        *,
        activation,
        loss,
        weight_decay,
    ):
        self.biased = biases is not None
        self.batch = batch = weights[0].shape[:-2]
        rows = [b.unsqueeze(-2) for b in biases] if self.biased else [None] * len(weights)
        parts = [p for pair in zip(weights, rows, strict=True) for p in pair if p is not None]
        self.shapes = [tuple(p.shape[-2:]) for p in parts]
        self.state = pack(parts, batch)
        self.weights, self.biases = self._layers(self.state)
        self.gradient = torch.empty_like(self.state)
        self.weight_decay = [per_network(gamma, batch, self.state) for gamma in weight_decay]
        self.name, self.activation = activation, ACTIVATIONS[activation]
        self.linear = activation == "identity" and biases is None
        self.X, self.data_term = X, SampleLoss(loss, Y, shares)
        values = [sample_buffer(X, batch, X.shape[-2], W.shape[-2]) for W in weights]
        self.hidden, self.outputs = [spread(X, batch), *values[:-1]], values[-1]
        self.deltas = [None, *(torch.empty_like(H) for H in values)]

    def part(self, index):
        """The networks of a batch that an index chooses, as dynamics of their own."""
        data = self.X, self.data_term.Y, self.data_term.shares
        X, Y, shares = (chosen(part, self.batch, index, 2) for part in data)
        return type(self)(
            [W[index] for W in self.weights],
            [b[index].squeeze(-2) for b in self.biases] if self.biased else None,
            X,
            Y,
            shares.squeeze(-1),
            activation=self.name,
            loss=self.data_term.name,
            weight_decay=[chosen(gamma, self.batch, index) for gamma in self.weight_decay],
        )

    def _layers(self, state):
        """Weights and biases (..., 1, h_l) of a flat state, as views; biases may be None."""
        parts = layers(state, self.shapes)
        if not self.biased:
            return parts, [None] * len(parts)
        return parts[::2], parts[1::2]

    def _forward(self, weights, biases, inputs=None):
        """Fill the hidden layers and the outputs; append what units get to `inputs`."""
        for H, out, W, b in zip(
            self.hidden, [*self.hidden[1:], self.outputs], weights, biases, strict=True
        ):
            through(H, W, b, out)
            if out is not self.outputs:
                if inputs is not None:
                    inputs.append(out.clone())
                self.activation.apply_(out)

    def _backward(self, weights, shares=None):
        """Yield l - 1, Delta_l and H_{l-1} from the last layer to the first.

        `shares` stand in for the indicators of positive inputs, if they are given.
        """
        self.data_term.differentiate(self.outputs, self.deltas[-1])
        for layer in range(len(weights) - 1, -1, -1):
            delta, H = self.deltas[layer + 1], self.hidden[layer]
            if layer > 0:
                # Before the step changes W_l.
                back(delta, weights[layer], self.deltas[layer])
                if shares is None:
                    self.activation.damp_(self.deltas[layer], H)
                else:
                    self.activation.damp_by_share_(self.deltas[layer], shares[layer - 1])
            yield layer, delta, H

    def step(self, eta):
        """Make one step of gradient descent on the objective."""
        self._forward(self.weights, self.biases)
        for layer, delta, H in self._backward(self.weights):
            lower(self.weights[layer], delta.mT, H, eta, self.weight_decay[layer])
            if self.biased:
                lower_by(self.biases[layer], delta.sum(-2, True), eta)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`."""
        self._forward(self.weights, self.biases)
        self._differentiate(self.weights)

    def _differentiate(self, weights, shares=None):
        g_weights, g_biases = self._layers(self.gradient)
        for layer, delta, H in self._backward(weights, shares):
            part = g_weights[layer]
            # Batched products into the layers of a state would be made one by one.
            slope = over_samples(delta.mT, H) if self.batch else torch.mm(delta.T, H, out=part)
            with_decay(slope, weights[layer], self.weight_decay[layer], part)
            if self.biased:
                torch.sum(delta, dim=-2, keepdim=True, out=g_biases[layer])

    def measure(self, states):
        """Measure states of shape (n_records, ..., n_parameters): a dict of tensors."""
        weights, biases = self._layers(states)
        rows = []
        for record in range(len(states)):
            network = [W[record] for W in weights]
            self._forward(network, [b[record] if self.biased else None for b in biases])
            self._differentiate(network)
            loss = self.data_term.value(self.outputs)
            rows.append(torch.stack([loss, norms(self.gradient)]))
        loss, gradient_norm = torch.stack(rows).unbind(dim=1)
        penalty = sum(
            gamma * torch.linalg.vector_norm(W, dim=(-2, -1)).square()
            for W, gamma in zip(weights, self.weight_decay, strict=True)
        )
        return {"loss": loss, "objective": loss + penalty, "gradient_norm": gradient_norm}

    def outputs_at(self, states, X):
        """Outputs at other inputs, one record at a time; see `Predictive`."""
        return torch.stack([self._outputs_at(state, X) for state in states])

    def _outputs_at(self, state, H):
        for layer, (W, b) in enumerate(zip(*self._layers(state), strict=True)):
            H = through(self.activation.apply_(H) if layer else H, W, b)
        return H

    def outputs_cost(self, n_rows):
        """Floating-point operations of the outputs of a record."""
        return 2 * n_rows * sum(W.numel() for W in self.weights)

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian of the objective at a state (..., n_parameters).

        Parameters and returned value as those of
        :func:`sklearn_deeplinear.dynamics.hessian_eigenvalues`; of a batch (..., k).
        """
        if self.batch:
            return of_each(self, state, k=k, which=which)
        weights, biases = self._layers(state)
        # A module of its own: the buffers of the passes here leave no graph behind.
        network = HomogeneousNetwork(
            [W.shape for W in weights],
            self.name,
            self.biased,
            device=state.device,
            dtype=state.dtype,
        ).fill(weights, [b[0] for b in biases] if self.biased else None)
        return module_hessian_eigenvalues(
            network,
            lambda network: self.data_term.value(network(self.X)),
            weight_decay=self.weight_decay,
            k=k,
            which=which,
        )

    def unpacked(self, state):
        """``weights`` and, if there are any, ``biases`` of a state, as views of it."""
        weights, biases = self._layers(state)
        return {
            "weights": weights,
            **({"biases": [b.squeeze(-2) for b in biases]} if self.biased else {}),
        }

    def balance_meter(self):
        """Meter of the balance of the layers, biases on the incoming side."""
        parts = self.unpacked(self.state)
        meter = BalanceMeter(parts["weights"], self.name == "identity", parts.get("biases"))
        return Balance(self._chain, [meter])

    def _chain(self, states):
        weights, biases = self._layers(states)
        return [(weights, [b.squeeze(-2) for b in biases] if self.biased else None)]

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps (at least one)."""
        step = 6 * self.X.shape[-2] * sum(W.numel() for W in self.weights)
        return max(1, round((step + operations) / step))


class KinkedPerceptron(PerceptronDynamics):
    """A perceptron of hidden units with a kink."""

    flow_options = _KINKED_FLOW

    def linearised(self):
        """Inputs of the hidden units, layer by layer; see `KinkedDynamics`."""
        inputs: list[torch.Tensor] = []
        self._forward(self.weights, self.biases, inputs)

        def gradient(shares=None):
            self._differentiate(self.weights, shares)
            return self.gradient

        return inputs, gradient


def perceptron_dynamics(weights, biases, *data, activation, **options):
    """The dynamics of a perceptron: `KinkedPerceptron` where hidden units have kinks."""
    kinked = ACTIVATIONS[activation].leak is not None and len(weights) > 1
    network = KinkedPerceptron if kinked else PerceptronDynamics
    return network(weights, biases, *data, activation=activation, **options)


class SampleLoss:
    """Weighted mean of a loss over the samples, its value and its gradient.

    Parameters
    ----------
    name : str
        Loss of a sample, one of `LOSSES`.
    Y : tensor of shape (..., n, m)
        Targets.
    shares : tensor of shape (..., n)
        Weights of the samples, of sum 1.
    """

    def __init__(self, name, Y, shares):
        self.name, self.loss = name, LOSSES[name]
        self.Y, self.shares = Y, shares.unsqueeze(-1)

    def differentiate(self, outputs, out):
        """Write the gradient in the outputs (..., n, m)."""
        self.loss.slope(outputs, self.Y, out=out).mul_(self.shares)

    def value(self, outputs):
        """Mean loss, of shape (...)."""
        return (self.loss.terms(outputs, self.Y) * self.shares).sum(dim=(-2, -1))
