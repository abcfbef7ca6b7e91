"""Small fits of every estimator that are to be interrupted, and what must be true then."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from tests.faults import assert_same, fail_at, lines_of, process_state

RNG = np.random.RandomState(0)
X = RNG.standard_normal((20, 3))
Y = X @ RNG.standard_normal((3, 2)) + RNG.standard_normal((20, 2))
LABELS = make_classification(20, 3, n_informative=3, n_redundant=0, n_classes=2, random_state=0)[1]
# Other data of other columns, which a former fit has seen.
BEFORE = X[:, :2] + 1, Y[:, :1] - 1, LABELS[::-1].copy()

RUN = {
    "width": 4,
    "init": "normal",
    "init_scale": 0.4,
    "weight_decay": 0.05,
    "step_size": 0.02,
    "tol": 0.0,
    "record_every": 20,
    "record_weights": True,
    "random_state": 0,
    "max_iter": 250,  # two chunks of records
}
EPOCHS = {"max_iter": 4, "record_every": 1, "batch_size": 5}


@dataclass
class Case:
    """A call, of which it is known what it may leave."""

    estimator: Any
    method: str = "fit"

    def data(self, former=False):
        """X and y: of the fit, or of the former one."""
        labels = isinstance(self.estimator, (DeepLinearClassifier, HomogeneousMLPClassifier))
        if self.method == "partial_fit" or not former:
            X_, Y_, labels_ = (X, Y, LABELS) if not former else (X[::-1], Y[::-1], LABELS[::-1])
        else:
            X_, Y_, labels_ = BEFORE
        return X_, labels_ if labels else Y_

    def start(self, refit):
        """A fresh estimator, or one that was fitted to other data."""
        estimator = clone(self.estimator)
        return self.call(estimator, former=True) if refit else estimator

    def call(self, estimator, former=False):
        """Make the call."""
        more = {}
        if self.method == "partial_fit" and hasattr(estimator, "predict_proba"):
            more = {"classes": np.unique(LABELS)}
        getattr(estimator, self.method)(*self.data(former), **more)
        return estimator


def _run(model, **options):
    return Case(clone(model).set_params(**RUN | options))


CASES = {
    "linear analytic": _run(DeepLinearRegressor(3), solver="analytic"),
    "linear gd": _run(DeepLinearRegressor(2)),
    "linear momentum": _run(DeepLinearRegressor(2), solver="momentum"),
    "linear flow": _run(DeepLinearRegressor(2), solver="flow"),
    "linear sgd": _run(DeepLinearRegressor(2), solver="sgd", **EPOCHS),
    "linear adam": _run(DeepLinearRegressor(2), solver="adam", **EPOCHS),
    "linear lbfgs": _run(DeepLinearRegressor(2), solver="lbfgs", record_every=3, max_iter=12),
    "noisy gd, early": _run(DeepLinearRegressor(2), noise=0.1, early_stopping=True),
    "pathways gd": _run(MultiPathwayRegressor((1, 2))),
    "pathways krylov": _run(MultiPathwayRegressor(2), compression="krylov", width=60),
    "relu pathways adam": _run(
        MultiPathwayRegressor(2, activation="relu"), solver="adam", **EPOCHS
    ),
    "perceptron gd": _run(HomogeneousMLPRegressor(2), max_iter=210),
    "perceptron flow": _run(HomogeneousMLPRegressor(2), solver="flow", max_iter=6, record_every=1),
    "classifier sgd": _run(HomogeneousMLPClassifier(2), solver="sgd", **EPOCHS),
    "classifier lbfgs": _run(
        HomogeneousMLPClassifier(2), solver="lbfgs", record_every=3, max_iter=12
    ),
    "linear classifier gd": _run(DeepLinearClassifier(2), max_iter=60),
    "linear classifier analytic": _run(DeepLinearClassifier(2), solver="analytic"),
    "partial_fit of moments": Case(_run(DeepLinearRegressor(2)).estimator, "partial_fit"),
    "partial_fit by sgd": Case(
        _run(DeepLinearRegressor(2), solver="sgd", **EPOCHS).estimator, "partial_fit"
    ),
    "partial_fit of a classifier": Case(
        _run(HomogeneousMLPClassifier(2), solver="adam", **EPOCHS).estimator, "partial_fit"
    ),
    "cv of minima": Case(DeepLinearRegressorCV([0.01, 0.1], depths=[1, 2], cv=2)),
    "cv of stopping": Case(
        DeepLinearRegressorCV(
            [0.01, 0.1], depths=[2], cv=2, solver="gd", stopping="cv", max_iter=210
        )
    ),
    "cv of flows": Case(DeepLinearRegressorCV([0.1], depths=[2], cv=2, solver="flow", max_iter=40)),
    "search": Case(
        BatchedGridSearchCV(
            _run(DeepLinearRegressor(2), record_weights=False).estimator,
            {"weight_decay": [0.1, 1.0], "depth": [1, 2]},
            cv=2,
            error_score="raise",
        )
    ),
    "search one by one": Case(
        BatchedGridSearchCV(
            _run(DeepLinearRegressor(2), solver="lbfgs", record_every=3, max_iter=12).estimator,
            {"weight_decay": [0.1, 1.0]},
            cv=2,
            error_score="raise",
        )
    ),
}


class Faults:
    """A case, its lines, and the outcome of calls in which a fault occurs."""

    def __init__(self, name):
        self.case = CASES[name]
        with quiet():
            self.whole = {refit: self.case.call(self.case.start(refit)) for refit in (False, True)}
            self.lines = {}
            for refit in (False, True):
                estimator = self.case.start(refit)
                self.lines[refit] = lines_of(lambda e=estimator: self.case.call(e))

    def check(self, position, refit, error=KeyboardInterrupt):
        """Fail there; raise an AssertionError if what is left is not what it must be."""
        with quiet():
            estimator = self.case.start(refit)
            before, state = dict(vars(estimator)), process_state()
            try:
                fail_at(lambda: self.case.call(estimator), position, error)
            except (error, AttributeError) as caught:  # what available_if makes of an error
                if error not in (type(caught), type(caught.__cause__)):
                    raise
                assert_untouched(estimator, before)
                outcome = "raised"
            else:
                outcome = self.judge(estimator, refit)
            assert_same(process_state(), state, "process")
            again = self.case.call(estimator)
            if outcome == "raised":  # nothing was spoilt
                assert_same(again, self.whole[refit], "the next fit")
        return outcome

    def judge(self, estimator, refit):
        """What is left of a call that has caught the fault."""
        whole, inner = self.whole[refit], trained(estimator)
        if self.case.method == "partial_fit":
            assert inner.stop_reason_ != "interrupted", "a batch is taken or not"
        estimator.predict(self.case.data()[0])
        reason = getattr(inner, "stop_reason_", None)
        if reason != "interrupted":
            assert_same(estimator, whole, "a fit that says it is whole")
            return "whole"
        own, full = inner.trajectory_, trained(whole).trajectory_
        n = len(own.iteration)
        assert_same(own.iteration, full.iteration[:n], "iteration")
        for part in fields(own):
            value = getattr(own, part.name)
            if isinstance(value, np.ndarray) and part.name not in ("mode_strengths",):
                assert len(value) == n, f"{part.name} of {len(value)} records, not {n}"
        assert_same(own.loss, full.loss[:n], "loss")
        if own.weights is not None:
            kept = -1 if own.validation_loss is None else int(np.argmin(own.validation_loss))
            assert_same(own.weights, full.weights[:n], "weights")
            assert_same(list(inner.weights_), list(own.weights[kept]), "weights_")
        return "interrupted"


def trained(estimator):
    """The estimator, or the one that a search has trained on all data."""
    own = vars(estimator)
    return own.get("best_estimator_") or own.get("estimator_") or estimator


def assert_untouched(estimator, before):
    """The very attributes that the estimator had."""
    now = vars(estimator)
    changed = {name for name in now.keys() & before.keys() if now[name] is not before[name]}
    assert not changed | (now.keys() ^ before.keys()), changed | (now.keys() ^ before.keys())


@contextmanager
def quiet():
    """Warnings of runs that are short or interrupted are no subject here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
