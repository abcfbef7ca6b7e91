"""Regression by parallel pathways: which of them learns what, and what would be optimal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import linear_map, on_host
from sklearn_deeplinear._compat import StrOptions, _fit_context
from sklearn_deeplinear._parameters import check_integer
from sklearn_deeplinear._results import BalanceHistory
from sklearn_deeplinear.dynamics.networks._active_pathways import predict_active
from sklearn_deeplinear.estimators._absent import absent_where_unknown
from sklearn_deeplinear.estimators._constraints import (
    NOT_NEGATIVE,
    POSITIVE_INTEGER,
    WITH_MINIMUM,
)
from sklearn_deeplinear.estimators._network_regressor import NetworkRegressor
from sklearn_deeplinear.estimators._pathway_problem import PathwayProblem
from sklearn_deeplinear.estimators._tensors import less, like, through_torch
from sklearn_deeplinear.estimators._training_data import TrainingData
from sklearn_deeplinear.nn._activations import ACTIVATIONS
from sklearn_deeplinear.theory import PathwayMinimum
from sklearn_deeplinear.theory._pathway_parameters import (
    check_depths,
    check_pathway_decays,
    check_pathway_widths,
)


class MultiPathwayRegressor(NetworkRegressor):
    """Regression by the sum of parallel networks, which compete for the modes of the data.

    The model is ``f(x) = sum_p f_p(x) + b``; each pathway f_p is a network without hidden
    biases, ``W_pL ... W_p1 x`` if it is linear. Fitting minimises

        J(W) = sum_i w_i ||y_i - f(x_i)||^2 / sum_i w_i + sum_p sum_l gamma_pl ||W_pl||_F^2

    by full-batch gradient descent, along its gradient flow, on mini-batches or, if linear,
    exactly. Records hold the strength of each singular mode of the data in each pathway.

    Non-linear pathways take the inputs less their mean, ``moments_.mean_x``. Their b is the best
    one for their weights, the mean of what is left of y: at each step of "gd" and "flow", with
    "sgd" and "adam" at the start of each epoch and at the end.

    Parameters
    ----------
    depth : int or sequence of n_pathways ints, default=2
        Number L of weight matrices, the same for all pathways or one each.
    width : int, sequence of L - 1 ints or list of them, default=100
        Hidden widths: an int for all layers, a sequence for the layers of every pathway, or one
        of these for each pathway.
    n_pathways : int, default=2
        Number of pathways.
    activation : {"identity", "relu", "leaky_relu", "tanh", "gelu"}, default="identity"
        Activation of the hidden layers; "leaky_relu" has slope 0.01.
    activate_output : bool, default=False
        Apply the activation to the last layer of each pathway too, before the sum.
    weight_decay : float, sequence of L floats or list of them, default=0.0
        Penalties gamma_pl on the squared Frobenius norms of the weights, given like `width`.
        :ref:`conversions` has them in the words of other libraries.
    fit_intercept : bool, default=True
        Fit the intercept b, by centring the data. It is never penalised.
    solver : {"gd", "momentum", "lbfgs", "flow", "sgd", "adam", "analytic"}, default="gd"
        "gd" is full-batch gradient descent, "momentum" that of a heavy ball; "lbfgs" is scipy's
        quasi-Newton method, for those who want the fitted network only; "flow" follows the
        gradient flow that descent approximates, by an adaptive method; "sgd" and "adam" train on
        mini-batches, in a skorch net; "analytic" puts the weights of linear networks at the
        global minimum.
    step_size : float, "auto" or callable, default="auto"
        Step eta, or a function of the iteration t = 0, 1, ... (the epoch, with "sgd" and "adam")
        that returns it. "auto" follows from the curvature of J, for "adam" from the size of the
        weights, in any units of the data: :ref:`automatic-step-sizes` has the formulas. "lbfgs"
        finds steps of its own.
    momentum : float, default=0.9
        Share of the last step that the next one keeps, for "momentum" only.
    max_iter : int, default=1000
        Largest number of steps, or of epochs with "sgd" and "adam".
    flow_time : float, default=None
        End of the flow; None takes the sum of the step sizes that gradient descent would make,
        so that changing only `solver` gives the flow of the same run.
    tol : float, default=1e-6
        Stop at the first record where the norm of the gradient on all data is at most `tol`
        times its first value, or its rounding error where that is known. 0 makes all
        `max_iter` steps, of "lbfgs" all that lead down. Where descent on all data does not get
        there it warns, unless the objective is known to be within ``tol / 100`` of its minimum,
        relative to itself (:ref:`unfinished-runs`).
    early_stopping : bool, default=False
        Stop when the loss on validation data has not fallen for `n_iter_no_change` records, and
        keep the weights of the record where it was least. The validation data are those that
        `fit` is given, else a part of the samples, which are not trained on then.
    validation_fraction : float, default=0.1
        Share of the samples that `early_stopping` holds out, drawn by `random_state`, of each
        class the same.
    n_iter_no_change : int, default=10
        Records in a row, none of them below the least validation loss before, after which
        `early_stopping` ends the run; `record_every` spaces them.
    batch_size : int, default=200
        Size of the mini-batches of "sgd" and "adam", n_samples at most. If the last one had less
        than half of it, the samples are spread evenly over as many batches.
    callbacks : list of skorch callbacks, default=None
        Called by the net of "sgd" and "adam", which holds out no samples for validation:
        ``EarlyStopping(monitor="train_loss")``. Those that follow single batches slow training
        down. Other solvers take none.
    compression : {"exact", "krylov"}, default="exact"
        Linear pathways wider than n_features + n_targets often move in few dimensions of their
        hidden layers only: with two layers, or from balanced or orthogonal initial weights. Then
        they are trained in those, which changes nothing but rounding. "krylov" does so from any
        initial weights, in a space that grows until two runs of gradient descent agree;
        `compression_error_` tells how well. Made for normal initial weights and depth 3 (or 4),
        and for "gd" only. "sgd" and "adam" train all weights.
    init : str or list of lists of array-like, default="normal"
        Initial weights: "normal", "balanced", "xavier_uniform", "xavier_normal", "orthogonal",
        "identity", "spectral" (linear pathways that all start alike), or the weights, a list
        [W_1, ..., W_L] for each pathway.
    init_scale : float, sequence of L floats or list of them, default=None
        For "normal" the standard deviation, for "balanced" the Frobenius norm of the map of a
        pathway, else a factor on the weights (on the map, for "spectral"). None follows the units
        of the data, and starts "normal" and "balanced" small enough for a race:
        :ref:`initial-scale`. These two and "spectral" do so exactly, so that fits of linear and
        rectifying pathways are alike in all units; other starts differ between them by a factor.
    warm_start : bool, default=False
        Start from the network of the previous fit; iterations count from 0 again.
    random_state : int, RandomState instance or None, default=None
        Seed of random initial weights and of the order of mini-batches.
    record_every : int, default=None
        Steps or epochs between records. None makes at most 1,000 records, so far apart that
        measuring them takes about a quarter of the time of training (in a shorter run of that of
        1,200 steps or batches); "sgd" and "adam" with `early_stopping` record every epoch.
    record : sequence of {"sharpness", "nuclear_norm", "effective_rank"}, default=()
        Further quantities to record, under their names in `trajectory_`: the largest eigenvalue
        of the Hessian of J, in all parameters; the sum of the singular values of the end-to-end
        map of a linear network, and the exponential of their entropy. A record of the first
        takes as long as some tens of steps: choose `record_every` for it.
    record_weights : bool, default=False
        Keep the weights of every record in `trajectory_`, and the biases if there are any.
    record_sharpness : bool, default=False
        The same as "sharpness" in `record`.
    device : str or torch.device, default="auto"
        Where training runs; "auto" takes CUDA where there is one, else the CPU.
    dtype : {None, "float64", "float32"}, default=None
        Precision of training; None takes float64 on the CPU and float32 elsewhere.
    checkpoint : str or path-like, default=None
        File that training goes on from after it was stopped, and leaves there: :ref:`checkpoints`.
    verbose : bool or int, default=0
        Print about ten lines of progress.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        End-to-end map, the sum of `pathway_coefs_`; linear pathways only.
    pathway_coefs_ : list of ndarray of shape (n_targets, n_features)
        Maps M_p of the pathways; linear pathways only.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b.
    weights_ : list of lists of ndarray
        ``weights_[p]`` is [W_1, ..., W_L] of pathway p, of shapes (h_l, h_{l-1}).
    mode_strengths_ : ndarray of shape (n_pathways, n_modes)
        ``diag(U^T M_p V)`` at the end, with S = U diag(s) V^T the singular value decomposition
        of ``moments_.cross_moment``; ``n_modes`` is its rank. Modes of equal s share a subspace
        in which U and V are a choice: only the sum of their strengths does not depend on it. M_p
        of a non-linear pathway is the linear map that is closest to it on the data.
        ``trajectory_.mode_strengths`` of shape (n_records, n_pathways, n_modes) has the whole
        curves.
    dominant_pathway_ : ndarray of shape (n_modes,), int
        Pathway with the largest strength of each mode.
    dominant_share_ : ndarray of shape (n_modes,)
        Its share in the sum of all strengths (their absolute values).
    compression_error_ : float
        Largest relative error of a mode strength made by ``compression="krylov"``, measured by
        the difference of two runs; else 0.
    loss_ : float
        Loss of the fitted network on all training data, the first term of J.
    objective_ : float
        ``loss_`` plus the penalty, the J that was minimised.
    global_minimum_ : PathwayMinimum
        Exact minimum of J, computed on first access; linear pathways only. Its objective is
        never above `objective_`: where the fit is lower the search goes on from there, and
        where it contradicts a proven bound a warning asks to report that.
    optimality_gap_ : float
        ``objective_ - global_minimum_.objective``; linear pathways only.
    optimality_certificate_ : float
        Lower bound on J of all such pathways that `pathway_coefs_` prove by themselves, nothing
        being solved; near `objective_` if the fit is near a global minimum of wide pathways.
        Linear pathways only.
    trajectory_ : Trajectory
        Curves of the run. The iterations are steps, for "flow" gradient evaluations, for "sgd"
        and "adam" epochs; the time is the sum of the step sizes of all steps, for "lbfgs" their
        number.
    balance_history_ : list of BalanceHistory
        Balance of adjacent layers along the run, for each pathway (:doc:`/theory/balance`).
    moments_ : SecondMoments
        Second moments of the training data.
    n_iter_ : int
        Number of steps (gradient evaluations of "flow", epochs of "sgd" and "adam") that led to
        `weights_`; 1 with ``solver="analytic"``.
    step_size_ : float or callable
        Step size used; None with ``solver="analytic"`` and "lbfgs".
    converged_ : bool
        Whether `tol` was reached, by the gradient or else by the objective, or the solver is
        analytic.
    stop_reason_ : str
        Why training ended: "converged", "max_iter", "early_stopping", "diverged", "interrupted",
        "callback", or "stalled" where "lbfgs" finds no way down from a kink of the units. After
        divergence the last finite record is kept.
    best_validation_loss_ : float or None
        Least of ``trajectory_.validation_loss``, with `early_stopping` that of `weights_`; None
        without validation data.
    net_ : skorch.NeuralNet
        The fitted net, on the CPU; only with "sgd" and "adam". It maps ``X - moments_.mean_x`` to
        predictions less ``moments_.mean_y``.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if X has string names.

    See Also
    --------
    sklearn_deeplinear.theory.pathway_flow : The race for one mode, as a function of time.
    sklearn_deeplinear.theory.pathway_global_minimum : The minimum without an estimator.

    References
    ----------
    .. [1] Shi, J., Shea-Brown, E., Buice, M. A. (2022). "Learning dynamics of deep linear
       networks with multiple pathways." NeurIPS 35.

    Examples
    --------
    The deeper the pathways, the more of the strongest mode goes to one of them.

    >>> from sklearn_deeplinear import MultiPathwayRegressor
    >>> from sklearn_deeplinear.datasets import make_hierarchical
    >>> X, Y = make_hierarchical()
    >>> for depth in (2, 4):
    ...     model = MultiPathwayRegressor(
    ...         depth, 30, init="balanced", fit_intercept=False, max_iter=2000, random_state=0
    ...     ).fit(X, Y)
    ...     print(depth, model.dominant_share_[0].round(1))
    2 0.7
    4 0.9
    """

    weights_: list[list[np.ndarray]]
    pathway_coefs_: list[np.ndarray]
    balance_history_: list[BalanceHistory]

    _parameter_constraints: dict = {
        **WITH_MINIMUM,
        "depth": ["array-like", POSITIVE_INTEGER],
        "width": ["array-like", list, POSITIVE_INTEGER],
        "n_pathways": [POSITIVE_INTEGER],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "activate_output": ["boolean"],
        "weight_decay": ["array-like", list, NOT_NEGATIVE],
        "compression": [StrOptions({"exact", "krylov"})],
        "init_scale": [None, "array-like", list, NOT_NEGATIVE],
    }

    def __init__(
        self,
        depth=2,
        width=100,
        *,
        n_pathways=2,
        activation="identity",
        activate_output=False,
        weight_decay=0.0,
        fit_intercept=True,
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
        compression="exact",
        init="normal",
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
        self.n_pathways = n_pathways
        self.activation = activation
        self.activate_output = activate_output
        self.weight_decay = weight_decay
        self.fit_intercept = fit_intercept
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
        self.compression = compression
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
        """Fit the pathways to training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, in any units.
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
        self : MultiPathwayRegressor
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid; the message names the parameter.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_moments(self, moments) -> Self:
        """Fit the pathways to the second moments of data, or of a population.

        Parameters
        ----------
        moments : SecondMoments
            Moments of inputs and targets, for instance accumulated over batches or made
            by :meth:`SecondMoments.from_moments`. They settle the shape of the
            predictions and whether there is an intercept.

        Returns
        -------
        self : MultiPathwayRegressor
            The fitted estimator, as `fit` leaves it on data with these moments.

        Raises
        ------
        TypeError
            If `moments` is not a SecondMoments.
        ValueError
            If a parameter is not valid, `fit_intercept` does not suit the moments,
            the pathways are not linear, or the solver needs the samples: "sgd" and "adam" do.
        """
        if self.activation != "identity":
            raise ValueError('fit_moments needs activation="identity": take fit, with the samples.')
        return self._fit_moments(moments)

    def predict(self, X) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions.
        """
        check_is_fitted(self)
        if self._problem.linear:
            predict = partial(linear_map, coef=self.coef_, intercept=self.intercept_)
            return self._predict_by(predict, X)
        return self._predict_by(self._predicted, X)

    def _predicted(self, X):
        if self._problem.linear:
            return linear_map(X, self.coef_, self.intercept_)
        y = through_torch(self._active_outputs, X)
        return (y[:, 0] if self.moments_.single_target else y) + self.intercept_

    def _active_outputs(self, X):
        """Outputs (n, m) less the intercept, of inputs that are a tensor."""
        centred, problem = less(X, self.moments_.mean_x), self._problem
        pathways = [[like(W, centred) for W in weights] for weights in self.weights_]
        y = predict_active(pathways, centred, problem.activation, problem.activate_output)
        return y.to(X.device)

    @property
    @absent_where_unknown
    def global_minimum_(self) -> PathwayMinimum:  # type: ignore[override]
        """Exact minimum of the training objective, computed on first access."""
        check_is_fitted(self)
        if not self._problem.linear:
            raise AttributeError('global_minimum_ needs activation="identity".')
        return self._minimum_beside_fit()

    @property
    @absent_where_unknown
    def optimality_certificate_(self) -> float:
        """Lower bound on the objective of all such pathways, from the fitted maps alone."""
        check_is_fitted(self)
        if not self._problem.linear:
            raise AttributeError('optimality_certificate_ needs activation="identity".')
        return self._problem.certify(on_host(self.weights_))

    @property
    def _adds_moments(self):
        return self.activation == "identity"

    def _needs_samples(self):
        linear = self.activation == "identity"
        return super()._needs_samples() if linear else f'activation="{self.activation}"'

    def _problem_from(self, moments, data):
        check_compression(self.compression, self.solver, self.activation)
        depths = check_depths(self.depth, check_integer(self.n_pathways, "n_pathways", low=1))
        return PathwayProblem(
            moments=moments,
            widths=check_pathway_widths(self.width, depths),
            weight_decay=check_pathway_decays(self.weight_decay, depths),
            activation=self.activation,
            activate_output=self.activate_output,
            data=data,
        )

    def _problem_on(self, X, y, sample_weight, options):
        moments = self._moments_on(X, y, sample_weight)
        if self._problem.linear:
            return replace(self._problem, moments=moments)
        # The network takes the inputs less the mean of the training data.
        return replace(self._problem, data=TrainingData(X, y, sample_weight, self.moments_))

    def _keep(self, problem, outcome):
        for name in ("coef_", "pathway_coefs_"):  # of a former fit, if that was linear
            self.__dict__.pop(name, None)
        super()._keep(problem, outcome)
        self.compression_error_ = outcome.compression_error
        self.mode_strengths_ = self.trajectory_.mode_strengths[outcome.run.record]
        size = np.abs(self.mode_strengths_)
        self.dominant_pathway_ = size.argmax(axis=0)
        total = size.sum(axis=0)
        self.dominant_share_ = size.max(axis=0) / np.where(total > 0, total, 1.0)


def check_compression(compression, solver, activation):
    """Raise a ValueError where there is nothing that a Krylov space could stand for."""
    if compression == "krylov" and (solver, activation) != ("gd", "identity"):
        raise ValueError(
            f'compression must be "exact" with solver="{solver}" and activation="{activation}": '
            '"krylov" compares runs of "gd" with activation="identity".'
        )
