"""What the homogeneous perceptrons have in common: parameters, fit and forward pass."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import is_classifier

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import linear_map, read_data, read_inputs, read_weight
from sklearn_deeplinear._compat import StrOptions, _fit_context
from sklearn_deeplinear._parameters import check_depth, check_weight_decay, check_width
from sklearn_deeplinear.estimators._base import TrainedNetwork
from sklearn_deeplinear.estimators._constraints import SHARED
from sklearn_deeplinear.estimators._perceptron_problem import PerceptronProblem
from sklearn_deeplinear.estimators._tensors import like, through_torch
from sklearn_deeplinear.estimators._training_data import with_weight
from sklearn_deeplinear.estimators._units import check_units
from sklearn_deeplinear.nn._activations import ACTIVATIONS, HOMOGENEOUS
from sklearn_deeplinear.nn._initialisers import INITIALISERS
from sklearn_deeplinear.theory._location import shares_of


class HomogeneousMLP(TrainedNetwork):
    """Perceptron with homogeneous activations; subclasses say what targets are."""

    _parameter_constraints: dict = {
        **SHARED,
        "activation": [StrOptions(HOMOGENEOUS)],
        "fit_bias": ["boolean"],
        "init": [StrOptions(set(INITIALISERS) - {"spectral"}), list, tuple],
    }

    def __init__(
        self,
        depth=3,
        width=100,
        *,
        activation="relu",
        weight_decay=0.0,
        fit_bias=True,
        solver="gd",
        step_size="auto",
        momentum=0.9,
        max_iter=1000,
        flow_time=None,
        tol=1e-6,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        batch_size=200,
        callbacks=None,
        init="xavier_uniform",
        init_scale=None,
        warm_start=False,
        random_state=None,
        record_every=None,
        record=(),
        record_weights=False,
        record_sharpness=False,
        device="auto",
        dtype=None,
        checkpoint=None,
        verbose=0,
    ):
        self.depth = depth
        self.width = width
        self.activation = activation
        self.weight_decay = weight_decay
        self.fit_bias = fit_bias
        self.solver = solver
        self.step_size = step_size
        self.momentum = momentum
        self.max_iter = max_iter
        self.flow_time = flow_time
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.init = init
        self.init_scale = init_scale
        self.warm_start = warm_start
        self.random_state = random_state
        self.record_every = record_every
        self.record = record
        self.record_weights = record_weights
        self.record_sharpness = record_sharpness
        self.device = device
        self.dtype = dtype
        self.checkpoint = checkpoint
        self.verbose = verbose

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, sample_weight_val=None) -> Self:
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
        X_val : array-like of shape (n_val, n_features), default=None
            Inputs of validation data, which are not trained on: `trajectory_` records the loss
            of the predictions there, without the penalty, as ``validation_loss``.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            Their targets or class labels, of classes that are in y.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights; None weights all equally.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid; the message names the parameter.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def _check_data(self, X, y, sample_weight, reset=True):
        X, y = read_data(self, X, y, reset=reset, **self._target_checks)
        if sample_weight is not None:
            sample_weight = read_weight(sample_weight, X, ensure_non_negative=True)
        return X, y, sample_weight

    def _problem_of(self, X, y, sample_weight, options):
        targets = self._targets(y)  # which tell the weights of classes
        X, targets, shares = with_weight(X, targets, self._shares(y, sample_weight))
        problem = self._problem_with(X, targets, shares, options)
        check_units(problem, X, targets, "X" if is_classifier(self) else "X and y")
        return problem

    def _problem_of_batch(self, X, y, sample_weight, options, first):
        if not first and self.fit_bias != (self.biases_ is not None):
            raise ValueError("fit_bias must be what it was in former calls.")
        return super()._problem_of_batch(X, y, sample_weight, options, first)

    def _problem_on(self, X, y, sample_weight, options):
        targets = self._known_targets(y)
        X, targets, shares = with_weight(X, targets, self._shares(y, sample_weight))
        return self._problem_with(X, targets, shares, options)

    def _weighted(self, y, sample_weight):
        return self._as_matrix(y), self._shares(y, sample_weight)

    def _shares(self, y, sample_weight):
        """Weights of the samples, of sum one."""
        return shares_of(np.ones(len(y)) if sample_weight is None else sample_weight)

    def _problem_with(self, X, Y, shares, options):
        depth = check_depth(self.depth)
        X, Y, shares = (like(part, options.like) for part in (X, Y, shares))
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

    def _outputs(self, X, method="predict"):
        """Outputs of the last layer, (n_samples, m), for the public `method`."""
        return self._passed(self._check_inputs(X, method))

    def _check_inputs(self, X, method="predict"):
        return read_inputs(self, X, method)

    def _passed(self, H):
        """Outputs of the last layer at checked inputs."""
        activation = ACTIVATIONS[self.activation]
        for layer, W in enumerate(self.weights_):
            if layer > 0:
                H = through_torch(activation.apply_, H)
            H = linear_map(H, W, None if self.biases_ is None else self.biases_[layer])
        return H
