"""What the homogeneous perceptrons have in common: parameters, fit and forward pass."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_deeplinear._compat import Interval, StrOptions, _check_sample_weight, _fit_context
from sklearn_deeplinear._parameters import check_depth, check_weight_decay, check_width
from sklearn_deeplinear.estimators._base import TrainedNetwork
from sklearn_deeplinear.estimators._perceptron_problem import PerceptronProblem
from sklearn_deeplinear.estimators._solvers import TRAINING
from sklearn_deeplinear.nn._activations import ACTIVATIONS, HOMOGENEOUS
from sklearn_deeplinear.nn._initialisers import INITIALISERS
from sklearn_deeplinear.theory._location import shares_of


class HomogeneousMLP(TrainedNetwork):
    """Perceptron with homogeneous activations; subclasses say what targets are."""

    _parameter_constraints: dict = {
        "depth": [Interval(Integral, 1, None, closed="left")],
        "width": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(HOMOGENEOUS)],
        "weight_decay": ["array-like", Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions(TRAINING)],
        "step_size": [StrOptions({"auto"}), callable, Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "flow_time": [None, Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions(set(INITIALISERS) - {"spectral"}), list, tuple],
        "init_scale": [None, "array-like", Interval(Real, 0, None, closed="left")],
        "fit_bias": ["boolean"],
        "callbacks": [None, list, tuple],
        "record_every": [None, Interval(Integral, 1, None, closed="left")],
        "record": [list, tuple],
        "record_weights": ["boolean"],
        "record_sharpness": ["boolean"],
        "warm_start": ["boolean"],
        "device": "no_validation",
        "dtype": "no_validation",
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        depth=3,
        width=100,
        *,
        activation="relu",
        weight_decay=0.0,
        solver="gd",
        step_size="auto",
        max_iter=1000,
        momentum=0.9,
        flow_time=None,
        tol=1e-6,
        batch_size=200,
        init="xavier_uniform",
        init_scale=None,
        fit_bias=True,
        callbacks=None,
        record_every=None,
        record=(),
        record_weights=False,
        record_sharpness=False,
        warm_start=False,
        device="auto",
        dtype=None,
        random_state=None,
        verbose=0,
    ):
        self.depth = depth
        self.width = width
        self.activation = activation
        self.weight_decay = weight_decay
        self.solver = solver
        self.step_size = step_size
        self.max_iter = max_iter
        self.momentum = momentum
        self.flow_time = flow_time
        self.tol = tol
        self.batch_size = batch_size
        self.init = init
        self.init_scale = init_scale
        self.fit_bias = fit_bias
        self.callbacks = callbacks
        self.record_every = record_every
        self.record = record
        self.record_weights = record_weights
        self.record_sharpness = record_sharpness
        self.warm_start = warm_start
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None) -> Self:
        """Fit the network to training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs. They are not standardised: gradient descent learns directions of large
            variance first, and is slow where the scales of features differ widely.
        y : array-like of shape (n_samples,) or, in regression, (n_samples, n_targets)
            Targets or class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights w_i of the samples; None weights all equally.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid; the message names the parameter.
        """
        return self._fit(X, y, sample_weight)

    def _check_data(self, X, y, sample_weight, reset=True):
        X, y = validate_data(
            self, X, y, reset=reset, dtype=[np.float64, np.float32], **self._target_checks
        )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        return X, y, sample_weight

    def _problem_of(self, X, y, sample_weight, options):
        return self._problem_with(X, self._targets(y), sample_weight, options)

    def _problem_on(self, X, y, sample_weight, options):
        return self._problem_with(X, self._known_targets(y), sample_weight, options)

    def _problem_with(self, X, Y, sample_weight, options):
        depth = check_depth(self.depth)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        X, Y, shares = map(options.like.new_tensor, (X, Y, shares_of(weight)))
        return PerceptronProblem(
            X,
            Y,
            shares,
            width=check_width(self.width, depth),
            weight_decay=check_weight_decay(self.weight_decay, depth),
            activation=self.activation,
            loss=getattr(self, "loss", "squared_error"),
            fit_bias=self.fit_bias,
        )

    def _outputs(self, X):
        """Outputs of the last layer, (n_samples, m)."""
        check_is_fitted(self)
        H = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        activation = ACTIVATIONS[self.activation]
        for layer, W in enumerate(self.weights_):
            if layer > 0:
                H = activation.apply_(torch.from_numpy(H)).numpy()
            H = H @ W.T
            if self.biases_ is not None:
                H = H + self.biases_[layer]
        return H
