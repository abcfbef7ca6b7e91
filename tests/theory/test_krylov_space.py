"""The Krylov space of sparse rows, held against the same space of dense matrices."""

import numpy as np
import pytest
import scipy.sparse

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
