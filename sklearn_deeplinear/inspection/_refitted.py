"""The best candidates of a search, fitted to all data: results of searches hold scores only."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from sklearn_deeplinear.inspection._plotting import fitted
from sklearn_deeplinear.model_selection import DeepLinearRegressorCV
from sklearn_deeplinear.model_selection._fit_table import last_step


def best_refitted(search, X, y, param, fit_params=None):
    """For each value of a parameter, the fit of the candidate with the best score.

    Parameters
    ----------
    search : GridSearchCV, another search with `estimator` and `cv_results_`, or
        DeepLinearRegressorCV
        Fitted.
    X, y : array-like
        Data; DeepLinearRegressorCV has their moments, and takes None.
    param : str
        Name of the parameter, a number, with or without the names of the steps before it.
    fit_params : dict, default=None
        Passed to `fit`.

    Returns
    -------
    values : ndarray of shape (n_values,)
        Values that were tried, ascending.
    networks : list of estimators
        Fits at these values, the last steps of pipelines.
    """
    results = fitted(search, "cv_results_", "OptimalityDisplay")
    if getattr(search, "per_target", False):
        raise ValueError("search must have per_target=False, for one network and its minimum.")
    name = _full_name(results["params"], param)
    best: dict = {}
    for row in np.argsort(_ranks(search), kind="stable")[::-1]:
        if name in results["params"][row]:  # a list of grids may search it in one of them only
            best[_number(results["params"][row][name], param)] = row
    values = sorted(best)
    return np.array(values), [
        last_step(_refit(search, best[value], X, y, fit_params or {})) for value in values
    ]


def _refit(search, row, X, y, fit_params):
    if isinstance(search, DeepLinearRegressorCV):
        return search._network(row).fit_moments(search.moments_)
    if X is None or y is None:
        raise ValueError(f"X and y must be given, for {type(search).__name__} keeps no data.")
    params = clone(search.cv_results_["params"][row], safe=False)
    return clone(search.estimator).set_params(**params).fit(X, y, **fit_params)


def _ranks(search):
    """Of all candidates, the best is 1, by the metric that chooses, or the only one."""
    refit = getattr(search, "refit", True)
    named = f"rank_test_{refit}"
    columns = [name for name in search.cv_results_ if name.startswith("rank_test_")]
    if named not in columns and len(columns) > 1:
        raise ValueError(f"search must choose by one of its metrics, got refit={refit!r}.")
    return np.asarray(search.cv_results_[named if named in columns else columns[0]])


def _full_name(candidates, param):
    names = sorted({name for params in candidates for name in params})
    found = [name for name in names if name == param or name.endswith(f"__{param}")]
    if len(found) != 1:
        raise ValueError(f"param must be one of the parameters searched, {names}; got {param!r}.")
    return found[0]


def _number(value, param):
    if not np.isscalar(value) or isinstance(value, str):
        raise ValueError(f"param must be a number of each candidate, {param!r} is {value!r}.")
    return float(value)
