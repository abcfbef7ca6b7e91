"""Data as moments read them: checked, and in blocks of rows."""

from __future__ import annotations

import mmap

import numpy as np

from sklearn_deeplinear._parameters import as_array

# A block of rows is copied to float64 and centred: what fits into the cache of a processor
# core is read once from memory. Merging a block must take less time than its products.
_BLOCK_BYTES = 2**22
_ROWS_PER_COLUMN = 40

# BLAS libraries work on larger blocks with threads, which then spin for tens of
# milliseconds: longer than it takes to train on a small data set.
_SMALL_DATA_BYTES = 2**19
_SMALL_BLOCK_BYTES = 2**16

# Bytes of a memory map that are read before what has been read is let go.
_MAPPED_BYTES = 2**25


def check_batch(X, y, sample_weight=None):
    """Data that can be sliced by rows, and weights."""
    if hasattr(y, "tocsr"):
        raise ValueError("y must be dense, got a sparse matrix: only X may be sparse.")
    X, y = sliceable(X, "X"), sliceable(y, "y")
    if len(X.shape) != 2 or X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(f"X must have shape (n_samples, d), not empty; got {X.shape}.")
    if len(y.shape) not in (1, 2) or y.shape[0] != X.shape[0] or 0 in y.shape:
        raise ValueError(
            f"y must have shape ({X.shape[0]},) or ({X.shape[0]}, m) to match X; got {y.shape}."
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X.shape[0])
    return X, y, sample_weight


def sliceable(array, name):
    """What can be sliced by rows, each slice real numbers; lists are made into arrays."""
    if hasattr(array, "tocsr"):  # of sparse formats this one can be sliced
        return array.tocsr()
    if is_frame(array):
        return _FrameRows(array, name)
    if hasattr(array, "iloc"):  # a series, whose slices are by label
        array = array.to_numpy()
    if not (hasattr(array, "shape") and hasattr(array, "__getitem__")):
        array = np.asarray(array)
    return let_go(_real(array, name) if isinstance(array, np.ndarray) else array)


def is_frame(data):
    """Whether `data` are a data frame of pandas or polars, or a table of pyarrow."""
    rows = hasattr(data, "iloc") or (hasattr(data, "slice") and hasattr(data, "columns"))
    return rows and len(data.shape) == 2


class _FrameRows:
    """Slices of a data frame by rows, as arrays."""

    def __init__(self, frame, name):
        self.frame, self.shape, self.name = frame, frame.shape, name

    def __getitem__(self, rows):
        if hasattr(self.frame, "iloc"):
            return _real(self.frame.iloc[rows].to_numpy(), self.name)
        start, stop, _ = rows.indices(self.shape[0])
        return _real(np.asarray(self.frame.slice(start, stop - start)), self.name)


def _real(array, name):
    if array.dtype.kind not in "biufc":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}.") from None
    if np.iscomplexobj(array):
        raise ValueError(f"{name} must be real: complex data is not supported.")
    return array


def let_go(array):
    """Memory maps, so that what has been read of them does not stay in memory; others as given."""
    own = getattr(array, "_mmap", None)
    # A private map of which pages are let go forgets what was written to them.
    if own is None or array.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return array
    return _Mapped(array, own)


class _Mapped:
    """Slices of a memory map, whose pages the process is rid of soon after.

    They stay in the page cache of the system as long as that has room, and in the memory of the
    process they would count until the end of the pass.
    """

    def __init__(self, array, own):
        self.array, self.shape, self.own, self.read = array, array.shape, own, 0

    def __getitem__(self, rows):
        if self.read > _MAPPED_BYTES:
            self.own.madvise(mmap.MADV_DONTNEED)
            self.read = 0
        part = self.array[rows]
        self.read += part.nbytes
        return part


def _check_sample_weight(sample_weight, n_samples):
    weight = as_array(sample_weight, "sample_weight")
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
