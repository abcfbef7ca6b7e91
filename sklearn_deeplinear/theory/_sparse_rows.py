"""Moments of sparse rows, which are centred without being filled in.

The Cholesky factor of the products of (1, x, y) holds that of the centred products behind its
first row, as a QR decomposition of these columns would. It is taken where the products are as
good as the data, else the rows are filled in, a block at a time.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._factor import gram_factor
from sklearn_deeplinear.theory._location import Location, weighed

# ||R^(-1)|| of columns of unit norm, the constant among them, up to which products will do: the
# factor then has a relative error of 1e-13, for which dense rows would take n p^2 operations.
_WELL_CONDITIONED = 30.0


def sparse_moments(X, Y, weight, center):
    """Location and factor of the second moments of sparse X (n, d) and dense Y (n, m).

    Parameters
    ----------
    X : sparse array or matrix of shape (n, d)
        Inputs.
    Y : ndarray of shape (n, m)
        Targets.
    weight : ndarray of shape (n,), or None
        Weights, not all zero.
    center : bool
        False takes the means as zero.

    Returns
    -------
    location : Location
    factor : ndarray of shape (d + m, d + m)
        Or None for both where products are not accurate enough.
    """
    used = slice(None) if weight is None else weight > 0
    X, Y = X.tocsr().astype(np.float64)[used], Y[used]
    share, root, scale, total = weighed(None if weight is None else weight[used], len(Y))
    root = scale * (np.ones(len(Y)) if root is None else root)
    weighted = X.multiply(root[:, None]).tocsr()
    dense = root[:, None] * np.column_stack([np.ones(len(Y)), Y] if center else [Y])
    outer = dense.T @ dense
    cross = (weighted.T @ dense).T  # (1 + m, d)
    inputs = (weighted.T @ weighted).toarray()
    first = 1 if center else 0
    gram = np.block(
        [
            [outer[:first, :first], cross[:first], outer[:first, first:]],
            [cross[:first].T, inputs, cross[first:].T],
            [outer[first:, :first], cross[first:], outer[first:, first:]],
        ]
    )
    found = gram_factor(gram)
    if found is None or found[1] > _WELL_CONDITIONED:
        return None, None
    mean = np.zeros(X.shape[1] + Y.shape[1])
    least = largest = np.full(len(mean), np.nan)
    if center:
        mean = np.concatenate([X.T @ share, share @ Y])
        least, largest = (
            np.concatenate([getattr(X, end)(axis=0).toarray().ravel(), getattr(Y, end)(axis=0)])
            for end in ("min", "max")
        )
    return Location(mean, np.zeros(len(mean)), least, largest, *total), found[0][first:, first:]
