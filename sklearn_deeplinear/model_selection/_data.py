"""What is cross-validated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory import SecondMoments


@dataclass(frozen=True, eq=False)
class Data:
    """What is validated: the arrays, their moments, and whether outputs share a network.

    Of data that are read in blocks the moments of consecutive folds are all that is known.
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    moments: SecondMoments
    per_target: bool
    folds: list[SecondMoments] | None = None

    @property
    def outputs(self):
        """y of shape (n, m)."""
        return self.y.reshape(len(self.y), -1)

    @property
    def weighted(self):
        """Which samples have weight, bool of shape (n,)."""
        weight = self.sample_weight
        return np.ones(len(self.y), dtype=bool) if weight is None else weight > 0
