"""What all trained estimators have in common."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import (
    NUMPY,
    Place,
    move_results,
    on_host,
)
from sklearn_deeplinear._compat import CallbackSupportMixin, LoadsOlderFiles, _fit_context
from sklearn_deeplinear._documentation import Documented
from sklearn_deeplinear._results import Trajectory
from sklearn_deeplinear.dynamics.runs._descent import is_unfinished, warn_unfinished
from sklearn_deeplinear.dynamics.runs._threads import suitable_threads
from sklearn_deeplinear.estimators._absent import absent_where_unknown
from sklearn_deeplinear.estimators._advice import is_nearly_minimal
from sklearn_deeplinear.estimators._callbacks import FitListener
from sklearn_deeplinear.estimators._options import own_random_state
from sklearn_deeplinear.estimators._partial_fit import (
    Continued,
    check_partial_fit,
    may_continue,
    moved,
)
from sklearn_deeplinear.estimators._run_options import RunOptions, former
from sklearn_deeplinear.estimators._solvers import initial_dynamics, solve
from sklearn_deeplinear.estimators._tensors import as_float64
from sklearn_deeplinear.estimators._training_data import with_weight
from sklearn_deeplinear.theory import GlobalMinimum

# Attributes whose values take time, made when they are asked for, and what the problem keeps then.
_COMPUTED = {
    "global_minimum_": "global_minimum",
    "optimality_gap_": "global_minimum",
    "optimality_certificate_": "certificate",
}


class TrainedNetwork(Documented, LoadsOlderFiles, CallbackSupportMixin, BaseEstimator):
    """Fit by a solver; subclasses check data and pose the problem.

    They define ``_check_data(X, y, sample_weight, reset=True)``, ``_problem_of(X, y,
    sample_weight, options)`` for data to be fitted, ``_problem_on(X, y, sample_weight,
    options)`` for other data of the network that was fitted, and ``_weighted(y, sample_weight)``
    for the targets (n, m) and shares (n,) of data beside those that are being fitted.
    """

    trajectory_: Trajectory
    loss_: float
    objective_: float
    n_iter_: int
    stop_reason_: str
    converged_: bool
    best_validation_loss_: float | None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    @property
    def _needs_all_samples(self) -> bool:
        """Whether batches of them cannot train the network."""
        return False

    @property
    def _adds_moments(self) -> bool:
        """Whether partial_fit adds moments to those of former batches."""
        return False

    def _fit(self, X, y, sample_weight, *validation):
        self.__dict__.pop("_continued", None)
        place = Place.of(X)
        options = RunOptions.of(self, place.device)
        data = self._check_data(X, y, sample_weight)
        held_out = self._check_validation(*validation)
        if held_out is None and self.early_stopping:
            data, held_out = self._split(*data)
        problem = self._problem_of(*data, options)
        if held_out is not None:
            options = replace(options, validation=self._validation(problem, *held_out))
        return self._train(problem, options, data, place)

    @available_if(may_continue)
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Go on with a batch of data, which need not be kept.

        With "sgd" and "adam" the network makes one epoch of mini-batches of this batch, from
        where the last call, or `fit`, has left it. Averages of Adam are kept between calls;
        automatic step sizes are those of the batch. With other solvers a linear regression adds
        the moments of the batch to `moments_`, and is trained anew on those of all batches:
        after each call it is what one `fit` to all data would give, in memory that does not
        grow. Where training takes long and only the last fit matters, give
        :meth:`SecondMoments.from_batches <sklearn_deeplinear.theory.SecondMoments.from_batches>`
        to `fit_moments`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs of the batch.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets of the batch.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None weights all equally. A batch after the first one whose
            weights are all zero changes nothing.

        Returns
        -------
        self : object
            The estimator. `trajectory_` and `balance_history_` are those of this call; `n_iter_`
            counts the epochs of all calls, or the steps of the last fit to moments.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid, or do not suit those of former calls.
        KeyboardInterrupt
            If the call is interrupted (Ctrl-C). Then, as after any error, the batch is as if
            it had not been given.
        """
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X, y, sample_weight):
        place, first = Place.of(X), not hasattr(self, "weights_")
        options = RunOptions.of(self, place.device)
        check_partial_fit(options)
        sample_weight = on_host(sample_weight)
        if not first and sample_weight is not None and not np.any(sample_weight):
            self._check_batch(X, y, np.ones_like(sample_weight, dtype=float), first)
            return self
        X, y, sample_weight = data = self._check_batch(X, y, sample_weight, first)
        if options.rows_of_a_step is None:
            problem = self._problem_with_more(X, y, sample_weight, first)
            return self._train_on_batch(problem, options, data, place)
        before = 0 if first else self.n_iter_
        continued = Continued(vars(self).get("_continued"), options)
        problem = self._problem_of_batch(X, y, sample_weight, options, first)
        epoch = {"max_iter": 1, "record_every": 1, "continued": continued}
        options = replace(options, former=moved(former(self)), **epoch)
        self._train_on_batch(problem, options, data, place)
        self._continued, self.n_iter_ = continued.memory, before + self.n_iter_
        return self

    def _train_on_batch(self, problem, options, data, place):
        self._train(problem, options, data, place)
        if self.stop_reason_ == "interrupted":  # what is left is as before the call
            raise KeyboardInterrupt
        return self

    def _check_batch(self, X, y, sample_weight, first):
        return self._check_data(X, y, sample_weight, reset=first)

    def _problem_with_more(self, X, y, sample_weight, first):
        """The problem of the moments of all batches so far, where there are moments."""
        raise NotImplementedError

    def _problem_of_batch(self, X, y, sample_weight, options, first):
        """What mini-batches of a batch of data minimise."""
        pose = self._problem_of if first else self._problem_on
        return pose(X, y, sample_weight, options)

    def _check_validation(self, X, y, sample_weight):
        """The validation data that :meth:`fit` was given, or None."""
        if X is None and y is None and sample_weight is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together, or none of them.")
        with _named("X_val, y_val and sample_weight_val must be like the data of fit"):
            return self._check_data(X, y, sample_weight, reset=False)

    def _split(self, X, y, sample_weight):
        """Training data and those held out of them, drawn at random."""
        parts = [X, y] if sample_weight is None else [X, y, sample_weight]
        options = {
            "test_size": float(self.validation_fraction),
            "random_state": own_random_state(self.random_state),
        }
        with _named("validation_fraction must leave samples to train on and to hold out"):
            parts = train_test_split(*parts, **options, stratify=self._strata(y))
            if not all(weight.any() for weight in parts[4:]):
                raise ValueError("the samples of one part all have weight zero.")
        return (tuple([*parts[side::2], None][:3]) for side in (0, 1))

    def _strata(self, y):
        """What is to be spread evenly over training and validation data, for classifiers."""
        return

    def _validation(self, problem, X, y, sample_weight):
        """Checked validation data in the coordinates of the problem."""
        with _named("X_val, y_val and sample_weight_val must be like the data of fit"):
            Y, shares = self._weighted(y, sample_weight)
            if Y.shape[1] != problem.n_outputs:
                raise ValueError(f"y must hold {problem.n_outputs} columns, got {Y.shape[1]}.")
            dense = X if issparse(X) else as_float64(X)
            return problem.validation(*with_weight(dense, Y, shares))

    def _train(self, problem, options, data, place=NUMPY):
        listener = FitListener(self, *place.moved(list(data)), place=place)
        with suitable_threads(problem.step_flops(options.rows_of_a_step)):
            self._keep(problem, solve(problem, options, listener))
        move_results(self, place)
        listener.end()
        return self

    def _dynamics_starter(self, X, y):
        """Return a function that makes the initial network anew, from data not yet fitted."""
        other = copy.copy(self)  # which learns the names and shapes of these data
        other._validate_params()
        options = RunOptions.of(other, Place.of(X).device)
        problem = other._problem_of(*other._check_data(X, y, None), options)
        return initial_dynamics(problem, options)

    def _hessian_eigenvalues(self, X, y, sample_weight, *, k, which):
        check_is_fitted(self)
        options = RunOptions.of(self, Place.of(X).device)
        data = self._check_data(X, y, sample_weight, reset=False)
        problem = self._problem_on(*data, options)
        dynamics = problem.dynamics(problem.given(former(self), "weights_"), options)
        return dynamics.hessian_eigenvalues(dynamics.state, k=k, which=which)

    def _keep(self, problem, outcome):
        for name, value in problem.attributes(outcome.dynamics).items():
            setattr(self, name, value)
        run = outcome.run
        self.trajectory_ = run.trajectory
        self.balance_history_ = run.balance
        self.loss_ = float(run.trajectory.loss[run.record])
        self.objective_ = float(run.trajectory.objective[run.record])
        losses = run.trajectory.validation_loss
        self.best_validation_loss_ = None if losses is None else float(losses.min())
        self.n_iter_ = outcome.n_iter
        self.step_size_ = outcome.step_size
        self.stop_reason_ = run.stop_reason
        self.converged_ = run.stop_reason == "converged"
        if outcome.to_rest and is_unfinished(run, self.tol):
            self.converged_ = is_nearly_minimal(problem, self.objective_, float(self.tol))
            if not self.converged_:
                warn_unfinished(run, problem.advice(self.max_iter))
        # Only mini-batches train a net; that of a former fit would not belong to this one.
        self.__dict__.pop("net_", None)
        if outcome.net is not None:
            self.net_ = outcome.net


@contextmanager
def _named(demand):
    """Say in errors of the data which parameter is to blame."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{demand}: {error}") from error


class WithMinimum:
    """Mixin of estimators whose problem knows its minimum, computed on first access."""

    _problem: Any
    weights_: list
    objective_: float

    @property
    @absent_where_unknown
    def global_minimum_(self) -> GlobalMinimum:
        """Exact minimum of the training objective, computed on first access."""
        return self._minimum_beside_fit()

    def _minimum_beside_fit(self):
        check_is_fitted(self)
        return self._problem.minimum_beside(on_host(self.weights_), vars(self).get("objective_"))

    @property
    def optimality_gap_(self) -> float:
        """``objective_ - global_minimum_.objective``."""
        return self.objective_ - self.global_minimum_.objective

    def __dir__(self):
        # scikit-learn asks every attribute whether it is there, which would compute these,
        # and shows in HTML whatever it finds here: they are listed once they are known.
        known = vars(vars(self).get("_problem", self))
        hidden = {name for name, value in _COMPUTED.items() if value not in known}
        return [name for name in set(object.__dir__(self)) - hidden if hasattr(self, name)]
