"""Data as moments read them: checked, and in blocks of rows."""

from __future__ import annotations

import numpy as np

# A block of rows is copied to float64 and centred: what fits into the cache of a processor
# core is read once from memory. Merging a block must take less time than its products.
_BLOCK_BYTES = 2**22
_ROWS_PER_COLUMN = 40

# BLAS libraries work on larger blocks with threads, which then spin for tens of
# milliseconds: longer than it takes to train on a small data set.
_SMALL_DATA_BYTES = 2**19
_SMALL_BLOCK_BYTES = 2**16


def check_batch(X, y, sample_weight=None):
    """Data that can be sliced by rows, and weights."""
    if hasattr(y, "tocsr"):
        raise ValueError("y must be dense, got a sparse matrix: only X may be sparse.")
    X, y = _sliceable(X, "X"), _sliceable(y, "y")
    if len(X.shape) != 2 or X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(f"X must have shape (n_samples, d), not empty; got {X.shape}.")
    if len(y.shape) not in (1, 2) or y.shape[0] != X.shape[0] or 0 in y.shape:
        raise ValueError(
            f"y must have shape ({X.shape[0]},) or ({X.shape[0]}, m) to match X; got {y.shape}."
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X.shape[0])
    return X, y, sample_weight


def _sliceable(array, name):
    """Leave arrays that can be sliced by rows as they are; make lists into arrays."""
    if hasattr(array, "tocsr"):  # of sparse formats this one can be sliced
        return array.tocsr()
    if hasattr(array, "iloc"):  # slices of a data frame are columns
        array = array.to_numpy()
    if not (hasattr(array, "shape") and hasattr(array, "__getitem__")):
        array = np.asarray(array)
    if isinstance(array, np.ndarray) and array.dtype.kind not in "biufc":
        array = _as_real(array, name)
    if isinstance(array, np.ndarray) and np.iscomplexobj(array):
        raise ValueError(f"{name} must be real: complex data is not supported.")
    return array


def _as_real(array, name):
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}.") from None


def _check_sample_weight(sample_weight, n_samples):
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weight.shape}.")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    return weight


def block_rows(n_samples, n_columns):
    """Rows of a block: at least ten times as many as columns."""
    row_bytes = 8 * n_columns
    if n_samples * row_bytes <= _SMALL_DATA_BYTES:
        return max(_SMALL_BLOCK_BYTES // row_bytes, 10 * n_columns)
    return max(_BLOCK_BYTES // row_bytes, _ROWS_PER_COLUMN * n_columns)
