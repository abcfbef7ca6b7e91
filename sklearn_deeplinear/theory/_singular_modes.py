"""The leading singular modes of a matrix, without those that are rounding errors."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._decompositions import svd


def leading_modes(M, rank=None, rtol=None):
    """Singular vectors U (n, r), values s (r,) and V^T (r, p) of the leading modes of M (n, p).

    Parameters
    ----------
    M : ndarray of shape (n, p)
    rank : int, default=None
        Bound on the number of modes.
    rtol : float, default=None
        Modes this far below the largest are left out; None stands for rounding errors.
    """
    U, s, Vt = svd(M, full_matrices=False)
    rtol = max(M.shape) * np.finfo(float).eps if rtol is None else rtol
    r = np.sum(s > rtol * s.max(initial=0.0))
    r = r if rank is None else min(r, rank)
    return U[:, :r], s[:r], Vt[:r]
