"""Deep linear classifiers in training: linear networks on samples instead of moments."""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient


class LinearClassifierDynamics(LinearDynamics):
    """The state of a deep linear classifier and the rule by which it moves.

    Built like :class:`LinearDynamics`, with a :class:`SampleGradient` as data term.
    """

    data_term: SampleGradient

    def measure(self, states):
        """Measure states of shape (n_records, ..., n_parameters): a dict of tensors."""
        # One at a time: outputs for all samples and records would take too much memory.
        rows = [super(LinearClassifierDynamics, self).measure(state[None]) for state in states]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def intercept(self):
        """The best intercept (..., m) of the current map."""
        self.data_term.loss(self.weights)
        return self.data_term.intercept[..., 0, :]

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps (at least one)."""
        n, d = self.data_term.X.shape[-2:]
        step = 4 * n * d * self.shapes[-1][0] + 6 * sum(h * k for h, k in self.shapes)
        return max(1, round((step + operations) / step))
