"""What a deep linear classifier of sparse samples is asked to minimise, by products with them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from sklearn_deeplinear.dynamics.networks._linear_classifier import LinearClassifierDynamics
from sklearn_deeplinear.dynamics.networks._sparse_inputs import SparseInputs, SparseSampleGradient
from sklearn_deeplinear.estimators._advice import LONGER
from sklearn_deeplinear.estimators._initial_weights import initial_weights, sized_outputs
from sklearn_deeplinear.estimators._linear_classifier_problem import LinearClassifierProblem
from sklearn_deeplinear.estimators._units import check_inputs
from sklearn_deeplinear.nn._losses import LOSSES

# Sparse samples of so few numbers in all, 32 MB, are filled in: all that is exact is then known.
_FEW = 2**22
# Error of the largest eigenvalue of the inputs, which step sizes need not know better.
_TOL = 1e-3


def is_filled_in(X):
    """Whether sparse X is so small that it is made an array."""
    return X.shape[0] * X.shape[1] <= _FEW


class SparseClassifierProblem(LinearClassifierProblem):
    """The same with `X` sparse, not centred: of its mean only products are taken out.

    The minimum is not known: it takes a decomposition of the samples.
    """

    has_cheap_minimum = False

    @cached_property
    def _rows(self):
        return SparseInputs(self.X, self.mean_x)

    @cached_property
    def _top(self):
        """Largest eigenvalue of the second moments of the inputs."""
        rows, shares = self._rows, torch.from_numpy(self.shares)[:, None]
        n, d = rows.shape

        def product(v):
            return rows.back(shares * (rows @ torch.from_numpy(np.reshape(v, (d, 1))))).numpy()

        start = product(np.random.RandomState(0).standard_normal(d))
        if not start.any():
            return 0.0
        if d == 1:
            return float(product(np.ones(1))[0, 0])
        operator = LinearOperator((d, d), matvec=product, dtype=np.float64)
        return float(eigsh(operator, 1, tol=_TOL, v0=start[:, 0])[0][0])

    @property
    def moments(self):
        """Not known."""
        raise _needs_dense("moments")

    @property
    def global_minimum(self):
        """Not known."""
        raise _needs_dense('global_minimum_, optimality_gap_ and solver="analytic"')

    def minimum_beside(self, weights, objective=None):
        """Not known."""
        return self.global_minimum

    def step_flops(self, n_rows):
        """Floating-point operations of a step, roughly."""
        layers = sum(h * k for h, k in self.shapes)
        return self.Y.shape[1] * (4 * self._rows.X.nnz + 6 * layers)

    def advice(self, n_steps):
        """What to do about a run that is not done."""
        return LONGER

    def initial(self, options, generator):
        """Start as `init` and `init_scale` ask for it."""
        sizes = self._rows.norms()[:, None]
        check_inputs(sizes, torch.from_numpy(self.shares), len(self.shapes), options.dtype)
        how, shares = (options.init, options.init_scale), self.shares[:, None]
        Y = self.Y - shares.T @ self.Y if self.fit_intercept else self.Y
        cross = self._rows.back(torch.from_numpy(shares * Y)).numpy().T
        first_step = cross / (self._top or 1.0) / LOSSES[self.loss].curvature
        weights = initial_weights(*how, self.shapes, generator, first_step, noisy=False)
        return sized_outputs(
            *how, weights, self._size(weights), np.linalg.norm(np.sqrt(shares) * Y)
        )

    def _size(self, weights):
        """Root mean square of the outputs."""
        first, *others = weights
        outputs = self._rows @ first.mT
        for W in others:
            outputs = outputs @ W.mT
        return float(torch.linalg.norm(torch.from_numpy(self.shares).sqrt()[:, None] * outputs))

    def _step_size(self, start, options, batch_size=None):
        """Inverse of a bound on the curvature where outputs tell classes apart."""
        L, loss = len(start), LOSSES[self.loss]
        size, wanted = (
            self._size(start),
            loss.output_size(float(np.linalg.norm(self.shares @ self.Y))),
        )
        norms = [float(torch.linalg.matrix_norm(W, 2)) for W in start]
        growth = max(1.0, wanted / size) ** (1 / L) if size > 0 else 1.0
        grown = growth ** (2 * L - 2)
        slopes = sum(np.prod(norms[:i] + norms[i + 1 :]) ** 2 for i in range(L))
        curvature = grown * loss.curvature * self._top * slopes + 2 * max(self.weight_decay)
        return float(1 / curvature) if 0 < curvature < np.inf else 1.0

    def dynamics(self, start, options, compress=False):
        """The network in training."""
        Y, shares = (options.like.new_tensor(part) for part in (self.Y, self.shares))
        X = SparseInputs(self.X, self.mean_x, options.like)
        data_term = SparseSampleGradient(X, Y, shares, self.loss, self.fit_intercept)
        weights = [W.to(options.like) for W in start]
        return LinearClassifierDynamics(weights, data_term, self.weight_decay)


def _needs_dense(names):
    return ValueError(
        f"X must be dense for {names}, got a sparse matrix of more than {_FEW} numbers: the "
        "minimum takes a decomposition of the samples."
    )
