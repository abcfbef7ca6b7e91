"""One deep linear network in compressed coordinates, to be used like `LinearDynamics`."""

from __future__ import annotations

from sklearn_deeplinear.dynamics._compressed_pathways import CompressedPathways, compressed
from sklearn_deeplinear.dynamics._pathways import LinearPathways


class CompressedNetwork:
    """A single compressed pathway under the interface of a network.

    Parameters
    ----------
    pathway : CompressedPathways
        Dynamics of one pathway.
    """

    def __init__(self, pathway: CompressedPathways):
        self.pathway = pathway
        self.state, self.gradient = pathway.state, pathway.gradient
        self.step, self.evaluate = pathway.step, pathway.evaluate
        self.record_cost = pathway.record_cost

    @classmethod
    def from_moments(cls, weights, moments, weight_decay):
        """Compress a network without noise; None where that is not exact or does not pay.

        Parameters
        ----------
        weights : list of tensors
            Initial W_1, ..., W_L, on the device and in the precision to train in.
        moments : SecondMoments
            Moments of the data.
        weight_decay : sequence of L floats
            gamma_1, ..., gamma_L.

        Returns
        -------
        dynamics : CompressedNetwork or None
        """
        rule = LinearPathways.from_moments(moments, weights[0])
        pathway = compressed([[W.double() for W in weights]], rule, [weight_decay])
        return None if pathway is None else cls(pathway)

    @property
    def weights(self):
        """Full weights W_1, ..., W_L, to be read."""
        return self.pathway.full_pathways()[0]

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        measured = self.pathway.measure(states)
        measured.pop("mode_strengths")
        return measured

    def unpacked(self, state):
        """Full layers of a state given as a numpy array (n_parameters,)."""
        return self.pathway.unpacked(state)[0]
