"""Models that did not see some of the samples, and what they tell about new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sklearn_deeplinear._results import one_line

# Predictions of all models are made for so many numbers at a time: 32 MB.
_BLOCK_SIZE = 2**22


@dataclass(frozen=True, eq=False)
class HeldOutModels:
    """Linear models, one for each set of samples that it was not fitted to.

    Attributes
    ----------
    coefs : ndarray of shape (p, m, d)
        Maps.
    intercepts : ndarray of shape (p, m)
        Intercepts.
    model_of : ndarray of shape (n,)
        Index of the model that did not see each sample.
    residuals : ndarray of shape (n, m)
        What that model misses the sample by.
    counts : ndarray of shape (n,), bool
        Whether the sample has weight; without it does not count for intervals.
    """

    coefs: np.ndarray
    intercepts: np.ndarray
    model_of: np.ndarray
    residuals: np.ndarray
    counts: np.ndarray

    def __repr__(self):
        return one_line(self, "coefs", "residuals")

    @classmethod
    def of(cls, coefs, intercepts, model_of, data):
        """The models, tested on the `data`."""
        residuals = data.outputs - intercepts[model_of]
        for p, coef in enumerate(coefs):
            rows = np.flatnonzero(model_of == p)
            residuals[rows] -= data.X[rows] @ coef.T
        return cls(coefs, intercepts, model_of, residuals, data.weighted)

    @classmethod
    def side_by_side(cls, parts):
        """The models of several outputs, one of each of the `parts`; None if they are."""
        first = parts[0]
        if len(parts) == 1 or first is None:
            return first
        names = "coefs", "intercepts", "residuals"
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names
        }
        return replace(first, **joined)

    def interval(self, X, alpha):
        """Jackknife+ (CV+) bounds for the targets of X (q, d), both of shape (q, m).

        For each row the prediction of each sample's model less, or plus, the size of the
        sample's residual: of these n numbers the floor(alpha (n + 1))-th smallest, and the
        ceil((1 - alpha) (n + 1))-th.
        """
        model_of, n = self.model_of[self.counts], np.count_nonzero(self.counts)
        # What rounding makes of alpha (n + 1) must not move it past an integer.
        lower, upper = (
            int(np.floor(alpha * (n + 1) * (1 + 1e-12))),
            int(np.ceil((1 - alpha) * (n + 1) * (1 - 1e-12))),
        )
        m = self.coefs.shape[1]
        bounds = np.empty((2, len(X), m))
        step = max(1, _BLOCK_SIZE // n)
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            for j in range(m):
                centre = X[rows] @ self.coefs[:, j].T + self.intercepts[:, j]
                centre = centre[:, model_of]
                reach = np.abs(self.residuals[self.counts, j])
                bounds[0, rows, j] = _smallest(centre - reach, lower)
                bounds[1, rows, j] = _smallest(centre + reach, upper)
        return bounds[0], bounds[1]


def _smallest(values, k):
    """The k-th smallest of each row; infinite where there are not so many."""
    if not 1 <= k <= values.shape[1]:
        return np.full(len(values), -np.inf if k < 1 else np.inf)
    return np.partition(values, k - 1, axis=1)[:, k - 1]
