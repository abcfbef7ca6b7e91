"""What all trained estimators have in common, and regressors on the squared loss."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._arrays import (
    NUMPY,
    Place,
    move_results,
    on_host,
    read_data,
    read_inputs,
    read_weight,
)
from sklearn_deeplinear._compat import CallbackSupportMixin
from sklearn_deeplinear._results import Trajectory
from sklearn_deeplinear.dynamics.runs._descent import is_unfinished, warn_unfinished
from sklearn_deeplinear.dynamics.runs._threads import suitable_threads
from sklearn_deeplinear.estimators._advice import is_nearly_minimal
from sklearn_deeplinear.estimators._callbacks import FitListener
from sklearn_deeplinear.estimators._run_options import RunOptions, former
from sklearn_deeplinear.estimators._solvers import initial_dynamics, solve
from sklearn_deeplinear.estimators._tensor_moments import moments_of
from sklearn_deeplinear.estimators._tensors import as_float64
from sklearn_deeplinear.estimators._training_data import TrainingData
from sklearn_deeplinear.theory import GlobalMinimum, SecondMoments
from sklearn_deeplinear.theory._location import shares_of
from sklearn_deeplinear.theory._moments import check_moments

# Attributes whose values take time, made when they are asked for, and what the problem keeps then.
_COMPUTED = {
    "global_minimum_": "global_minimum",
    "optimality_gap_": "global_minimum",
    "optimality_certificate_": "certificate",
}


class TrainedNetwork(CallbackSupportMixin, BaseEstimator):
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

    def _fit(self, X, y, sample_weight, *validation):
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
        options = {"test_size": self.validation_fraction, "random_state": self.random_state}
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
            return problem.validation(as_float64(X), Y, shares)

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
            self.converged_ = is_nearly_minimal(problem, self.objective_, self.tol)
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


class NetworkRegressor(MultiOutputMixin, RegressorMixin, WithMinimum, TrainedNetwork):
    """Squared loss, with the minimum beside the fit.

    Subclasses define ``_problem_from(moments, data)``; `data` are None where only the moments
    are known.
    """

    coef_: np.ndarray
    intercept_: float | np.ndarray
    moments_: SecondMoments

    def _keep(self, problem, outcome):
        super()._keep(problem, outcome)
        if problem.linear and _in_single_precision(self.weights_):
            self.loss_, self.objective_ = problem.evaluate(self.weights_)

    def _check_data(self, X, y, sample_weight, reset=True):
        options = {"multi_output": True, "y_numeric": True}
        X, y = read_data(self, X, y, reset=reset, **options)
        if sample_weight is not None:
            sample_weight = read_weight(sample_weight, X)
        return X, y, sample_weight

    def _weighted(self, y, sample_weight):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        if (weight < 0).any():
            raise ValueError("sample_weight must not be negative.")
        return as_float64(y).reshape(len(y), -1), shares_of(weight)

    def _problem_of(self, X, y, sample_weight, options):
        moments = moments_of(X, y, sample_weight, self.fit_intercept)
        return self._problem_from(moments, TrainingData(X, y, sample_weight, moments))

    def _moments_on(self, X, y, sample_weight):
        """Moments of other data of the network that was fitted, centred as it was."""
        fitted = self.moments_
        moments = moments_of(X, y, sample_weight, fitted.centered)
        if (moments.n_inputs, moments.n_outputs) != (fitted.n_inputs, fitted.n_outputs):
            raise ValueError(
                f"X and y must have {fitted.n_inputs} and {fitted.n_outputs} columns as in fit, "
                f"got {moments.n_inputs} and {moments.n_outputs}."
            )
        return moments

    def _fit_moments(self, moments):
        options = RunOptions.of(self)
        if options.rows_of_a_step is not None:
            raise ValueError(
                'solver must be "gd", "flow" or "analytic" in fit_moments, got '
                f'"{self.solver}": mini-batches are made of samples, which moments do not hold.'
            )
        if self.early_stopping:
            raise ValueError(
                "early_stopping must be False in fit_moments: there are no samples to hold out."
            )
        problem = self._problem_from(self._adopted(moments), None)
        return self._train(problem, options, (None, None, None))

    def _adopted(self, moments):
        """The `moments` in place of data, if they suit `fit_intercept`."""
        check_moments(moments)
        if self.fit_intercept and not moments.centered:
            raise ValueError(
                "fit_intercept must be False with moments that are not centred: they do not "
                "hold the means."
            )
        if not self.fit_intercept and (moments.mean_x.any() or moments.mean_y.any()):
            raise ValueError(
                "fit_intercept must be True with centred moments of data whose means are not "
                "zero; without intercept build them with center=False."
            )
        self.n_features_in_ = moments.n_inputs
        self.__dict__.pop("feature_names_in_", None)  # of a former fit
        return moments

    def _check_inputs(self, X, method="predict"):
        return read_inputs(self, X, method)


def _in_single_precision(weights):
    first = weights[0]
    return getattr(first[0] if isinstance(first, list) else first, "dtype", None) == np.float32
