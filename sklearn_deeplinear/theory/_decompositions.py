"""Eigenvectors and singular vectors, also where LAPACK's fastest algorithm gives up.

NumPy divides and conquers, which ends without a result in rare cases of many eigenvalues that are
all but equal, as the curvature of equal weights has them. QR iterations take longer and find one.
Values alone come from these in any case.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.linalg import LinAlgError


def eigh(A):
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) of symmetric matrices A."""
    try:
        return np.linalg.eigh(A)
    except LinAlgError:
        return _each(A, lambda M: scipy.linalg.eigh(M, driver="ev", check_finite=False))


def svd(A, full_matrices=True):
    """Vectors U, values (..., r), descending, and vectors V^T of matrices A (..., n, p)."""
    try:
        return np.linalg.svd(A, full_matrices=full_matrices)
    except LinAlgError:
        options = {"full_matrices": full_matrices, "check_finite": False}
        return _each(A, lambda M: scipy.linalg.svd(M, lapack_driver="gesvd", **options))


def _each(A, decompose):
    """A decomposition of each of the matrices A, its arrays stacked as these are."""
    A = np.asarray(A)
    if not np.isfinite(A).all():
        raise LinAlgError("Matrices must be finite.")  # QR iterations may not end
    found = [decompose(M) for M in A.reshape(-1, *A.shape[-2:])]
    parts = zip(*found, strict=True)
    return tuple(np.stack(part).reshape(*A.shape[:-2], *part[0].shape) for part in parts)
