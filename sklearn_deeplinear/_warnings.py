"""Warnings that point at the user's line, however deep they are raised."""

from __future__ import annotations

import sys
import warnings

_INTERNAL = {"sklearn_deeplinear", "sklearn", "torch", "joblib"}


def warn_user(message, category):
    """Warn as if from the first line outside this package and those that call into it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _package(frame.f_back) in _INTERNAL:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
