"""Calls of `fit` that fail leave an estimator as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_Method = TypeVar("_Method", bound=Callable)


def all_or_nothing(method: _Method) -> _Method:
    """Decorate a method that fits: whatever it raises, the estimator is as before the call.

    It has all attributes of the new fit, or those of the former one, or none. Ctrl-C, memory
    that is used up and callbacks that fail come between any two lines, so that no order in
    which attributes are set would do.
    """

    @wraps(method)
    def fit(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before
            raise

    return fit  # type: ignore[return-value]
