"""Cross-validation on the coordinates of data that have more inputs than samples.

The training samples of every split lie in the row space of all, up to the mean, and so do the
maps that are fitted to them: the folds need not see more than the coordinates there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sklearn_deeplinear.theory._row_space import in_row_space
from sklearn_deeplinear.theory._wide_factor import is_wide


@dataclass(frozen=True, eq=False)
class Inputs:
    """Coordinates of inputs in the row space of the data, less their mean."""

    mean: np.ndarray
    basis: np.ndarray

    def of(self, X):
        """Coordinates (n, k) of inputs X (n, d)."""
        return (X - self.mean) @ self.basis


def in_fewer_inputs(data):
    """The same data with fewer inputs, and what these are; None if that does not pay."""
    moments = data.moments
    if data.folds is not None or not is_wide(moments.input_factor):
        return data, None
    inputs = Inputs(moments.mean_x, moments.spectrum.directions)
    return replace(data, X=inputs.of(data.X), moments=in_row_space(moments)), inputs
