"""Whether outputs of linear maps can tell classes apart ever better, so that no map is the best.

Along a direction in which no sample loses anything to another class, and some gain, the
cross-entropy falls for ever; if there is none it has a minimum (Albert and Anderson, 1984). Such
directions are the solutions of a linear program.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

# What a direction of size one must gain in the mean: the program allows errors of 1e-7.
_GAIN = 1e-6
# Entries of the largest program, which takes a second or so.
_MOST_ENTRIES = 2_000_000


def tells_apart_for_ever(Z, Y, free_intercept):
    """Whether there is such a direction, or None if that would take too long to tell.

    Parameters
    ----------
    Z : ndarray of shape (n, k)
        Inputs, of size one.
    Y : ndarray of shape (n, K)
        Indicators of the classes.
    free_intercept : bool
        Whether outputs have an intercept.
    """
    (n, K), Z = Y.shape, np.hstack([Z, np.ones((len(Z), 1))]) if free_intercept else Z
    if n * (K - 1) * K * Z.shape[1] > _MOST_ENTRIES:
        return None
    # By how much the output of the own class exceeds that of each other one.
    contrasts = Y[:, None] - np.eye(K)
    margins = (contrasts[..., None] * Z[:, None, None]).reshape(n * K, -1)
    margins = margins[Y.ravel() == 0]
    gain = margins.mean(axis=0)
    found = linprog(-gain, A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1))
    return bool(-found.fun > _GAIN) if found.success else None
