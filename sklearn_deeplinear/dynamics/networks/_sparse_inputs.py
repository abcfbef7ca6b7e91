"""Sparse samples that are centred without being filled in, for products with dense matrices."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient


class SparseInputs:
    """Rows of a sparse matrix less their mean.

    Parameters
    ----------
    X : sparse array or matrix of shape (n, d)
        Inputs.
    mean : ndarray of shape (d,)
        What is taken out of every row.
    like : tensor, optional
        Of the device and the precision of products, which scipy makes on the CPU; None is float64
        there.
    """

    ndim = 2

    def __init__(self, X, mean, like=None):
        like = torch.empty(0, dtype=torch.float64) if like is None else like
        dtype = torch.empty(0, dtype=like.dtype).numpy().dtype
        self.X, self.mean, self.like = X.tocsr().astype(dtype), mean.astype(dtype), like
        self.shape = X.shape

    def to(self, like):
        """The same for products like another tensor."""
        return SparseInputs(self.X, self.mean, like)

    def __matmul__(self, W):
        """Product (n, m) with a tensor W (d, m)."""
        W = np.ascontiguousarray(W.numpy(force=True))
        return self._tensor(self.X @ W - self.mean @ W)

    def back(self, U):
        """Product (d, m) of the transposed rows with a tensor U (n, m)."""
        U = np.ascontiguousarray(U.numpy(force=True))
        return self._tensor(self.X.T @ U - np.outer(self.mean, U.sum(axis=0)))

    def norms(self):
        """Norms of the rows, a tensor of shape (n,)."""
        unit = float(abs(self.X).max()) or 1.0  # the squares of which may be no numbers
        X, mean = self.X / unit, self.mean / unit
        squares = np.ravel(X.multiply(X).sum(axis=1) + np.sum(mean**2)) - 2 * (X @ mean)
        return self._tensor(unit * np.sqrt(np.maximum(squares, 0.0)))

    def _tensor(self, array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.like)


class SparseSampleGradient(SampleGradient):
    """Mean loss of a single network on :class:`SparseInputs`."""

    X: SparseInputs

    def part(self, index, batch):
        """Not a batch of networks."""
        raise NotImplementedError

    def _map_gradient(self, outputs):
        slope = self.sample_loss.slope(outputs, self.Y, out=outputs).mul_(self.shares / 2)
        gradient = self.X.back(slope)
        return gradient if self.transposed else gradient.mT

    def slope_size(self):
        """Mean norm of the inputs."""
        return self.shares.squeeze(-1) @ self.X.norms()

    def hessian_eigenvalues(self, weights, weight_decay, k, which):
        """Not known: they need the samples in an array."""
        raise ValueError('X must be dense for "sharpness" and eigenvalues of the Hessian.')
