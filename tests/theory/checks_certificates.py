"""certify and verify on structured problems whose least objective is known."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory import certify, global_minimum, verify
from tests.structured import cases, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import CERTIFIED, EXACT, normal, reference


def certificate_checks():
    """Bounds from the minimum, from zero and from an arbitrary map."""
    for case, slow in [*((c, False) for c in cases()), *((c, True) for c in extreme())]:
        n = normal(case)
        for depth in (1, 2, 3, 5):
            if not (depth == 1 or n.single is not None or case.is_white):
                continue
            for strength in (0.02, 0.45):
                gamma = np.full(depth, n.decay(strength, depth))
                if not (gamma.all() and np.isfinite(gamma).all()):
                    continue
                where = f"depth {depth}, decay {strength:g}, {case.name}"
                for name, deviation in (
                    ("certify", _tight),
                    ("certify", _of_other_maps),
                    ("verify", _verified),
                ):
                    yield Check(
                        name,
                        f"{deviation.__doc__} {where}",
                        lambda case=case, gamma=gamma, f=deviation: f(case, gamma),
                        slow or depth == 5,
                    )


def _size(case, gamma):
    """Least J and c in units of unit_y^2."""
    unit = normal(case).unit_y
    return reference(case, gamma), case.c / unit / unit, unit


def _bound(case, gamma, coef, unit):
    found = certify(coef, case.moments, depth=len(gamma), weight_decay=gamma)
    return found / unit / unit


def _tight(case, gamma):
    """At the minimum:"""
    least, c, unit = _size(case, gamma)
    minimum = global_minimum(case.moments, depth=len(gamma), weight_decay=gamma)
    bound = _bound(case, gamma, minimum.coef, unit)
    above = off(max(bound, least), least, absolute=EXACT * c)
    return max(above, off(min(bound, least), least, absolute=CERTIFIED * c))


def _of_other_maps(case, gamma):
    """Elsewhere:"""
    least, c, unit = _size(case, gamma)
    rng = np.random.default_rng(0)
    S = case.moments.cross_moment
    bounds = [_bound(case, gamma, M, unit) for M in (0 * S, S, rng.normal(size=S.shape))]
    return off(max(*bounds, least), least, absolute=EXACT * c)


def _verified(case, gamma):
    """The minimum:"""
    minimum = global_minimum(case.moments, depth=len(gamma), weight_decay=gamma)
    report = verify(minimum, case.moments)
    return 0.0 if report.ok and report.gap <= CERTIFIED else np.inf
