"""Convex losses of one output, all that the theory knows about each in one entry.

To add one, write a `GlmLoss` and give it a name in `GLM_LOSSES`. A loss is at least zero, convex
and has a continuous derivative in the output f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class GlmLoss:
    """Loss V(f, y) of samples with outputs f and targets y, both of shape (n,).

    Attributes
    ----------
    value : callable
        ``value(f, y, delta)``, shape (n,).
    slope : callable
        ``slope(f, y, delta)``, the derivative in f.
    curvature : callable
        ``curvature(f, y, delta)``, the second derivative in f, from one side at kinks of the
        slope.
    majorant : callable
        ``majorant(f, y, delta)``, shape (n,): the curvature of a parabola in f that touches V
        where f is and lies nowhere below it.
    of_classes : bool
        Whether targets are classes, coded as -1 and 1, and f is dimensionless. Otherwise f has
        the unit of y and delta, and V its square.
    piecewise_quadratic : bool
        Whether V consists of parabolas and lines in f. Then its mean has a minimum over all maps,
        whatever the data.
    """

    value: Callable
    slope: Callable
    curvature: Callable
    majorant: Callable
    of_classes: bool
    piecewise_quadratic: bool


def _log_curvature(f, y, delta):
    # Of p (1 - p) neither factor may be computed as one minus the other.
    return expit(f) * expit(-f)


def _log_majorant(f, y, delta):
    """tanh(f / 2) / (2 f), found by Jaakkola and Jordan (2000)."""
    size = np.maximum(np.abs(f), 1e-8)  # below, the limit 1/4 is exact
    return np.tanh(size / 2) / (2 * size)


def _huber(f, y, delta):
    r = np.abs(f - y)
    return np.where(r <= delta, r**2, 2 * delta * r - delta**2)


GLM_LOSSES: dict[str, GlmLoss] = {
    "squared_error": GlmLoss(
        value=lambda f, y, delta: (f - y) ** 2,
        slope=lambda f, y, delta: 2 * (f - y),
        curvature=lambda f, y, delta: np.full_like(f, 2.0),
        majorant=lambda f, y, delta: np.full_like(f, 2.0),
        of_classes=False,
        piecewise_quadratic=True,
    ),
    "huber": GlmLoss(
        value=_huber,
        slope=lambda f, y, delta: 2 * np.clip(f - y, -delta, delta),
        curvature=lambda f, y, delta: 2.0 * (np.abs(f - y) <= delta),
        majorant=lambda f, y, delta: 2 * delta / np.maximum(np.abs(f - y), delta),
        of_classes=False,
        piecewise_quadratic=True,
    ),
    "log_loss": GlmLoss(
        value=lambda f, y, delta: np.logaddexp(0, -y * f),
        slope=lambda f, y, delta: -y * expit(-y * f),
        curvature=_log_curvature,
        majorant=_log_majorant,
        of_classes=True,
        piecewise_quadratic=False,
    ),
    "squared_hinge": GlmLoss(
        value=lambda f, y, delta: np.maximum(1 - y * f, 0) ** 2,
        slope=lambda f, y, delta: -2 * y * np.maximum(1 - y * f, 0),
        curvature=lambda f, y, delta: 2.0 * (y * f <= 1),
        majorant=lambda f, y, delta: np.full_like(f, 2.0),
        of_classes=True,
        piecewise_quadratic=True,
    ),
}
