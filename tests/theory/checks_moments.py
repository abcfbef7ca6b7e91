"""SecondMoments of structured data: merges, losses and spectra, against rational numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sklearn_deeplinear.theory import SecondMoments
from tests.structured import cases, data_of, extreme
from tests.theory.check import Check, off
from tests.theory.checks_minima import normal
from tests.theory.reference_minima import value_of_weights

ROUNDING = 1e-13


def moment_checks():
    for case in [*cases(), *extreme()]:
        for way in ("from data", "row by row", "two halves", "with weights", "shifted by 1e6"):
            yield Check(
                "SecondMoments",
                f"{way}, {case.name}",
                lambda case=case, way=way: _moments(case, way),
            )
        for name in ("zeros", "ones", "least squares", "10 times least squares"):
            yield Check(
                "SecondMoments.loss",
                f"{name}, {case.name}",
                lambda case=case, name=name: _loss(case, name),
            )
        yield Check("SecondMoments.spectrum", case.name, lambda case=case: _spectrum(case))
    for mean in (0.0, 1e8):
        for spread in (1e-7, 1.0, 1e3):
            for blocks in (1, 8, 400):
                yield Check(
                    "SecondMoments",
                    f"mean {mean:g}, spread {spread:g}, {blocks} blocks",
                    lambda mean=mean, spread=spread, blocks=blocks: _far_mean(mean, spread, blocks),
                )
    for weight in (1e308, 1e-308, 1e-150, 3.0):
        for count in (2, 7, 64):
            yield Check(
                "SecondMoments",
                f"{count} weights of {weight:g}",
                lambda weight=weight, count=count: _equal_weights(weight, count),
            )


def _moments(case, way):
    X, Y = data_of(case)
    n = len(X)
    if way == "shifted by 1e6":
        shift = 1e6
        x, y = shift * normal(case).unit_x, shift * normal(case).unit_y
        moments = SecondMoments.from_data(X + x, Y + y)
        tolerance = shift * 1e-14
    else:
        tolerance = ROUNDING
        if way == "from data":
            moments = SecondMoments.from_data(X, Y)
        elif way == "row by row":
            moments = SecondMoments.from_batches((X[i : i + 1], Y[i : i + 1]) for i in range(n))
        elif way == "two halves":
            moments = SecondMoments.from_data(X[: n // 3], Y[: n // 3])
            moments = moments + SecondMoments.from_data(X[n // 3 :], Y[n // 3 :])
        else:  # a row of weight two is the same row twice
            weight = np.append(np.full(n - 1, 2.0), [1.0, 1.0, 0.0])
            rows_X = np.vstack([X, X[-1:], X[:1] * 7])
            rows_Y = np.vstack([Y, Y[-1:], Y[:1] * 7])
            moments = SecondMoments.from_data(rows_X, rows_Y, weight)
    x, y = normal(case).unit_x, normal(case).unit_y
    size_x = np.linalg.norm(case.R / x) or 1.0
    size_y = np.sqrt(case.c) / y or 1.0
    return max(
        off(moments.input_moment / x / x, case.A / x / x, absolute=tolerance * size_x**2),
        off(moments.cross_moment / x / y, case.S / x / y, absolute=tolerance * size_x * size_y),
        off(moments.output_moment / y / y, case.c / y / y, absolute=tolerance * size_y**2),
    )


def _loss(case, name):
    n = normal(case)
    m, d = case.S.shape
    least = np.linalg.lstsq(case.R / n.unit_x, case.T / n.unit_y, rcond=1e-12)[0].T
    scaled = {
        "zeros": np.zeros((m, d)),
        "ones": np.ones((m, d)),
        "least squares": least,
        "10 times least squares": 10 * least,
    }[name]
    coef = scaled / n.unit_x * n.unit_y
    expected = value_of_weights([coef], case, [0.0]) * (case.c or 1.0) / n.unit_y / n.unit_y
    got = case.moments.loss(coef) / n.unit_y / n.unit_y
    size = (np.linalg.norm(scaled @ case.R.T / n.unit_x) + np.linalg.norm(case.T) / n.unit_y) ** 2
    return off(got, expected, absolute=ROUNDING * (size + case.c / n.unit_y / n.unit_y))


def _spectrum(case):
    n = normal(case)
    for moments in (case.moments, SecondMoments.from_data(*data_of(case))):
        spectrum = moments.spectrum
        x, y = n.unit_x, n.unit_y
        k = int(np.linalg.matrix_rank(case.R / x, tol=1e-10))
        if len(spectrum.sigma) != k or (np.diff(spectrum.sigma) > 0).any():
            return np.inf
        V = spectrum.directions
        sigma = spectrum.sigma / x
        rebuilt = (V * sigma**2) @ V.T
        cross = (spectrum.targets / y).T @ (sigma[:, None] * V.T)
        c = case.c / y / y
        worst = max(
            off(rebuilt, case.A / x / x, absolute=ROUNDING),
            off(cross, case.S / x / y, absolute=ROUNDING * np.sqrt(c)),
            off(V.T @ V, np.eye(k), absolute=ROUNDING),
            off(spectrum.residual / y / y, n.unexplained, absolute=ROUNDING * c),
        )
        if worst > 1:
            return worst
    return worst


def _far_mean(mean, spread, blocks):
    """Integers times a spread, far from zero, in exact arithmetic on the rounded rows."""
    i = np.arange(800)
    X = np.column_stack([(i * 7) % 13, (i * 5) % 11]) * spread + mean
    y = ((i * 3) % 17) * spread - mean
    parts = np.array_split(i, blocks)
    moments = SecondMoments.from_batches((X[p], y[p]) for p in parts)
    columns = [[Fraction(float(v)) for v in column] for column in (*X.T, y)]
    means = [sum(column) / 800 for column in columns]
    exact = [
        [
            float(sum((u - mu) * (v - mv) for u, v in zip(a, b, strict=True)) / 800)
            for b, mv in zip(columns, means, strict=True)
        ]
        for a, mu in zip(columns, means, strict=True)
    ]
    exact = np.array(exact)
    got = moments.factor.T @ moments.factor
    # Means of 1e8 are known to 1e-8; what is left of that after centring is squared.
    return off(got, exact, absolute=(1e-8 if mean else 1e-13) * exact.max())


def _equal_weights(weight, count):
    X, y = np.arange(count * 2.0).reshape(count, 2) ** 2, np.arange(count) % 3.0
    got = SecondMoments.from_data(X, y, np.full(count, weight))
    expected = SecondMoments.from_data(X, y)
    halves = SecondMoments.from_data(X[:1], y[:1], np.full(1, weight)) + SecondMoments.from_data(
        X[1:], y[1:], np.full(count - 1, weight)
    )
    worst = 0.0
    for moments in (got, halves):
        worst = max(
            worst,
            off(moments.input_moment, expected.input_moment, relative=ROUNDING),
            off(moments.cross_moment, expected.cross_moment, absolute=ROUNDING * X.max()),
        )
    return worst
