"""The private parts of scikit-learn that the package uses, in one place."""

from collections.abc import Callable
from typing import TypeVar

from sklearn import base
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight

_Method = TypeVar("_Method", bound=Callable)


def _fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Method], _Method]:
    """Decorate as scikit-learn does, without hiding from type checkers what `fit` returns."""
    return base._fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


__all__ = ["Interval", "StrOptions", "_check_sample_weight", "_fit_context"]
