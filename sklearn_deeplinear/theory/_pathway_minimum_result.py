"""What is known of the minimum of several parallel pathways, and weights that attain it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear.theory._minimum_result import (
    Minimum,
    least_factors,
    minimum_line,
    minimum_table,
)
from sklearn_deeplinear.theory._pathway_parameters import check_pathway_widths


@dataclass(frozen=True, eq=False)
class PathwayMinimum(Minimum):
    """The least value of J over several pathways; see :func:`pathway_global_minimum`.

    Attributes
    ----------
    coef : ndarray of shape (m, d)
        End-to-end map M, the sum of `pathway_coefs`.
    intercept : ndarray of shape (m,)
        Intercept that goes with `coef`.
    objective : float
        J at the minimum, or at the best stationary point found.
    loss : float
        Mean squared error.
    penalty : float
        ``sum_p sum_l gamma_pl ||W_pl||_F^2``.
    kind : {"exact", "certified", "stationary", "unattained"}
        As in :class:`GlobalMinimum`.
    lower_bound : float
        Proven lower bound on J; equals the objective up to rounding if `kind` is "exact" or
        "certified".
    is_zero : bool
        Whether M is zero.
    single_target : bool
        Whether predictions are vectors.
    pathway_coefs : list of ndarray of shape (m, d)
        Maps M_p of the pathways at one of the minima.
    depths : tuple of int
        Numbers of weight matrices L_p.
    widths : list of tuples of ints, or None
        Hidden widths; None stands for wide enough.
    weight_decay : list of ndarray of shape (L_p,)
        Decays.
    """

    pathway_coefs: list
    depths: tuple
    widths: list | None
    weight_decay: list

    def __repr__(self):
        return minimum_line(self)

    def _repr_html_(self):
        return minimum_table(self)

    def weights(self, widths=None) -> list[list[np.ndarray]]:
        """Weights of pathways that attain the minimum.

        Parameters
        ----------
        widths : int, sequence of ints or list of them, default=None
            Hidden widths; None takes those of the problem, or the ranks of the maps.

        Returns
        -------
        weights : list of lists of ndarray
            ``weights[p]`` is [W_1, ..., W_L] of pathway p.

        Raises
        ------
        ValueError
            If the infimum is not attained, or the widths are too narrow.
        """
        self._check_attained()
        given = self.widths if widths is None else check_pathway_widths(widths, self.depths)
        given = given or [None] * len(self.depths)
        pathways = zip(self.pathway_coefs, given, self.weight_decay, strict=True)
        return [least_factors(M, width, gamma) for M, width, gamma in pathways]
