"""What all trained estimators have in common, and regressors on the squared loss."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_deeplinear._compat import _check_sample_weight


class TrainedNetwork(CallbackSupportMixin, BaseEstimator):
    """The run of the last fit."""

    def _keep_run(self, outcome):
        run = outcome.run
        self.trajectory_ = run.trajectory
        self.balance_history_ = run.balance
        self.loss_ = float(run.trajectory.loss[-1])
        self.objective_ = float(run.trajectory.objective[-1])
        self.n_iter_ = outcome.n_iter
        self.step_size_ = outcome.step_size
        self.stop_reason_ = run.stop_reason
        self.converged_ = run.stop_reason == "converged"
        # Only mini-batches train a net; that of a former fit would not belong to this one.
        self.__dict__.pop("net_", None)
        if getattr(outcome, "net", None) is not None:
            self.net_ = outcome.net


class NetworkRegressor(MultiOutputMixin, RegressorMixin, TrainedNetwork):
    """Validation of data, and the minimum beside the fit."""

    @property
    def global_minimum_(self):
        """Exact minimum of the training objective, computed on first access."""
        check_is_fitted(self)
        return self._problem.global_minimum

    @property
    def optimality_gap_(self):
        """``objective_ - global_minimum_.objective``."""
        return self.objective_ - self.global_minimum_.objective

    def _check_data(self, X, y, sample_weight, reset=True):
        options = {"multi_output": True, "y_numeric": True, "dtype": [np.float64, np.float32]}
        X, y = validate_data(self, X, y, reset=reset, **options)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        return X, y, sample_weight

    def _check_inputs(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
