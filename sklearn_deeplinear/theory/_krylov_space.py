"""The Krylov space of sparse rows in which a network of many inputs has its minimum.

The minimum of one output is a ridge solution (A + tau I)^(-1) S^T whatever depth and noise are,
with a tau that is not below some number; the first gradient step is along S. Both lie, up to an
error that falls as that of conjugate gradients, in the span V_k of S^T, A S^T, ..., A^(k-1) S^T.
It takes products with X alone, centred without being filled in. In V_k nothing is lost: A V_k is
read off X V_k, so that the loss of a map in V_k is that on all data.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._decompositions import svd
from sklearn_deeplinear.theory._excluded import Excluded
from sklearn_deeplinear.theory._location import Location, weighed

# What may be gained outside of the space, relative to the objective; a minimum is "certified"
# with twice as much. Without decay the relative residual of least squares decides.
_GAIN, _RESIDUAL = 5e-9, 1e-7
# Columns of the basis at most: 240 MB with 50,000 inputs.
_MOST = 600
# Columns that memory is asked for at first, of which the unused are never touched.
_COLUMNS = 64
# Deep networks: columns between two looks at what is missed.
_CHECK = 3
# Sizes that orthogonalised columns must keep, relative to what they were.
_ROUNDING = 1e3 * np.finfo(float).eps


class CentredRows:
    """Rows of sparse X less their mean, times the roots of their shares, as an operator."""

    def __init__(self, X, weight, center):
        self.X = X.tocsr().astype(np.float64, copy=False)
        n, d = X.shape
        self.unit = power_of_two(np.abs(self.X.data).max(initial=0.0))
        self.share = weighed(weight, n)[0]
        self.root = np.sqrt(self.share)
        self.mean, self.constant = np.zeros(d), np.zeros(d, dtype=bool)
        if center:
            self.mean = self.X.T @ self.share
            self.constant = self._constant_columns()

    def _constant_columns(self):
        """Columns of equal values, not to be told from rounding errors of their mean."""
        X = self.X if self.share.all() else self.X[self.share > 0]
        full = np.flatnonzero(np.bincount(X.indices, minlength=X.shape[1]) == X.shape[0])
        constant = np.zeros(X.shape[1], dtype=bool)
        if len(full):
            columns = X[:, full].toarray()
            constant[full] = Location.of_rows(columns, None, True, columns.shape[1])[0].constant
        return constant

    def times(self, V):
        """Products (n, b) with V (d, b), in units of X."""
        return self.root[:, None] * ((self.X @ V - self.mean @ V) / self.unit)

    def back(self, U):
        """Products (d, b) of the transposed rows with U (n, b), in units of X."""
        U = self.root[:, None] * U / self.unit
        product = self.X.T @ U - np.outer(self.mean, U.sum(axis=0))
        product[self.constant] = 0.0
        return product


def krylov_space(rows, Y, ridge, deep=None):
    """Basis V (d, k), X V (n, k), and how A leaves its span; by blocks, all orthogonalised.

    It serves a least tau, or the depth and log g of a deep network of one output.
    """
    sizes = np.linalg.norm(Y, axis=0)
    image = rows.back(Y[:, sizes > 0] / sizes[sizes > 0])
    block, beyond = _orthonormal(image, np.linalg.norm(image))[0], np.zeros((0, 0))
    most = min(_MOST, *rows.X.shape)
    V, Z, H = _Columns(rows.X.shape[1]), _Columns(len(Y)), np.zeros((0, 0))
    while block.shape[1]:
        U = rows.times(block)
        V.append(block)
        Z.append(U)
        cross = Z.all.T @ U
        H = np.block([[H, cross[: len(H)]], [cross[: len(H)].T, cross[len(H) :]]])
        image = rows.back(U)
        size = np.linalg.norm(image)
        image -= V.all @ (V.all.T @ image)
        block, beyond = _orthonormal(image, size)
        # Once more: small columns are not yet orthogonal to V.
        block, rest = _qr(block - V.all @ (V.all.T @ block))
        beyond = rest @ beyond
        S, c = Z.all.T @ Y, np.sum(Y**2)
        if V.k + block.shape[1] > most or _is_done(H, S, beyond, ridge, c):
            break
        if deep and V.k % _CHECK == 0:
            excluded = Excluded(H, S, beyond, c)
            if excluded.missed(*deep) <= _GAIN * excluded.least(*deep):
                break
    return V.all, Z.all, beyond


class _Columns:
    """A matrix that grows by columns."""

    def __init__(self, n_rows):
        self.memory, self.k = np.empty((n_rows, _COLUMNS), order="F"), 0

    def append(self, columns):
        """Append columns (n_rows, b)."""
        k = self.k + columns.shape[1]
        if k > self.memory.shape[1]:
            larger = np.empty((len(self.memory), 2 * k), order="F")
            larger[:, : self.k] = self.all
            self.memory = larger
        self.memory[:, self.k : k], self.k = columns, k

    @property
    def all(self):
        """The columns so far, a view."""
        return self.memory[:, : self.k]


def _qr(columns):
    """QR decomposition, which of a single column is its norm."""
    if columns.shape[1] != 1:
        return np.linalg.qr(columns)
    norm = np.linalg.norm(columns)
    return columns / (norm or 1.0), np.array([[norm]])


def _orthonormal(columns, size):
    """Orthonormal basis (d, b) of columns, those left out that are rounding errors of `size`."""
    Q, R = _qr(columns)
    P, s, Wt = svd(R)
    kept = s > _ROUNDING * size
    return Q @ P[:, kept], s[kept, None] * Wt[kept]


def ridge_solution(H, S, ridge):
    """Ridge solution (k, m), and the objective there less that of zero."""
    top = np.trace(H) * len(H) * np.finfo(float).eps
    z = np.linalg.solve(H + max(ridge, top) * np.eye(len(H)), S)
    return z, -float(np.sum(S * z))


def _is_done(H, S, beyond, ridge, c):
    if not beyond.size:
        return True
    z, lower = ridge_solution(H, S, ridge)
    residual = np.sum((beyond @ z[-beyond.shape[1] :]) ** 2)
    if ridge > 0:
        return bool(residual <= _GAIN * ridge * (c + lower))
    return bool(residual <= _RESIDUAL**2 * np.sum(S**2))


def power_of_two(size):
    """The power of two next to a size; one for zero."""
    return float(np.ldexp(1.0, int(np.frexp(size)[1]))) if size > 0 else 1.0
