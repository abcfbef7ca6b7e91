"""Scores of predictions of held-out data, and the table that they make."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, RegressorMixin


class FixedLinearModel(RegressorMixin, BaseEstimator):
    """Predicts by a given map and intercept, for scorers."""

    def __init__(self, coef, intercept, flat):
        self.coef = coef
        self.intercept = intercept
        self.flat = flat

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        """Predictions of X (n, d), of shape (n,) if `flat` else (n, m)."""
        y = X @ self.coef.T + self.intercept
        return y[:, 0] if self.flat else y


class FixedPredictions(RegressorMixin, BaseEstimator):
    """Predicts what it was given, of the data that it was given for."""

    def __init__(self, predictions):
        self.predictions = predictions

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        """The predictions, whatever X is."""
        return self.predictions


def score_of(scorer, model, X, y, params):
    """What a scorer says of predictions; its errors are those of `scoring`."""
    try:
        return float(scorer(model, X, y, **params))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"scoring must suit the predictions of a regressor: {error}") from error


def spread(scores, axis=0):
    """Standard deviations of scores along an axis, whose squares may be no numbers."""
    scores = np.asarray(scores)
    size = np.abs(scores).max(axis=axis, keepdims=True)
    size = np.where(np.isfinite(size), size, 1.0)
    unit = np.ldexp(1.0, np.frexp(size)[1] - 1)  # a power of two rounds nothing
    with np.errstate(invalid="ignore"):  # infinite scores have none
        return np.std(scores / unit, axis=axis) * np.take(unit, 0, axis=axis)


def losses_from_moments(moments, coefs, intercepts):
    """Mean squared errors (J,) of maps (J, m, d), averaged over the outputs, from moments alone."""
    # One product for all settings: the maps side by side.
    J, m, d = coefs.shape
    fitted = moments.input_factor @ coefs.reshape(J * m, d).T
    missed = fitted.reshape(-1, J, m) - moments.output_factor[:, None]
    shift = moments.mean_y - coefs @ moments.mean_x - intercepts
    return (np.sum(missed**2, axis=(0, 2)) + np.sum(shift**2, axis=1)) / m


def results_table(params, mean, std, splits=()):
    """What GridSearchCV calls ``cv_results_``: a dict of columns, one entry a setting.

    Parameters
    ----------
    params : list of dict
    mean, std : ndarray of shape (n_settings,)
    splits : sequence of ndarray of shape (n_settings,)
        Scores of each split; none for leave-one-out.
    """
    table = {}
    for name in params[0]:
        column = np.ma.MaskedArray(np.empty(len(params)), mask=False, dtype=object)
        column[:] = [_hashable(setting[name]) for setting in params]
        table[f"param_{name}"] = column
    table["params"] = params
    for i, scores in enumerate(splits):
        table[f"split{i}_test_score"] = scores
    table["mean_test_score"], table["std_test_score"] = mean, std
    # As in GridSearchCV what has no score is behind all that have one, whatever their units.
    ranks = rankdata(-np.where(np.isnan(mean), -np.inf, mean), method="min")
    table["rank_test_score"] = ranks.astype(np.int32)
    return table


def _hashable(value):
    """Sequences as tuples, so that a column holds one object a setting."""
    return tuple(value) if isinstance(value, (list, np.ndarray)) else value
