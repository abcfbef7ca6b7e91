"""Factors of tall data are as good as those of a QR decomposition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from sklearn_deeplinear.theory import _factor
from sklearn_deeplinear.theory._factor import tall_factor


def matrix(n, p, condition, seed=0):
    """Known singular values, between 1 and 1 / condition."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(n, p)))[0]
    return U * np.geomspace(1, 1 / condition, p) @ ortho_group.rvs(p, random_state=seed)


@pytest.fixture(autouse=True)
def small_data_count(monkeypatch):
    monkeypatch.setattr(_factor, "_SMALL", 0)


def least_squares(R):
    """Coefficients of the last column on the others."""
    return np.linalg.lstsq(R[:, :-1], R[:, -1], rcond=None)[0]


@pytest.mark.parametrize("units", [1.0, 1e-120, 1e120, 1e-158])
@pytest.mark.parametrize("condition", [1, 5, 1e2, 1e4, 1e6, 1e9, 1e12])
def test_least_squares_keeps_the_digits_of_qr(condition, units):
    X = matrix(400, 8, condition)
    coef = np.arange(1.0, 9.0)
    Z = np.column_stack([X * units, X @ coef])  # no residual: the error is eps * condition
    error, qr_error = (
        np.abs(least_squares(R) * units - coef).max()
        for R in (tall_factor(Z.copy()), np.linalg.qr(Z, mode="r"))
    )
    assert error <= 10 * qr_error + 1e-15 * condition


@pytest.mark.parametrize("condition", [1, 5, 1e2, 1e4, 1e6, 1e9])
def test_products_of_the_factor_are_those_of_the_data(condition):
    Z = matrix(300, 6, condition) * [1e-9, 1e3, 1, 1, 1e150, 1e-150]
    unit = np.linalg.norm(Z, axis=0)
    R = tall_factor(Z.copy()) / unit
    assert_allclose(R.T @ R, (Z / unit).T @ (Z / unit), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "Z",
    [
        np.zeros((20, 3)),
        np.ones((20, 3)),
        np.kron(np.eye(3), np.ones((7, 1))) - 1 / 3,  # indicators, less their means
        np.column_stack([np.arange(20.0), np.arange(20.0) * (1 + 1e-15), np.ones(20)]),
        np.full((20, 2), 1e200),
        np.eye(20, 3),
    ],
    ids=["zeros", "ones", "indicators", "twins", "huge", "unit vectors"],
)
def test_degenerate_data_have_a_factor(Z):
    unit = np.maximum(np.abs(Z).max(axis=0), 1e-300)
    R = tall_factor(Z.copy()) / unit
    assert R.shape == (Z.shape[1],) * 2
    assert_allclose(R.T @ R, (Z / unit).T @ (Z / unit), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 6])
def test_data_that_are_not_tall_are_their_own_factor(n):
    Z = np.random.default_rng(0).normal(size=(n, 6))
    R = tall_factor(Z)
    assert_allclose(R, Z)
    assert not np.shares_memory(R, Z)


def test_each_way_to_a_factor_is_taken(monkeypatch):
    """One Cholesky factor, two, and QR, as the condition number grows."""
    calls = []
    gram_factor, qr = _factor.gram_factor, np.linalg.qr
    monkeypatch.setattr(_factor, "gram_factor", lambda G: calls.append("G") or gram_factor(G))
    monkeypatch.setattr(np.linalg, "qr", lambda *a, **k: calls.append("Q") or qr(*a, **k))
    taken = []
    for condition in (2, 1e3, 1e10):
        Z = matrix(200, 5, condition)
        calls.clear()
        tall_factor(Z)
        taken.append("".join(calls))
    assert taken == ["G", "GG", "GQ"]


def test_small_data_have_the_factor_of_qr(monkeypatch):
    """Digit for digit: the same moments have the same factor, whatever rows they came from."""
    Z = matrix(50, 4, 2)
    for small, same in ((Z.size, True), (Z.size - 1, False)):
        monkeypatch.setattr(_factor, "_SMALL", small)
        assert np.array_equal(tall_factor(Z.copy()), np.linalg.qr(Z, mode="r")) == same
