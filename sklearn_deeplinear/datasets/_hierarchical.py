"""Data sets whose linear structure is known exactly."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from sklearn_deeplinear._parameters import check_integer, check_real


def make_hierarchical(n_levels=3) -> tuple[np.ndarray, np.ndarray]:
    """Items at the leaves of a binary tree, with a feature for each of its nodes.

    An item has the features of all nodes on its path from the root. With three levels
    there are 8 items and 15 features (1 root, 2 halves, 4 pairs, 8 leaves), and the
    singular values of Y are 3.87298, 2.64575, 1.73205 (twice) and 1 (four times): coarse
    distinctions are stronger, and are learned first.

    Parameters
    ----------
    n_levels : int, default=3
        Number of splits from the root to the items.

    Returns
    -------
    X : ndarray of shape (2**n_levels, 2**n_levels)
        One-hot code of the items, the identity.
    Y : ndarray of shape (2**n_levels, 2**(n_levels + 1) - 1)
        Features of the items, 0 or 1; nodes are ordered level by level from the root.

    References
    ----------
    .. [1] Saxe, A. M., McClelland, J. L., Ganguli, S. (2019). "A mathematical theory of
       semantic development in deep neural networks." PNAS 116 (23), 11537-11546.
    .. [2] Shi, J., Shea-Brown, E., Buice, M. A. (2022). "Learning dynamics of deep linear
       networks with multiple pathways." NeurIPS 35.

    Examples
    --------
    >>> from sklearn_deeplinear.datasets import make_hierarchical
    >>> X, Y = make_hierarchical(n_levels=1)
    >>> Y
    array([[1., 1., 0.],
           [1., 0., 1.]])
    """
    n_items = 2 ** check_integer(n_levels, "n_levels")
    levels = [
        np.repeat(np.eye(2**level), n_items // 2**level, axis=0) for level in range(n_levels + 1)
    ]
    return np.eye(n_items), np.hstack(levels)


def make_linear_teacher(
    n_samples=100,
    n_features=10,
    n_targets=1,
    *,
    singular_values=None,
    noise=0.0,
    whiten=False,
    random_state=None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard normal inputs, and targets that a linear map of chosen strengths makes of them.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows n.
    n_features : int, default=10
        Number of inputs d.
    n_targets : int, default=1
        Number of outputs m.
    singular_values : array-like of at most min(d, m) floats, default=None
        Singular values of the map; its rank is their number. None takes all equal to 1.
    noise : float, default=0.0
        Standard deviation of normal noise on the targets.
    whiten : bool, default=False
        Make the inputs exactly white: of mean zero, with X^T X / n = I. Needs n > d.
    random_state : int, RandomState instance or None, default=None
        Seed of the inputs, the singular vectors and the noise.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Targets, one-dimensional for a single target.
    coef : ndarray of shape (n_features,) or (n_targets, n_features)
        The map, shaped like the `coef_` of linear models.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_deeplinear.datasets import make_linear_teacher
    >>> X, Y, coef = make_linear_teacher(50, 4, 3, singular_values=[2, 1], random_state=0)
    >>> np.linalg.svd(coef, compute_uv=False).round(12)
    array([2., 1., 0.])
    >>> bool(np.allclose(Y, X @ coef.T))
    True
    """
    n, d, m = (
        check_integer(value, name, low=1)
        for name, value in [
            ("n_samples", n_samples),
            ("n_features", n_features),
            ("n_targets", n_targets),
        ]
    )
    noise = check_real(noise, "noise")
    s = _strengths(singular_values, min(d, m))
    if whiten and n <= d:
        raise ValueError(f"n_samples must exceed n_features with whiten=True, got {n} and {d}.")
    random = check_random_state(random_state)
    X = random.standard_normal((n, d))
    if whiten:
        X = np.linalg.qr(X - X.mean(axis=0))[0] * np.sqrt(n)
    V = np.linalg.qr(random.standard_normal((d, d)))[0][:, : len(s)]
    U = np.linalg.qr(random.standard_normal((m, m)))[0][:, : len(s)]
    coef = (U * s) @ V.T
    Y = X @ coef.T + noise * random.standard_normal((n, m))
    return (X, Y[:, 0], coef[0]) if m == 1 else (X, Y, coef)


def _strengths(singular_values, most):
    try:
        s = np.ones(most) if singular_values is None else np.array(singular_values, dtype=float)
        if s.ndim != 1 or len(s) > most or not np.isfinite(s).all() or (s < 0).any():
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"singular_values must hold at most min(n_features, n_targets) = {most} finite "
            f"numbers of at least 0, got {singular_values!r}."
        ) from None
    return s
