"""An estimator whose fits may have been made already, together with others."""

from __future__ import annotations

import joblib
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags


class Trained(BaseEstimator):
    """Stands for an estimator in a search, and takes its fits from those that are known.

    In all else it is the estimator: parameters, tags, and once it is fitted all attributes.

    Parameters
    ----------
    estimator : estimator
        The one that it stands for.
    fits : dict
        Fitted estimators, or the errors that were raised, by :func:`fit_key`.
    parameters : dict
        Those that the search has set.
    """

    def __init__(self, estimator, fits, parameters=None):
        self.__dict__.update(estimator=estimator, fits=fits, parameters=parameters or {})

    def __sklearn_clone__(self):
        return Trained(clone(self.estimator), self.fits, self.parameters)

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
        """Set parameters of the estimator."""
        self.__dict__["parameters"] = self.parameters | parameters
        self.estimator.set_params(**parameters)
        return self

    def fit(self, X, y=None, rows=None, **params):
        """Take the fit to these `rows` of the data, or make it if it is not known."""
        found = self.fits.get(fit_key(self.parameters, rows))
        if isinstance(found, Exception):
            raise found
        self.__dict__["estimator"] = found or self.estimator.fit(X, y, **params)
        return self

    def __sklearn_is_fitted__(self):
        return True


def fit_key(parameters, rows):
    """What tells fits of a search apart: parameters, and samples trained on."""
    # Functions may not pickle; a copy of one is the function itself.
    plain = [(name, id(v) if callable(v) else v) for name, v in sorted(parameters.items())]
    return joblib.hash((plain, rows.tobytes()))
