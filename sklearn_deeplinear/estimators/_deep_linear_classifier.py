"""Deep linear classification: training and the global minimum beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import (
    largest,
    linear_map,
    on_host,
    read_data,
    read_inputs,
    read_weight,
)
from sklearn_deeplinear._compat import StrOptions, _fit_context
from sklearn_deeplinear._parameters import check_depth, check_weight_decay, check_width
from sklearn_deeplinear._results import BalanceHistory
from sklearn_deeplinear.dynamics.runs._optimizers import makes_batches
from sklearn_deeplinear.estimators._base import TrainedNetwork, WithMinimum
from sklearn_deeplinear.estimators._class_targets import ClassTargets
from sklearn_deeplinear.estimators._constraints import CLASS_WEIGHT, WITH_MINIMUM
from sklearn_deeplinear.estimators._linear_classifier_problem import LinearClassifierProblem
from sklearn_deeplinear.estimators._network_regressor import check_full_batch
from sklearn_deeplinear.estimators._sparse_classifier_problem import (
    SparseClassifierProblem,
    is_filled_in,
)
from sklearn_deeplinear.estimators._tensors import log_softmax, through_torch
from sklearn_deeplinear.estimators._training_data import with_weight
from sklearn_deeplinear.nn._losses import LOSSES


class DeepLinearClassifier(ClassTargets, ClassifierMixin, WithMinimum, TrainedNetwork):
    """Logistic regression parametrised by a product of matrices, trained like a network.

    The model is ``f(x) = W_L ... W_1 x + b`` with one output for two classes, which is the
    logarithm of the odds of the second one, and one per class for more, of which the softmax is
    taken; fitting minimises

        J(W) = sum_i w_i loss(f(x_i), y_i) / sum_i w_i + sum_l gamma_l ||W_l||_F^2.

    Depth is a regulariser: two layers penalise the norm of the map, not its square, which many
    classes feel as a penalty on its rank, and more layers a root of it. With one layer this is
    :class:`~sklearn.linear_model.LogisticRegression`, with ``C = 1 / (2 n_samples gamma)``.

    Sparse X of more than four million numbers in all is only multiplied, and the minimum is not
    known then (:ref:`many-features`); smaller ones are filled in.

    Parameters
    ----------
    depth : int, default=2
        Number L of weight matrices; one makes a linear model.
    width : int or sequence of L - 1 ints, default=100
        Hidden widths h_1, ..., h_{L-1}.
    loss : {"log_loss"}, default="log_loss"
        Loss of a sample: minus the logarithm of the probability of its class.
    weight_decay : float or sequence of L floats, default=0.0
        Penalties gamma_l on the squared Frobenius norms of the weights; biases are not
        penalised. :ref:`conversions` has them in the words of other libraries.
    class_weight : dict or "balanced", default=None
        Factors on the sample weights by class: {label: factor}, 1 for labels that are left out,
        or such that all classes weigh the same.
    fit_intercept : bool, default=True
        Fit the intercept b, which is the best one for the map at all times and never penalised.
    solver : {"gd", "momentum", "lbfgs", "flow", "sgd", "adam", "analytic"}, default="lbfgs"
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
        Initial weights: "spectral" (balanced factors of the map that one gradient step of a
        linear model reaches), "balanced" (factors of a random map), "normal", "xavier_uniform",
        "xavier_normal", "orthogonal", "identity", or the weights [W_1, ..., W_L].
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
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        End-to-end map W_L ... W_1, with one row for two classes; its rank is at most the
        smallest width.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept b.
    weights_ : list of ndarray
        [W_1, ..., W_L], of shapes (h_l, h_{l-1}).
    loss_ : float
        Loss of the fitted network on all training data, the first term of J.
    objective_ : float
        ``loss_`` plus the penalty, the J that was minimised.
    global_minimum_ : GeneralisedMinimum
        Minimum of J beside a proven lower bound, computed on first access, for which the
        training data are kept: certified for two classes, and for more with one layer or two;
        with more layers the best one found, and never above `objective_`.
    optimality_gap_ : float
        ``objective_ - global_minimum_.objective``.
    trajectory_ : Trajectory
        Curves of the run. The iterations are steps, for "flow" gradient evaluations, for "sgd"
        and "adam" epochs; the time is the sum of the step sizes of all steps, for "lbfgs" their
        number.
    balance_history_ : BalanceHistory
        Balance of adjacent layers along the run, which the flow of the loss conserves
        (:doc:`/theory/balance`).
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
        The fitted net, on the CPU; only with "sgd" and "adam". It maps centred inputs to
        the outputs of `decision_function`.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if X has string names.

    See Also
    --------
    HomogeneousMLPClassifier : With activations between the layers.
    sklearn_deeplinear.theory.generalised_minimum : The minimum without an estimator.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35. arXiv:2202.04777 (the penalty as a function of the map).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_deeplinear import DeepLinearClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> model = DeepLinearClassifier(depth=3, weight_decay=0.01).fit(X, y)
    >>> model.stop_reason_, round(model.score(X, y), 3)
    ('converged', 0.988)
    >>> bool(model.objective_ - model.global_minimum_.lower_bound < 1e-6)
    True
    """

    classes_: np.ndarray
    weights_: list[np.ndarray]
    balance_history_: BalanceHistory

    _parameter_constraints: dict = {
        **WITH_MINIMUM,
        "loss": [StrOptions({"log_loss"})],
        "class_weight": CLASS_WEIGHT,
    }
    _target_checks: dict = {"labels": True}

    def __init__(
        self,
        depth=2,
        width=100,
        *,
        loss="log_loss",
        weight_decay=0.0,
        class_weight=None,
        fit_intercept=True,
        solver="lbfgs",
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
        self.loss = loss
        self.weight_decay = weight_decay
        self.class_weight = class_weight
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

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, sample_weight_val=None) -> Self:
        """Fit the network to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs, in any units.
        y : array-like of shape (n_samples,)
            Class labels.
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
        self : DeepLinearClassifier
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid; the message names the parameter.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not makes_batches(self.solver)
        return tags

    def _check_data(self, X, y, sample_weight, reset=True):
        X, y = read_data(self, X, y, reset=reset, accept_sparse="csr", **self._target_checks)
        X = on_host(X)  # where the theory of the minimum reads it
        check_full_batch(X, self.solver)
        if issparse(X) and is_filled_in(X):
            X = X.toarray()
        if sample_weight is not None:
            sample_weight = read_weight(sample_weight, X, ensure_non_negative=True)
        return X, y, sample_weight

    def _problem_of(self, X, y, sample_weight, options):
        self._learn_classes(y)
        return self._problem_with(X, y, sample_weight)

    def _problem_of_batch(self, X, y, sample_weight, options, first):
        if first:
            return self._problem_of(X, y, sample_weight, options)
        if self._problem.fit_intercept != self.fit_intercept:
            raise ValueError("fit_intercept must be what it was in former calls.")
        return self._problem_with(X, y, sample_weight)

    def _problem_with(self, X, y, sample_weight):
        """The problem of data whose classes are known, by the parameters."""
        depth, (Y, shares) = check_depth(self.depth), self._weighted(y, sample_weight)
        if self.fit_intercept and (shares @ self._indicators(y)).min() < np.finfo(float).eps:
            raise ValueError(
                "sample_weight and class_weight must leave every class a weight, more than the "
                "rounding error of the others': without one its best intercept is infinite."
            )
        sparse = issparse(X)
        X, Y, shares = with_weight(X, Y, shares)
        if sparse:
            X = X.astype(np.float64, copy=False)
        else:  # in rows, however they came in: sums in another order round to other numbers
            X = np.ascontiguousarray(X, dtype=np.float64)
        mean_x = X.T @ shares if self.fit_intercept else np.zeros(X.shape[1])
        kind = SparseClassifierProblem if sparse else LinearClassifierProblem
        return kind(
            X if sparse else X - mean_x,
            Y,
            shares,
            mean_x,
            width=check_width(self.width, depth),
            weight_decay=check_weight_decay(self.weight_decay, depth),
            fit_intercept=self.fit_intercept,
        )

    @property
    def _needs_all_samples(self) -> bool:
        return self.fit_intercept

    def _problem_on(self, X, y, sample_weight, options):
        if issparse(X) or isinstance(self._problem, SparseClassifierProblem):
            raise ValueError("X must be dense, or small, for eigenvalues of a Hessian.")
        X, Y, shares = with_weight(X, *self._weighted(y, sample_weight))
        X = np.asarray(X, dtype=np.float64) - self._problem.mean_x
        return replace(self._problem, X=X, Y=Y, shares=shares)

    def _weighted(self, y, sample_weight):
        return self._columns(y), self._shares(y, sample_weight)

    def _columns(self, y):
        """What each output is to tell: the second of two classes, or each of more."""
        Y = self._indicators(y)
        return Y[:, 1:] if Y.shape[1] == 2 else Y

    def decision_function(self, X):
        """Outputs of the network, by which classes are chosen.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Outputs f(x); of two classes the logarithm of the odds of the second one.
        """
        outputs = self._outputs(X, "decision_function")
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _outputs(self, X, method="predict"):
        X = read_inputs(self, X, method, accept_sparse="csr")
        return linear_map(X, self.coef_, self.intercept_)

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The logistic function of the output, or the softmax of several.
        """
        outputs = self._outputs(X, "predict_proba")
        return through_torch(LOSSES[self._problem.loss].probabilities, outputs)

    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        outputs = self._outputs(X, "predict_log_proba")
        return through_torch(lambda f: log_softmax(_of_each_class(f)), outputs)

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels of the most probable classes.
        """
        return self._labels(largest(through_torch(_of_each_class, self._outputs(X))))


def _of_each_class(outputs):
    """A column for each class out of outputs, which of two classes hold that of the second."""
    if outputs.shape[1] > 1:
        return outputs
    return torch.cat([torch.zeros_like(outputs), outputs], dim=1)
