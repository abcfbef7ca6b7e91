"""All fits of a search before it scores them: in stacks where that can be, else one by one."""

from __future__ import annotations

import copy
import time
from collections import Counter, defaultdict
from functools import cached_property

from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklearn_deeplinear._compat import _check_method_params, _safe_indexing
from sklearn_deeplinear.model_selection._own_scores import r2_scores
from sklearn_deeplinear.model_selection._trained import Fit, digest, settings_key


class FitTable:
    """Fits of candidates on the training sets of a search.

    Parameters
    ----------
    search : BaseSearchCV
        Its estimator and how many processes it may use are what matters.
    X, y : array-like
        Data.
    params : dict
        What is passed to `fit` besides.
    splits : list of (train, test) indices
    """

    def __init__(self, search, X, y, params, splits):
        self.search = search
        self.folds = [_Fold(X, y, params, *split) for split in splits]
        self.prefix = prefix_of(search.estimator)
        self.known, self.waiting, self.alone = {}, defaultdict(list), []

    def add(self, candidates):
        """Pose the fits of candidates, dicts of parameters; tell why how many are in no stack."""
        from sklearn_deeplinear.estimators._fit_together import why_alone

        reasons: Counter = Counter()
        fresh = _fresh(self.search.estimator)
        for parameters in candidates:
            whole = fresh(parameters)
            try:
                reason = why_alone(last_step(whole))
            except (TypeError, ValueError):  # of a parameter: what it says is told when posed
                reason = None
            if reason is None:
                self._pose(parameters, whole)
            else:
                reasons[reason] += 1
                pairs = zip(self.keys(parameters), self.folds, strict=True)
                self.alone += [(key, whole, fold) for key, fold in pairs]
        return reasons

    def _pose(self, parameters, whole):
        from sklearn_deeplinear.estimators._posing import Candidate

        try:
            candidate = Candidate(last_step(whole))
        except (TypeError, ValueError) as error:  # the search knows what an error scores
            self.known |= {key: Fit(error) for key in self.keys(parameters)}
            return
        before = {name: v for name, v in parameters.items() if not name.startswith(self.prefix)}
        before = settings_key(before)
        for key, fold in zip(self.keys(parameters), self.folds, strict=True):
            try:
                steps, posed = fold.posed(whole, before, self.prefix)
                member = posed.member(candidate)
            except Exception as error:  # of steps before the last one, or of the data
                self.known[key] = Fit(error)
                continue
            self.waiting[member.kind].append((key, whole, steps, fold, member))

    def keys(self, parameters):
        """By which :func:`fit_key` the fits of a candidate are known, one for each split."""
        settings = settings_key(parameters)
        return [(settings, fold.trained_on) for fold in self.folds]

    def fits(self, memory):
        """All fits, a dict of :class:`Fit` by :func:`fit_key`; stacks take so many bytes."""
        from sklearn_deeplinear.estimators._fit_together import fit_together, stacks

        units = [
            part
            for waiting in self.waiting.values()
            for part in stacks([member for *_, member in waiting], memory)
        ]
        done = self._each(fit_together, [(unit,) for unit in units])
        fitted = {}
        for unit, (results, seconds) in zip(units, done, strict=True):
            for member, result in zip(unit, results, strict=True):
                fitted[id(member)] = Fit(result, seconds)
            if self.search.verbose:
                print(f"[CV] {len(unit)} fits in a stack: {seconds * len(unit):.2f} s")
        scored = defaultdict(list)
        for key, whole, steps, fold, member in (w for kind in self.waiting.values() for w in kind):
            fit = self.known[key] = fitted[id(member)]
            if isinstance(fit.result, Exception):
                continue
            scored[id(fold), type(fit.result)].append((fold, fit))
            if isinstance(whole, Pipeline):
                name = whole.steps[-1][0]
                fit.result = copy.copy(whole).set_params(steps=[*steps, (name, fit.result)])
        if self._are_scores_plain():
            for pairs in scored.values():
                _score([fit for _, fit in pairs], pairs[0][0])
        alone = self._each(_fit_alone, [(whole, *fold.whole) for _, whole, fold in self.alone])
        self.known |= {key: fit for (key, *_), fit in zip(self.alone, alone, strict=True)}
        return self.known

    def _are_scores_plain(self):
        """Whether scores are r2 on test sets, one for each training set, of equal weights."""
        plain = self.search.scoring is None and not self.search.return_train_score
        weighted = self.folds[0].params.get("sample_weight") is not None
        distinct = len({fold.trained_on for fold in self.folds}) == len(self.folds)
        return plain and distinct and not weighted and not self.prefix

    def _each(self, function, arguments):
        """Values of a function, in several processes where the search may use them."""
        n_jobs = self.search.n_jobs if len(arguments) > 1 else None
        parallel = Parallel(n_jobs=n_jobs, pre_dispatch=self.search.pre_dispatch)
        return parallel(delayed(function)(*each) for each in arguments)


class _Fold:
    """The data of one split."""

    def __init__(self, X, y, params, train, test):
        self.X, self.y, self.params, self.train, self.test = X, y, params, train, test
        self.known, self.trained_on = {}, digest(train)

    @cached_property
    def whole(self):
        """Training data, and what is passed to `fit` besides."""
        params = _check_method_params(self.X, self.params, indices=self.train)
        y = None if self.y is None else _safe_indexing(self.y, self.train)
        return _safe_indexing(self.X, self.train), y, params

    @property
    def test_set(self):
        """X and y of the test set."""
        return _safe_indexing(self.X, self.test), _safe_indexing(self.y, self.test)

    def posed(self, whole, key, prefix):
        """Steps before the last one, fitted, and the data that the last one is fitted to.

        `key` tells apart the settings of these steps.
        """
        from sklearn_deeplinear.estimators._posing import PosedData

        if key not in self.known:
            X, y, params = self.whole
            steps = clone(whole).steps[:-1] if isinstance(whole, Pipeline) else []
            if steps:
                X = Pipeline(steps).fit_transform(X, y)
            self.known[key] = steps, PosedData(X, y, params.get(prefix + "sample_weight"))
        return self.known[key]


def _fresh(estimator):
    """Return a function that makes unfitted estimators with parameters of their own."""
    plain = clone(estimator)
    own = vars(plain).keys() & plain.get_params(deep=False).keys()

    def fresh(parameters):
        values = {name: clone(value, safe=False) for name, value in parameters.items()}
        if isinstance(plain, Pipeline) or not values.keys() <= own:
            return clone(plain).set_params(**values)
        whole = copy.copy(plain)  # a clone takes longer than a fit in a stack
        vars(whole).update(values)
        return whole

    return fresh


def _fit_alone(estimator, X, y, params):
    begin = time.perf_counter()
    try:
        result = clone(estimator).fit(X, y, **params)
    except Exception as error:  # the search knows what it scores
        result = error
    if getattr(result, "stop_reason_", None) == "interrupted":
        raise KeyboardInterrupt  # it is the search that the user wants to end
    return Fit(result, time.perf_counter() - begin)


def _score(fits, fold):
    scores = r2_scores([fit.result for fit in fits], *fold.test_set)
    for fit, score in zip(fits, [] if scores is None else scores, strict=False):
        fit.score = float(score)


def last_step(estimator):
    """The estimator itself, or the last step of a pipeline."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def prefix_of(estimator):
    """What the names of parameters of the last step begin with."""
    return estimator.steps[-1][0] + "__" if isinstance(estimator, Pipeline) else ""
