"""generalised_minimum on structured data: squared errors, and classes on one axis."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory import generalised_minimum
from tests.structured import cases, data_of, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import CERTIFIED, EXACT, normal, reference

_LOSSES = ("log_loss", "squared_hinge")


def generalised_checks():
    """Squared errors against scans, and classes against a scan of the norm along one axis."""
    for case, slow in [*((c, False) for c in cases()), *((c, True) for c in extreme())]:
        if case.S.shape[0] != 1:
            continue
        n = normal(case)
        for depth in (1, 2, 3, 5):
            for strength in (0.02, 0.45):
                gamma = np.full(depth, n.decay(strength, depth))
                if not (gamma.all() and np.isfinite(gamma).all()):
                    continue
                yield Check(
                    "generalised_minimum",
                    f"depth {depth}, decay {strength:g}, {case.name}",
                    lambda case=case, gamma=gamma: _squared(case, gamma),
                    slow or depth == 5,
                )
    for loss in _LOSSES:
        for depth in (1, 2, 3, 5):
            for gamma in (1e-4, 0.01, 0.1, 1.0):
                for scale in (1e-6, 1.0, 1e6):
                    yield Check(
                        "generalised_minimum",
                        f"{loss}, depth {depth}, decay {gamma:g}, inputs of {scale:g}",
                        lambda loss=loss, depth=depth, gamma=gamma, scale=scale: _classes(
                            loss, depth, gamma, scale
                        ),
                    )


def _squared(case, gamma):
    """Deviation of the minimum on rows that have the moments of the case."""
    unit = normal(case).unit_y
    X, Y = data_of(case)
    found = generalised_minimum(
        X, Y[:, 0], loss="squared_error", depth=len(gamma), weight_decay=gamma
    )
    if found.kind not in ("exact", "certified"):
        return np.inf
    least, c = reference(case, gamma), case.c / unit / unit
    gap = off(found.objective / unit / unit, least, absolute=EXACT * c)
    return max(gap, off(found.lower_bound / unit / unit, least, absolute=CERTIFIED * c))


def _classes(loss, depth, gamma, scale):
    """Two classes on one axis, x = -1 and 1 with a quarter of the labels wrong: J(M) is scanned."""
    x, y = np.array([-1.0] * 4 + [1.0] * 4), np.array([-1.0] * 3 + [1.0] * 4 + [-1.0])
    gamma = gamma * scale ** (2 / depth)
    found = generalised_minimum(scale * x[:, None], y, loss=loss, depth=depth, weight_decay=gamma)
    # The intercept is zero by symmetry, so that margins are M on 3 and -M on 1 of 4 rows.
    span = np.geomspace(1e-9, 1e3, 20001)
    for _ in range(6):
        best = span[np.argmin(_scanned(loss, depth, gamma, span / scale, span))]
        width = span[1] / span[0]
        span = np.geomspace(best / width, best * width, 2001)
    least = min(
        float(_scanned(loss, depth, gamma, best / scale, best)),
        float(_scanned(loss, depth, gamma, 0.0, 0.0)),
    )
    gap = off(found.objective, least, relative=1e-11)
    return max(gap, off(min(found.lower_bound, least), least, relative=CERTIFIED))


def _scanned(loss, depth, gamma, M, margin):
    if loss == "log_loss":
        losses = [
            np.log1p(np.exp(-np.abs(s * margin))) + np.maximum(-s * margin, 0) for s in (1, -1)
        ]
    else:
        losses = [np.maximum(1 - s * margin, 0) ** 2 for s in (1, -1)]
    return (3 * losses[0] + losses[1]) / 4 + depth * gamma * np.abs(M) ** (2 / depth)
