"""pathway_global_minimum on structured problems."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy.optimize import minimize_scalar

from sklearn_deeplinear.theory import global_minimum, pathway_global_minimum
from tests.structured import cases, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import DESCENT, EXACT, normal, reference
from tests.theory.reference_minima import descent, exact

DEPTHS = ((2, 2), (3, 3), (2, 3), (3, 4), (1, 2), (1, 3), (2, 1, 3), (1, 1), (2, 50), (5, 3, 2))


def pathway_checks():
    for case in [*cases(), *extreme()]:
        n = normal(case)
        for depths in DEPTHS:
            for strength in (0.02, 0.2):
                decays = [n.decay(strength, L) for L in depths]
                if not (all(decays) and np.isfinite(decays).all()):
                    continue
                known = n.single is not None or case.is_white
                ordinary = 1e-100 < n.unit_x * n.unit_y < 1e100 and 1e-100 < n.unit_y < 1e100
                if not ordinary and not known:
                    continue
                yield Check(
                    "pathway_global_minimum",
                    f"depths {depths}, decay {strength:g}, {case.name}",
                    lambda case=case, depths=depths, strength=strength: _compare(
                        case, depths, strength
                    ),
                    not known or strength == 0.2 or len(depths) > 2,
                )
        yield Check(
            "pathway_global_minimum",
            f"one pathway is one network, {case.name}",
            lambda case=case: _one(case),
        )


def _one(case):
    n = normal(case)
    if n.single is None and not case.is_white:
        return 0.0
    worst, c = 0.0, case.c / n.unit_y / n.unit_y
    for depth in (1, 2, 3):
        gamma = n.decay(0.1, depth)
        found = pathway_global_minimum(case.moments, depths=[depth], weight_decay=gamma)
        expected = reference(case, np.full(depth, gamma))
        got = found.objective / n.unit_y / n.unit_y
        worst = max(worst, off(got, expected, absolute=EXACT * c))
    return worst


def _compare(case, depths, strength):
    n = normal(case)
    decays = [np.full(L, n.decay(strength, L)) for L in depths]
    found = pathway_global_minimum(case.moments, depths=depths, weight_decay=decays)
    c = case.c / n.unit_y / n.unit_y
    got, bound = (v / n.unit_y / n.unit_y for v in (found.objective, found.lower_bound))
    if found.kind == "exact" or case.is_white or n.single is not None:
        if found.kind != "exact":
            return np.inf
        tolerance = EXACT * c
        expected = _expected(case, depths, strength)
        gap = max(
            off(v, expected, absolute=max(tolerance, _slack(case, depths) * c))
            for v in (got, bound)
        )
    else:
        expected = _searched(n, depths, strength)
        gap = max((got - expected) / (DESCENT * expected), (bound - expected) / (DESCENT * c))
    value = _value(found.weights(), case, decays)
    attained = off(value, found.objective / (case.c or 1.0), absolute=1e-12)
    coef = off(sum(found.pathway_coefs), found.coef, relative=1e-14)
    return max(gap, attained, coef)


def _slack(case, depths):
    """Where the reference is descent over all weights it ends a little above the minimum."""
    mixed = 1 in depths and max(depths) > 1 and not case.is_white
    return 1e-10 if mixed else 0.0


def _expected(case, depths, strength):
    """Least J: a scan per mode on white inputs, else one network's, else descent."""
    n = normal(case)
    if not len(n.modes):
        return n.unexplained + float(np.sum(n.targets**2))
    if case.is_white:
        gains = [_mode(t, depths, strength) for t in n.modes]
        return n.unexplained + float(np.sum(gains))
    if set(depths) == {1}:
        g = strength / len(depths)
        power = np.sum(n.targets**2, axis=1)
        return n.unexplained + float(np.sum(power * g / (n.sigma**2 + g)))
    if 1 not in depths:
        return min(reference(case, np.full(L, n.decay(strength, L))) for L in set(depths))
    return _searched(n, depths, strength)


def _searched(n, depths, strength):
    width = max(len(n.modes), 1)
    networks = [(L, np.log(strength), width) for L in depths]
    return descent(n, 0.0, 0, width, restarts=8, pathways=networks)


def _mode(t, depths, strength):
    """min over x of the loss and the cheapest penalty; depth 1 takes a ridge share besides."""
    deep = sorted({L for L in depths if L > 1})
    shallow = depths.count(1)

    def value(x, L):
        rest = (x - t) ** 2
        if shallow:
            g = strength / shallow
            rest *= g / (1 + g)
        return rest + L * strength * np.abs(x) ** (2 / L)

    best = float(value(0.0, 2))
    for L in deep:
        x = t * np.geomspace(1e-6, 1, 4000)
        values = value(x, L)
        i = int(np.argmin(values))
        found = minimize_scalar(
            value,
            bounds=(x[max(i - 1, 0)], x[min(i + 1, len(x) - 1)]),
            method="bounded",
            args=(L,),
            options={"xatol": 1e-13},
        )
        best = min(best, float(found.fun), float(values[i]))
    return best


def _value(pathways, case, decays):
    """J at the weights of all pathways, in units of c, in 40 digits."""
    with mpmath.workdps(40):
        penalty, M = mpmath.mpf(0), 0
        for weights, gamma in zip(pathways, decays, strict=True):
            P = None
            for W, g in zip(weights, gamma, strict=True):
                W = exact(W)
                penalty += mpmath.mpf(float(g)) * (W**2).sum()
                P = W if P is None else W @ P
            M = M + P
        loss = ((M @ exact(case.R).T - exact(case.T).T) ** 2).sum() + mpmath.mpf(case.rest)
        return float((loss + penalty) / mpmath.mpf(case.c or 1.0))


def consistency_checks():
    """More pathways never cost more: adding one cannot raise the minimum."""
    for case in cases():
        yield Check(
            "pathway_global_minimum",
            f"no pathway alone does better, {case.name}",
            lambda case=case: _monotone(case),
            True,
        )


def _monotone(case):
    n, worst = normal(case), 0.0
    for depths in ((1, 2), (2, 3), (1, 3)):
        for strength in (0.05, 0.4):
            decays = [n.decay(strength, L) for L in depths]
            pair = pathway_global_minimum(
                case.moments,
                depths=depths,
                weight_decay=[np.full(L, g) for L, g in zip(depths, decays, strict=True)],
            )
            for L, g in zip(depths, decays, strict=True):
                alone = global_minimum(case.moments, depth=L, weight_decay=g)
                worst = max(worst, (pair.objective - alone.objective) / (1e-9 * case.c or 1.0))
    return worst
