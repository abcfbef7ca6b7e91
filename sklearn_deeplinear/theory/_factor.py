"""A factor R of tall data Z with R^T R = Z^T Z, as accurate as QR's and faster.

The Cholesky factor of Z^T Z takes half the operations of a QR decomposition, all of them in
products, but with unit columns, as units do not matter, its relative error grows like
eps ||R^(-1)||^2, that of QR like eps ||R^(-1)||. Where that is small nothing is lost; else
Z R^(-1) is orthonormal but for the errors of R, and a second factor takes these out (Cholesky
QR twice: Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, 2015).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

# ||R^(-1)|| up to which one Cholesky factor loses about a digit, and up to which two lose none:
# near eps ||R^(-1)||^2 = 1 there is no second one.
_ONCE, _TWICE = 10.0, 1e6
# Rows per column from which products are faster than QR: for 1,000 x 794 well-conditioned entries
# both took as long, for 2,000 x 794 products a third, and twice that if they are needed twice.
_TALL = 2
# Steps of the power method for ||R^(-1)||, which find it to a factor of two.
_POWER_STEPS = 4

# Norms of columns below this have squares of fewer digits than others: 1e-146.
_LEAST_SIZE = np.sqrt(np.finfo(float).tiny / np.finfo(float).eps)

# Below so many entries QR takes less than a millisecond, and the same moments have the same
# factor, whatever rows they came from: in single precision its rounding is seen.
_SMALL = 2**16


@np.errstate(over="ignore", invalid="ignore")  # QR knows how to scale
def tall_factor(Z):
    """Factor of `Z` (n, p), which is overwritten; a copy of Z where that is large and not tall.

    Parameters
    ----------
    Z : ndarray of shape (n, p), C-contiguous
        Finite values; their products may overflow.

    Returns
    -------
    R : ndarray of shape (k, p)
        With k = min(n, p), in memory of its own.
    """
    n, p = Z.shape
    if n <= p and Z.size > _SMALL:
        return Z.copy()
    if Z.size > _SMALL and n >= _TALL * p:
        first = gram_factor(Z.T @ Z)
        if first is not None and first[1] <= _ONCE:
            return first[0]
        if first is not None and first[1] <= _TWICE:
            # In place: a Z^T in columns is a Z in rows.
            Q = blas.dtrsm(1.0, first[0], Z.T, trans_a=1, overwrite_b=1).T
            second = gram_factor(Q.T @ Q)
            if second is not None:
                return second[0] @ first[0]
    return np.linalg.qr(Z, mode="r")


def gram_factor(gram):
    """Cholesky factor of Z^T Z, and ||R^(-1)|| for unit columns.

    None if there is none, and where squares are so small that they have lost digits.
    """
    scale = np.sqrt(np.diag(gram))
    if not (np.isfinite(scale).all() and scale.min() >= _LEAST_SIZE):
        return None
    R, failed = lapack.dpotrf(gram / scale / scale[:, None], clean=1)
    return None if failed else (R * scale, _inverse_norm(R))


def _inverse_norm(R):
    v = np.random.default_rng(0).normal(size=len(R))
    for _ in range(_POWER_STEPS):
        v /= np.linalg.norm(v)
        v = blas.dtrsv(R, blas.dtrsv(R, v, trans=1))
    return np.sqrt(np.linalg.norm(v))
