"""Deep linear regression whose weight decay, depth, width and noise are cross-validated."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import (
    Place,
    linear_map,
    move_results,
    on_host,
    read_inputs,
)
from sklearn_deeplinear._compat import (
    Interval,
    LoadsOlderFiles,
    StrOptions,
    _fit_context,
    _raise_for_params,
    _routing_enabled,
)
from sklearn_deeplinear._documentation import Documented
from sklearn_deeplinear._parameters import check_real
from sklearn_deeplinear._streamed import StreamedRegressor
from sklearn_deeplinear.model_selection._candidates import candidates, check_step_sizes
from sklearn_deeplinear.model_selection._choice import choose, message_of, warn_of_scores
from sklearn_deeplinear.model_selection._data import data_of
from sklearn_deeplinear.model_selection._held_out import HeldOutModels
from sklearn_deeplinear.model_selection._row_space import in_fewer_inputs
from sklearn_deeplinear.model_selection._single_samples import LeaveOneOutValidation
from sklearn_deeplinear.model_selection._splits import SplitValidation, check_splits
from sklearn_deeplinear.model_selection._stopping import TrainingValidation
from sklearn_deeplinear.theory import GlobalMinimum, global_minimum
from sklearn_deeplinear.theory._one_output import each_output


class DeepLinearRegressorCV(
    Documented, LoadsOlderFiles, MultiOutputMixin, StreamedRegressor, BaseEstimator
):
    """Deep linear regression with cross-validated weight decay, depth, width and noise.

    Every setting is fitted at its exact global minimum, ``DeepLinearRegressor`` with
    ``solver="analytic"``, from second moments: of one decomposition a fold all decays are
    solved at once. By default each sample is predicted by the network that is fitted without
    it, which for one output has a closed form at any depth.

    Networks of several outputs that share three layers or more, or a bottleneck, have many local
    minima: settings are compared at the lowest that a few descents find, each decay starting
    also from the one before. The fit of the best setting to all data is proven as far as
    :func:`~sklearn_deeplinear.theory.global_minimum` can.

    Parameters
    ----------
    weight_decays : "auto" or array-like of shape (n_decays,), default="auto"
        Decays, the same in all layers. "auto" takes, for each depth in the units of the data,
        31 values from the one at which the network collapses to zero down to a millionth of
        it; for one layer, which never collapses, from a hundred times the largest eigenvalue
        of the input moment.
    depths : array-like of int, default=(1, 2, 3)
        Numbers of weight matrices.
    widths : list, default=(None,)
        Hidden widths, each an int, a sequence of ints for one depth, or None for wide enough.
        They bound the rank, and matter to one output only with noise.
    noises : list, default=(0.0,)
        Variances of multiplicative noise on the hidden units, each a float or a sequence of
        floats for one depth. Networks of one layer are tried once, for they have no hidden
        units.
    fit_intercept : bool, default=True
        Fit an intercept, by centring the data. It is never penalised.
    cv : int, cross-validation generator or iterable, default=None
        None predicts each sample by the fit to all others. Where several outputs share a
        network this takes a refit for each sample and each setting; a splitter is faster. An
        int is the number of folds; anything else is as in
        :class:`~sklearn.model_selection.GridSearchCV`. With a number of folds (or KFold without
        shuffling) memory maps, dask collections and others are read in blocks, in one pass:
        the folds are consecutive rows, and whole chunks where dask does not know their sizes.
    scoring : str or callable, default=None
        Scorer, the larger the better; None takes the negative mean squared error, averaged
        over outputs and weighted by the sample weights. With ``cv=None`` a scorer gets the
        left-out predictions of all samples at once.
    per_target : bool, "setting" or "auto", default=False
        True gives each output a network of its own, all of them of one setting: leave-one-out
        then has a closed form, and one layer is the same either way. "setting" chooses the
        setting for each output, too, as `alpha_per_target` of
        :class:`~sklearn.linear_model.RidgeCV` does, which with few samples is worse than one
        for all: "auto" takes whichever of the two predicts better where settings are chosen by
        one half of the samples and tried on the other; "auto" needs ``cv=None`` and
        ``scoring=None``. All of them but False are of the solver "analytic" only.
    solver : {"analytic", "gd", "flow"}, default="analytic"
        "gd" trains every setting by gradient descent from "spectral" weights, all decays on all
        folds at once, and "flow" by the flow that it approximates, one after the other; `cv`
        must be a splitter then, and `scoring` None.
    stopping : {None, "cv"}, default=None
        With "cv" a setting is stopped at the record whose mean score is best; None trains for
        all of `max_iter`.
    step_sizes : sequence, default=("auto",)
        Step sizes to try, each a float or "auto", which follows the moments of all data.
    max_iter : int, default=1000
        Number of steps; of the flow its time in steps.
    verbose : int, default=0
        Print about ten lines while more than 10^8 values are read in blocks.

    Attributes
    ----------
    best_params_ : dict, or list of dict
        The setting with the best score: "depth", "width", "noise" and "weight_decay", of
        networks that are trained "step_size", too. Here and in the next three one for each
        output where `per_target_` is "setting" and y has two dimensions.
    best_score_ : float, or ndarray of shape (n_targets,)
        Its mean score.
    best_index_ : int, or ndarray of shape (n_targets,)
        Its place in `cv_results_`.
    cv_results_ : dict of ndarray, or list of dict
        One entry a setting, with the columns of GridSearchCV that concern scores. With
        ``cv=None`` the mean and standard deviation are over samples, and there are no scores
        of splits; a scorer's standard deviation is not known then, but NaN.
    n_iter_ : int
        Number of steps that every setting was trained for; 1 with the solver "analytic".
    stopping_path_ : StoppingPath
        Mean and spread of the scores along the training of every setting; only with "gd" and
        "flow", where `cv_results_` has the columns "step_size", "stopping_iteration" and
        "stopping_time".
    estimator_ : DeepLinearRegressor
        The best setting trained on all data until it is stopped; only with "gd" and "flow".
    message_ : str
        Says so if the best decay lies at an end of its grid; else empty.
    loo_residuals_ : ndarray of shape (n_samples,) or (n_samples, n_targets)
        y less the prediction by the best setting without the sample; only with ``cv=None``.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        End-to-end map of the best setting on all data.
    intercept_ : float or ndarray of shape (n_targets,)
        Its intercept.
    global_minimum_ : GlobalMinimum or list of GlobalMinimum
        The minimum on all data, from which weights can be had; one for each output with
        `per_target`.
    moments_ : SecondMoments
        Second moments of all data.
    per_target_ : bool or "setting"
        What `per_target` came to; only with the solver "analytic".
    n_splits_ : int
        Number of splits; n_samples with ``cv=None``.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if X has string names.

    See Also
    --------
    DeepLinearRegressor : One setting, trained or at its minimum.
    sklearn_deeplinear.theory.deep_linear_path : Minima for many weight decays at once.

    Notes
    -----
    For the intervals the estimator keeps the models of the best setting: one map a fold, or
    one a sample with ``cv=None``, which is as large as X times the number of outputs. Of data
    that are read in blocks it keeps nothing but moments, and there are no intervals.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35. arXiv:2202.04777.
    .. [2] Barber, R. F., Candes, E. J., Ramdas, A., Tibshirani, R. J. (2021). "Predictive
       inference with the jackknife+." Annals of Statistics 49.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_deeplinear import DeepLinearRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressorCV(depths=[1, 2, 3]).fit(X[:400], y[:400])
    >>> model.best_params_["depth"]
    1
    >>> lower, upper = model.predict_interval(X[400:], alpha=0.1)
    >>> float(((lower <= y[400:]) & (y[400:] <= upper)).mean().round(2))
    0.95
    """

    coef_: np.ndarray
    intercept_: float | np.ndarray
    global_minimum_: GlobalMinimum | list[GlobalMinimum]
    _held_out: HeldOutModels | None

    _parameter_constraints: dict = {
        "weight_decays": [StrOptions({"auto"}), "array-like"],
        "depths": ["array-like"],
        "widths": [list, tuple],
        "noises": ["array-like"],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "per_target": ["boolean", StrOptions({"setting", "auto"})],
        "solver": [StrOptions({"analytic", "gd", "flow"})],
        "stopping": [StrOptions({"cv"}), None],
        "step_sizes": ["array-like"],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        weight_decays="auto",
        depths=(1, 2, 3),
        *,
        widths=(None,),
        noises=(0.0,),
        fit_intercept=True,
        cv=None,
        scoring=None,
        per_target=False,
        solver="analytic",
        stopping=None,
        step_sizes=("auto",),
        max_iter=1000,
        verbose=0,
    ):
        self.weight_decays = weight_decays
        self.depths = depths
        self.widths = widths
        self.noises = noises
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.per_target = per_target
        self.solver = solver
        self.stopping = stopping
        self.step_sizes = step_sizes
        self.max_iter = max_iter
        self.verbose = verbose

    _inputs = None  # coordinates of many inputs

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params) -> Self:
        """Choose the setting, and fit it to all data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, in any units.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, in any units.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, in fits and in scores; None weights all equally. Leaving a
            sample out takes all its weight. Where metadata routing is enabled a scorer gets
            them if it requests them.
        **params : dict
            ``groups`` for the splitter. Where metadata routing is enabled, whatever the
            splitter and the scorer request.

        Returns
        -------
        self : DeepLinearRegressorCV
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid; the message names the parameter.
        """
        given = data_of(self, X, y, sample_weight)
        data, self._inputs = in_fewer_inputs(given) if self.scoring is None else (given, None)
        validation = self._validation(data, given.X, params)
        for name in (
            "stopping_path_",
            "estimator_",
            "loo_residuals_",
            "per_target_",
        ):  # of a former fit
            self.__dict__.pop(name, None)
        self.moments_, self.n_splits_ = given.moments, validation.n_splits
        if self.solver == "analytic":
            self._minimise(given.moments, validation)
        else:
            self._train(validation)
        move_results(self, Place.of(X))
        return self

    def predict(self, X):
        """Predict targets by the best setting, fitted to all data.

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
        return self._predict_by(partial(linear_map, coef=self.coef_, intercept=self.intercept_), X)

    def _check_inputs(self, X, method="predict"):
        return read_inputs(self, X, method)

    def predict_interval(self, X, alpha=0.1):
        """Predict intervals that hold the targets with probability ``1 - alpha``, about.

        The jackknife+ interval of Barber et al. (2021), of the left-out predictions of X and
        residuals; with folds their CV+. For exchangeable samples of equal weight and a setting
        chosen beforehand it holds a new target with probability ``1 - 2 alpha`` at least
        (with K folds, up to ``sqrt(2 / n_samples)`` less), whatever their distribution. The
        choice of the best setting by the same residuals is not accounted for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        alpha : float, default=0.1
            Between 0 and 1, exclusively.

        Returns
        -------
        lower, upper : ndarrays of shape (n_samples,) or (n_samples, n_targets)
            Bounds of each target by itself; infinite if `alpha` is less than
            ``1 / (n_samples + 1)`` of the fit.

        Raises
        ------
        ValueError
            If `alpha` is out of range, or `cv` is a splitter that does not test each sample
            once on a model that saw all other folds.
        """
        inputs = self._check_inputs(X, "predict_interval")
        if check_real(alpha, "alpha", closed=False) >= 1:
            raise ValueError(f"alpha must be less than 1, got {alpha!r}.")
        if self._held_out is None:
            raise ValueError(
                'predict_interval needs solver="analytic", and cv to test each sample once, on a '
                "fit to all other folds: None, or a splitter like KFold or GroupKFold. Of data "
                "that were read in blocks there are no residuals: fit to an array instead."
            )
        rows = on_host(inputs) if self._inputs is None else self._inputs.of(on_host(inputs))
        bounds = Place.of(X).moved(list(self._held_out.interval(rows, alpha)))
        return tuple(bound[:, 0] if self.coef_.ndim == 1 else bound for bound in bounds)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def get_metadata_routing(self):
        """Get metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
            Of the splitter, and of the scorer if there is one.
        """
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="split")
        router.add(splitter=check_cv(self.cv), method_mapping=mapping)
        if self.scoring is not None:
            mapping = MethodMapping().add(caller="fit", callee="score")
            router.add(scorer=self._scorer(), method_mapping=mapping)
        return router

    def _scorer(self):
        return None if self.scoring is None else check_scoring(self, scoring=self.scoring)

    def _validation(self, data, X, params):
        """How settings are scored: by leaving out single samples, or by a splitter."""
        others = {name: value for name, value in params.items() if name != "groups"}
        _raise_for_params(others, self, "fit")
        split_params, score_params = self._routed(data.sample_weight, params)
        splits = None
        if self.cv is not None and data.folds is None:
            splits = check_cv(self.cv).split(X, data.y, **split_params)
            splits = check_splits(splits, len(X))
        if self.solver != "analytic":
            self._check_training()
            options = {"solver": self.solver, "max_iter": self.max_iter}
            return TrainingValidation(data, splits, **options, stopping=self.stopping == "cv")
        self._check_none("stopping", why='with solver="analytic", which trains nothing')
        if self.per_target == "auto":
            self._check_none("cv", "scoring", why='with per_target="auto"')
        if self.cv is None:
            if split_params.get("groups") is not None:
                raise ValueError("groups must come with a splitter in cv, got cv=None.")
            return LeaveOneOutValidation(data, self._scorer(), score_params)
        return SplitValidation(data, splits, self._scorer(), score_params)

    def _check_none(self, *names, why):
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} must be None {why}, got {getattr(self, name)!r}.")

    def _check_training(self):
        for name, bad in (
            ("cv", self.cv is None),
            ("scoring", self.scoring is not None),
            ("per_target", self.per_target),
        ):
            if bad:
                allowed = {"cv": "a splitter or a number of folds", "scoring": "None"}
                raise ValueError(
                    f'{name} must be {allowed.get(name, False)} with solver="{self.solver}", '
                    f"got {getattr(self, name)!r}."
                )

    def _routed(self, sample_weight, params):
        """What the splitter and the scorer get."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if not _routing_enabled():
            return params, weights
        routed = process_routing(self, "fit", **weights, **params)
        return routed.splitter.split, {} if self.scoring is None else routed.scorer.score

    def _groups(self, moments):
        """All settings, of networks that are fitted to `moments`."""
        grid = self.depths, self.widths, self.noises, self.weight_decays
        groups = candidates(*grid, moments)
        if self.solver != "analytic":
            steps = check_step_sizes(self.step_sizes)
            groups = [replace(group, step_size=eta) for group in groups for eta in steps]
        return groups

    def _minimise(self, moments, validation):
        """Fit the best setting, or that of each output, at its minimum."""
        groups, flat = self._groups(validation.data.moments), moments.single_target
        self.per_target_ = self.per_target
        if self.per_target == "auto":
            self.per_target_ = True
            if moments.n_outputs > 1 and validation.one_each_is_better(groups):
                self.per_target_ = "setting"
        if self.per_target_ == "setting":
            parts = zip(each_output(moments), validation.of_each_output(), strict=True)
            fits = [
                self._minimum(single, part, self._groups(part.data.moments))
                for single, part in parts
            ]
        else:
            fits = [self._minimum(moments, validation, groups)]
        choices, minima, held_out = zip(*fits, strict=True)
        minima = [minimum for found in minima for minimum in found]
        self._tell(choices, one=self.per_target_ != "setting" or flat)
        self.global_minimum_ = minima if self.per_target else minima[0]
        self.n_iter_ = 1
        coef = np.concatenate([minimum.coef for minimum in minima])
        intercept = np.concatenate([minimum.intercept for minimum in minima])
        self.coef_, self.intercept_ = (coef[0], float(intercept[0])) if flat else (coef, intercept)
        self._held_out = HeldOutModels.side_by_side(held_out)
        if self.cv is None:
            residuals = self._held_out.residuals
            self.loo_residuals_ = residuals[:, 0] if flat else residuals

    def _minimum(self, moments, validation, groups):
        """The best setting, its minima and its models of held-out data."""
        choice = choose(groups, validation)
        networks = each_output(moments) if self.per_target else [moments]
        minima = [global_minimum(network, **choice.network) for network in networks]
        return choice, minima, validation.held_out(choice.best)

    def _train(self, validation):
        """Train the best setting on all data until it is stopped."""
        choice = choose(self._groups(self.moments_), validation)
        choice.table.update(validation.columns())
        self._tell([choice], one=True)
        self.stopping_path_, self.n_iter_ = validation.path, self.max_iter
        self.estimator_ = self._network(choice.index).fit_moments(self.moments_)
        self.coef_, self.intercept_ = self.estimator_.coef_, self.estimator_.intercept_
        self.global_minimum_ = self.estimator_.global_minimum_
        self._held_out = None

    def _tell(self, choices, one):
        """Show the choices of all outputs, or the one of all together."""
        first = choices[0]
        self.cv_results_ = first.table if one else [choice.table for choice in choices]
        self.best_params_ = first.params if one else [choice.params for choice in choices]
        self.best_index_ = first.index if one else np.array([c.index for c in choices])
        self.best_score_ = first.score if one else np.array([c.score for c in choices])
        self.message_ = message_of(choices)
        warn_of_scores(choices)

    def _network(self, row):
        """The network of a row of `cv_results_`, not fitted yet."""
        from sklearn_deeplinear.estimators import DeepLinearRegressor

        setting = self.cv_results_["params"][row]
        enough = min(self.moments_.n_inputs, self.moments_.n_outputs)
        run = {}
        if self.solver != "analytic":
            n_steps = int(self.cv_results_["stopping_iteration"][row])
            step = float(self.cv_results_["step_size"][row])
            run = {"step_size": step, "max_iter": n_steps, "tol": 0.0}
        return DeepLinearRegressor(
            setting["depth"],
            enough if setting["width"] is None else setting["width"],
            weight_decay=setting["weight_decay"],
            noise=setting["noise"],
            fit_intercept=self.fit_intercept,
            solver=self.solver,
            **run,
        )
