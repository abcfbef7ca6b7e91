"""What is known about the minimum of a deep generalised linear model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._parameters import check_width
from sklearn_deeplinear.theory._minimum_result import (
    least_factors,
    minimum_line,
    minimum_table,
    outputs_of,
)

# A relative gap to the lower bound below this certifies a minimum.
CERTIFIED_GAP = 1e-8


@dataclass(frozen=True, eq=False)
class GeneralisedMinimum:
    """The least value of J and the map that attains it; see :func:`generalised_minimum`.

    Attributes
    ----------
    coef : ndarray of shape (1, d), or (n_classes, d) of several classes
        End-to-end map M; if the infimum is not attained, one whose loss is close to it.
    intercept : ndarray of shape (1,) or (n_classes,)
        Intercept that goes with it.
    objective : float
        J at the minimum, or its infimum.
    loss : float
        Weighted mean of the losses.
    penalty : float
        ``sum_l gamma_l ||W_l||_F^2``.
    kind : {"exact", "certified", "stationary", "unattained"}
        "exact": depth 1 or no decay, a convex problem solved to rounding; "certified": by a
        lower bound within 1e-8 of the objective; "stationary": the best stationary point
        found, with a bound that is farther away; "unattained": an infimum that weights
        approach but do not reach.
    lower_bound : float
        Proven lower bound on J up to rounding.
    is_zero : bool
        Whether M is zero.
    depth : int
        Number of weight matrices L.
    width : tuple of L - 1 ints, or None
        Hidden widths; None stands for wide enough.
    weight_decay : ndarray of shape (L,)
        Decays gamma_l.
    """

    coef: np.ndarray
    intercept: np.ndarray
    objective: float
    loss: float
    penalty: float
    kind: str
    lower_bound: float
    is_zero: bool
    depth: int
    width: tuple | None
    weight_decay: np.ndarray

    def __repr__(self):
        return minimum_line(self)

    def _repr_html_(self):
        return minimum_table(self)

    def decision_function(self, X) -> np.ndarray:
        """Output f(x) = M x + b of the network.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, d)
            Inputs.

        Returns
        -------
        f : ndarray of shape (n_samples,), or (n_samples, n_classes) of several classes

        Raises
        ------
        ValueError
            If X does not have d columns.
        """
        f = outputs_of(self.coef, self.intercept, X)
        return f[:, 0] if len(self.coef) == 1 else f

    def weights(self, width=None) -> list[np.ndarray]:
        """Weights of a network that attains the minimum.

        Parameters
        ----------
        width : int or sequence of L - 1 ints, default=None
            Hidden widths; None takes those of the problem, or the rank of the map
            if it had none.

        Returns
        -------
        weights : list of L ndarray
            ``[W_1, ..., W_L]`` with W_l of shape (h_l, h_{l-1}).

        Raises
        ------
        ValueError
            If the infimum is not attained.
        """
        if self.kind == "unattained":
            raise ValueError(
                "no weights attain this infimum: it is approached as weights grow without bound."
            )
        width = self.width if width is None else check_width(width, self.depth)
        return least_factors(self.coef, width, self.weight_decay)
