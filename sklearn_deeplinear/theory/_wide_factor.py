"""Singular value decompositions of factors with far more columns than rows."""

from __future__ import annotations

import scipy.linalg

from sklearn_deeplinear.theory._decompositions import svd

# Of fewer entries LAPACK's decomposition takes milliseconds either way; with fewer columns a row
# nothing is gained. 1,000 x 20,000 entries took 3.5 s transposed, 4.9 to 5.7 s as they are.
_SMALL, _WIDE = 2**16, 2


def is_wide(R):
    """Whether a factor (k, d) has so many more columns than rows that they matter."""
    k, d = R.shape
    return k * d > _SMALL and d >= _WIDE * k


def thin_svd(R):
    """Singular value decomposition of a factor.

    Parameters
    ----------
    R : ndarray of shape (k, d)
        Finite values, of no use afterwards.

    Returns
    -------
    U : ndarray of shape (k, r)
    sigma : ndarray of shape (r,)
        Descending, r = min(k, d).
    V : ndarray of shape (d, r)
        With ``R = U @ diag(sigma) @ V.T``.
    """
    if is_wide(R):
        # In columns a C-contiguous R is R^T in rows, which LAPACK needs not copy.
        options = {"full_matrices": False, "overwrite_a": True, "check_finite": False}
        V, sigma, Ut = scipy.linalg.svd(R.T, **options)
        return Ut.T, sigma, V
    U, sigma, Vt = svd(R, full_matrices=False)
    return U, sigma, Vt.T
