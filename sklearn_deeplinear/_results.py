"""Immutable results: frozen dataclasses of numpy arrays, no computation on data.

All results of the package print as one line, most of them written by :func:`one_line`; those
that people look at most also as a small table in notebooks, by :func:`html_table`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from html import escape

import numpy as np

# Pairs of layers whose drift a line shows, as that of a deep network has no room for all.
_PAIRS = 5


def one_line(result, *names):
    """One-line representation of a result: numbers as they are, arrays by their shape.

    Parameters
    ----------
    result : object
        What is to be shown.
    *names : str
        Attributes, in this order; those that are None are left out. Of a one-dimensional
        array the first and the last entry are shown, of a dictionary the keys.

    Returns
    -------
    text : str
        As in ``StationaryPoint(scale=0.25, objective=0.581, coef: (1, 10))``.
    """
    values = {name: getattr(result, name) for name in names}
    shown = (_shown(name, value) for name, value in values.items() if value is not None)
    return f"{type(result).__name__}({', '.join(shown)})"


def _shown(name, value):
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size:
        return f"{name}: {' ... '.join(dict.fromkeys(map(_number, value[[0, -1]])))}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{name}: {value.shape}"
    if isinstance(value, dict):
        return f"{name}: {list(value)}"
    if isinstance(value, list):
        return f"{name}: list of {len(value)}"
    return f"{name}={_number(value)}"


def _number(value):
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def html_table(name, header, rows):
    """Table of texts and numbers for notebooks.

    Parameters
    ----------
    name : str
        Caption.
    header : tuple of str
        Names of the columns; empty for none.
    rows : iterable of tuples
        What is in them: the name of the row, then its values.

    Returns
    -------
    html : str
        A table; all that is in it is escaped.
    """
    lines = [f"<caption>{escape(name)}</caption>"]
    if header:
        lines.append(_html_row("th", header))
    for row, *values in rows:
        cells = (v if isinstance(v, str) else _number(v) for v in values)
        lines.append(_html_row("td", (row, *cells)))
    return f"<table>{''.join(lines)}</table>"


def _html_row(tag, cells):
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _records(n):
    return f"{n} record{'' if n == 1 else 's'}"


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
    biases : list of lists of ndarray, or None
        ``biases[r]`` is the list ``[b_1, ..., b_L]`` of record ``r``, beside `weights`, of
        networks that have biases.
    validation_loss : ndarray of shape (n_records,), or None
        Loss of the predictions on validation data, without the penalty; None where there
        were no such data.
    others : dict of ndarray of shape (n_records, ...)
        Further quantities that were asked for; each is an attribute by its name, too.
    """

    iteration: np.ndarray
    time: np.ndarray
    loss: np.ndarray
    objective: np.ndarray
    gradient_norm: np.ndarray
    weights: list | None = None
    mode_strengths: np.ndarray | None = None
    sharpness: np.ndarray | None = None
    biases: list | None = None
    validation_loss: np.ndarray | None = None
    others: dict = field(default_factory=dict)

    def __getattr__(self, name):
        # Only for names that are no fields; while unpickling there are none at all.
        try:
            return self.__dict__["others"][name]
        except KeyError:
            raise AttributeError(f"Trajectory has no attribute {name!r}") from None

    def __repr__(self):
        curves = [self._from_to(name) for name in ("objective", "validation_loss", *self.others)]
        return f"Trajectory({', '.join([_records(len(self)), *filter(None, curves)])})"

    def _from_to(self, name):
        """First and last value of a curve, in words; None if it was not recorded."""
        values = getattr(self, name)
        if values is None or not len(values):
            return None
        if values.ndim > 1:
            return f"{name} {values.shape}"
        ends = dict.fromkeys(f"{value:.4g}" for value in values[[0, -1]])
        return f"{name.replace('_', ' ')} {' -> '.join(ends)}"

    def _repr_html_(self):
        rows = (
            (name.replace("_", " "), *values[[0, -1]], values.min())
            for name, values in self.curves().items()
            if len(values)
        )
        header = ("", "first", "last", "least")
        return html_table(f"Trajectory, {_records(len(self))}", header, rows)

    def __len__(self) -> int:
        return len(self.iteration)

    def curves(self) -> dict[str, np.ndarray]:
        """Return what was recorded as one number per record, by name."""
        recorded = {f.name: getattr(self, f.name) for f in fields(self)} | self.others
        return {k: v for k, v in recorded.items() if isinstance(v, np.ndarray) and v.ndim == 1}

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

        return pd.DataFrame(self.curves())


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

    def __repr__(self):
        pairs = [f"{value:.4g}" for value in self.drift] if len(self) else []
        drift = f", drift of adjacent layers {', '.join(pairs[:_PAIRS])}" if pairs else ""
        more = ", ..." if len(pairs) > _PAIRS else ""
        return f"BalanceHistory({_records(len(self))}{drift}{more})"

    def __len__(self) -> int:
        return len(self.iteration)

    @property
    def drift(self) -> np.ndarray:
        """Largest ``change`` over the records, one value per pair of adjacent layers."""
        return self.change.max(axis=0)
