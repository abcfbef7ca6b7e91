"""Extreme eigenvalues of a symmetric operator, each as often as it occurs.

A Krylov space of a single vector holds one vector of each eigenspace, so that it cannot see
how often an eigenvalue occurs. One that grows from a block of k random vectors holds k of each
and sees multiplicities up to k. The space is expanded by the residuals H y - theta y of the
wanted Ritz pairs that have not converged, and cut down to the best Ritz vectors when it has
become large: block Lanczos with restarts, products kept instead of the recurrence.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._decompositions import eigh

# Random vectors beyond k, so that k of them have a fair share of each eigenspace.
_SPARE = 2
# Ritz vectors kept by a restart, and size of the space that is restarted, in blocks: with six
# the saddle at zero of a network of two layers takes three times the products. Spaces below
# the last number cost less than the products.
_KEPT, _LARGEST = 2, 8
_SMALLEST_SPACE = 60

ORDER = {
    "LA": lambda eigenvalues: np.argsort(-eigenvalues),
    "SA": np.argsort,
    "LM": lambda eigenvalues: np.argsort(-np.abs(eigenvalues)),
}


def block_lanczos(product, n, k, which, tol, max_products=None):
    """Extreme eigenvalues with their multiplicities.

    Parameters
    ----------
    product : callable
        v -> H v of vectors of shape (n,).
    n : int
        Number of rows of H.
    k : int
        Number of eigenvalues, at most n.
    which : {"LA", "SA", "LM"}
        The largest, the smallest, or those largest in magnitude.
    tol : float
        Largest residual ||H y - theta y|| of a unit vector y, in units of the norm of H: a
        bound on the error of theta.
    max_products : int, default=None
        Number of products after which to give up; None goes on.

    Returns
    -------
    eigenvalues : ndarray of shape (k,), or None
        The most extreme one first; None where `max_products` were not enough.
    """
    block = min(k + _SPARE, n)
    space = _Space(product, n, min(max(_LARGEST * block, _SMALLEST_SPACE), n))
    space.add(np.random.RandomState(0).standard_normal((n, block)))
    while True:
        theta, Z = eigh(space.projected)
        order = ORDER[which](theta)
        new = _open_residuals(space, theta, Z, order[:k], which, tol)
        if new.shape[1] == 0 or space.size == n:
            return theta[order[:k]]
        if max_products is not None and space.n_products > max_products:
            return None
        if space.size + new.shape[1] > space.capacity < n:
            kept = order[: _KEPT * block]
            space.restart(theta[kept], Z[:, kept])
        space.add(new)


def _open_residuals(space, theta, Z, wanted, which, tol):
    """Residuals of the pairs that have not converged, or may yet turn out to be wanted.

    Magnitudes may hide at first: an eigenvalue -2 shows as a Ritz value near 0 beside converged
    ones of 1. So the outermost of the other pairs have to be too far from the wanted ones for
    their residuals, too.
    """
    others = np.setdiff1d(np.arange(len(theta)), wanted)
    ends = others[[0, -1]] if which == "LM" and len(others) else others[:0]
    pairs = np.concatenate([wanted, ends])
    residuals = space.residuals(theta[pairs], Z[:, pairs])
    norms = np.linalg.norm(residuals, axis=0)
    may_be_wanted = np.abs(theta[pairs]) + norms >= np.abs(theta[wanted]).min()
    return residuals[:, may_be_wanted & (norms > tol * np.abs(theta).max())]


class _Space:
    """An orthonormal basis V, its products H V, and V^T H V."""

    def __init__(self, product, n, capacity):
        self.product, self.capacity, self.size = product, capacity, 0
        self.n_products = 0
        self._V, self._HV = (np.empty((n, capacity), order="F") for _ in range(2))
        self._T = np.empty((capacity, capacity))

    @property
    def projected(self):
        """V^T H V."""
        return self._T[: self.size, : self.size]

    def residuals(self, theta, Z):
        """H y - theta y of the vectors y = V Z."""
        V, HV = self._V[:, : self.size], self._HV[:, : self.size]
        return HV @ Z - V @ (Z * theta)

    def restart(self, theta, Z):
        """Keep the Ritz vectors V Z alone."""
        size = Z.shape[1]
        for columns in (self._V, self._HV):
            columns[:, :size] = columns[:, : self.size] @ Z
        self._T[:size, :size] = np.diag(theta)
        self.size = size

    def add(self, vectors):
        """Extend the basis by what the vectors add, or as many as there is room for."""
        old, V = slice(self.size), self._V[:, : self.size]
        vectors = vectors[:, : len(V) - self.size]
        for _ in range(2):  # once more against rounding
            vectors = vectors / np.linalg.norm(vectors, axis=0)
            vectors = np.linalg.qr(vectors - V @ (V.T @ vectors)).Q
        new = slice(self.size, self.size + vectors.shape[1])
        self._V[:, new] = vectors
        for column in range(new.start, new.stop):
            self._HV[:, column] = self.product(self._V[:, column])
        cross = V.T @ self._HV[:, new]
        self._T[old, new], self._T[new, old] = cross, cross.T
        inner = vectors.T @ self._HV[:, new]
        self._T[new, new] = (inner + inner.T) / 2
        self.size = new.stop
        self.n_products += vectors.shape[1]
