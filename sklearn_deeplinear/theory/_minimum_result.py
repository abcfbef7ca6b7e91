"""What is known about a minimum, and the weights that attain it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sklearn_deeplinear._parameters import check_width
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._noisy_factors import spread_copies


@dataclass(frozen=True, eq=False)
class StationaryPoint:
    """A stationary point of the scalar family.

    Attributes
    ----------
    scale : float
        t = gamma_l ||W_l||_F^2, the penalty of each layer; zero at the zero network.
    objective : float
        Objective J there.
    coef : ndarray of shape (m, d)
        End-to-end map.
    """

    scale: float
    objective: float
    coef: np.ndarray

    def __repr__(self):
        return one_line(self, "scale", "objective", "coef")


@dataclass(frozen=True, eq=False)
class GlobalMinimum:
    """The least value of J and the map that attains it; see :func:`global_minimum`.

    Attributes
    ----------
    coef : ndarray of shape (m, d)
        End-to-end map M.
    intercept : ndarray of shape (m,)
        Intercept that goes with it.
    objective : float
        J at the minimum, or at the best stationary point found.
    loss : float
        Mean squared error, averaged over the noise.
    penalty : float
        ``sum_l gamma_l ||W_l||_F^2``.
    kind : {"exact", "certified", "stationary", "unattained"}
        "exact": from a closed form up to the roots of one scalar function; "certified":
        from a convex problem whose duality gap closed; "stationary": the best stationary
        point found, with no proof that it is global; "unattained": an infimum that weights
        approach but do not reach, because only some layers have decay.
    lower_bound : float
        Proven lower bound on J; equals the objective up to rounding unless "stationary".
    is_zero : bool
        Whether M is zero.
    candidates : tuple of StationaryPoint
        All stationary points of the scalar family, zero included, sorted by objective;
        empty if S has rank two or more, and where the family does not apply.
    depth : int
        Number of weight matrices L.
    width : tuple of L - 1 ints, or None
        Hidden widths; None stands for wide enough.
    weight_decay : ndarray of shape (L,)
        Decays gamma_l.
    noise : ndarray of shape (L - 1,)
        Noise variances s_l.
    single_target : bool
        Whether predictions are vectors.
    """

    coef: np.ndarray
    intercept: np.ndarray
    objective: float
    loss: float
    penalty: float
    kind: str
    lower_bound: float
    is_zero: bool
    candidates: tuple
    depth: int
    width: tuple | None
    weight_decay: np.ndarray
    noise: np.ndarray
    single_target: bool
    _factors: list | None = field(default=None, repr=False)

    def __repr__(self):
        return one_line(self, "kind", "objective", "lower_bound", "depth", "coef")

    def predict(self, X) -> np.ndarray:
        """Predict the targets with the end-to-end map.

        Parameters
        ----------
        X : array-like of shape (n_samples, d)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, m)
            One-dimensional if the targets were.

        Raises
        ------
        ValueError
            If X does not have d columns.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.coef.shape[1]:
            raise ValueError(f"X must have shape (n_samples, {self.coef.shape[1]}), got {X.shape}.")
        y = X @ self.coef.T + self.intercept
        return y[:, 0] if self.single_target else y

    def weights(self, width=None) -> list[np.ndarray]:
        """Weights of a network that attains the minimum.

        Parameters
        ----------
        width : int or sequence of L - 1 ints, default=None
            Hidden widths; None takes those of the problem, or the rank of the map if it
            had none. With noise they must be those of the problem, for the minimum
            depends on them.

        Returns
        -------
        weights : list of L ndarray
            ``[W_1, ..., W_L]`` with W_l of shape (h_l, h_{l-1}).

        Raises
        ------
        ValueError
            If the infimum is not attained, or the widths are too narrow or, with noise,
            not those of the problem.
        """
        if self.kind == "unattained":
            raise ValueError(
                "no weights attain this infimum: weight_decay is zero in some layers only."
            )
        width = self.width if width is None else width
        if width is not None:
            width = check_width(width, self.depth)
        if self.noise.any() and width != self.width:
            raise ValueError(f"with noise width must be that of the problem, {self.width}.")
        if self.is_zero:
            sizes = (self.coef.shape[1], *(width or (1,) * (self.depth - 1)), len(self.coef))
            return [np.zeros(shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
        if self._factors is not None:
            return spread_copies(self._factors, width)
        if self.noise.any():
            return _equal_units(self.coef, width, self.weight_decay, self.penalty)
        return balanced_factors(self.coef, width, depth=self.depth, weight_decay=self.weight_decay)


def _equal_units(coef, width, gamma, penalty):
    """Weights of a map of rank one that load all units of a layer equally."""
    U, s, Vt = np.linalg.svd(coef, full_matrices=False)
    L = len(gamma)
    norms = np.sqrt(penalty / L / gamma) if gamma.any() else np.full(L, s[0] ** (1 / L))
    norms[0] = s[0] / np.prod(norms[1:])
    ends = [Vt[0], *(np.full(h, h**-0.5) for h in width), U[:, 0]]
    return [c * np.outer(b, a) for c, b, a in zip(norms, ends[1:], ends[:-1], strict=True)]
