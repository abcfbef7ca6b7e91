"""Decompositions against what they are of, where LAPACK's fastest algorithm gives up, too."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import sklearn_deeplinear
from sklearn_deeplinear.theory._decompositions import eigh, svd

SHAPES = [(5, 5), (2, 5, 5), (3, 2, 4, 4)]


def gives_up(*args, **kwargs):
    raise np.linalg.LinAlgError("did not converge")


@pytest.fixture(params=["NumPy", "QR"], autouse=True)
def algorithm(request, monkeypatch):
    if request.param == "QR":
        monkeypatch.setattr(np.linalg, "eigh", gives_up)
        monkeypatch.setattr(np.linalg, "svd", gives_up)


@pytest.mark.parametrize("shape", SHAPES)
def test_eigenvectors_of_symmetric_matrices(shape):
    A = np.random.RandomState(0).standard_normal(shape)
    A[0] = np.eye(shape[-1]) if len(shape) > 2 else A[0]
    A = A + np.swapaxes(A, -1, -2)
    values, V = eigh(A)
    assert values.shape == shape[:-1] and V.shape == shape
    assert (np.diff(values) >= 0).all()
    assert_allclose(V * values[..., None, :] @ np.swapaxes(V, -1, -2), A, atol=1e-13)


@pytest.mark.parametrize("full_matrices", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 7), (7, 3), (2, 7, 3), (1, 1)])
def test_singular_vectors(shape, full_matrices):
    A = np.random.RandomState(0).standard_normal(shape)
    U, s, Vt = svd(A, full_matrices=full_matrices)
    n, p = shape[-2:]
    r = min(n, p)
    assert s.shape == (*shape[:-2], r)
    assert U.shape[-2:] == (n, n if full_matrices else r)
    assert Vt.shape[-2:] == (p if full_matrices else r, p)
    assert (np.diff(s) <= 0).all()
    assert_allclose(U[..., :r] * s[..., None, :] @ Vt[..., :r, :], A, atol=1e-13)


def test_matrices_that_are_not_finite_have_none():
    with pytest.raises(np.linalg.LinAlgError):
        svd(np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_no_file_calls_what_gives_up():
    vectors = re.compile(r"np\.linalg\.(eigh\(|svd\((?!.*compute_uv=False))")
    package = Path(sklearn_deeplinear.__file__).parent
    found = [p.name for p in package.rglob("*.py") if vectors.search(p.read_text("utf-8"))]
    assert found == ["_decompositions.py"]
