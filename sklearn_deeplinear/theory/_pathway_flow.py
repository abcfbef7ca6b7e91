"""Gradient flow of one singular mode that several pathways learn together.

In pathway p one layer has weight u_p and the L_p - 1 others (u_p^2 + lambda)^(1/2): their
squares differ by lambda, which the flow conserves. With inputs A = I the mode obeys

    K_p = u_p (u_p^2 + lambda)^((L_p - 1) / 2),
    du_p/dt = 2 (u_p^2 + lambda)^((L_p - 1) / 2) (s - sum_q K_q).

The bracket is common to all pathways, so the flow conserves the differences of
H_p = int^u_p (x^2 + lambda)^(-(L_p - 1) / 2) dx. For lambda = 0 the layers are balanced and
a_p = K_p has da_p/dt = 2 L_p a_p^(2 - 2/L_p) (s - sum_q a_q); lambda = 1 is the reduced
equation of Shi, Shea-Brown and Buice, at twice their speed.
"""

from __future__ import annotations

import numpy as np
import scipy

from sklearn_deeplinear._parameters import as_array, check_real
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._lazy_solution import check_time
from sklearn_deeplinear.theory._pathway_parameters import check_depths
from sklearn_deeplinear.theory._race_equation import Race


def pathway_flow(s, a_0, *, depths, imbalance=0.0) -> PathwayFlow:
    """Race of several linear pathways for singular modes, as a function of time.

    Parameters
    ----------
    s : float or array-like of shape (...)
        Singular values of the cross moment S, for inputs with A = I.
    a_0 : array-like of shape (n_pathways, ...)
        Strength of each mode in each pathway at time 0.
    depths : sequence of n_pathways ints
        Numbers of weight matrices L_p.
    imbalance : float, default=0.0
        lambda, what the squares of the other weights of a pathway exceed that of its
        weakest one by. 0 stands for balanced pathways. With lambda > 0 a pathway that
        starts at zero learns too.

    Returns
    -------
    flow : PathwayFlow
        ``flow(t)`` is the strength at time t, of shape ``(*t.shape, n_pathways, ...)``.
        ``flow(np.inf)`` is where the race ends.

    Raises
    ------
    ValueError
        If shapes do not match, an argument is not finite, or a time is negative.

    Notes
    -----
    Balanced pathways of equal depth conserve ``a_p / a_q`` for L = 2, so that a mode stays
    shared, and ``a_p^(2/L-1) - a_q^(2/L-1)`` for L > 2, so that a head start grows into
    nearly everything: the winner is the pathway that starts strongest.

    References
    ----------
    .. [1] Shi, J., Shea-Brown, E., Buice, M. A. (2022). "Learning dynamics of deep linear
       networks with multiple pathways." NeurIPS 35.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import pathway_flow
    >>> for depth in (2, 3, 5):
    ...     flow = pathway_flow(10.0, [0.02, 0.01], depths=[depth, depth])
    ...     print(depth, flow(float("inf")).round(3), flow.winner)
    2 [6.667 3.333] 0
    3 [9.656 0.344] 0
    5 [9.944 0.056] 0
    """
    return PathwayFlow(s, a_0, depths, check_real(imbalance, "imbalance"))


class PathwayFlow:
    """Strengths of modes in pathways as a function of time; see :func:`pathway_flow`.

    Attributes
    ----------
    s : ndarray of shape (...)
        Singular values.
    a_0 : ndarray of shape (n_pathways, ...)
        Strengths at time 0.
    depths : tuple of int
        Numbers of weight matrices.
    imbalance : float
        lambda.
    """

    def __init__(self, s, a_0, depths, imbalance):
        self.s, self.a_0 = as_array(s, "s"), as_array(a_0, "a_0").copy()
        self.depths, self.imbalance = check_depths(depths, None, "depths"), imbalance
        shape = (len(self.depths), *self.s.shape)
        if self.a_0.shape != shape:
            raise ValueError(
                f"a_0 must have shape (n_pathways, ...) = {shape} to match depths and s, "
                f"got {self.a_0.shape}."
            )
        if not (np.isfinite(self.s).all() and np.isfinite(self.a_0).all()):
            raise ValueError("s and a_0 must be finite.")
        modes = zip(self.s.ravel(), self.a_0.reshape(len(self.depths), -1).T, strict=True)
        self._races = [Race(s_k, a, self.depths, imbalance) for s_k, a in modes]

    def __repr__(self):
        return one_line(self, "depths", "s", "a_0", "imbalance")

    def __call__(self, t) -> np.ndarray:
        """Strengths at time `t` >= 0 (an array, or infinity)."""
        return self._states(t)[1]

    def weights(self, t) -> np.ndarray:
        """Weights u_p at time `t`, of the shape of the strengths."""
        return self._states(t)[0]

    def _states(self, t):
        """Weights and strengths at time `t`."""
        t = check_time(t)
        states = np.array([race(t.ravel()) for race in self._races])
        states = states.reshape(len(self._races), t.size, 2, len(self.depths))
        return states.transpose(2, 1, 3, 0).reshape(2, *t.shape, *self.a_0.shape)

    def invariants(self, t) -> np.ndarray:
        """Conserved H_p - H_1 of pathways p = 2, 3, ... at time `t`, relative to time 0.

        Returns
        -------
        change : ndarray of shape (*t.shape, n_pathways - 1, ...)
            Zero up to the error of integration, divided by the larger of the two H.
        """
        t = check_time(t)
        u, lam = np.moveaxis(self.weights(np.append(0.0, t)), 1, 0), self.imbalance
        H = np.array([_potential(x, L, lam) for x, L in zip(u, self.depths, strict=True)])
        gaps, sizes = H[1:] - H[0], np.maximum(np.abs(H[1:, 0]), np.abs(H[0, 0]))
        with np.errstate(invalid="ignore"):
            change = np.nan_to_num((gaps[:, 1:] - gaps[:, :1]) / sizes[:, None])
        change = np.moveaxis(change, 0, 1)
        return change.reshape(t.shape + change.shape[1:])

    @property
    def winner(self) -> int | np.ndarray:
        """Index of the pathway that ends strongest in each mode, int or array."""
        winner = np.abs(self(np.inf)).argmax(axis=0)
        return int(winner) if winner.ndim == 0 else winner

    @property
    def share(self) -> np.ndarray:
        """Share of the winner in the sum of all strengths at the end; 0 if all are 0."""
        end = np.abs(self(np.inf))
        total = end.sum(axis=0)
        return end.max(axis=0) / np.where(total > 0, total, 1.0)


def _potential(u, depth, lam):
    if lam > 0:
        x = u / np.sqrt(lam)
        return lam ** (1 - depth / 2) * x * scipy.special.hyp2f1(0.5, (depth - 1) / 2, 1.5, -(x**2))
    with np.errstate(divide="ignore"):
        size = np.log(np.abs(u)) if depth == 2 else np.abs(u) ** (2.0 - depth) / (2 - depth)
    return np.sign(u) * size
