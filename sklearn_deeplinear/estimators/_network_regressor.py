"""Regressors on the squared loss, of linear networks from second moments alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import MultiOutputMixin

from sklearn_deeplinear._arrays import is_tensor, read_data, read_inputs, read_weight
from sklearn_deeplinear._streamed import StreamedRegressor, is_streamed, learn_features, watched
from sklearn_deeplinear.dynamics.runs._optimizers import makes_batches
from sklearn_deeplinear.estimators._base import TrainedNetwork, WithMinimum
from sklearn_deeplinear.estimators._run_options import RunOptions
from sklearn_deeplinear.estimators._tensor_moments import moments_of
from sklearn_deeplinear.estimators._tensors import as_float64
from sklearn_deeplinear.estimators._training_data import TrainingData
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._distributed import is_dask
from sklearn_deeplinear.theory._location import shares_of
from sklearn_deeplinear.theory._moments import check_moments


class NetworkRegressor(MultiOutputMixin, StreamedRegressor, WithMinimum, TrainedNetwork):
    """Squared loss, with the minimum beside the fit.

    Subclasses define ``_problem_from(moments, data)``; `data` are None where only the moments
    are known.
    """

    coef_: np.ndarray
    intercept_: float | np.ndarray
    moments_: SecondMoments

    _sparse_format: ClassVar[str | None] = None  # of X, where it may be sparse

    @property
    def _adds_moments(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._sparse_format is not None and not makes_batches(self.solver)
        return tags

    def _keep(self, problem, outcome):
        super()._keep(problem, outcome)
        if problem.linear and _in_single_precision(self.weights_):
            self.loss_, self.objective_ = problem.evaluate(self.weights_)

    def _is_read_in_blocks(self, X):
        """Whether X are never held as an array: their moments are all that training needs."""
        if not is_streamed(X):
            return False
        samples = self._needs_samples()
        if samples and is_dask(X):
            raise ValueError(
                f"X must be an array where training needs samples, as {samples} does, got a dask "
                "collection: X.compute() makes one, if it fits into memory."
            )
        return not samples

    def _needs_samples(self):
        """What parameter asks for more than moments; an empty text if none does."""
        if makes_batches(self.solver):
            return f'solver="{self.solver}"'
        return "early_stopping=True" if self.early_stopping else ""

    def _check_batch(self, X, y, sample_weight, first):
        if self._is_read_in_blocks(X):
            return learn_features(self, X, y, reset=first), y, sample_weight
        return super()._check_batch(X, y, sample_weight, first)

    def _check_data(self, X, y, sample_weight, reset=True):
        if reset and self._is_read_in_blocks(X):
            return learn_features(self, X, y, reset=True), y, sample_weight
        options = {"multi_output": True, "y_numeric": True}
        sparse = self._sparse_format or False
        X, y = read_data(self, X, y, reset=reset, accept_sparse=sparse, **options)
        check_full_batch(X, self.solver)
        if sample_weight is not None:
            sample_weight = read_weight(sample_weight, X)
        return X, y, sample_weight

    def _weighted(self, y, sample_weight):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        if (weight < 0).any():
            raise ValueError("sample_weight must not be negative.")
        return as_float64(y).reshape(len(y), -1), shares_of(weight)

    def _problem_of(self, X, y, sample_weight, options):
        moments = self._moments_of(X, y, sample_weight)
        return self._problem_from(moments, TrainingData(X, y, sample_weight, moments))

    def _problem_with_more(self, X, y, sample_weight, first):
        """The problem of the moments of all batches so far."""
        return self._problem_from(self._all_moments(X, y, sample_weight, first), None)

    def _problem_of_batch(self, X, y, sample_weight, options, first):
        # Centred by the means of all batches so far.
        moments = self._all_moments(X, y, sample_weight, first)
        return self._problem_from(moments, TrainingData(X, y, sample_weight, moments))

    def _all_moments(self, X, y, sample_weight, first):
        """Moments of this batch and of former ones."""
        if first:
            return self._moments_of(X, y, sample_weight)
        if self.moments_.centered != self.fit_intercept:
            raise ValueError("fit_intercept must be what it was in former calls.")
        if self.moments_.single_target != (np.ndim(y) == 1):
            raise ValueError("y must have as many dimensions as in former calls.")
        return self.moments_ + self._moments_on(X, y, sample_weight)

    def _moments_of(self, X, y, sample_weight):
        rows = X if is_tensor(X) else watched(X, self)
        return moments_of(rows, y, sample_weight, self.fit_intercept)

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
        self.__dict__.pop("_continued", None)
        options = RunOptions.of(self)
        if options.rows_of_a_step is not None:
            raise ValueError(
                f'solver must not be "{self.solver}" in fit_moments: mini-batches are made of '
                'samples, which moments do not hold. "gd", "lbfgs" and others need none.'
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
        return read_inputs(self, X, method, accept_sparse=self._sparse_format or False)


def check_full_batch(X, solver):
    """Raise a TypeError, as scikit-learn does, if sparse X are to be cut into mini-batches."""
    if issparse(X) and makes_batches(solver):
        raise TypeError(
            f'X must be dense with solver="{solver}", got a sparse matrix: mini-batches are cut '
            'from an array. "gd", "lbfgs" and others take sparse X.'
        )


def _in_single_precision(weights):
    first = weights[0]
    return getattr(first[0] if isinstance(first, list) else first, "dtype", None) == np.float32
