"""Attributes that are computed when they are asked for, and that not all data let one compute."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_Method = TypeVar("_Method", bound=Callable)


def absent_where_unknown(method: _Method) -> _Method:
    """Decorate a property whose value cannot be computed for all data.

    There it is absent, so that ``hasattr`` is False, and an AttributeError tells why.
    """

    @wraps(method)
    def value(self):
        try:
            return method(self)
        except AttributeError:  # that of scikit-learn for what is not fitted is a ValueError, too
            raise
        except ValueError as error:
            raise AttributeError(str(error)) from error

    return value  # type: ignore[return-value]
