"""Class labels as the networks see them, and how much each class weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from sklearn_deeplinear._all_or_nothing import all_or_nothing
from sklearn_deeplinear._arrays import NUMPY, Place, on_host
from sklearn_deeplinear._compat import _fit_context
from sklearn_deeplinear.estimators._partial_fit import may_continue
from sklearn_deeplinear.theory._location import shares_of


class ClassTargets:
    """Mixin of classifiers, which sets `classes_`."""

    classes_: np.ndarray
    class_weight: dict | str | None
    warm_start: bool
    _partial_fit: Callable
    _announced: np.ndarray | None = None  # classes, by a first call of partial_fit

    @available_if(may_continue)
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
        """Go on with a batch of data, which need not be kept, by one epoch of mini-batches.

        The network goes on from where the last call, or `fit`, has left it. Averages of Adam are
        kept between calls; automatic step sizes are those of the batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs of the batch.
        y : array-like of shape (n_samples,)
            Class labels of the batch.
        classes : array-like of shape (n_classes,), default=None
            All class labels there will be; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None weights all equally. A batch after the first one whose
            weights are all zero changes nothing.

        Returns
        -------
        self : object
            The estimator. `trajectory_` and `balance_history_` are those of this call, `n_iter_`
            counts the epochs of all calls.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not valid, or do not suit those of former calls.
        KeyboardInterrupt
            If the call is interrupted (Ctrl-C). Then, as after any error, the batch is as if
            it had not been given.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f'class_weight must be None or a dict in partial_fit, got "{self.class_weight}": '
                "a batch does not know how many samples of each class there are. Give the weights "
                'of compute_class_weight("balanced", classes=..., y=...) for all y.'
            )
        announced = None if classes is None else np.unique(on_host(classes))
        if not hasattr(self, "weights_"):
            if announced is None:
                raise ValueError("classes must be given in the first call of partial_fit.")
            self._announced = announced
        elif announced is not None and not np.array_equal(announced, on_host(self.classes_)):
            raise ValueError(
                f"classes must be those of former calls, {self.classes_!r}, got {announced!r}."
            )
        try:
            return self._partial_fit(X, y, sample_weight)
        finally:
            self.__dict__.pop("_announced", None)

    def _learn_classes(self, y):
        check_classification_targets(y)
        classes = np.unique(y) if self._announced is None else self._announced
        if len(classes) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {y[0]!r}.")
        if self.warm_start and hasattr(self, "weights_"):
            self._check_former(classes)
        self.classes_ = classes

    def _check_former(self, classes):
        known = on_host(self.classes_)
        if not np.array_equal(classes, known):
            raise ValueError(
                "y must hold the classes of the previous fit, whose outputs they are, with "
                f"warm_start=True: {known!r}, got {classes!r}. Set warm_start=False to start anew."
            )

    def _strata(self, y):
        check_classification_targets(y)
        return y

    def _indicators(self, y):
        """Indicators (n_samples, n_classes) of the classes that were learnt."""
        Y = y[:, None] == on_host(self.classes_)
        known = Y.any(axis=1)
        if not known.all():
            raise ValueError(f"y must hold classes seen by fit, got {y[~known][0]!r}.")
        return Y.astype(np.float64)

    def _labels(self, codes):
        """Classes of integer `codes`, where these are; of text always in NumPy."""
        place, classes = Place.of(codes), self.classes_
        if Place.of(classes) != place:
            place, codes = NUMPY, on_host(codes)
        return classes[codes] if place.xp is None else place.xp.take(classes, codes)

    def _shares(self, y, sample_weight):
        """Weights of the samples, of sum one, times those of their classes."""
        shares = shares_of(np.ones(len(y)) if sample_weight is None else sample_weight)
        if self.class_weight is None:
            return shares
        Y = self._indicators(y)
        if isinstance(self.class_weight, str):
            totals = shares @ Y
            factors = 1 / np.where(totals > 0, totals, np.inf)
        else:
            try:
                classes = on_host(self.classes_)
                factors = compute_class_weight(self.class_weight, classes=classes, y=y)
            except (TypeError, ValueError) as error:
                raise ValueError(f"class_weight must give labels numbers: {error}") from error
            if not (factors >= 0).all() or not np.isfinite(factors).all():
                raise ValueError(
                    "class_weight must hold finite numbers that are not negative, got "
                    f"{self.class_weight!r}."
                )
        weighted = shares * (Y @ factors)
        if not weighted.any():
            raise ValueError("class_weight must leave some samples a weight, all have zero.")
        return shares_of(weighted)
