"""balance, balanced_factors, noise and step sizes on structured networks."""

from __future__ import annotations

from itertools import product

import mpmath
import numpy as np

from sklearn_deeplinear.theory import (
    balance,
    balanced_factors,
    expected_loss,
    flow_step_size_bound,
    predictive_variance,
)
from tests.structured import cases, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import normal
from tests.theory.reference_minima import exact

ROUNDING = 1e-13


def factor_checks():
    for case in [*cases(), *extreme()]:
        for depth in (1, 2, 3, 7, 50):
            for width in ("rank", 13):
                for uneven in (False, True):
                    yield Check(
                        "balanced_factors",
                        f"depth {depth}, width {width}, {'un' * uneven}equal decays, {case.name}",
                        lambda case=case, depth=depth, width=width, uneven=uneven: _factors(
                            case, depth, width, uneven
                        ),
                        depth == 7,
                    )
        yield Check("balance", case.name, lambda case=case: _balance(case))


def _factors(case, depth, width, uneven):
    """The product is the map, the layers are balanced, and the penalty is the least one."""
    coef = case.T.T if case.T.any() else case.S  # integers, and every kind of degeneracy
    gamma = np.geomspace(0.1, 10, depth) if uneven else np.ones(depth)
    s = np.linalg.svd(coef / (np.abs(coef).max() or 1.0), compute_uv=False)
    rank = max(int(np.sum(s > 1e-13)), 1)
    W = balanced_factors(
        coef,
        None if width == "rank" else width,
        depth=depth,
        weight_decay=gamma,
    )
    if [len(V) for V in W[:-1]] != [rank if width == "rank" else width] * (depth - 1):
        return np.inf
    with mpmath.workdps(30):
        M = exact(W[0])
        for V in W[1:]:
            M = exact(V) @ M
        M = M.astype(float)
    penalties = np.array([np.log(g) + _log_square(V) for g, V in zip(gamma, W, strict=True)])
    log_g = np.mean(np.log(gamma))
    size = np.abs(coef).max() or 1.0
    least = np.log(np.sum(s[:rank] ** (2 / depth)) or 1.0) + 2 / depth * np.log(size) + log_g
    # L layers, each with the rounding of its roots.
    product_off = off(M, coef, relative=ROUNDING * depth)
    if not coef.any():
        return product_off
    return max(product_off, off(penalties, np.full(depth, least), absolute=1e-12))


def _log_square(V):
    size = np.abs(V).max() or 1.0
    return 2 * np.log(size) + np.log(np.sum((V / size) ** 2) or 1.0)


def _balance(case):
    """Entry by entry, in many digits; weights of ordinary squares."""
    if not 1e-70 < (np.abs(case.T).max() or 1.0) < 1e70:
        return 0.0
    if not 1e-70 < (np.abs(case.R).max() or 1.0) < 1e70:
        return 0.0
    W = [case.R, case.T.T, np.ones((2, case.T.shape[1]))]
    found, worst = balance(W), 0.0
    for i, (V, U) in enumerate(zip(W[:-1], W[1:], strict=True)):
        D = (exact(V) @ exact(V).T - exact(U).T @ exact(U)).astype(float)
        size = np.sum(V**2) + np.sum(U**2)
        per_unit = [abs(np.sum(V[j] ** 2) - np.sum(U[:, j] ** 2)) for j in range(len(V))]
        worst = max(
            worst,
            off(found.differences[i], D, absolute=ROUNDING * size),
            off(found.layer[i], np.trace(D), absolute=ROUNDING * size),
            off(found.neuron[i], max(per_unit), absolute=ROUNDING * size),
            off(found.matrix[i], np.linalg.norm(D), absolute=ROUNDING * size),
        )
    return worst


def noise_checks():
    """The noise takes the values 1 +- s^(1/2) with equal chances: all of them are tried."""
    for case in [*cases(), *extreme()]:
        for widths in ((1,), (3,), (2, 2), (1, 3, 1)):
            for kind in ("ones", "zeros in a layer", "one dead unit", "alternating"):
                yield Check(
                    "expected_loss",
                    f"widths {widths}, {kind}, {case.name}",
                    lambda case=case, widths=widths, kind=kind: _noise(case, widths, kind)[0],
                    widths == (1, 3, 1),
                )
                yield Check(
                    "predictive_variance",
                    f"widths {widths}, {kind}, {case.name}",
                    lambda case=case, widths=widths, kind=kind: _noise(case, widths, kind)[1],
                    widths in ((3,), (1, 3, 1)),
                )


def _noise(case, widths, kind):
    m, d = case.S.shape
    unit = (normal(case).unit_y / normal(case).unit_x) ** (1 / (len(widths) + 1))
    sizes = [d, *widths, m]
    W = [np.ones(shape) * unit for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    if kind == "zeros in a layer":
        W[-1][:] = 0.0
    elif kind == "one dead unit":
        W[0][0] = 0.0
    elif kind == "alternating":
        W = [V * (-1.0) ** np.add.outer(np.arange(len(V)), np.arange(V.shape[1])) for V in W]
    noise = np.array([0.5, 0.0, 3.0][: len(widths)])
    scale_x, scale_y = normal(case).unit_x, normal(case).unit_y
    # In the units of the case, so that nothing overflows in the reference.
    R, T = case.R / scale_x, case.T / scale_y
    layers = [V / unit for V in W]
    outputs = []
    for signs in product(*[_values(h, s) for h, s in zip(widths, noise, strict=True)]):
        P = layers[0] @ R.T
        for multiplier, V in zip(signs, layers[1:], strict=True):
            P = V @ (np.array(multiplier)[:, None] * P)
        outputs.append(P)
    outputs = np.array(outputs)  # (draws, m, k)
    rest = case.rest / scale_y / scale_y
    loss = np.mean(np.sum((outputs - T.T) ** 2, axis=(1, 2))) + rest
    variance = np.var(outputs, axis=0).T
    size = np.mean(outputs**2) * outputs[0].size + case.c / scale_y / scale_y
    got_loss = expected_loss(W, case.moments, noise) / scale_y / scale_y
    got_variance = predictive_variance(W, case.R, noise) / scale_y / scale_y
    return (
        off(got_loss, loss, absolute=ROUNDING * size),
        off(got_variance, variance, absolute=ROUNDING * size),
    )


def _values(width, s):
    return list(product(*[(1 - np.sqrt(s), 1 + np.sqrt(s)) if s else (1.0,)] * width))


def step_checks():
    for case in cases():
        m, d = case.S.shape
        if case.A.max() > 20 or max(m, d) > 4:
            continue
        for depth in (1, 2, 3, 5):
            for kind in ("zeros", "identity", "rank one"):
                for curvature in ("bound", "measured"):
                    yield Check(
                        "flow_step_size_bound",
                        f"depth {depth}, {kind}, {curvature}, {case.name}",
                        lambda case=case, depth=depth, kind=kind, curvature=curvature: _step(
                            case, depth, kind, curvature
                        ),
                        depth == 5 or (curvature == "measured" and kind != "identity"),
                    )


def _step(case, depth, kind, curvature):
    """Descent with the step allowed stays in the tube, and its terms bound the truth there."""
    m, d = case.S.shape
    h = 2
    sizes = [d, *[h] * (depth - 1), m]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    W = {
        "zeros": [np.zeros(shape) for shape in shapes],
        "identity": [np.eye(*shape) for shape in shapes],
        "rank one": [np.full(shape, 0.5) / np.sqrt(shape[1]) for shape in shapes],
    }[kind]
    gamma = 0.1
    time, eps = 0.3 / max(np.linalg.norm(case.A, 2), 1.0), 0.05
    bound = flow_step_size_bound(
        W, case.moments, time=time, eps=eps, weight_decay=gamma, curvature=curvature
    )
    theta = np.concatenate([V.ravel() for V in W])

    def slope(flat):
        return _gradient(flat, shapes, case, gamma)

    # Runge and Kutta's method of order four with shorter steps is exact next to eps.
    steps = max(int(np.ceil(time / bound.step_size)), 1) if bound.step_size > 0 else 10**9
    far = 0.0
    if steps <= 100:
        eta = min(bound.step_size, time)
        slow, fast, fine = theta.copy(), theta.copy(), 4
        for _ in range(int(time / eta)):
            fast = fast - eta * slope(fast)
            for _ in range(fine):  # Runge and Kutta's classical step
                k1 = slope(slow)
                k2 = slope(slow - eta / fine / 2 * k1)
                k3 = slope(slow - eta / fine / 2 * k2)
                k4 = slope(slow - eta / fine * k3)
                slow = slow - eta / fine / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            far = max(far, np.linalg.norm(fast - slow) / eps)
    # At the start, and on the sphere of radius eps around it.
    random, worst = np.random.RandomState(0), far
    for radius in (0.0, eps, eps):
        direction = random.standard_normal(theta.size)
        point = theta + radius * direction / np.linalg.norm(direction)
        g, H = slope(point), _hessian(point, slope)
        values = np.linalg.eigvalsh(H)
        size = np.abs(values).max() + 1e-9
        worst = max(
            worst,
            np.linalg.norm(g) / (bound.gradient_norm[0] * (1 + 1e-9) + 1e-12),
            np.abs(values).max() / (bound.smoothness[0] * (1 + 1e-6) + 1e-12),
            1 + (bound.curvature[0] - values[0] - 1e-6 * size) / size,
        )
    return worst


def _gradient(flat, shapes, case, gamma):
    ends = np.cumsum([b * a for b, a in shapes])[:-1]
    W = [p.reshape(s) for p, s in zip(np.split(flat, ends), shapes, strict=True)]
    below = [np.eye(case.A.shape[0])]
    for V in W:
        below.append(V @ below[-1])
    back, parts = 2 * (below[-1] @ case.A - case.S), []
    for V, P in zip(W[::-1], below[-2::-1], strict=True):
        parts.append((back @ P.T + 2 * gamma * V).ravel())
        back = V.T @ back
    return np.concatenate(parts[::-1])


def _hessian(point, slope, h=1e-5):
    """Central differences of the gradient."""
    columns = [(slope(point + h * e) - slope(point - h * e)) / (2 * h) for e in np.eye(point.size)]
    H = np.array(columns)
    return (H + H.T) / 2
