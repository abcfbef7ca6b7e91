"""Immutable results: frozen dataclasses of numpy arrays, no computation on data."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What was recorded while a network was trained.

    Attributes
    ----------
    iteration : ndarray of shape (n_records,), int
        Number of steps made before each record; the first record is the initial
        network, the last one the network that was kept.
    time : ndarray of shape (n_records,)
        Sum of the step sizes up to each record, the time of the gradient flow that
        the steps follow.
    loss : ndarray of shape (n_records,)
        Mean squared error (or mean cross-entropy), without the penalty.
    objective : ndarray of shape (n_records,)
        ``loss + sum_l weight_decay_l ||W_l||_F^2``, what training minimises.
    gradient_norm : ndarray of shape (n_records,)
        Euclidean norm of the gradient of the objective over all parameters.
    weights : list of lists of ndarray, or None
        ``weights[r]`` is the list ``[W_1, ..., W_L]`` of record ``r``; None unless
        they were asked for.
    mode_strengths : ndarray of shape (n_records, n_pathways, n_modes), or None
        Strength of each singular mode in each pathway (several pathways only).
    sharpness : ndarray of shape (n_records,), or None
        Largest eigenvalue of the Hessian of the objective; None unless asked for.
    """

    iteration: np.ndarray
    time: np.ndarray
    loss: np.ndarray
    objective: np.ndarray
    gradient_norm: np.ndarray
    weights: list | None = None
    mode_strengths: np.ndarray | None = None
    sharpness: np.ndarray | None = None

    def __len__(self):
        return len(self.iteration)

    def to_frame(self):
        """Return the recorded curves as a pandas DataFrame, one row per record.

        Returns
        -------
        frame : pandas.DataFrame
            Columns are the one-dimensional attributes that were recorded.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        curves = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        return pd.DataFrame({name: v for name, v in curves.items() if np.ndim(v) == 1})


@dataclass(frozen=True, eq=False)
class BalanceHistory:
    """Differences between adjacent layers that gradient flow conserves.

    Column ``l - 1`` compares layer ``l`` with layer ``l + 1``, for l = 1, ..., L - 1.

    Attributes
    ----------
    iteration : ndarray of shape (n_records,), int
        Number of steps made before each record.
    time : ndarray of shape (n_records,)
        Sum of the step sizes up to each record.
    layer : ndarray of shape (n_records, L - 1)
        ``||W_l||_F^2 - ||W_{l+1}||_F^2``, signed.
    neuron : ndarray of shape (n_records, L - 1)
        Largest ``| ||W_l[i, :]||^2 - ||W_{l+1}[:, i]||^2 |`` over the hidden units i.
    matrix : ndarray of shape (n_records, L - 1), or None
        ``||D_l||_F`` with ``D_l = W_l W_l^T - W_{l+1}^T W_{l+1}``; None when an
        activation is not linear, for then only the diagonal is conserved.
    change : ndarray of shape (n_records, L - 1)
        Distance of the conserved quantity from its value at the first record:
        ``||D_l - D_l(0)||_F`` for linear networks, the largest change over the
        hidden units otherwise.

    References
    ----------
    .. [1] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced."
       NeurIPS 31, Theorems 2.1 and 2.2.
    """

    iteration: np.ndarray
    time: np.ndarray
    layer: np.ndarray
    neuron: np.ndarray
    matrix: np.ndarray | None
    change: np.ndarray

    def __len__(self):
        return len(self.iteration)

    @property
    def drift(self):
        """Largest ``change`` over the records, one value per pair of adjacent layers."""
        return self.change.max(axis=0)
