"""Searches that train all candidates of one shape, on all folds, at once."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    check_cv,
)
from sklearn.utils import get_tags, indexable

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._compat import _num_samples, _routing_enabled
from sklearn_deeplinear._documentation import Documented
from sklearn_deeplinear._parameters import check_real
from sklearn_deeplinear.model_selection._fit_table import FitTable, prefix_of
from sklearn_deeplinear.model_selection._trained import Fit, Trained, digest

# What all searches of scikit-learn take.
_SHARED = {*GridSearchCV(None, None).get_params()} - {"param_grid", "estimator"}

_ONE_BY_ONE = "{} are fitted one by one: {}."


def _why_alone_altogether(estimator, params):
    """Why no candidate can be stacked, whatever its parameters, or None."""
    if _routing_enabled():
        return "metadata routing is enabled"
    prefix = prefix_of(estimator)
    for name in params:
        if name not in ("groups", prefix + "sample_weight"):
            return f"{name} is passed to fit"
    return None


if TYPE_CHECKING:  # a mixin calls on what only its searches have
    _Search: Any
else:
    _Search = object


class BatchedSearch(Documented, _Search):
    """Mixin of searches, which define ``_candidates()``: parameters of each, as dicts."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self.estimator).target_tags
        return tags

    @all_or_nothing
    def fit(self, X, y=None, **params) -> Self:
        """Search, and fit the best candidate to all data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        **params : dict
            ``groups`` for the splitter, and what is passed to `fit`: arrays with an entry for
            each sample are split.

        Returns
        -------
        self : object
            The fitted search.
        """
        self._validate_params()
        memory = check_real(self.batch_memory, "batch_memory", closed=False)
        reason = _why_alone_altogether(self.estimator, params)
        if reason is not None:
            warnings.warn(_ONE_BY_ONE.format("Candidates", reason), UserWarning, stacklevel=3)
            return super().fit(X, y, **params)
        groups = params.pop("groups", None)
        X, y, groups = indexable(X, y, groups)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        rows = np.arange(_num_samples(X))  # splits may be masks
        splits = [(rows[train], rows[test]) for train, test in cv.split(X, y, groups)]
        candidates = list(self._candidates())
        table = FitTable(self, X, y, params, splits)
        for reason, count in table.add(candidates).items():
            who = f"{count} of {len(candidates)} candidates"
            warnings.warn(_ONE_BY_ONE.format(who, reason), UserWarning, stacklevel=3)
        fits = table.fits(memory)
        if (
            fits
            and isinstance(self.refit, bool)
            and all(fit.score is not None for fit in fits.values())
        ):
            self._rank(table, candidates, fits)
            if self.refit:
                self._fit_best(X, y, params)
        else:
            self._score(table, candidates, fits, X, y, splits, params)
        if self.scoring is None:  # the scorer is the estimator's, and `Trained` holds all fits
            self.scorer_ = check_scoring(self.estimator)
        return self

    def _rank(self, table, candidates, fits):
        """Find the best one by scores that are known."""
        found = [fits[key] for parameters in candidates for key in table.keys(parameters)]
        out = [
            {"test_scores": fit.score, "fit_time": fit.seconds, "score_time": 0.0} for fit in found
        ]
        self.n_splits_, self.multimetric_ = len(table.folds), False
        self.cv_results_ = self._format_results(candidates, self.n_splits_, out)
        self.best_index_ = self._select_best_index(True, "score", self.cv_results_)
        self.best_score_ = self.cv_results_["mean_test_score"][self.best_index_]
        self.best_params_ = candidates[self.best_index_]

    def _score(self, table, candidates, fits, X, y, splits, params):
        """Search as scikit-learn does, among fits that are there."""
        rows = np.arange(_num_samples(X))
        # The best one keeps what fits in stacks do not, on splits that train on all data, too.
        known = {key: fit for key, fit in fits.items() if key[1] != digest(rows)}
        own = {name: getattr(self, name) for name in _SHARED}
        own |= {"estimator": Trained(self.estimator, known), "cv": splits, "n_jobs": None}
        own["param_grid"] = [{name: [v] for name, v in p.items()} for p in candidates]
        search = GridSearchCV(**own).fit(X, y, rows=rows, **params)
        self.__dict__ |= {name: value for name, value in vars(search).items() if name[-1] == "_"}
        if self.refit:
            self.best_estimator_ = search.best_estimator_.estimator
        self._set_fit_times(table, fits)

    def _fit_best(self, X, y, params):
        begin = time.perf_counter()
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        self.best_estimator_ = best.fit(X, y, **params)
        self.refit_time_ = time.perf_counter() - begin
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def _set_fit_times(self, table, fits):
        unknown = Fit(None)
        times = np.array(
            [
                [fits.get(key, unknown).seconds for key in table.keys(parameters)]
                for parameters in self.cv_results_["params"]
            ]
        )
        self.cv_results_["mean_fit_time"] = times.mean(axis=1)
        self.cv_results_["std_fit_time"] = times.std(axis=1)


class BatchedGridSearchCV(BatchedSearch, GridSearchCV):
    """GridSearchCV for networks of this package, trained in stacks.

    Candidates of one shape and all folds make each step of gradient descent in the same
    operations; each has weights, data, decays, noise, step sizes and an end of its own. One that
    has converged or diverged leaves the others as they are. Scores are those of GridSearchCV up
    to rounding, and so are all attributes; the fit times are equal shares of the time of a stack.

    Stacks are for ``DeepLinearRegressor``, ``MultiPathwayRegressor``,
    ``HomogeneousMLPRegressor`` and ``HomogeneousMLPClassifier`` with ``solver="gd"``, alone or
    as the last step of a pipeline, whose other steps are then fitted once a fold for each of
    their own settings. Other candidates are fitted one by one, and a warning says which.

    Parameters
    ----------
    estimator : estimator
        Whose parameters are searched.
    param_grid : dict or list of dicts
        Lists of values by the names of parameters.
    scoring : str, callable, list, tuple or dict, default=None
        As in :class:`~sklearn.model_selection.GridSearchCV`, like all parameters but the last.
    n_jobs : int, default=None
        Number of processes for several stacks, and for fits that are in none.
    refit : bool, str or callable, default=True
        Whether, and by which score, the best candidate is fitted to all data.
    cv : int, cross-validation generator or iterable, default=None
        Splits.
    verbose : int, default=0
        Print progress; a line for each stack.
    pre_dispatch : int or str, default="2*n_jobs"
        See there.
    error_score : "raise" or float, default=nan
        Score of a fit that fails.
    return_train_score : bool, default=False
        Whether training scores are computed.
    batch_memory : float, default=1e9
        Bytes that a stack may take, roughly; larger ones are split.

    Attributes
    ----------
    best_estimator_, best_score_, best_params_, best_index_, cv_results_, n_splits_, ...
        Those of :class:`~sklearn.model_selection.GridSearchCV`.

    See Also
    --------
    DeepLinearRegressorCV : Exact minima instead of training, or stopping times.

    Notes
    -----
    Scorers see fits without `balance_history_`, and with ``tol=0`` with the first and the last
    record only: measuring them all takes longer than training. Steps too large for training to
    come to rest may make it chaotic: rounding grows, and scores differ from those of GridSearchCV.

    References
    ----------
    .. [1] Bergstra, J., Bengio, Y. (2012). "Random search for hyper-parameter optimization."
       Journal of Machine Learning Research 13 (what a grid finds, and what it misses).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.model_selection import BatchedGridSearchCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressor(depth=2, width=10, max_iter=300, tol=0)
    >>> grid = {"weight_decay": [0.0, 0.1, 1.0], "depth": [2, 3]}
    >>> search = BatchedGridSearchCV(model, grid, cv=3).fit(scale(X), scale(y))
    >>> search.best_params_
    {'depth': 2, 'weight_decay': 0.0}
    """

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
        batch_memory=1e9,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.batch_memory = batch_memory

    def _candidates(self):
        return ParameterGrid(self.param_grid)


class BatchedRandomizedSearchCV(BatchedSearch, RandomizedSearchCV):
    """RandomizedSearchCV for networks of this package, trained in stacks.

    As :class:`BatchedGridSearchCV`, with candidates that are drawn.

    Parameters
    ----------
    estimator : estimator
        Whose parameters are searched.
    param_distributions : dict or list of dicts
        Lists of values, or distributions to draw from, by the names of parameters.
    n_iter : int, default=10
        Number of candidates.
    scoring : str, callable, list, tuple or dict, default=None
        As in :class:`~sklearn.model_selection.RandomizedSearchCV`, like all parameters but the
        last.
    n_jobs : int, default=None
        Number of processes for several stacks, and for fits that are in none.
    refit : bool, str or callable, default=True
        Whether, and by which score, the best candidate is fitted to all data.
    cv : int, cross-validation generator or iterable, default=None
        Splits.
    verbose : int, default=0
        Print progress; a line for each stack.
    pre_dispatch : int or str, default="2*n_jobs"
        See there.
    random_state : int, RandomState instance or None, default=None
        Seed of the candidates.
    error_score : "raise" or float, default=nan
        Score of a fit that fails.
    return_train_score : bool, default=False
        Whether training scores are computed.
    batch_memory : float, default=1e9
        Bytes that a stack may take, roughly; larger ones are split.

    Attributes
    ----------
    best_estimator_, best_score_, best_params_, best_index_, cv_results_, n_splits_, ...
        Those of :class:`~sklearn.model_selection.RandomizedSearchCV`.

    See Also
    --------
    BatchedGridSearchCV : All candidates of a grid.

    References
    ----------
    .. [1] Bergstra, J., Bengio, Y. (2012). "Random search for hyper-parameter optimization."
       Journal of Machine Learning Research 13.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.model_selection import BatchedRandomizedSearchCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressor(depth=2, width=10, max_iter=300, tol=0)
    >>> drawn = {"weight_decay": loguniform(1e-3, 1)}
    >>> search = BatchedRandomizedSearchCV(model, drawn, n_iter=20, cv=3, random_state=0)
    >>> search = search.fit(scale(X), scale(y))
    >>> len(search.cv_results_["params"])
    20
    """

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
        batch_memory=1e9,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.batch_memory = batch_memory

    def _candidates(self):
        return ParameterSampler(
            self.param_distributions, self.n_iter, random_state=self.random_state
        )
