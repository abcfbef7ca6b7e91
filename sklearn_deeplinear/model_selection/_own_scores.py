"""R^2 of many regressors on one test set, which is checked once for all of them."""

from __future__ import annotations

import numpy as np
from sklearn import get_config
from sklearn.base import RegressorMixin

from sklearn_deeplinear._streamed import StreamedRegressor


def r2_scores(estimators, X, y):
    """What ``estimator.score(X, y)`` is of each, or None where that is for scikit-learn to say.

    Parameters
    ----------
    estimators : list
        Regressors of this package, fitted to equal data, at least one.
    X, y : array-like
        A test set as users give it.
    """
    first = estimators[0]
    if (
        type(first).score not in (RegressorMixin.score, StreamedRegressor.score)
        or get_config()["array_api_dispatch"]
    ):
        return None
    try:
        X, y, _ = first._check_data(X, y, None, reset=False)
        Y = np.reshape(np.asarray(y, dtype=np.float64), (len(y), -1))
    except (TypeError, ValueError):
        return None
    if np.float32 in (X.dtype, getattr(y, "dtype", None)):  # of which it makes other sums
        return None
    around = np.square(Y - Y.mean(axis=0)).sum(axis=0)
    if len(Y) < 2 or not around.all():
        return None
    # One by one: the predictions of all would be many copies of the targets.
    off = [np.square(Y - np.reshape(e._predicted(X), Y.shape)).sum(axis=0) for e in estimators]
    scores = (1 - np.array(off) / around).mean(axis=1)
    return scores if np.isfinite(scores).all() else None
