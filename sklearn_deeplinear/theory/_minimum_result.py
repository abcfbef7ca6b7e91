"""What is known about a minimum, and the weights that attain it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_width
from sklearn_deeplinear._results import html_table, one_line
from sklearn_deeplinear.theory._balance import balanced_factors
from sklearn_deeplinear.theory._noisy_factors import spread_copies

# Smaller sides of the maps whose rank is told: that of 100 x 1,000 takes 3 ms.
_SMALL = 100
# Singular values below this share of the largest, and gaps to a bound below that of the objective,
# are rounding.
_ROUNDING = 1e-8


def minimum_line(minimum):
    """One line on a minimum: its objective, what is proven, and the rank of its map."""
    names = ["objective", "kind"]
    proven = minimum.lower_bound >= minimum.objective * (1 - _ROUNDING)
    if minimum.kind == "stationary" or (minimum.kind == "unattained" and not proven):
        names.append("lower_bound")
    line = one_line(minimum, *names)
    return f"{line[:-1]}, {'='.join(_rank(minimum.coef))})"


def minimum_table(minimum):
    """The same for notebooks, with what the objective is made of."""
    names = ("objective", "loss", "penalty", "lower_bound", "kind")
    rows = [(name.replace("_", " "), getattr(minimum, name)) for name in names]
    rows.append(_rank(minimum.coef))
    return html_table(type(minimum).__name__, (), rows)


def _rank(coef):
    """What to say of a map, and its value: the rank, or the shape if that would take long."""
    if min(coef.shape) > _SMALL:
        return "shape", str(coef.shape)
    rank = np.linalg.matrix_rank(coef, rtol=_ROUNDING) if coef.any() else 0
    return "rank", str(rank)


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
class Minimum:
    """What is known of the least value of J, be it over one network or over pathways."""

    coef: np.ndarray
    intercept: np.ndarray
    objective: float
    loss: float
    penalty: float
    kind: str
    lower_bound: float
    is_zero: bool
    single_target: bool

    @classmethod
    def _at(cls, moments, coef, loss, penalty, kind, lower_bound, **others):
        """The minimum at the map `coef`; None stands for a lower bound that is attained."""
        objective = float(loss + penalty)
        return cls(
            coef=coef,
            intercept=moments.intercept(coef),
            objective=objective,
            loss=float(loss),
            penalty=float(penalty),
            kind=kind,
            lower_bound=objective if lower_bound is None else min(float(lower_bound), objective),
            is_zero=not coef.any(),
            single_target=moments.single_target,
            **others,
        )

    def predict(self, X) -> np.ndarray:
        """Predict the targets with the end-to-end map.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, d)
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
        y = outputs_of(self.coef, self.intercept, X)
        return y[:, 0] if self.single_target else y

    def _check_attained(self):
        if self.kind == "unattained":
            raise ValueError(
                "no weights attain this infimum: weight_decay is zero in some layers only."
            )


def outputs_of(coef, intercept, X):
    """Outputs (n_samples, m) of a map and its intercept; a ValueError if X does not suit."""
    X = X.tocsr() if hasattr(X, "tocsr") else as_array(X, "X")
    if X.ndim != 2 or X.shape[1] != coef.shape[1]:
        raise ValueError(f"X must have shape (n_samples, {coef.shape[1]}), got {X.shape}.")
    return X @ coef.T + intercept


def escapes(coef, gamma):
    """Whether weights of the map `coef` can grow in some layers and lose their penalty."""
    return bool(coef.any() and gamma.any() and not gamma.all())


def least_factors(coef, width, gamma):
    """Weights of the map `coef` with the least penalty, if the decays `gamma` have one."""
    decays = gamma if gamma.all() else None
    return balanced_factors(coef, width, depth=len(gamma), weight_decay=decays)


@dataclass(frozen=True, eq=False)
class GlobalMinimum(Minimum):
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
        by a lower bound within 1e-8 of the objective; "stationary": the best stationary
        point found, with no proof that it is global; "unattained": a value that weights
        approach but do not reach, because only some layers have decay: the infimum, unless
        `lower_bound` is below it.
    lower_bound : float
        Proven lower bound on J; equals the objective up to rounding if `kind` is "exact" or
        "certified".
    is_zero : bool
        Whether M is zero.
    single_target : bool
        Whether predictions are vectors.
    depth : int
        Number of weight matrices L.
    width : tuple of L - 1 ints, or None
        Hidden widths; None stands for wide enough.
    weight_decay : ndarray of shape (L,)
        Decays gamma_l.
    noise : ndarray of shape (L - 1,)
        Noise variances s_l.
    candidates : tuple of StationaryPoint
        All stationary points of the scalar family, zero included, sorted by objective;
        empty if S has rank two or more, and where the family does not apply.
    """

    depth: int
    width: tuple | None
    weight_decay: np.ndarray
    noise: np.ndarray
    candidates: tuple = ()
    _factors: list | None = None

    def __repr__(self):
        return minimum_line(self)

    def _repr_html_(self):
        return minimum_table(self)

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
        self._check_attained()
        width = self.width if width is None else check_width(width, self.depth)
        if not self.noise.any():
            return least_factors(self.coef, width, self.weight_decay)
        if width != self.width:
            raise ValueError(f"with noise width must be that of the problem, {self.width}.")
        # Of a map of rank one the copies of one unit load all units of a layer equally.
        narrow = self._factors or least_factors(self.coef, 1, self.weight_decay)
        return spread_copies(narrow, width)
