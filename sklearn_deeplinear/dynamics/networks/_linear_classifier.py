"""Deep linear classifiers in training: linear networks on samples instead of moments."""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._flat import layers
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient
from sklearn_deeplinear.nn._norms import norms


class LinearClassifierDynamics(LinearDynamics):
    """The state of a deep linear classifier and the rule by which it moves.

    Built like :class:`LinearDynamics`, with a :class:`SampleGradient` as data term.
    """

    data_term: SampleGradient

    def measure(self, states):
        """Measure states of shape (n_records, ..., n_parameters): a dict of tensors."""
        # One at a time: outputs for all samples and records would take too much memory.
        rows = [self._measure(layers(state, self.shapes)) for state in states]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _measure(self, weights):
        loss, gradients = self.data_term.loss_and_gradients(weights)
        self._leave(gradients, weights, self.gradient)
        norm = norms(self.gradient)
        return {"loss": loss, "objective": loss + self._penalty(weights), "gradient_norm": norm}

    def outputs_at(self, states, X):
        """Outputs at other inputs, one record at a time; see `Predictive`."""
        weights = (layers(state, self.shapes) for state in states)
        return torch.stack([self.data_term.outputs(W, X) for W in weights])

    def outputs_cost(self, n_rows):
        """Floating-point operations of the outputs of a record."""
        return super().outputs_cost(n_rows + self.data_term.X.shape[-2])

    def intercept(self):
        """The best intercept (..., m) of the current map."""
        self.data_term.loss(self.weights)
        return self.data_term.intercept[..., 0, :]

    def memory(self):
        """The last intercept, from which the search for the next one starts."""
        return {"intercept": self.data_term.intercept}

    def recall(self, memory):
        """Start the next search as if that had been the last intercept."""
        self.data_term.intercept = memory["intercept"].to(self.state.device)

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps (at least one)."""
        n, d = self.data_term.X.shape[-2:]
        step = 4 * n * d * self.shapes[-1][0] + 6 * sum(h * k for h, k in self.shapes)
        return max(1, round((step + operations) / step))
