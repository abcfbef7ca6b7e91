"""Values that constructor parameters may take, those that estimators share written once."""

from __future__ import annotations

import os
from numbers import Integral, Real

from sklearn_deeplinear import _compat
from sklearn_deeplinear._compat import StrOptions
from sklearn_deeplinear._parameters import as_float
from sklearn_deeplinear.estimators._solvers import TRAINING
from sklearn_deeplinear.nn._initialisers import INITIALISERS


class Interval(_compat.Interval):
    """That of scikit-learn, which asks NumPy about fractions, of which that knows nothing."""

    def __contains__(self, value):
        return super().__contains__(value if isinstance(value, Integral) else as_float(value))


POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
NOT_NEGATIVE_INTEGER = Interval(Integral, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")

# In the order of the constructors: the network, its solver, its start, what is recorded, and
# where it is trained.
SHARED: dict = {
    "depth": [POSITIVE_INTEGER],
    "width": ["array-like", POSITIVE_INTEGER],
    "weight_decay": ["array-like", NOT_NEGATIVE],
    "solver": [StrOptions(TRAINING)],
    "step_size": [StrOptions({"auto"}), callable, POSITIVE],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "max_iter": [NOT_NEGATIVE_INTEGER],
    "flow_time": [None, NOT_NEGATIVE],
    "tol": [NOT_NEGATIVE],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [POSITIVE_INTEGER],
    "batch_size": [POSITIVE_INTEGER],
    "callbacks": [None, list, tuple],
    "init": [StrOptions(set(INITIALISERS)), list, tuple],
    "init_scale": [None, "array-like", NOT_NEGATIVE],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "record_every": [None, POSITIVE_INTEGER],
    "record": [list, tuple],
    "record_weights": ["boolean"],
    "record_sharpness": ["boolean"],
    "device": "no_validation",
    "dtype": "no_validation",
    "checkpoint": [None, str, os.PathLike],
    "verbose": ["verbose"],
}
CLASS_WEIGHT = [dict, StrOptions({"balanced"}), None]
# Regressors whose exact minimum is known besides.
WITH_MINIMUM: dict = {
    **SHARED,
    "solver": [StrOptions({*TRAINING, "analytic"})],
    "fit_intercept": ["boolean"],
}
