"""An estimator whose fits may have been made already, together with others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags


@dataclass
class Fit:
    """How a fit of a search went.

    Attributes
    ----------
    result : estimator or Exception
        The fitted estimator, or what its fit raised.
    seconds : float
        Time that it took, or its share of that of a stack.
    score : float or None
        Score of the estimator's own on the test set, if it is known.
    """

    result: Any
    seconds: float = 0.0
    score: float | None = None


class Trained(BaseEstimator):
    """Stands for an estimator in a search, and takes its fits from those that are known.

    In all else it is the estimator: parameters, tags, and once it is fitted all attributes.

    Parameters
    ----------
    estimator : estimator
        The one that it stands for, which is left as it is.
    fits : dict of Fit
        Those known, by :func:`fit_key`.
    parameters : dict
        Those that the search has set.
    """

    def __init__(self, estimator, fits, parameters=None):
        self.__dict__.update(estimator=estimator, fits=fits, parameters=parameters or {})

    def __sklearn_clone__(self):
        return Trained(self.estimator, self.fits, self.parameters)

    def __sklearn_tags__(self):
        return get_tags(self.estimator)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["estimator"], name)

    def get_params(self, deep=True):
        """Parameters of the estimator."""
        return self.estimator.get_params(deep=deep)

    def set_params(self, **parameters):
        """Parameters to be set before a fit."""
        self.__dict__["parameters"] = self.parameters | parameters
        return self

    def fit(self, X, y=None, rows=None, **params):
        """Take the fit to these `rows` of the data, or make it if it is not known."""
        known = None if rows is None else self.fits.get(fit_key(self.parameters, digest(rows)))
        if known is None:
            own = clone(self.estimator).set_params(**self.parameters)
            known = Fit(own.fit(X, y, **params))
        if isinstance(known.result, Exception):
            raise known.result
        self.__dict__.update(estimator=known.result, known=known)
        return self

    def score(self, X, y=None, sample_weight=None, **params):
        """Score on the test set, the only one that it is asked for where that is known."""
        if sample_weight is not None:  # scikit-learn from 1.9 on passes those of fit
            return self.estimator.score(X, y, sample_weight=sample_weight, **params)
        known = self.known.score
        return self.estimator.score(X, y, **params) if known is None else known

    def __sklearn_is_fitted__(self):
        return True


def digest(rows):
    """A short name of the samples trained on."""
    return hashlib.sha256(rows).digest()


def fit_key(parameters, trained_on):
    """What tells fits of a search apart: parameters, and the digest of the samples."""
    return settings_key(parameters), trained_on


def settings_key(parameters):
    """What tells settings of parameters apart."""
    from sklearn_deeplinear.estimators._posing import told_apart

    return tuple((name, told_apart(v)) for name, v in sorted(parameters.items()))
