"""Nuclear-norm regression by operator splitting: two layers, in the eigenbasis of the data.

Minimises ``||diag(sigma) B - Y||_F^2 + 2 g ||B||_*`` over B (k, p) in units where sigma_1 = 1,
by the splitting of Peaceman and Rachford: in turn the loss and the nuclear norm are minimised
near a point, exactly. With the parameter sigma_k the error falls by at least
(1 - sigma_k) / (1 + sigma_k) a step (Giselsson and Boyd, 2017), about twice as fast as by
accelerated proximal gradients, which take as many singular value decompositions.
"""

from __future__ import annotations

import numpy as np

# Steps between two looks at the duality gap, which costs about as much as a step, and looks
# without progress after which rounding errors are what is left.
_STEPS, _STALLED = 4, 3

# Relative errors that rounding may explain.
_ROUNDING = 1e-7


def nuclear_minimum(sigma, Y, g, B, *, tol, max_steps):
    """Approximate minimiser, from the map B.

    Parameters
    ----------
    sigma : ndarray of shape (k,)
        Positive, descending, the first one 1.
    Y : ndarray of shape (k, p)
        Targets.
    g : float
        Half of the factor on the nuclear norm, positive.
    B : ndarray of shape (k, p)
        Start.
    tol : float
        Relative size of the last step, and of the excess of the dual norm of the residuals,
        that will do.
    max_steps : int
        Number of steps after which to give up.

    Returns
    -------
    B : ndarray of shape (k, p)
    """
    s, rho = sigma[:, None], sigma[-1]
    weight = s**2 + rho
    targets = s * Y
    # Where the loss is minimal near twice B less V, the slope of the loss at B is rho (V - B).
    V = B - (s * (s * B - Y)) / rho
    least, stalled = np.inf, 0
    for step in range(1, max_steps + 1):
        B = shrunk(V, g / rho)
        move = (targets + rho * (2 * B - V)) / weight - B
        V = V + 2 * move
        if step % _STEPS == 0:
            off = max(np.linalg.norm(move) / (np.linalg.norm(B) or 1.0), _excess(B, s, Y, g))
            stalled = 0 if off < least / 2 else stalled + 1
            least = min(off, least)
            if off <= tol or (stalled == _STALLED and off <= _ROUNDING):
                break
    return B


def shrunk(M, threshold):
    """M with the threshold, or all, taken off its singular values."""
    tall = M.shape[0] >= M.shape[1]
    squares, V = np.linalg.eigh(M.T @ M if tall else M @ M.T)
    live = squares > threshold**2
    V = V[:, live]
    kept = V * (1 - threshold / np.sqrt(squares[live]))
    return (M @ V) @ kept.T if tall else kept @ (V.T @ M)


def _excess(B, s, Y, g):
    """By how much the largest singular value of the loss's slope exceeds g, relative to g."""
    E = s * (Y - s * B)
    squares = np.linalg.eigvalsh(E.T @ E if E.shape[0] >= E.shape[1] else E @ E.T)
    return max(np.sqrt(squares[-1]) / g - 1, 0.0)
