"""Classification by homogeneous perceptrons."""

from __future__ import annotations

from sklearn.base import ClassifierMixin

from sklearn_deeplinear._arrays import largest
from sklearn_deeplinear._compat import StrOptions
from sklearn_deeplinear.estimators._class_targets import ClassTargets
from sklearn_deeplinear.estimators._constraints import CLASS_WEIGHT
from sklearn_deeplinear.estimators._mlp_base import HomogeneousMLP
from sklearn_deeplinear.estimators._tensors import log_softmax, through_torch
from sklearn_deeplinear.nn._losses import LOSSES


class HomogeneousMLPClassifier(ClassTargets, ClassifierMixin, HomogeneousMLP):
    """Classifier with homogeneous activations whose conservation laws are measured.

    The network is ``f(x) = W_L a(... a(W_1 x + b_1) ...) + b_L``; fitting minimises

        J(W) = sum_i w_i loss(f(x_i), y_i) / sum_i w_i + sum_l gamma_l ||W_l||_F^2.

    The gradient flow of the loss conserves, for every hidden unit, the squared norm of
    its incoming weights minus that of its outgoing weights; `balance_history_` tells how
    well training does.

    Parameters
    ----------
    depth : int, default=3
        Number L of weight matrices; one makes a linear model.
    width : int or sequence of L - 1 ints, default=100
        Hidden widths h_1, ..., h_{L-1}.
    loss : {"cross_entropy", "squared_error"}, default="cross_entropy"
        Loss of a sample: ``-log softmax(f(x))[y]`` or ``||f(x) - e_y||^2`` with e_y the
        indicator of the class. There is one output per class, for two classes too.
    activation : {"relu", "leaky_relu", "identity"}, default="relu"
        Activation a of the hidden layers; "leaky_relu" has slope 0.01. All of them are
        homogeneous: a(c z) = c a(z) for c > 0.
    weight_decay : float or sequence of L floats, default=0.0
        Penalties gamma_l on the squared Frobenius norms of the weights; biases are not
        penalised. :ref:`conversions` has them in the words of other libraries.
    class_weight : dict or "balanced", default=None
        Factors on the sample weights by class: {label: factor}, 1 for labels that are left out,
        or such that all classes weigh the same.
    fit_bias : bool, default=True
        Fit biases b_1, ..., b_L, which are not decayed. A hidden bias counts as one more
        incoming weight of its unit in the balance. The constant 1 that a bias multiplies has no
        units: inputs, and targets of regression, much smaller than 1 are learnt slowly beside it,
        and below a millionth, or where that is what a layer gets, they are refused
        (:ref:`units-of-the-data`).
    solver : {"gd", "momentum", "lbfgs", "flow", "sgd", "adam"}, default="gd"
        "gd" is full-batch gradient descent, "momentum" that of a heavy ball; "lbfgs" is scipy's
        quasi-Newton method, for those who want the fitted network only; "flow" follows the
        gradient flow that descent approximates, by an adaptive method; "sgd" and "adam" train on
        mini-batches, in a skorch net.
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
    init : str or list of array-like, default="xavier_uniform"
        Initial weights: "xavier_uniform", "xavier_normal", "normal", "orthogonal", "balanced"
        (factors of a random map), "identity", or the weights [W_1, ..., W_L]. Biases start at
        zero.
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
    weights_ : list of ndarray
        [W_1, ..., W_L], of shapes (h_l, h_{l-1}).
    biases_ : list of ndarray, or None
        [b_1, ..., b_L], of shapes (h_l,); None without `fit_bias`.
    loss_ : float
        Loss of the fitted network on all training data, the first term of J.
    objective_ : float
        ``loss_`` plus the penalty, the J that was minimised.
    trajectory_ : Trajectory
        Curves of the run. The iterations are steps, for "flow" gradient evaluations, for "sgd"
        and "adam" epochs; the time is the sum of the step sizes of all steps, for "lbfgs" their
        number.
    balance_history_ : BalanceHistory
        Balance of adjacent layers along the run, which the flow of the loss conserves
        (:doc:`/theory/balance`).
    n_iter_ : int
        Number of steps (gradient evaluations of "flow", epochs of "sgd" and "adam") that led to
        `weights_`.
    step_size_ : float or callable
        Step size used; None with "lbfgs".
    converged_ : bool
        Whether `tol` was reached, by the gradient or else by the objective.
    stop_reason_ : str
        Why training ended: "converged", "max_iter", "early_stopping", "diverged", "interrupted",
        "callback", or "stalled" where "lbfgs" finds no way down from a kink of the units. After
        divergence the last finite record is kept.
    best_validation_loss_ : float or None
        Least of ``trajectory_.validation_loss``, with `early_stopping` that of `weights_`; None
        without validation data.
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
        "loss": [StrOptions({"cross_entropy", "squared_error"})],
        "class_weight": CLASS_WEIGHT,
    }
    _target_checks: dict = {"labels": True}

    def __init__(
        self,
        depth=3,
        width=100,
        *,
        loss="cross_entropy",
        activation="relu",
        weight_decay=0.0,
        class_weight=None,
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
        super().__init__(
            depth,
            width,
            activation=activation,
            weight_decay=weight_decay,
            fit_bias=fit_bias,
            solver=solver,
            step_size=step_size,
            momentum=momentum,
            max_iter=max_iter,
            flow_time=flow_time,
            tol=tol,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            batch_size=batch_size,
            callbacks=callbacks,
            init=init,
            init_scale=init_scale,
            warm_start=warm_start,
            random_state=random_state,
            record_every=record_every,
            record=record,
            record_weights=record_weights,
            record_sharpness=record_sharpness,
            device=device,
            dtype=dtype,
            checkpoint=checkpoint,
            verbose=verbose,
        )
        self.loss = loss
        self.class_weight = class_weight

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
        outputs = self._outputs(X, "decision_function")
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

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
        outputs = self._outputs(X, "predict_proba")
        return through_torch(LOSSES[self.loss].probabilities, outputs)

    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Of the squared error minus infinity for classes that have no probability.
        """
        outputs = self._outputs(X, "predict_log_proba")
        if self.loss == "cross_entropy":  # no probability is so small that it has no logarithm
            return through_torch(log_softmax, outputs)
        return through_torch(lambda f: LOSSES[self.loss].probabilities(f).log(), outputs)

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
        return self._labels(largest(self._outputs(X)))

    def _targets(self, y):
        self._learn_classes(y)
        return self._indicators(y)

    def _known_targets(self, y):
        return self._indicators(y)

    def _as_matrix(self, y):
        return self._indicators(y)
