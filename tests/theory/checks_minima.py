"""global_minimum and deep_linear_path on structured problems."""

from __future__ import annotations

from functools import cache

import numpy as np

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path, global_minimum
from tests.structured import cases, data_of, extreme
from tests.theory.check import Check, off
from tests.theory.reference_minima import (
    Family,
    Normal,
    descent,
    log_sum,
    no_decay,
    ridge,
    single_mode,
    value_of_weights,
    white_modes,
)

# One scalar equation: what is allowed is rounding of sums of some ten terms of size c.
EXACT = 1e-13
# Certified by a duality gap of 1e-8; descent over all weights ends within 1e-9.
CERTIFIED = 1e-8
DESCENT = 1e-9

STRENGTHS = (1e-6, 0.02, 0.2, 0.45, 0.9)
DEPTHS = (1, 2, 3, 4, 5, 7, 50)


@cache
def normal(case):
    return Normal(case)


def minimum_checks():
    """Everything about global_minimum."""
    for case in cases():
        for depth in DEPTHS:
            for strength in STRENGTHS:
                yield from _closed(case, depth, strength, slow=strength in (1e-6, 0.9))
    for case in extreme():
        for depth in (1, 2, 3, 4, 50):
            for strength in (1e-3, 0.2):
                yield from _closed(case, depth, strength, slow=depth == 4)
    yield from _uneven()
    yield from _without_decay()
    yield from _bottlenecks()
    yield from _critical()
    yield from _noisy()
    yield from _candidates()
    yield from _from_data()
    yield from _searched()


def _closed(case, depth, strength, slow):
    """Problems whose minimum is one scalar equation for each mode, or none."""
    n = normal(case)
    known = depth == 1 or n.single is not None or case.is_white
    if not known:
        return
    gamma = np.full(depth, n.decay(strength, depth))
    if not (gamma.all() and np.isfinite(gamma).all()):
        return
    yield Check(
        "global_minimum",
        f"depth {depth}, decay {strength:g}, {case.name}",
        lambda: compare(case, gamma, reference(case, gamma), EXACT, "exact"),
        slow,
    )


def reference(case, gamma, widths=()):
    """Least J in units of unit_y^2, where a scan of one variable tells it."""
    n, depth = normal(case), len(gamma)
    if not len(n.modes):
        return n.unexplained + float(np.sum(n.targets**2))
    if depth == 1:
        return ridge(n, gamma[0])
    if n.single is not None:
        return single_mode(n, gamma)
    log_g = log_sum(gamma) / depth - n.log_decay_unit(depth)
    return white_modes(n, log_g, depth, min([len(n.modes), *widths]))


def compare(case, gamma, expected, tolerance, kinds, *, noise=0.0, width=None, **others):
    """Deviation of a minimum, of its bound and of its weights from the least J."""
    unit = normal(case).unit_y
    found = global_minimum(
        case.moments,
        depth=len(gamma),
        weight_decay=gamma,
        noise=noise,
        width=width,
        **others,
    )
    if found.kind not in kinds.split():
        return np.inf
    # Rounding is relative to c, whose square may overflow: all is divided by unit_y twice.
    c = case.c / unit / unit
    gap = off(found.objective / unit / unit, expected, absolute=tolerance * c)
    bound = found.lower_bound / unit / unit
    if found.kind == "stationary":
        bound = max(bound, expected)
    below = off(bound, expected, absolute=tolerance * c)
    attained = 0.0
    if found.kind != "unattained":
        value = value_of_weights(found.weights(), case, gamma, noise)
        attained = off(value, found.objective / (case.c or 1.0), absolute=max(tolerance, 1e-13))
    parts = off(found.loss + found.penalty, found.objective, relative=1e-14)
    zero = np.inf if found.is_zero != (not found.coef.any()) else 0.0
    return max(gap, below, attained, parts, zero)


def _uneven():
    """Decays that differ from layer to layer enter through their geometric mean."""
    for case in cases():
        n = normal(case)
        for depth in (2, 3, 5):
            if n.single is None and not case.is_white:
                continue
            gamma = n.decay(0.1, depth) * np.geomspace(1e-3, 1e3, depth)
            yield Check(
                "global_minimum",
                f"depth {depth}, decays from 1e-3 to 1e3, {case.name}",
                lambda case=case, gamma=gamma: compare(
                    case, gamma, reference(case, gamma), EXACT, "exact"
                ),
                depth == 5,
            )


def _without_decay():
    """Least squares of bounded rank; with some decays zero it is not attained."""
    for case in cases():
        n = normal(case)
        full = min(case.S.shape)
        for width in {1, full, 7}:
            for gamma in ((0.0, 0.0), (0.0, 0.0, 0.0), (0.0, n.decay(0.3, 2))):
                undecayed = not any(gamma)
                zero = not len(n.modes)
                kind = "exact" if undecayed or zero else "unattained"
                yield Check(
                    "global_minimum",
                    f"width {width}, decays {[f'{g:.2g}' for g in gamma]}, {case.name}",
                    lambda case=case, gamma=gamma, width=width, kind=kind: compare(
                        case,
                        np.array(gamma),
                        no_decay(normal(case), width),
                        EXACT,
                        kind,
                        width=width,
                    ),
                    width == 7,
                )


def _bottlenecks():
    """White inputs: a width below the rank keeps the modes that gain most."""
    for case in cases():
        n = normal(case)
        if not case.is_white or len(n.modes) < 2:
            continue
        for depth in (2, 3, 5):
            for width in {1, len(n.modes) - 1}:
                gamma = np.full(depth, n.decay(0.05, depth))
                yield Check(
                    "global_minimum",
                    f"depth {depth}, width {width}, {case.name}",
                    lambda case=case, gamma=gamma, width=width: compare(
                        case,
                        gamma,
                        reference(case, gamma, (width,)),
                        EXACT,
                        "exact",
                        width=width,
                    ),
                )


def _critical():
    """At the decay where zero wins both are minima; next to it the right one is reported."""
    for case in cases():
        n = normal(case)
        if n.single is None or not len(n.modes):
            continue
        for depth in (2, 3, 4, 5, 50):
            for shift in (-1e-6, -np.finfo(float).eps, 0.0, np.finfo(float).eps, 1e-6):
                yield Check(
                    "global_minimum",
                    f"depth {depth}, critical decay * (1 + {shift:.1g}), {case.name}",
                    lambda case=case, depth=depth, shift=shift: _at_critical(case, depth, shift),
                    depth in (4, 5),
                )


def collapse(n, depth):
    """Logarithm of the common decay from which zero is the minimum."""
    if depth == 2:
        size = np.linalg.norm(n.sigma * np.sqrt(n.single))
        return float(np.log(size)) + n.log_decay_unit(2)
    return Family(n.sigma**2, n.single, depth).critical()[0] / depth + n.log_decay_unit(depth)


def _at_critical(case, depth, shift):
    gamma = np.full(depth, np.exp(collapse(normal(case), depth)) * (1 + shift))
    gap = compare(case, gamma, reference(case, gamma), EXACT, "exact")
    zero = global_minimum(case.moments, depth=depth, weight_decay=gamma).is_zero
    # The transition of two layers is continuous: the map shrinks to nothing on the way.
    wrong = (shift == 1e-6 and not zero) or (shift == -1e-6 and zero)
    return np.inf if wrong else gap


def _noisy():
    """Noise and S of rank one: the same scan, with the widths in it."""
    settings = {
        (1,): (0.5,),
        (7,): (3.0,),
        (2, 13): (0.1, 4.0),
        (1, 1, 1): (1.0, 0.0, 0.3),
        (101,) * 9: (2.0,) * 9,
    }
    for case in [*cases(), *extreme()]:
        n = normal(case)
        if n.single is None or not len(n.modes):
            continue
        for widths, noise in settings.items():
            for strength in (0.02, 0.3):
                depth = len(widths) + 1
                gamma = np.full(depth, n.decay(strength, depth))
                if not (gamma.all() and np.isfinite(gamma).all()):
                    continue

                def deviation(case=case, gamma=gamma, widths=widths, noise=noise):
                    expected = single_mode(normal(case), gamma, noise, widths)
                    return compare(
                        case, gamma, expected, 3 * EXACT, "exact", noise=noise, width=widths
                    )

                yield Check(
                    "global_minimum",
                    f"widths {widths[:3]} x {len(widths)}, noise {noise[:3]}, "
                    f"decay {strength:g}, {case.name}",
                    deviation,
                    len(widths) > 2,
                )


def _candidates():
    """All stationary points of phi, at depths where the curve has several extrema."""
    for case in cases():
        n = normal(case)
        if n.single is None or not len(n.modes):
            continue
        for depth in (3, 4, 50):
            family = Family(n.sigma**2, n.single, depth)
            heights = family.curve(family.extrema())
            levels = [heights.max() - 0.5]
            # Between two extrema that are as near as 1e-9 a solver must see both.
            ordered = np.sort(heights)
            levels += [(a + b) / 2 for a, b in zip(ordered[:-1], ordered[1:], strict=True)]
            for level in levels:
                yield Check(
                    "global_minimum",
                    f"stationary points, depth {depth}, level {level:.6f}, {case.name}",
                    lambda case=case, depth=depth, level=level: _all_stationary(case, depth, level),
                )


def _all_stationary(case, depth, level):
    n = normal(case)
    family = Family(n.sigma**2, n.single, depth)
    log_decay = level * (depth - 1)
    gamma = np.full(depth, np.exp(log_decay / depth + n.log_decay_unit(depth)))
    # The decay as it is rounded, for between near extrema the number of points turns on it.
    log_decay = log_sum(gamma) - depth * n.log_decay_unit(depth)
    points = family.stationary(log_decay)
    found = global_minimum(case.moments, depth=depth, weight_decay=gamma).candidates
    expected = [n.unexplained + float(family.phi(x, log_decay)) for x in points]
    expected = np.sort([*expected, n.unexplained + family.power.sum()])
    got = np.sort([point.objective for point in found]) / n.unit_y**2
    return off(got, expected, absolute=1e-12 * case.c / n.unit_y**2)


def _from_data():
    """From rows of data instead of matrices, with and without centring."""
    for case in cases():
        n = normal(case)
        if n.single is None and not case.is_white:
            continue

        def deviation(case=case, n=n):
            X, Y = data_of(case)
            worst = 0.0
            for depth in (1, 2, 3):
                gamma = np.full(depth, n.decay(0.1, depth))
                expected = reference(case, gamma) * n.unit_y**2
                for center in (True, False):
                    moments = SecondMoments.from_data(X, Y, center=center)
                    found = global_minimum(moments, depth=depth, weight_decay=gamma)
                    worst = max(worst, off(found.objective, expected, absolute=EXACT * case.c))
            return worst

        yield Check("global_minimum", f"from data, {case.name}", deviation)


def _searched():
    """No closed form: the result is no higher than descent finds, its bound no lower claim."""
    for case in cases():
        n = normal(case)
        if n.single is not None or case.is_white:
            continue
        for depth in (2, 3, 4):
            for strength in (0.02, 0.2):
                for width in {len(n.modes), 1}:
                    yield Check(
                        "global_minimum",
                        f"depth {depth}, width {width}, decay {strength:g}, {case.name}",
                        lambda case=case, depth=depth, strength=strength, width=width: _search(
                            case, depth, strength, width
                        ),
                        # A width below the rank, or more layers: descent takes seconds.
                        depth > 2 or width == 1,
                    )


def _search(case, depth, strength, width):
    n = normal(case)
    gamma = np.full(depth, n.decay(strength, depth))
    expected = descent(n, np.log(strength), depth, width, restarts=2 if depth == 2 else 8)
    found = global_minimum(case.moments, depth=depth, width=width, weight_decay=gamma)
    unit = n.unit_y**2
    above = (found.objective / unit - expected) / (DESCENT * expected)
    bound = (found.lower_bound / unit - expected) / (DESCENT * expected)
    attained = off(
        value_of_weights(found.weights(), case, gamma),
        found.objective / (case.c or 1.0),
        relative=DESCENT,
    )
    certified = 0.0
    if found.kind == "certified":
        certified = off(found.lower_bound, found.objective, relative=CERTIFIED)
    elif depth == 2 and width == len(n.modes) and found.kind != "exact":
        certified = np.inf
    return max(above, bound, attained, certified)


def path_checks():
    """deep_linear_path: every minimum of a sweep."""
    for case in [*cases(), *extreme()]:
        n = normal(case)
        for depth in (1, 2, 3, 5, 50):
            if not (depth == 1 or n.single is not None or case.is_white):
                continue
            yield Check(
                "deep_linear_path",
                f"depth {depth}, {case.name}",
                lambda case=case, depth=depth: _sweep(case, depth),
                depth == 5,
            )


def _sweep(case, depth):
    n = normal(case)
    gammas = np.array([n.decay(s, depth) for s in np.geomspace(1e-5, 2, 12)])
    gammas = gammas[(gammas > 0) & np.isfinite(gammas)]
    path = deep_linear_path(case.moments, weight_decays=gammas, depth=depth)
    expected = [reference(case, np.full(depth, g)) for g in gammas]
    c = case.c / n.unit_y / n.unit_y
    gap = off(path.objectives / n.unit_y / n.unit_y, expected, absolute=EXACT * c)
    attained = 0.0
    for coef, gamma, objective in zip(path.coefs, gammas, path.objectives, strict=True):
        scaled = coef / n.unit_y * n.unit_x
        s = np.linalg.svd(scaled, compute_uv=False)
        # Singular values that are rounding of the largest would cost as much as it.
        s = s[s > 1e-13 * s[0]]
        g = np.exp(np.log(gamma) - n.log_decay_unit(depth))
        penalty = depth * g * np.sum(s ** (2 / depth))
        loss = np.sum((scaled @ (case.R / n.unit_x).T - (case.T / n.unit_y).T) ** 2)
        value = loss + case.rest / n.unit_y / n.unit_y + penalty
        attained = max(attained, off(value, objective / n.unit_y / n.unit_y, absolute=1e-12 * c))
    return max(gap, attained)
