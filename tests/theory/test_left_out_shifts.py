"""Shifts of the minima of all data against the table of curves and against refits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path
from sklearn_deeplinear.theory import _leave_one_out as module
from sklearn_deeplinear.theory._leave_one_out import leave_one_out
from sklearn_deeplinear.theory._left_out_path import _are_close
from sklearn_deeplinear.theory._left_out_rows import LeftOutRows
from sklearn_deeplinear.theory._scalar_family import ScalarFamily, log_shrinkage

DEPTHS = (1, 2, 3, 4, 7)

# Shifts are right to 1e-11 of the targets; the table has lost digits within 1e-4 of the collapse.
TOLERANCE, OF_TABLE = 1e-9, 1e-8


def narrow(seed=0, n=120, d=20):
    """Eigenvalues close to each other."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) + 2
    return X, X @ rng.standard_normal(d) + 3 * rng.standard_normal(n)


def wide(seed=0):
    """Eigenvalues over eight orders of magnitude."""
    X, y = narrow(seed, 90, 8)
    return X * np.geomspace(1, 1e-4, 8), y


def integers(seed=0):
    """Repeated samples, two columns alike and equal eigenvalues."""
    H = np.random.RandomState(seed).randint(-1, 2, (40, 4)).astype(float)
    X = np.vstack([H, H])
    return np.hstack([X, X[:, :1]]), X @ [2.0, 1.0, 0.0, -1.0] + np.arange(80) % 5


def one_input(seed=0):
    return narrow(seed, 40, 1)


DATA = [narrow, wide, integers, one_input]


def rows_of(X, y, weight=None, center=True):
    return LeftOutRows.of(SecondMoments.from_data(X, y, weight, center=center), X, y, weight)


def decays_around_collapse(rows, depth, log_rho=0.0):
    """``sum_l log gamma_l`` from next to none to beyond the collapse, dense around it."""
    if depth == 1:
        return rows.moments.spectrum.sigma[0] ** 2 * np.geomspace(1e-9, 1e3, 40)
    family = ScalarFamily(rows.sigma, rows.target, depth, log_rho)
    if depth == 2:
        size = np.linalg.norm(rows.sigma * rows.target)
        collapse = 2 * np.log(size) + log_rho
    else:
        collapse = family.critical_log_decays()[0]
    near = np.concatenate([[0], np.geomspace(1e-12, 0.5, 20)])
    far = np.linspace(-12, -0.5, 30) * depth
    return collapse + np.concatenate([far, -near, near, [3.0, 30.0]])


def settings_of(rows, log_rho=0.0):
    return [
        (depth, decays_around_collapse(rows, depth, log_rho * (depth - 1)), log_rho * (depth - 1))
        for depth in DEPTHS[1:]
    ] + [(1, np.log(decays_around_collapse(rows, 1)), 0.0)]


def by_table(monkeypatch, rows, settings):
    with monkeypatch.context() as patch:
        patch.setattr(module, "CALM", -1.0)
        return leave_one_out(rows, settings)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("make", DATA)
def test_shifts_are_what_the_table_finds(make, center, monkeypatch):
    X, y = make()
    rows = rows_of(X, y, center=center)
    settings = settings_of(rows)
    for found, expected in zip(
        leave_one_out(rows, settings), by_table(monkeypatch, rows, settings), strict=True
    ):
        assert_allclose(found, expected, atol=OF_TABLE * np.abs(y).max(), rtol=0)


def test_with_weights_and_noise(monkeypatch):
    X, y = narrow(1)
    weight = np.random.RandomState(1).exponential(size=len(y))
    weight[[3, 50]] = 0.0
    rows = rows_of(X, y, weight)
    settings = settings_of(rows, log_shrinkage([0.3], [2]))
    for found, expected in zip(
        leave_one_out(rows, settings), by_table(monkeypatch, rows, settings), strict=True
    ):
        assert_allclose(found, expected, atol=OF_TABLE * np.abs(y).max(), rtol=0)


@pytest.mark.parametrize("make", [narrow, wide, integers])
def test_refits_around_the_collapse(make):
    """Which samples lose their map at which decay, one layer more at a time."""
    X, y = make(2)
    rows = rows_of(X, y)
    settings = settings_of(rows)
    found = leave_one_out(rows, settings)
    for i in range(0, len(y), 17):
        keep = np.arange(len(y)) != i
        moments = SecondMoments.from_data(X[keep], y[keep])
        for (depth, log_decay, _), residuals in zip(settings, found, strict=True):
            gammas = np.exp(log_decay / depth)
            coefs, intercepts = deep_linear_path(moments, weight_decays=gammas, depth=depth)[:2]
            expected = y[i] - coefs[:, 0] @ X[i] - intercepts[:, 0]
            assert_allclose(residuals[:, i], expected, atol=TOLERANCE * np.abs(y).max(), rtol=0)


def test_data_without_outliers_need_no_table(monkeypatch):
    def table(*args):
        raise AssertionError("a table was made")

    monkeypatch.setattr(module, "Table", table)
    for X, y in (narrow(3, 400), load_diabetes(return_X_y=True)):
        rows = rows_of(X, y)
        for depth in DEPTHS[1:]:
            log_decay = decays_around_collapse(rows, depth)
            leave_one_out(rows, [(depth, log_decay[log_decay <= log_decay[29]], 0.0)])
        leave_one_out(rows, [(1, np.log(decays_around_collapse(rows, 1)), 0.0)])


@pytest.mark.parametrize("make", DATA)
def test_many_decays_at_once_are_interpolated_to_the_last_digits(make):
    X, y = make(4)
    rows = rows_of(X, y)
    for depth in DEPTHS:
        log_decay = decays_around_collapse(rows, depth)
        log_decay = np.log(log_decay) if depth == 1 else log_decay
        (together,) = leave_one_out(rows, [(depth, log_decay, 0.0)])
        alone = [leave_one_out(rows, [(depth, one, 0.0)])[0][0] for one in log_decay[:, None]]
        # Samples of large influence are in the table.
        assert_allclose(together, alone, rtol=0, atol=OF_TABLE * np.abs(y).max())
        calm = rows.leverage < 0.1
        assert_allclose(
            together[:30, calm], np.array(alone)[:30, calm], rtol=0, atol=1e-10 * np.abs(y).max()
        )


def test_samples_of_large_influence_are_looked_up_beside_all_others():
    X, y = narrow(5, 60, 4)
    X[7], y[7] = 50.0, -40.0
    X[20] *= 3
    rows = rows_of(X, y)
    settings = settings_of(rows)
    found = leave_one_out(rows, settings)
    for i in (7, 20, 33):
        keep = np.arange(60) != i
        for (depth, log_decay, _), residuals in zip(settings, found, strict=True):
            moments = SecondMoments.from_data(X[keep], y[keep])
            gammas = np.exp(log_decay / depth)
            coefs, intercepts = deep_linear_path(moments, weight_decays=gammas, depth=depth)[:2]
            expected = y[i] - coefs[:, 0] @ X[i] - intercepts[:, 0]
            assert_allclose(residuals[:, i], expected, atol=TOLERANCE * np.abs(y).max(), rtol=0)


@pytest.mark.parametrize(
    "spread", [1.5, 1e2, 1e4, 1e6], ids=["narrow", "hundred", "ten thousand", "million"]
)
def test_the_basis_spans_all_functions_and_their_derivatives(spread):
    X = np.diag(np.sqrt(np.geomspace(1, 1 / spread, 150)))
    rows = rows_of(np.vstack([X, -X]), np.ones(300), center=False)
    a, W = rows.a, rows.basis
    assert W.shape[1] <= 75
    for x in np.linspace(np.log(a[-1]) - 30, 10, 50):
        m = np.exp(np.clip(x, np.log(a[-1]), 0))
        s, A = 1 / (1 + m * np.exp(-x)), a / m
        N = A * (1 - s) + s
        for p in range(8):  # terms of a series for shifts of a tenth
            term = s / N if p == 0 else A / N**2 * ((A - 1) / N) ** (p - 1) * (0.1 * s) ** p
            assert_allclose(W @ (W.T @ term), term, atol=1e-12 * s)


@pytest.mark.parametrize("depth", [3, 4, 7])
def test_curves_of_close_eigenvalues_turn_once(depth):
    x, rng = np.linspace(-8, 6, 4000)[:, None], np.random.RandomState(0)
    least = next(a for a in np.geomspace(1e-3, 1, 200) if _are_close(a, depth))
    assert 5 < 1 / least < 30
    for _ in range(50):
        a = np.append(np.exp(np.log(least) * rng.uniform(size=3)), [least, 1.0])
        z = np.exp(6 * rng.standard_normal(5))
        H = depth / (depth - 1) * x[:, 0] + np.log(1 / (a + np.exp(x)) ** 2 @ z)
        assert np.sum(np.diff(np.sign(np.diff(H))) != 0) == 1
    assert not _are_close(1e-3, depth)


@pytest.mark.parametrize("calm", [0.3, -1.0], ids=["shifts", "table"])
def test_zero_wins_from_the_collapse_without_the_sample_on(calm, monkeypatch):
    """Within a millionth: the objective is compared where it is flat."""
    X, y = narrow(6)
    rows = rows_of(X, y)
    monkeypatch.setattr(module, "CALM", calm)
    for i in range(0, len(y), 10):
        others = rows_of(X[np.arange(len(y)) != i], y[np.arange(len(y)) != i])
        for depth in (3, 4):
            family = ScalarFamily(others.sigma, others.target, depth)
            collapse = family.critical_log_decays()[0]
            log_decay = collapse + np.array([-3.0, -1e-6, 1e-6])
            (residuals,) = leave_one_out(rows, [(depth, log_decay, 0.0)])
            zero = residuals[:, i] == rows.residual_of_zero[i]
            assert zero.tolist() == [False, False, True]


@pytest.mark.parametrize("difference", [1e-4, 1e-7, 1e-10])
def test_ridge_with_weights_that_are_nearly_equal(difference):
    """All samples have nearly one penalty, of which small shifts count as well."""
    X, y = narrow()
    weight = 1 + difference * np.random.RandomState(1).uniform(size=len(y))
    rows, decays = rows_of(X, y, weight, center=False), np.array([1e-3, 1.0, 30.0])
    found = leave_one_out(rows, [(1, np.log(decays), 0.0)])[0]
    for gamma, residuals in zip(decays, found, strict=True):
        for i in range(0, len(y), 10):
            share = np.where(np.arange(len(y)) == i, 0.0, weight)
            share /= share.sum()
            A = X.T @ (share[:, None] * X) + gamma * np.eye(X.shape[1])
            expected = y[i] - X[i] @ np.linalg.solve(A, X.T @ (share * y))
            assert_allclose(residuals[i], expected, rtol=0, atol=1e-12 * np.abs(y).max())


@pytest.mark.parametrize("center", [True, False])
def test_rows_take_another_target(center):
    X, y = narrow(n=30, d=4)
    z, weight = y**2 - 7, np.linspace(0, 3, 30)
    moments = SecondMoments.from_data(X, z, weight, center=center)
    taken = rows_of(X, y, weight, center).with_target(moments, z)
    made = LeftOutRows.of(moments, X, z, weight)
    for name in ("u", "y", "share", "target", "residual_of_zero"):
        assert_allclose(getattr(taken, name), getattr(made, name), rtol=1e-12, err_msg=name)
    assert_allclose(taken.residuals_of_least_squares(), made.residuals_of_least_squares())
