"""Grid search that trains all candidates of one shape, on all folds, at once."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags, indexable

from sklearn_deeplinear._compat import (
    _check_method_params,
    _num_samples,
    _routing_enabled,
    _safe_indexing,
)
from sklearn_deeplinear._parameters import check_real
from sklearn_deeplinear.model_selection._trained import Trained, fit_key


class BatchedGridSearchCV(GridSearchCV):
    """GridSearchCV for networks of this package, trained in stacks.

    Candidates of one shape and all folds make each step of gradient descent in the same
    operations; each has weights, data, decays, noise, step sizes and an end of its own. One that
    has converged or diverged leaves the others as they are. Scores are those of GridSearchCV up
    to rounding, and so are all attributes; the fit times are equal shares of the time of a stack.

    Stacks are for ``DeepLinearRegressor``, ``MultiPathwayRegressor``,
    ``HomogeneousMLPRegressor`` and ``HomogeneousMLPClassifier`` with ``solver="gd"``, alone or
    as the last step of a pipeline, whose other steps are then fitted once a fold for each of
    their own settings. Everything else is searched as GridSearchCV does, with a warning.

    Parameters
    ----------
    estimator : estimator
        Whose parameters are searched.
    param_grid : dict or list of dicts
        Lists of values by the names of parameters.
    scoring : str, callable, list, tuple or dict, default=None
        As in :class:`~sklearn.model_selection.GridSearchCV`, like all parameters but the last.
    n_jobs : int, default=None
        Number of processes, where candidates are not trained in stacks.
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
    record only: measuring them all takes longer than training.

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self.estimator).target_tags
        return tags

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
        self : BatchedGridSearchCV
            The fitted search.
        """
        memory = check_real(self.batch_memory, "batch_memory", closed=False)
        reason = self._why_not_stacked(params)
        if reason is not None:
            warnings.warn(f"Candidates are fitted one by one: {reason}.", UserWarning, stacklevel=2)
            return super().fit(X, y, **params)
        groups = params.pop("groups", None)
        X, y, groups = indexable(X, y, groups)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        rows = np.arange(_num_samples(X))  # splits may be masks
        splits = [(rows[train], rows[test]) for train, test in cv.split(X, y, groups)]
        fits, seconds = self._train(X, y, params, splits, memory)
        own = {name: getattr(self, name) for name in GridSearchCV(None, None).get_params()}
        own |= {"estimator": Trained(self.estimator, fits), "cv": splits, "n_jobs": None}
        search = GridSearchCV(**own).fit(X, y, rows=rows, **params)
        self.__dict__ |= {name: value for name, value in vars(search).items() if name[-1] == "_"}
        if hasattr(self, "best_estimator_"):
            self.best_estimator_ = self.best_estimator_.estimator
        if self.scoring is None:  # the scorer is the estimator's, and `Trained` holds all fits
            self.scorer_ = check_scoring(self.estimator)
        self._set_fit_times(splits, seconds)
        return self

    def _why_not_stacked(self, params):
        from sklearn_deeplinear.estimators._fit_together import why_alone

        if _routing_enabled():
            return "metadata routing is enabled"
        last, prefix = _last_step(self.estimator), _prefix(self.estimator)
        for name in params:
            if name not in ("groups", prefix + "sample_weight"):
                return f"{name} is passed to fit"
        reasons = [why_alone(last)]
        for grid in ParameterGrid(self.param_grid).param_grid:
            if prefix and prefix[:-2] in grid:
                return "the last step of the pipeline is searched"
            for name in _DECIDING & {name.removeprefix(prefix) for name in grid}:
                values = grid[prefix + name]
                reasons += [why_alone(clone(last).set_params(**{name: v})) for v in values]
        return next((reason for reason in reasons if reason is not None), None)

    def _train(self, X, y, params, splits, memory):
        """Fitted estimators and seconds that each took, by :func:`fit_key`."""
        from sklearn_deeplinear.estimators._fit_together import Member, fit_together

        prefix, kinds, fits = _prefix(self.estimator), defaultdict(list), {}
        prepared = _Prepared(self.estimator, prefix, X, y, params, splits)
        for parameters in ParameterGrid(self.param_grid):
            for fold, (train, _) in enumerate(splits):
                key = fit_key(parameters, train)
                try:
                    whole, last, data = prepared(parameters, fold)
                    member = Member.of(last, *data)
                except Exception as error:  # the search knows what an error scores
                    fits[key] = error
                    continue
                kinds[member.kind].append(member)
                fits[key] = whole
        seconds, failed = {}, set()
        for members in kinds.values():
            not_finite, share = fit_together(members, memory)
            failed |= {id(member.estimator) for member in not_finite}
            seconds |= {id(member.estimator): share for member in members}
            if self.verbose:
                print(f"[CV] {len(members)} fits in a stack: {share * len(members):.2f} s")
        for key, whole in fits.items():
            if not isinstance(whole, Exception) and id(_last_step(whole)) in failed:
                fits[key] = ValueError("init gives a network whose objective is not finite.")
        return fits, {
            key: seconds.get(id(_last_step(whole)), 0.0)
            for key, whole in fits.items()
            if not isinstance(whole, Exception)
        }

    def _set_fit_times(self, splits, seconds):
        times = np.array(
            [
                [seconds.get(fit_key(parameters, train), 0.0) for train, _ in splits]
                for parameters in self.cv_results_["params"]
            ]
        )
        self.cv_results_["mean_fit_time"] = times.mean(axis=1)
        self.cv_results_["std_fit_time"] = times.std(axis=1)


# Parameters that decide whether networks can be stacked.
_DECIDING = {"solver", "warm_start", "early_stopping", "compression", "callbacks", "checkpoint"}


class _Prepared:
    """Estimators of candidates and the data that they get on each fold, transformed once."""

    def __init__(self, estimator, prefix, X, y, params, splits):
        self.estimator, self.prefix, self.splits = estimator, prefix, splits
        self.X, self.y, self.params = X, y, params
        self.known = {}

    def __call__(self, parameters, fold):
        """The whole estimator, its last step, and X, y and the weights that this gets."""
        train = self.splits[fold][0]
        whole = clone(self.estimator).set_params(**clone(parameters, safe=False))
        weights = _check_method_params(self.X, self.params, indices=train)
        weight = weights.get(self.prefix + "sample_weight")
        X, y = _safe_indexing(self.X, train), self.y
        y = None if y is None else _safe_indexing(y, train)
        if not self.prefix:
            return whole, whole, (X, y, weight)
        own = {name: v for name, v in parameters.items() if not name.startswith(self.prefix)}
        key = fit_key(own, np.array([fold]))
        if key not in self.known:
            steps = whole.steps[:-1]
            self.known[key] = steps, Pipeline(steps).fit_transform(X, y) if steps else X
        whole.steps[:-1], transformed = self.known[key]
        return whole, whole.steps[-1][1], (transformed, y, weight)


def _last_step(estimator):
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _prefix(estimator):
    """What the names of parameters of the last step begin with."""
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][0] + "__"
    return ""
