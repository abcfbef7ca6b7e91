"""What is cross-validated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from numbers import Integral
from operator import add

import numpy as np
from sklearn.model_selection import KFold, check_cv

from sklearn_deeplinear._arrays import on_host, read_data, read_weight
from sklearn_deeplinear._streamed import is_streamed, learn_features, watched
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._distributed import is_dask
from sklearn_deeplinear.theory._one_output import each_output, one_output
from sklearn_deeplinear.theory._tally import consecutive_folds


@dataclass(frozen=True, eq=False)
class Data:
    """What is validated: the arrays, their moments, and whether outputs share a network.

    Of data that are read in blocks the moments of consecutive folds are all that is known.
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    moments: SecondMoments
    per_target: bool | str
    folds: list[SecondMoments] | None = None

    def of_each_output(self):
        """Yield the data of each output."""
        for j, moments in enumerate(each_output(self.moments)):
            if self.folds is None:
                yield replace(self, y=self.outputs[:, j], moments=moments)
            else:
                folds = [one_output(fold, j) for fold in self.folds]
                yield replace(self, moments=moments, folds=folds)

    @property
    def outputs(self):
        """y of shape (n, m)."""
        return self.y.reshape(len(self.y), -1)

    @property
    def weighted(self):
        """Which samples have weight, bool of shape (n,)."""
        weight = self.sample_weight
        return np.ones(len(self.y), dtype=bool) if weight is None else weight > 0


def data_of(estimator, X, y, sample_weight):
    """Check what an `estimator` is to be fitted to, a :class:`Data`; its features become known.

    Raises
    ------
    ValueError, TypeError
        If data or weights are not valid, or `cv` or `scoring` need more than moments of data
        that only moments can be had of.
    """
    if _is_read_in_blocks(estimator, X):
        X, n_folds = learn_features(estimator, X, y, reset=True), check_cv(estimator.cv).n_splits
        arrays = watched(X, estimator), y, sample_weight
        folds = consecutive_folds(*arrays, n_folds, center=estimator.fit_intercept)
        return Data(X, y, sample_weight, reduce(add, folds), estimator.per_target, folds)
    options = {"multi_output": True, "y_numeric": True}
    X, y = map(on_host, read_data(estimator, X, y, ensure_min_samples=2, **options))
    if sample_weight is not None:
        sample_weight = read_weight(sample_weight, X)
    X, y = X.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    moments = SecondMoments.from_data(X, y, sample_weight, center=estimator.fit_intercept)
    return Data(X, y, sample_weight, moments, estimator.per_target)


def _is_read_in_blocks(estimator, X):
    """Whether X are read in one pass, for moments of consecutive folds."""
    if not is_streamed(X):
        return False
    cv, scoring = estimator.cv, estimator.scoring
    plain = isinstance(cv, Integral) or (type(cv) is KFold and not cv.shuffle)
    if is_dask(X) and not plain:
        raise ValueError(
            "cv must be a number of folds or KFold without shuffling with dask collections, "
            f"got {cv!r}."
        )
    if is_dask(X) and scoring is not None:
        raise ValueError(
            "scoring must be None with dask collections, whose scores are made of moments; "
            f"got {scoring!r}."
        )
    return plain and scoring is None
