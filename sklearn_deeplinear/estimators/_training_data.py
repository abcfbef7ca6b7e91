"""Training data as the problems keep them: centred, and resident where they are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sklearn_deeplinear._arrays import is_tensor
from sklearn_deeplinear.dynamics.runs._validation import ValidationData
from sklearn_deeplinear.estimators._tensor_moments import moments_of
from sklearn_deeplinear.estimators._tensors import less, like
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments
from sklearn_deeplinear.theory._location import shares_of


def with_weight(X, Y, shares):
    """Rows (n, d) and (n, m) of positive shares (n,), and these.

    Others are left out, not multiplied by zero: what no network can count, as a number that
    stands for missing ones, may overflow on its way.
    """
    used = shares > 0
    if used.all():
        return X, Y, shares
    return *(part[_index_of(used, part)] for part in (X, Y)), shares[used]


def _index_of(used, part):
    return torch.from_numpy(used).to(part.device) if is_tensor(part) else used


@dataclass(frozen=True)
class TrainingData:
    """Validated data and the moments that they are centred by.

    Attributes
    ----------
    X, y, sample_weight : arrays
        As :meth:`fit` got them; X and y may be tensors.
    moments : SecondMoments
        Their moments.
    """

    X: Any
    y: Any
    sample_weight: Any
    moments: SecondMoments

    def centred(self) -> tuple[Any, Any, Any]:
        """X (n, d) and Y (n, m) less their means, where they are; and shares (n, 1) of sum one.

        Samples of weight zero are left out.
        """
        n = len(self.X)
        weight = np.ones(n) if self.sample_weight is None else np.asarray(self.sample_weight)
        X, Y, share = with_weight(self.X, self.y.reshape(n, -1), shares_of(weight))
        X, Y = less(X, self.moments.mean_x), less(Y, self.moments.mean_y)
        return X, Y, X.new_tensor(share[:, None]) if is_tensor(X) else share[:, None]

    def resident(self, tensor):
        """The centred data as :class:`ResidentData`, on the device of a `tensor`."""
        from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData

        X, Y, share = (like(part, tensor) for part in self.centred())
        return ResidentData(X, Y, share[:, 0])

    def batch_sizes(self, batch_size):
        """Sizes of the batches of an epoch."""
        from sklearn_deeplinear.dynamics.runs._resident_data import batch_sizes

        weight = self.sample_weight
        used = len(self.X) if weight is None else int(np.count_nonzero(weight))
        return batch_sizes(used, batch_size)


def validation_data(X, Y, shares, moments, linear):
    """Validation data of a squared loss, less the means of the training data.

    Parameters
    ----------
    X, Y, shares : arrays of shapes (n, d), (n, m) and (n,)
        Data of validation, with weights of sum one.
    moments : SecondMoments
        Those of the training data.
    linear : bool
        Whether the network is a linear map, which needs at most d + m + 1 rows: those of a
        factor of the centred moments, and the way from the one mean to the other.

    Returns
    -------
    data : ValidationData
    """
    if not linear:
        X, Y = less(X, moments.mean_x), less(Y, moments.mean_y)
        return ValidationData(X, Y, shares, "squared_error")
    if isinstance(moments, KrylovMoments):
        rows, d = moments.validation_rows(X, Y, shares), moments.n_inputs
        return ValidationData(rows[:, :d], rows[:, d:], np.ones(len(rows)), "squared_error")
    own = moments_of(X, Y, shares, moments.centered)
    rows, d = validation_rows(own, moments), moments.n_inputs
    return ValidationData(rows[:, :d], rows[:, d:], np.ones(len(rows)), "squared_error")


def validation_rows(own, moments):
    """Rows (k, d + m) whose squared residuals sum to the loss of a linear network.

    They stand for data with moments `own`, less the means of the training data.
    """
    way = np.concatenate([own.mean_x - moments.mean_x, own.mean_y - moments.mean_y])
    return np.vstack([own.factor, way])
