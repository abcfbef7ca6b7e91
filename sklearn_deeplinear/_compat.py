"""What differs between versions of scikit-learn, and its private parts, in one place."""

from collections.abc import Callable
from typing import TypeVar

from sklearn import base
from sklearn.utils import _safe_indexing, validation
from sklearn.utils._array_api import _convert_to_numpy, get_namespace
from sklearn.utils._array_api import device as array_device
from sklearn.utils._metadata_requests import _raise_for_params, _routing_enabled
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_method_params, _num_samples

try:
    from sklearn.callback import CallbackSupportMixin
except ModuleNotFoundError:  # before 1.9, when estimators had no `set_callbacks`

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing: nobody can register a callback."""


class LoadsOlderFiles:
    """Mixin of estimators: parameters that came after a file was written have their defaults."""

    def __setstate__(self, state):
        super().__setstate__(vars(type(self)()) | state)  # type: ignore[misc]


_Method = TypeVar("_Method", bound=Callable)


def _fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Method], _Method]:
    """Decorate as scikit-learn does, without hiding from type checkers what `fit` returns."""
    return base._fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def _check_sample_weight(sample_weight, X, **options):
    """Check as scikit-learn does; older versions let weights pass that are all zero."""
    weight = validation._check_sample_weight(sample_weight, X, **options)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "LoadsOlderFiles",
    "StrOptions",
    "_check_method_params",
    "_check_sample_weight",
    "_convert_to_numpy",
    "_fit_context",
    "_num_samples",
    "_raise_for_params",
    "_routing_enabled",
    "_safe_indexing",
    "array_device",
    "get_namespace",
]
