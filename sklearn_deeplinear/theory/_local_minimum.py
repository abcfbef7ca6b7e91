"""Local minima of smooth functions to rounding: L-BFGS, then Newton steps."""

from __future__ import annotations

import numpy as np
import scipy

from sklearn_deeplinear.theory._layers import packed, unpacked

# Limits of L-BFGS.
_OPTIONS = {"maxiter": 5000, "maxfun": 10000, "gtol": 1e-13, "maxcor": 40}

# Relative decrease of a step below which a descent has slowed down.
_SLOW = 1e-5
# And below which it is left to Newton's method.
_HANDED_OVER = 1e-11

# Newton's method: length of the differences that stand for the Hessian, in the root mean square
# of weights of at least this norm; and products with it that a step may take.
_DIFFERENCE, _LEAST_SIZE, _MAX_PRODUCTS = 1e-4, 1e-3, 200


def local_minimum(function, start):
    """Stationary point that descent from `start` reaches.

    L-BFGS stops where the function no longer changes, with a gradient of the square root
    of the rounding error; Newton steps on the gradient alone go on from there.

    Parameters
    ----------
    function : callable
        ``function(matrices) -> value, gradients`` for a list of matrices like `start`.
        Variables and values should be of order one.
    start : list of ndarray
        Starting point, not empty.

    Returns
    -------
    matrices : list of ndarray
        Of the shapes of `start`.
    """
    found = descend(function, start)
    w = newton(lambda w: packed(function(unpacked(w, start))[1]), packed(found))
    return unpacked(w, start)


def best_local_minimum(function, starts, n_finalists=None):
    """The lowest of the stationary points that descent from several `starts` reaches.

    With `n_finalists` only so many of the starts are followed to the end: those whose
    descent is lowest where it first slows down.
    """
    if n_finalists is not None:
        starts = finalists(function, starts, n_finalists)
    return local_minimum(function, lowest_descent(function, starts, _HANDED_OVER))


def finalists(function, starts, n_finalists):
    """Where the descents that are lowest first slow down."""
    ends = [descend(function, start, ftol=_SLOW) for start in starts]
    return sorted(ends, key=lambda x: function(x)[0])[:n_finalists]


def lowest_descent(function, starts, ftol):
    """The lowest of the points where steps of descents from `starts` gain less than `ftol`."""
    ends = [descend(function, start, ftol=ftol) for start in starts]
    return min(ends, key=lambda x: function(x)[0])


def descend(function, start, ftol=0.0, max_iter=None):
    """Descent by L-BFGS until the relative decrease of a step is at most `ftol`."""

    def flat(w):
        value, gradients = function(unpacked(w, start))
        return value, packed(gradients)

    options = {**_OPTIONS, "ftol": ftol, "maxiter": max_iter or _OPTIONS["maxiter"]}
    result = scipy.optimize.minimize(
        flat, packed(start), jac=True, method="L-BFGS-B", options=options
    )
    return unpacked(result.x, start)


def newton(gradient, w, rtol=1e-5, max_iter=10):
    """Newton steps towards a zero of `gradient`, while they at least halve it.

    The Hessian enters through central differences along directions, whose error of about
    1e-8 slows the quadratic convergence only at its end. It may be singular, as it is
    along rotations of a hidden space, so the steps come from MINRES, solved for to `rtol`.
    """
    from scipy.sparse.linalg import LinearOperator, minres

    current = gradient(w)
    for _ in range(max_iter):
        if np.linalg.norm(current) <= np.finfo(float).eps:
            break
        length = _DIFFERENCE * max(np.linalg.norm(w), _LEAST_SIZE) / np.sqrt(w.size)

        def product(v, w=w, length=length):
            h = length / max(np.linalg.norm(v), np.finfo(float).tiny)
            return (gradient(w + h * v.ravel()) - gradient(w - h * v.ravel())) / (2 * h)

        H = LinearOperator((w.size, w.size), matvec=product, dtype=float)
        new = w + minres(H, -current, rtol=rtol, maxiter=_MAX_PRODUCTS)[0]
        proposed = gradient(new)
        if not np.linalg.norm(proposed) < 0.5 * np.linalg.norm(current):
            break
        w, current = new, proposed
    return w
