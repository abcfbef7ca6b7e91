"""Classification by homogeneous perceptrons."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from sklearn_deeplinear._compat import StrOptions
from sklearn_deeplinear.estimators._mlp_base import HomogeneousMLP
from sklearn_deeplinear.nn._losses import LOSSES


class HomogeneousMLPClassifier(ClassifierMixin, HomogeneousMLP):
    """Classifier with homogeneous activations whose conservation laws are measured.

    The network is ``f(x) = W_L a(... a(W_1 x + b_1) ...) + b_L``; fitting minimises

        J(W) = sum_i w_i loss(f(x_i), y_i) / sum_i w_i + sum_l gamma_l ||W_l||_F^2.

    The gradient flow of the loss conserves, for every hidden unit, the squared norm of
    its incoming weights minus that of its outgoing weights; `balance_history_` tells how
    well training does.

    Parameters
    ----------
    depth : int, default=3
        Number L of weight matrices.
    width : int or sequence of L - 1 ints, default=100
        Hidden widths h_1, ..., h_{L-1}.
    loss : {"cross_entropy", "squared_error"}, default="cross_entropy"
        Loss of a sample: ``-log softmax(f(x))[y]`` or ``||f(x) - e_y||^2`` with e_y the
        indicator of the class. There is one output per class, for two classes too.
    activation : {"relu", "leaky_relu", "identity"}, default="relu"
        Activation a of the hidden layers; "leaky_relu" has slope 0.01. All of them are
        homogeneous: a(c z) = c a(z) for c > 0.
    weight_decay : float or sequence of L floats, default=0.0
        gamma_l; biases are not decayed. `MLPClassifier(alpha)` of scikit-learn has
        ``alpha = 2 * n_samples * weight_decay``.
    solver : {"gd", "momentum", "flow", "sgd", "adam"}, default="gd"
        "gd" trains by full-batch gradient descent, "momentum" by that of a heavy ball,
        "flow" follows the gradient flow by an adaptive method, "sgd" and "adam" take
        mini-batches, in a skorch net.
    step_size : float, "auto" or callable, default="auto"
        Step eta, or a function of the iteration t = 0, 1, ... that returns it. "auto" is
        ``1 / (k^(2L-2) lambda + 2 max_l gamma_l)``, where lambda is the largest
        eigenvalue of the Gauss-Newton matrix at the initial weights (of the batch with
        the longest inputs, for "sgd") and k is the factor on all layers at which the
        outputs have the size of the targets (1 for the
        cross-entropy); it follows the units of the data. For
        "adam", "auto" is 1e-3.
    max_iter : int, default=1000
        Largest number of steps, or of epochs for "sgd" and "adam". The flow covers the
        time of so many steps.
    momentum : float, default=0.9
        Share of the last step that the next one keeps, for "momentum" only.
    flow_time : float, default=None
        End time of the flow; None takes the sum of the step sizes.
    tol : float, default=1e-6
        Stop when the norm of the gradient on all data is at most `tol` times its first
        value, seen at the next record. 0 never stops.
    batch_size : int, default=200
        Size of the mini-batches, n_samples at most.
    init : str or list of array-like, default="xavier_uniform"
        Initial weights: "xavier_uniform", "xavier_normal", "normal", "orthogonal",
        "balanced" (factors of a random map), "identity", or the weights [W_1, ..., W_L].
        Biases start at zero.
    init_scale : float or sequence of L floats, default=None
        For "normal" the standard deviation (None: 1/sqrt(h_{l-1})), for "balanced" the
        Frobenius norm of the product of the layers (None: that of one step of linear
        regression), else a factor on the weights (None: 1, unless the outputs then are
        not between a tenth and twice the size of the targets (1 for
        the cross-entropy); then what brings them
        there). One per layer, except for "balanced".
    fit_bias : bool, default=True
        Fit biases b_1, ..., b_L, which are not decayed. A hidden bias counts as one more
        incoming weight of its unit in the balance. The constant 1 that a bias multiplies
        has no units: inputs much smaller than 1 are learnt slowly beside it.
    callbacks : list of skorch callbacks, default=None
        Called by the net of "sgd" and "adam"; those that follow single batches slow
        training down. No samples are held out for validation:
        ``EarlyStopping(monitor="train_loss")``. Other solvers take none.
    record_every : int, default=None
        Steps or epochs between records. None makes at most 1,000 records.
    record : sequence of {"sharpness", "nuclear_norm", "effective_rank"}, default=()
        Further quantities to record, under their names in `trajectory_`: the largest
        eigenvalue of the Hessian of J; the sum of the singular values of the end-to-end
        map of a linear network, and the exponential of their entropy.
    record_weights : bool, default=False
        Keep the weights of every record in `trajectory_`.
    record_sharpness : bool, default=False
        Record the largest eigenvalue of the Hessian of J as ``trajectory_.sharpness``.
        A record then takes as long as some tens of steps: choose `record_every` for it.
    warm_start : bool, default=False
        Start from the network of the previous fit.
    device : str or torch.device, default="auto"
        Where training runs; "auto" takes CUDA where there is one, else the CPU.
    dtype : {None, "float64", "float32"}, default=None
        Precision of training; None takes float64 on the CPU and float32 elsewhere.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of the batches.
    verbose : bool or int, default=0
        Print about ten lines of progress.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    weights_ : list of ndarray
        [W_1, ..., W_L], of shapes (h_l, h_{l-1}).
    biases_ : list of ndarray, or None
        [b_1, ..., b_L], of shapes (h_l,); None without `fit_bias`.
    loss_ : float
        Weighted mean loss of the network, on all training data.
    objective_ : float
        ``loss_`` plus the penalty, the J that was minimised.
    trajectory_ : Trajectory
        Curves of the run. The iterations are steps, for "flow" gradient evaluations, for
        "sgd" and "adam" epochs; the time is the sum of the step sizes of all steps.
    balance_history_ : BalanceHistory
        Balance of adjacent layers along the run. With "identity" the matrices D_l are
        conserved by the gradient flow, else their diagonals.
    n_iter_ : int
        Number of iterations that led to the network.
    step_size_ : float or callable
        Step size used.
    converged_ : bool
        Whether `tol` was reached.
    stop_reason_ : {"converged", "max_iter", "diverged", "interrupted", "callback"}
        Why training ended. After divergence the last finite record is kept.
    net_ : skorch.NeuralNet
        The fitted net, on the CPU; only with "sgd" and "adam".
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if X has string names.

    See Also
    --------
    HomogeneousMLPRegressor : The same network with real targets.
    sklearn_deeplinear.DeepLinearRegressor : Without activations, from moments alone.

    References
    ----------
    .. [1] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced."
       NeurIPS 31, Theorems 2.1 and 2.2.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_deeplinear import HomogeneousMLPClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(
    ...     StandardScaler(), HomogeneousMLPClassifier(width=20, tol=0, random_state=0)
    ... )
    >>> model.fit(X, y).score(X, y)
    1.0
    >>> balance = model[-1].balance_history_
    >>> bool((balance.drift < 0.05).all())
    True
    """

    _parameter_constraints: dict = {
        **HomogeneousMLP._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
    }
    _target_checks: dict = {}

    def __init__(
        self,
        depth=3,
        width=100,
        *,
        loss="cross_entropy",
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
        super().__init__(
            depth,
            width,
            activation=activation,
            weight_decay=weight_decay,
            solver=solver,
            step_size=step_size,
            max_iter=max_iter,
            momentum=momentum,
            flow_time=flow_time,
            tol=tol,
            batch_size=batch_size,
            init=init,
            init_scale=init_scale,
            fit_bias=fit_bias,
            callbacks=callbacks,
            record_every=record_every,
            record=record,
            record_weights=record_weights,
            record_sharpness=record_sharpness,
            warm_start=warm_start,
            device=device,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss

    def decision_function(self, X):
        """Outputs of the network, by which classes are chosen.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Outputs f(x); for two classes the second minus the first.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The softmax of the outputs, for the cross-entropy; for the squared error, the
            probability distribution nearest to the outputs.
        """
        return LOSSES[self.loss].probabilities(self._outputs(X))

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels of the largest outputs.
        """
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]

    def _targets(self, y):
        """Class indicators, (n_samples, n_classes)."""
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {y[0]!r}.")
        return self._known_targets(y)

    def _known_targets(self, y):
        """Indicators of the classes that were fitted."""
        Y = y[:, None] == self.classes_
        known = Y.any(axis=1)
        if not known.all():
            raise ValueError(f"y must hold classes seen by fit, got {y[~known][0]!r}.")
        return Y.astype(np.float64)
