"""The Krylov space of sparse rows, held against the same space of dense matrices."""

import numpy as np
import pytest
import scipy.sparse

from sklearn_deeplinear.theory import _krylov_space
from sklearn_deeplinear.theory._krylov_space import CentredRows, krylov_space


def rows_of_rank(k):
    """Thirty rows of twelve numbers, of rank k, and targets that every direction explains."""
    rng = np.random.default_rng(k)
    X = rng.normal(size=(30, k)) @ rng.normal(size=(k, 12))
    return X, X @ rng.normal(size=(12, 1))


@pytest.mark.parametrize("deep", [None, (3, -20.0)], ids=str)
@pytest.mark.parametrize("k", range(1, 7))
def test_a_space_that_is_whole_ends_with_nothing_beyond(k, deep):
    X, Y = rows_of_rank(k)
    rows = CentredRows(scipy.sparse.csr_array(X), None, center=False)
    V, Z, beyond = krylov_space(rows, Y, 0.0, deep)
    assert V.shape == (12, k) and beyond.size == 0
    np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(Z, X @ V / rows.unit / np.sqrt(30), atol=1e-12)
    # All that the inputs explain lies in their rows, which V spans.
    np.testing.assert_allclose(X @ V @ V.T, X, atol=1e-9)


def slow_rows():
    """Rows of which the minimum of least squares takes some twenty of a hundred directions."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(150, 100)))[0]
    return Q * np.sqrt(np.linspace(1.0, 3.0, 100)), rng.normal(size=(150, 1))


def test_without_decay_the_slope_that_is_left_tells_when_to_stop():
    X, Y = slow_rows()
    rows = CentredRows(scipy.sparse.csr_array(X), None, center=False)
    V, Z, _ = krylov_space(rows, Y, 0.0)
    residual = Y - Z @ np.linalg.lstsq(Z, Y)[0]
    slope, first = (np.linalg.norm(X.T @ R) for R in (residual, Y))
    assert V.shape[1] < 40 and slope <= 1e-7 * first


@pytest.mark.parametrize("most", [1, 4, 7])
def test_no_more_columns_than_there_may_be(monkeypatch, most):
    monkeypatch.setattr(_krylov_space, "_MOST", most)
    X, Y = slow_rows()
    rows = CentredRows(scipy.sparse.csr_array(X), None, center=False)
    V, _, beyond = krylov_space(rows, Y, 0.0)
    assert V.shape[1] == most and beyond.shape == (1, 1)
