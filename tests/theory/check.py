"""A claim about one public function on one problem, and how far it is from holding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One claim; `slow` ones are left to benchmarks/check_structured.py.

    `deviation` returns what was measured in units of what is allowed: at most 1 is right.
    """

    function: str
    name: str
    deviation: Callable[[], float]
    slow: bool = False

    @property
    def label(self):
        return f"{self.function}: {self.name}"


def off(got, expected, *, relative=0.0, absolute=0.0):
    """Largest difference in units of ``relative * max |expected| + absolute``."""
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    if got.shape != expected.shape:
        return np.inf
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return 0.0 if np.array_equal(got, expected) else np.inf
    # Halves, for the difference of two numbers near the largest float overflows.
    gap = np.abs(got / 2 - expected / 2).max(initial=0.0)
    size = relative * np.abs(expected / 2).max(initial=0.0) + absolute / 2
    return 0.0 if gap == 0 else float(gap / size) if size > 0 else np.inf


def selection(checks, most, others=()):
    """At most `most` checks of each function that are not slow, evenly spread over them.

    `others` maps functions to other numbers.
    """
    others = dict(others)
    by_function = defaultdict(list)
    for check in checks:
        if not check.slow:
            by_function[check.function].append(check)
    return [
        group[i]
        for function, group in by_function.items()
        for i in np.unique(np.linspace(0, len(group) - 1, others.get(function, most)).astype(int))
    ]
