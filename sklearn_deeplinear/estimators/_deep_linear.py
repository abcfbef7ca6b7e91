"""Deep linear regression: training and its exact global minimum side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import Place, linear_map, on_host
from sklearn_deeplinear._compat import _fit_context
from sklearn_deeplinear._parameters import (
    check_depth,
    check_noise,
    check_weight_decay,
    check_width,
)
from sklearn_deeplinear._results import BalanceHistory
from sklearn_deeplinear.estimators._absent import absent_where_unknown
from sklearn_deeplinear.estimators._constraints import NOT_NEGATIVE, WITH_MINIMUM
from sklearn_deeplinear.estimators._linear_problem import LinearProblem
from sklearn_deeplinear.estimators._network_regressor import NetworkRegressor
from sklearn_deeplinear.theory import predictive_variance
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments, needs_krylov


class DeepLinearRegressor(NetworkRegressor):
    """Linear regression parametrised by a product of matrices, trained like a network.

    The model is ``f(x) = W_L ... W_1 x + b``; fitting minimises

        J(W) = sum_i w_i ||y_i - f(x_i)||^2 / sum_i w_i + sum_l gamma_l ||W_l||_F^2

    by full-batch gradient descent, which needs only the second moments of the data, or
    exactly. `global_minimum_` and `optimality_gap_` tell how good the fit is.

    Where training moves the network in a few dimensions only, "gd" and "flow" train it in
    these: two layers without noise need n_features + n_targets hidden dimensions, orthogonal
    layers as many, and balanced layers ("spectral", "balanced") the smaller of the two numbers.
    The run is the same, up to rounding, and hardly depends on the width. Given weights whose
    directions depend on each other up to rounding errors, which may grow, are trained in full.

    Of data with far more features than samples no matrix of features squared is made. Sparse X
    with many features are only multiplied: `moments_` then are those in a Krylov space, and
    ``global_minimum_.lower_bound`` tells what that may have missed (:ref:`many-features`).

    Parameters
    ----------
    depth : int, default=2
        Number L of weight matrices; one makes a linear model.
    width : int or sequence of L - 1 ints, default=100
        Hidden widths h_1, ..., h_{L-1}.
    weight_decay : float or sequence of L floats, default=0.0
        Penalties gamma_l on the squared Frobenius norms of the weights; biases are not
        penalised. :ref:`conversions` has them in the words of other libraries.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances of multiplicative noise of mean 1 on the hidden units. Training minimises the
        expected objective, exactly. Dropout of rate p has variance p / (1 - p).
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
    init : str or list of array-like, default="spectral"
        Initial weights: "spectral" (balanced factors of the map that one gradient step of linear
        regression reaches, with hidden units sharing the modes if there is noise), "balanced"
        (factors of a random map), "normal", "xavier_uniform", "xavier_normal", "orthogonal",
        "identity", or the weights [W_1, ..., W_L].
    init_scale : float or sequence of L floats, default=None
        For "normal" the standard deviation, for "balanced" the Frobenius norm of the product of
        the layers, else a factor on the weights (on the map, for "spectral"). None follows the
        units of the data (:ref:`initial-scale`): "balanced" and "spectral" exactly, so that
        networks without biases are alike in all units; other starts differ between units by a
        factor. One per layer is for the names that draw layers by themselves: all but "balanced"
        and "spectral".
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
        End-to-end map W_L ... W_1; its rank is at most the smallest width.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b.
    weights_ : list of ndarray
        [W_1, ..., W_L], of shapes (h_l, h_{l-1}).
    loss_ : float
        Loss of the fitted network on all training data, the first term of J.
    objective_ : float
        ``loss_`` plus the penalty, the J that was minimised.
    global_minimum_ : GlobalMinimum
        Exact minimum of J, computed on first access. Its objective is never above
        `objective_`: where the fit is lower the search goes on from there, and where it
        contradicts a proven bound a warning asks to report that.
    optimality_gap_ : float
        ``objective_ - global_minimum_.objective``.
    optimality_certificate_ : float
        Lower bound on J of all networks that `coef_` proves by itself, nothing being solved
        (:func:`~sklearn_deeplinear.theory.certify`); near `objective_` if the fit is near a
        global minimum. Of several outputs it leaves out what noise adds to J.
    trajectory_ : Trajectory
        Curves of the run. The iterations are steps, for "flow" gradient evaluations, for "sgd"
        and "adam" epochs; the time is the sum of the step sizes of all steps, for "lbfgs" their
        number.
    balance_history_ : BalanceHistory
        Balance of adjacent layers along the run, which the flow of the loss conserves
        (:doc:`/theory/balance`).
    moments_ : SecondMoments
        Second moments of the training data; of sparse X with more than 2,000 features those in
        the Krylov space ``moments_.basis`` (:ref:`many-features`).
    n_iter_ : int
        Number of steps (gradient evaluations of "flow", epochs of "sgd" and "adam") that led to
        `weights_`; 1 with ``solver="analytic"``.
    step_size_ : float or callable
        Step size used; None with ``solver="analytic"`` and "lbfgs".
    converged_ : bool
        Whether `tol` was reached, by the gradient or else by the objective, or the solver is
        analytic.
    stop_reason_ : str
        Why training ended: "converged", "max_iter", "early_stopping", "diverged", "interrupted"
        or "callback". After divergence the last finite record is kept.
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
    sklearn_deeplinear.theory.global_minimum : The minimum without an estimator.
    sklearn_deeplinear.theory.deep_linear_path : Minima for many weight decays at once.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35. arXiv:2202.04777.
    .. [2] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced." NeurIPS 31.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> model = DeepLinearRegressor(depth=2, weight_decay=5.0, max_iter=10_000).fit(X, y)
    >>> model.stop_reason_
    'converged'
    >>> bool(0 <= model.optimality_gap_ < 1e-8 * model.objective_)
    True
    """

    weights_: list[np.ndarray]
    balance_history_: BalanceHistory

    _parameter_constraints: dict = {**WITH_MINIMUM, "noise": ["array-like", NOT_NEGATIVE]}
    _sparse_format = "csr"

    def __init__(
        self,
        depth=2,
        width=100,
        *,
        weight_decay=0.0,
        noise=0.0,
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
        init="spectral",
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
        self.weight_decay = weight_decay
        self.noise = noise
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

    @property
    @absent_where_unknown
    def optimality_certificate_(self) -> float:
        """Lower bound on the objective of all networks, from the fitted map alone."""
        check_is_fitted(self)
        return self._problem.certify(on_host(self.weights_))

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, sample_weight_val=None) -> Self:
        """Fit the network to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, in any units.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights w_i of the samples; None weights all equally.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Inputs of validation data, which are not trained on: `trajectory_` records the loss
            of the predictions there, without the penalty, as ``validation_loss``.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            Their targets or class labels, of classes that are in y.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights; None weights all equally.

        Returns
        -------
        self : DeepLinearRegressor
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
        """Fit the network to the second moments of data, or of a population.

        Parameters
        ----------
        moments : SecondMoments
            Moments of inputs and targets, for instance accumulated over batches or made
            by :meth:`SecondMoments.from_moments`. They settle the shape of the
            predictions and whether there is an intercept.

        Returns
        -------
        self : DeepLinearRegressor
            The fitted estimator, as `fit` leaves it on data with these moments.

        Raises
        ------
        TypeError
            If `moments` is not a SecondMoments.
        ValueError
            If a parameter is not valid, `fit_intercept` does not suit the moments,
            or the solver needs the samples: "sgd" and "adam" do.
        """
        return self._fit_moments(moments)

    def predict(self, X, return_std=False):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.
        return_std : bool, default=False
            Also return the standard deviation that the noise on the hidden units gives
            the output; zero without noise.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, the mean over the noise.
        y_std : ndarray of the shape of y
            Standard deviations, in the units of y; only if `return_std` is True.
        """
        check_is_fitted(self)
        y = self._predict_by(partial(linear_map, coef=self.coef_, intercept=self.intercept_), X)
        if not return_std:
            return y
        if issparse(X):
            raise ValueError("X must be dense with return_std=True, got a sparse matrix.")
        mean, flat = self.moments_.mean_x, self.moments_.single_target
        known = on_host(self.weights_), self._problem.noise, mean, flat
        return y, Place.of(X).moved(self._predict_by(partial(_deviation, *known), X))

    def _predicted(self, X):
        return linear_map(X, self.coef_, self.intercept_)

    def _all_moments(self, X, y, sample_weight, first):
        if needs_krylov(X):
            raise ValueError(
                "X must be dense, or have fewer features, in partial_fit: the space of products "
                "that stands for many sparse features is that of one data set."
            )
        return super()._all_moments(X, y, sample_weight, first)

    def _moments_of(self, X, y, sample_weight):
        if not needs_krylov(X):
            return super()._moments_of(X, y, sample_weight)
        depth = check_depth(self.depth)
        network = check_weight_decay(self.weight_decay, depth), check_noise(self.noise, depth)
        rows = {"sample_weight": sample_weight, "center": self.fit_intercept}
        return KrylovMoments.from_sparse(X, y, **rows, network=(depth, *network))

    def _problem_from(self, moments, data):
        depth = check_depth(self.depth)
        return LinearProblem(
            moments=moments,
            width=check_width(self.width, depth),
            weight_decay=check_weight_decay(self.weight_decay, depth),
            noise=check_noise(self.noise, depth),
            data=data,
        )

    def _problem_on(self, X, y, sample_weight, options):
        if needs_krylov(X) or isinstance(self.moments_, KrylovMoments):
            raise ValueError("X must be dense, or have few features, for eigenvalues of a Hessian.")
        return replace(self._problem, moments=self._moments_on(X, y, sample_weight))


def _deviation(weights, noise, mean, flat, X):
    """Standard deviations of the outputs of X."""
    X = on_host(X)
    std = np.sqrt(predictive_variance(weights, X - mean, noise)).reshape(len(X), -1)
    return std[:, 0] if flat else std
