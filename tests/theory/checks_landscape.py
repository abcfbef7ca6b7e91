"""critical_weight_decay and zero_hessian on structured problems."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory import critical_weight_decay, global_minimum, zero_hessian
from tests.structured import cases, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import normal
from tests.theory.reference_minima import Family, log_shrinkage

# Logarithms of decays are sums of a few terms; L of them make the largest error at depth 50.
LOG_EXACT = 1e-11


def landscape_checks():
    for case in [*cases(), *extreme()]:
        n = normal(case)
        for depth in (1, 2, 3, 4, 7, 50):
            if depth > 2 and n.single is None:
                continue
            for noise in (0.0, 0.7):
                yield Check(
                    "critical_weight_decay",
                    f"depth {depth}, noise {noise}, {case.name}",
                    lambda case=case, depth=depth, noise=noise: _critical(case, depth, noise),
                )
        if n.single is not None and len(n.modes) and case.is_white:
            for depth in (3, 4, 5):
                yield Check(
                    "critical_weight_decay",
                    f"closed form, depth {depth}, {case.name}",
                    lambda case=case, depth=depth: _closed_form(case, depth),
                )
    for case in cases():
        for depth, width in ((1, None), (2, 1), (2, 3), (3, 2), (4, 1)):
            for factor in (0.0, 0.5, 1 - np.finfo(float).eps, 1.0, 1 + np.finfo(float).eps, 2.0):
                yield Check(
                    "zero_hessian",
                    f"depth {depth}, width {width}, decay {factor:.17g} of critical, {case.name}",
                    lambda case=case, depth=depth, width=width, factor=factor: _hessian(
                        case, depth, width, factor
                    ),
                    depth == 4 or factor in (0.5, 2.0),
                )


def _critical(case, depth, noise):
    n, width = normal(case), 3
    found = critical_weight_decay(case.moments, depth=depth, width=width, noise=noise)
    got = np.array([found.collapse, found.spinodal])
    if not len(n.modes):
        return off(got, [0.0, 0.0])
    if depth == 1:
        return 0.0 if np.isinf(got).all() else np.inf
    unit = n.log_decay_unit(depth)
    if depth == 2:
        size = np.linalg.norm(n.sigma[:, None] * n.targets, 2)
        return off(np.log(got), [np.log(size) + unit] * 2, absolute=LOG_EXACT)
    rho = log_shrinkage([noise] * (depth - 1), [width] * (depth - 1))
    expected = np.array(Family(n.sigma**2, n.single, depth, rho).critical()) / depth + unit
    if not (got[0] <= got[1]):
        return np.inf
    # What is subnormal or beyond the largest float cannot be told.
    if expected.min() < -700 or expected.max() > 700:
        return 0.0
    return off(np.log(got), expected, absolute=LOG_EXACT)


def _closed_form(case, depth):
    """Collapse and spinodal for A = a I, written out for noiseless nets of any width."""
    size, D = np.abs(case.S).max(), depth - 1
    log_a, log_e = np.log(case.A[0, 0]), np.log(size) + np.log(np.linalg.norm(case.S / size))
    collapse = (D - 1) / (D + 1) * (np.log(D - 1) - log_a) + 2 * D / (D + 1) * (log_e - np.log(D))
    spinodal = np.log((D + 1) / (2 * D)) + log_e
    spinodal += (D - 1) / (D + 1) * (np.log((D - 1) / (2 * D)) + log_e - log_a)
    found = critical_weight_decay(case.moments, depth=depth)
    return off(np.log([found.collapse, found.spinodal]), [collapse, spinodal], absolute=LOG_EXACT)


def _hessian(case, depth, width, factor):
    """Against the dense Hessian: all its eigenvalues, from second differences of J at zero."""
    S = case.S
    size = np.linalg.norm(S, 2) or 1.0
    gamma = np.full(depth, factor * size)
    if depth == 2:  # unequal decays with the same product
        gamma *= [4.0, 0.25]
    found = zero_hessian(case.moments, depth=depth, width=width, weight_decay=gamma)
    H = _dense_hessian_at_zero(case, depth, width or 1, gamma)
    values = np.linalg.eigvalsh(H)
    got = np.repeat(found.eigenvalues, found.multiplicities)
    stationary = depth > 1 or not S.any()
    if found.is_stationary != stationary or got.shape != values.shape:
        return np.inf
    # Signs next to the critical decay are those of s^2 - gamma_1 gamma_2, which has no
    # rounding where s and the decays are powers of two or small integers.
    if depth > 2:
        strict, saddle = factor > 0, False
    elif depth == 2:
        strict, saddle = factor > 1 or not S.any() and factor > 0, factor < 1 and S.any()
    else:
        strict, saddle = stationary and values[0] > 1e-14 * values[-1], False
    near = depth == 2 and factor not in (0.0, 0.5, 2.0)
    if not near and (found.is_strict_minimum, found.is_saddle) != (strict, saddle):
        return np.inf
    return off(got, values, relative=1e-13)


def _dense_hessian_at_zero(case, depth, h, gamma):
    """Hessian of J at zero weights over all of them, by polarisation of its second-order part.

    The part of J of second order at zero is ``tr(W_1 A W_1^T) + gamma_1 ||W_1||^2`` for one
    layer and ``-2 tr(W_2 W_1 S^T) + sum_l gamma_l ||W_l||^2`` for two; more layers leave
    the penalties.
    """
    m, d = case.S.shape
    sizes = [d, *[h] * (depth - 1), m]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    counts = [b * a for b, a in shapes]
    total = sum(counts)

    def second_order(flat):
        W = [
            part.reshape(shape)
            for part, shape in zip(np.split(flat, np.cumsum(counts)[:-1]), shapes, strict=True)
        ]
        value = sum(g * np.sum(layer**2) for g, layer in zip(gamma, W, strict=True))
        if depth == 1:
            value += np.sum((W[0] @ case.R.T) ** 2)
        if depth == 2:
            value -= 2 * np.sum((W[1] @ W[0]) * case.S)
        return value

    e = np.eye(total)
    single = np.array([second_order(v) for v in e])
    H = np.empty((total, total))
    for i in range(total):
        for j in range(i + 1):
            pair = second_order(e[i] + e[j]) - single[i] - single[j]
            H[i, j] = H[j, i] = pair
    H[np.diag_indices(total)] = 2 * single
    return H


def collapse_checks():
    """The minimum becomes zero exactly where critical_weight_decay says."""
    for case in cases():
        n = normal(case)
        if n.single is None or not len(n.modes):
            continue
        for depth in (2, 3, 5, 50):
            yield Check(
                "critical_weight_decay",
                f"the minimum changes there, depth {depth}, {case.name}",
                lambda case=case, depth=depth: _changes(case, depth),
                depth == 50,
            )


def _changes(case, depth):
    gamma = critical_weight_decay(case.moments, depth=depth).collapse
    below, above = (
        global_minimum(case.moments, depth=depth, weight_decay=gamma * (1 + shift)).is_zero
        for shift in (-1e-7, 1e-7)
    )
    return 0.0 if (below, above) == (False, True) else np.inf
