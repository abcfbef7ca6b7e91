"""Singular value decompositions of factors whose columns have very different sizes.

A decomposition has errors of the size of the largest singular value, in which modes of small
columns drown: those of powers of one input, or of columns in different units. Jacobi's method
does not: of R = C D, D diagonal, it finds each mode as exactly as C is well-conditioned, whose
columns are of one size (Drmac and Veselic, 2008).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

# Ratio of the sizes of columns, and relative size of a singular value, from which on the latter
# has lost digits to it: with the second at 1e-6 ten of sixteen are left.
_UNEQUAL, _SMALL_MODE = 1e3, 1e-6

# Share of the largest singular value below which modes are left out all the same: minima with
# decay take powers of these ratios, which overflowed from 1e-38 on.
_LEAST_MODE = 1e-25

# LAPACK's switches: columns and rows of unequal sizes, U and V, no value set to zero, may
# transpose, no perturbation.
_JACOBI = {"joba": 2, "jobu": 0, "jobv": 0, "jobr": 0, "jobt": 1, "jobp": 0}


def unequal_svd(R, sigma, rounding):
    """Singular value decomposition of a factor, if `sigma` has lost digits to unequal columns.

    Parameters
    ----------
    R : ndarray of shape (k, d)
        Finite values.
    sigma : ndarray of shape (min(k, d),)
        Its singular values, descending, as any method finds them.
    rounding : float
        Singular values of equal columns below this share of the largest are rounding.

    Returns
    -------
    U, sigma, V : ndarrays of shapes (k, r), (r,) and (d, r), or None
        With ``R = U @ diag(sigma) @ V.T``; None where `sigma` will do, and where columns depend
        on each other: the rounding errors of large ones may be larger than small columns are.
    """
    size = np.abs(R).max(axis=0, initial=0.0)
    used = size > 0
    size = size[used]
    # Of fewer rows than columns least norm gives everything to the large columns anyway.
    if not 1 < len(size) <= len(R) or size.max() / _UNEQUAL <= size.min():
        return None
    if sigma[len(size) - 1] >= _SMALL_MODE * sigma[0]:
        return None
    equal = np.linalg.svd(np.ldexp(R[:, used], -np.frexp(size)[1]), compute_uv=False)
    if equal[-1] <= rounding * equal[0]:
        return None
    sigma, U, right, work, _, failed = lapack.dgejsv(R[:, used], **_JACOBI)
    if failed:
        return None
    k = int(np.sum(sigma > _LEAST_MODE * sigma[0]))
    V = np.zeros((R.shape[1], k))
    V[used] = right[:, :k]
    return U[:, :k], sigma[:k] * (work[0] / work[1]), V
