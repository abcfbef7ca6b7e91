"""Class labels as the networks see them, and how much each class weighs."""

from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from sklearn_deeplinear._arrays import NUMPY, Place, on_host
from sklearn_deeplinear.theory._location import shares_of


class ClassTargets:
    """Mixin of classifiers, which sets `classes_`."""

    classes_: np.ndarray
    class_weight: dict | str | None

    def _learn_classes(self, y):
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {y[0]!r}.")

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
            factors = compute_class_weight(self.class_weight, classes=on_host(self.classes_), y=y)
            if not (factors >= 0).all() or not np.isfinite(factors).all():
                raise ValueError(
                    "class_weight must hold finite numbers that are not negative, got "
                    f"{self.class_weight!r}."
                )
        weighted = shares * (Y @ factors)
        if not weighted.any():
            raise ValueError("class_weight must leave some samples a weight, all have zero.")
        return shares_of(weighted)
