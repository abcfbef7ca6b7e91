"""Slow references for minima: scans of one variable, and descent over all the weights.

Nothing here comes from the package. All of it works on `tests.structured.Case`, in units in
which the largest eigenvalue of A and the explained part of the targets are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mpmath
import numpy as np
from scipy.optimize import brentq, minimize, minimize_scalar

# Directions whose singular value is this much below the largest are rounding; the
# structured problems have none between 1e-6 and this.
_NULL = 1e-12


@dataclass(frozen=True, eq=False)
class Normal:
    """A case in its own units: sigma_1 = 1 and ||targets||_F = 1."""

    case: object

    @cached_property
    def _svd(self):
        # The size is taken out first, for LAPACK may flush what is near its limits.
        size = np.abs(self.case.R).max() or 1.0
        U, sigma, Vt = np.linalg.svd(self.case.R / size, full_matrices=False)
        keep = sigma > _NULL * sigma[0]
        return U[:, keep], sigma[keep] * size, Vt[keep]

    @cached_property
    def unit_x(self):
        return self._svd[1][0] if len(self._svd[1]) else 1.0

    @cached_property
    def _raw_targets(self):
        return self._svd[0].T @ self.case.T

    @cached_property
    def unit_y(self):
        size = np.abs(self._raw_targets).max(initial=0.0)
        if size <= 1e-14 * np.sqrt(self.case.c):
            return np.sqrt(self.case.c) or 1.0
        return size * np.linalg.norm(self._raw_targets / size)

    @cached_property
    def sigma(self):
        return self._svd[1] / self.unit_x

    @cached_property
    def targets(self):
        """T in the eigenbasis of A, (k, m)."""
        return self._raw_targets / self.unit_y

    @cached_property
    def unexplained(self):
        """Least loss of a linear map, in units of unit_y^2."""
        explained = np.linalg.norm(self._raw_targets / self.unit_y) ** 2
        part = self.case.c / self.unit_y / self.unit_y - explained
        return max(part, 0.0)

    def log_decay_unit(self, depth):
        """Logarithm of the decay, equal in all layers, that is one in these units."""
        log_x, log_y = np.log(self.unit_x), np.log(self.unit_y)
        return (2 * log_x + 2 * (depth - 1) * log_y) / depth

    def decay(self, strength, depth):
        """A decay that is `strength` in these units."""
        return float(np.exp(np.log(strength) + self.log_decay_unit(depth)))

    @cached_property
    def modes(self):
        """Singular values of the targets, and of S in these units."""
        t = np.linalg.svd(self.targets, compute_uv=False)
        return t[t > _NULL * t[0]] if t.size and t[0] > _NULL else t[:0]

    @cached_property
    def single(self):
        """Squares of the targets along the one direction of S, or None if S has rank two."""
        if len(self.modes) > 1:
            return None
        return np.sum(self.targets**2, axis=1)


class Family:
    """phi(mu) of one mode: THEORY of Ziyin, Li and Meng, scanned over log mu.

    ``phi = D t + sum_k p_k (mu + (1 - rho) a_k) / (a_k + mu)`` with
    ``t = (rho prod gamma / mu)^(1/D)``, in units of the explained targets.
    """

    def __init__(self, a, power, depth, log_rho=0.0):
        self.a, self.power, self.D = np.asarray(a), np.asarray(power), depth - 1
        self.log_rho, self.rho = log_rho, np.exp(log_rho)

    def phi(self, x, log_decay):
        mu = np.exp(np.minimum(np.asarray(x, float), 700.0))[..., None]
        share = np.where(np.isinf(mu), 1.0, (mu + (1 - self.rho) * self.a) / (self.a + mu))
        with np.errstate(over="ignore"):
            t = np.exp((self.log_rho + log_decay - np.asarray(x)) / self.D)
        return self.D * t + share @ self.power

    def curve(self, x):
        """H(x): phi is stationary where it equals `level`."""
        mu = np.exp(np.asarray(x, float))[..., None]
        z = self.a * self.power
        return (self.D + 1) / self.D * np.asarray(x) + np.log((z / (self.a + mu) ** 2).sum(-1))

    def level(self, log_decay):
        return (self.log_rho + log_decay) / self.D - self.log_rho

    def grid(self, low, high, fine):
        """Nodes between two ends: `fine` near the eigenvalues, wider elsewhere."""
        core = np.log(self.a.min()) - 8, np.log(self.a.max()) + 8
        cuts = np.clip(core, low, high)
        parts = [
            np.linspace(start, stop, max(int((stop - start) / step), 1) + 1)
            for start, stop, step in (
                (low, cuts[0], 0.25),
                (cuts[0], cuts[1], fine),
                (cuts[1], high, 0.25),
            )
        ]
        return np.unique(np.concatenate(parts))

    def minimum(self, log_decay):
        """Least value of phi, zero weights included, and log mu there."""
        total = self.power.sum()
        low = self.log_rho + log_decay + self.D * np.log(self.D) - 1
        high = 45.0
        if self.D > 1:
            height = self.log_rho - np.log(self.D) - (self.log_rho + log_decay) / self.D
            high = min(height * self.D / (self.D - 1) + 1, 600.0)
        best, where = float(total), np.inf
        if low >= high:
            return best, where
        x = self.grid(low, high, 0.02)
        values = self.phi(x, log_decay)
        for i in np.flatnonzero(
            (values <= np.append(values[0], values[:-1]))
            & (values <= np.append(values[1:], values[-1]))
        ):
            ends = x[max(i - 1, 0)], x[min(i + 1, len(x) - 1)]
            found = minimize_scalar(
                lambda v: float(self.phi(v, log_decay)),
                bounds=ends,
                method="bounded",
                options={"xatol": 1e-11 * max(1, abs(x[i]))},
            )
            for value, place in ((found.fun, found.x), (values[i], x[i])):
                if value < best:
                    best, where = float(value), float(place)
        return best, where

    def extrema(self, fine=0.002):
        """Places and heights of the extrema of H, ascending (depth of three and more)."""
        x = self.grid(np.log(self.a.min()) - 20, np.log(self.a.max()) + 20, fine)
        # The derivative does not suffer from the rounding of H.
        slope = self.slope(x)
        found = []
        for i in np.flatnonzero(np.sign(slope[:-1]) * np.sign(slope[1:]) < 0):
            found.append(brentq(lambda v: float(self.slope(v)), x[i], x[i + 1], xtol=1e-13))
        found += [x[i] for i in np.flatnonzero(slope == 0)]
        return np.array(sorted(found))

    def slope(self, x):
        mu = np.exp(np.asarray(x, float))[..., None]
        weight = self.a * self.power / (self.a + mu) ** 2
        mean = (weight * mu / (self.a + mu)).sum(-1) / weight.sum(-1)
        return (self.D + 1) / self.D - 2 * mean

    def stationary(self, log_decay):
        """All solutions of H(x) = level, ascending, for depth of three and more."""
        level, ends = self.level(log_decay), self.extrema()
        z = self.a * self.power
        left = (level - np.log((z / self.a**2).sum())) * self.D / (self.D + 1) - 1
        right = (np.log(z.sum()) - level) * self.D / (self.D - 1) + 1
        bounds = [min(left, ends[0] - 1), *ends, max(right, ends[-1] + 1)]
        roots = []
        for low, high in zip(bounds[:-1], bounds[1:], strict=True):
            sides = [float(self.curve(v)) - level for v in (low, high)]
            if sides[0] * sides[1] < 0:
                roots.append(brentq(lambda v: float(self.curve(v)) - level, low, high, xtol=1e-13))
        return np.array(roots)

    def critical(self):
        """Logarithms of the common decays, times depth, at collapse and spinodal."""
        D = self.D
        x = self.grid(np.log(self.a.min()) - 20, np.log(self.a.max()) + 20, 0.01)
        z = self.a * self.power

        def gain(v):  # phi(0) - phi = rho sum z / (a + mu) - D t is at least 0 up to this t
            mu = np.exp(np.asarray(v))[..., None]
            return np.asarray(v) / D + np.log((z / (self.a + mu)).sum(-1)) - np.log(D)

        return tuple(D * _top(curve, x) + (D - 1) * self.log_rho for curve in (gain, self.curve))


def _top(curve, x):
    """Largest value of a curve, from a grid refined by bounded minimisation."""
    i = int(np.argmax(curve(x)))
    ends = x[max(i - 1, 0)], x[min(i + 1, len(x) - 1)]
    found = minimize_scalar(
        lambda v: -float(curve(v)), bounds=ends, method="bounded", options={"xatol": 1e-10}
    )
    return max(-found.fun, float(curve(x[i])))


def log_shrinkage(noise, widths):
    """Logarithm of rho = prod_l h_l / (h_l + s_l)."""
    return -float(sum(np.log1p(s / h) for s, h in zip(noise, widths, strict=True)))


def log_sum(gamma):
    """Sum of the logarithms of the decays."""
    return float(np.sum(np.log(gamma)))


def single_mode(normal, gamma, noise=(), widths=()):
    """Least J of a network with S of rank one, in units of unit_y^2."""
    depth = len(gamma)
    family = Family(normal.sigma**2, normal.single, depth, log_shrinkage(noise, widths))
    log_decay = log_sum(gamma) - depth * normal.log_decay_unit(depth)
    return normal.unexplained + family.minimum(log_decay)[0]


def ridge(normal, gamma):
    """Least J of one layer, in units of unit_y^2."""
    g = gamma / normal.unit_x / normal.unit_x
    power = np.sum(normal.targets**2, axis=1)
    return normal.unexplained + float(np.sum(power * g / (normal.sigma**2 + g)))


def no_decay(normal, rank):
    """Least loss of a map of bounded rank, in units of unit_y^2."""
    t = np.linalg.svd(normal.targets, compute_uv=False)
    return normal.unexplained + float(np.sum(t[rank:] ** 2))


def white_modes(normal, log_g, depth, rank):
    """Least J on white inputs: one scan of x^2 - 2 t x + L g x^(2/L) for every mode."""
    gains = [_white_mode(t, log_g, depth) - t**2 for t in normal.modes]
    return normal.unexplained + float(np.sum(normal.modes**2) + np.sum(sorted(gains)[:rank]))


def _white_mode(t, log_g, depth):
    x = np.concatenate([[0.0], t * np.geomspace(1e-6, 1, 4000)])

    def value(v):
        return (v - t) ** 2 + depth * np.exp(log_g) * np.abs(v) ** (2 / depth)

    values = value(x)
    i = int(np.argmin(values))
    ends = x[max(i - 1, 0)], x[min(i + 1, len(x) - 1)]
    found = minimize_scalar(value, bounds=ends, method="bounded", options={"xatol": 1e-13})
    return min(float(values[i]), float(found.fun), t**2)


def descent(normal, log_g, depth, width, *, restarts=6, seed=0, pathways=None):
    """Lowest J that L-BFGS finds over all weights, equal decays, in units of unit_y^2.

    `pathways` is a list of (depth, log_g, width) of networks in parallel in place of one.
    """
    networks = pathways or [(depth, log_g, width)]
    k, m = normal.targets.shape
    shapes = [
        [(b, a) for a, b in zip([k, *[h] * (L - 1)], [*[h] * (L - 1), m], strict=True)]
        for L, _, h in networks
    ]
    sizes = [b * a for layers in shapes for b, a in layers]
    ends, decays = np.cumsum(sizes)[:-1], [np.exp(g) for _, g, _ in networks]

    def unpack(flat):
        parts = iter(np.split(flat, ends))
        return [[next(parts).reshape(shape) for shape in layers] for layers in shapes]

    def function(flat):
        nets = unpack(flat)
        below = []
        for W in nets:
            products = [np.eye(k)]
            for layer in W:
                products.append(layer @ products[-1])
            below.append(products)
        residual = sum(P[-1] for P in below) * normal.sigma - normal.targets.T
        value, slopes = np.sum(residual**2), []
        for W, P, g in zip(nets, below, decays, strict=True):
            back, slope = 2 * residual * normal.sigma, []
            for layer, features in zip(W[::-1], P[-2::-1], strict=True):
                slope.append((back @ features.T + 2 * g * layer).ravel())
                back = layer.T @ back
                value += g * np.sum(layer**2)
            slopes += slope[::-1]
        return value, np.concatenate(slopes)

    random = np.random.RandomState(seed)
    best = float(np.sum(normal.targets**2))
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 30}
    for _ in range(restarts):
        start = random.standard_normal(sum(sizes)) * 0.7
        found = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
        best = min(best, float(found.fun))
    return normal.unexplained + best


def exact(array):
    """The numbers of an array as mpmath floats: they do not overflow."""
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(array, dtype=float))


def value_of_weights(weights, case, gamma, noise=0.0):
    """J at some weights, in units of c (or 1): the second moments of every layer, in 40 digits."""
    with mpmath.workdps(40):
        noise = np.broadcast_to(noise, len(weights) - 1)
        R, T = exact(case.R), exact(case.T)
        P, terms = R.T, [R.T]  # columns of a square root of C_l
        penalty = mpmath.mpf(0)
        M = None
        for i, (W, g) in enumerate(zip(weights, gamma, strict=True)):
            W = exact(W)
            terms = [W @ part for part in terms]
            M = W if M is None else W @ M
            penalty += mpmath.mpf(float(g)) * (W**2).sum()
            if i < len(weights) - 1 and noise[i] > 0:
                spread = sum((part**2).sum(axis=1) for part in terms)
                root = [mpmath.sqrt(mpmath.mpf(float(noise[i])) * s) for s in spread]
                extra = exact(np.zeros((len(root), len(root))))
                extra[range(len(root)), range(len(root))] = root
                terms.append(extra)
        variance = sum((part**2).sum() for part in terms[1:]) if len(terms) > 1 else mpmath.mpf(0)
        loss = ((M @ P - T.T) ** 2).sum() + variance + mpmath.mpf(case.rest)
        return float((loss + penalty) / mpmath.mpf(case.c or 1.0))
