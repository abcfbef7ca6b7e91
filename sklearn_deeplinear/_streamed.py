"""Data that are read a block of rows at a time: on disk, on other machines, or not yet computed."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._batches import is_frame, sliceable
from sklearn_deeplinear.theory._distributed import as_dask_array, is_dask

# Values of a block that predictions are made of: 32 MB in float64.
_BLOCK_SIZE = 2**22
# Values of data frames that are made into an array, of 80 MB; larger ones are read in blocks.
_LARGE_FRAME = 10**7
# Values of a pass over the data that `verbose` reports on, which takes a second or so.
_LONG_PASS = 10**8
_LINES = 10


def is_streamed(X):
    """Whether X are a dask collection, a memory map, or have a shape, a dtype and slices only.

    Large data frames are, too; arrays of any namespace, tensors and sparse matrices are not.
    """
    if is_dask(X) or isinstance(X, np.memmap):
        return True
    if is_frame(X):
        return X.shape[0] * X.shape[1] > _LARGE_FRAME
    if isinstance(X, np.ndarray) or not all(hasattr(X, name) for name in ("shape", "dtype")):
        return False
    whole = "__array_namespace__", "__torch_function__", "tocsr", "iloc"
    return hasattr(X, "__getitem__") and not any(hasattr(X, name) for name in whole)


def learn_features(estimator, X, y="no_validation", *, reset):
    """Check the number and the names of features of streamed X, and that there is y.

    A data frame of dask comes back as an array.
    """
    rows = as_dask_array(X) if is_dask(X) else X
    if len(rows.shape) != 2:
        raise ValueError(f"X must have shape (n_samples, n_features), got {rows.shape}.")
    # What dask knows of a data frame without reading it: one of no rows.
    validate_data(estimator, rows if rows is X else X._meta, y, reset=reset, skip_check_array=True)
    return rows


def by_rows(function, X, shape):
    """Values of streamed X: ``function(rows)`` for blocks of rows, each of shape (n, *shape).

    Of dask collections they are lazy, too.
    """
    function = partial(_checked, function)
    if is_dask(X):
        chunks = {"chunks": (X.chunks[0], *((m,) for m in shape))} if shape else {"drop_axis": 1}
        meta = np.empty((0,) * (1 + len(shape)))
        return X.rechunk({1: -1}).map_blocks(function, dtype=meta.dtype, meta=meta, **chunks)
    X, (n, d) = sliceable(X, "X"), X.shape
    values, step = np.empty((n, *shape)), max(1, _BLOCK_SIZE // d)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        values[rows] = function(X[rows])
    return values


def _checked(function, X):
    X = np.asarray(X)
    if not len(X):
        return function(X)
    return function(check_array(X, dtype=[np.float64, np.float32], input_name="X"))


class StreamedRegressor(RegressorMixin):
    """Mixin of regressors that predict streamed X in blocks, and score linear maps by moments.

    They define ``_check_inputs(X)`` for X that are arrays.
    """

    intercept_: float | np.ndarray

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination of the predictions, averaged over the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs. Of a linear map on data that are read in blocks it is taken from their
            moments, in one pass.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            R^2, 1 at best.
        """
        if not (is_streamed(X) and hasattr(self, "coef_")):
            return super().score(X, y, sample_weight)
        X = learn_features(self, X, reset=False)
        moments = SecondMoments.from_data(X, y, sample_weight)
        return r2_from_moments(moments, self.coef_, self.intercept_)

    def _predict_by(self, function, X):
        """``function(X)`` of checked X; of streamed X a block at a time, lazily with dask."""
        check_is_fitted(self)
        if not is_streamed(X):
            return function(self._check_inputs(X))
        return by_rows(function, learn_features(self, X, reset=False), np.shape(self.intercept_))


def r2_from_moments(moments, coef, intercept):
    """R^2 of a linear map on data with these centred moments, averaged over the outputs."""
    if moments.n_samples < 2:
        return float("nan")
    coef = moments.as_map(coef)
    missed = moments.output_factor - moments.input_factor @ coef.T
    shift = moments.mean_y - coef @ moments.mean_x - intercept
    error = np.sum(missed**2, axis=0) + shift**2
    total = np.sum(moments.output_factor**2, axis=0)
    # As r2_score has it where targets do not vary.
    constant = np.where(error > 0, 0.0, 1.0)
    varies = total > 0
    scores = np.where(varies, 1 - error / np.where(varies, total, 1.0), constant)
    return float(scores.mean())


class Watched:
    """Rows of X that say how far reading them has come, if there are many.

    About ten lines are printed in a pass over more than 10^8 values.
    """

    def __init__(self, X, name):
        self.X, self.shape, self.name, self.line = X, X.shape, name, 0

    def __getitem__(self, rows):
        n = self.shape[0]
        due = rows.start * _LINES // n
        if due > self.line:
            self.line = due
            print(f"[{self.name}] read {rows.start:,} of {n:,} rows")  # noqa: T201
        return self.X[rows]


def watched(X, estimator):
    """X, to be read with lines printed in between if the estimator is verbose."""
    long = not is_dask(X) and not hasattr(X, "tocsr") and np.prod(X.shape) > _LONG_PASS
    return Watched(X, type(estimator).__name__) if long and estimator.verbose else X
