"""Sums over the chunks of dask arrays and data frames, made where the chunks lie.

A chunk is read by one task, which leaves what is summed of it; tasks add these up in a tree, and
the root of the tree is all that is brought to the client. Whether dask runs them in threads, in
processes or on a cluster is what the user has told dask; tasks of a worker that dies are run anew
on another, from the chunks on, which dask knows how to load.
"""

from __future__ import annotations

import numpy as np

# Sums that one task adds up: so many are held at a time, and few tasks do little else.
_FAN_IN = 8


def is_dask(data):
    """Whether `data` are a dask array, data frame or series; dask is not loaded to know."""
    kind = type(data)
    return hasattr(kind, "__dask_graph__") and hasattr(kind, "to_delayed")


def as_dask_array(data):
    """Dask data frames and series as arrays, whose chunks have unknown sizes."""
    return data.to_dask_array() if hasattr(data, "to_dask_array") else data


def sums_by_fold(summand, add, X, y, sample_weight, n_folds=1):
    """Sums over consecutive parts of the rows, all in one pass over the chunks.

    Parameters
    ----------
    summand : callable
        ``summand(X, y, sample_weight)`` of a chunk.
    add : callable
        ``add(list of sums)``.
    X : dask array or data frame of shape (n, d)
    y : array-like of shape (n,) or (n, m)
        Cut into the chunks of X where these are of known sizes; else a dask collection of as
        many chunks.
    sample_weight : array-like of shape (n,), or None
        Cut like y.
    n_folds : int
        Number of parts: the folds of :class:`~sklearn.model_selection.KFold` where the sizes of
        the chunks are known, else as many whole chunks, up to one.

    Returns
    -------
    sums : list of n_folds sums

    Raises
    ------
    ValueError
        If chunks do not match, or are fewer than folds where these are made of whole chunks.
    """
    from dask import compute, config, delayed, optimize

    X = as_dask_array(X)
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, d), got {X.ndim} dimensions.")
    X = X.rechunk({1: -1})
    # Cut at the borders of the folds, so that each chunk lies in one of them.
    sizes, count = _borders(X, n_folds)
    named = {"X": X, "y": y, "sample_weight": sample_weight}
    parts = [_cut(data, X, name, sizes) for name, data in named.items()]
    # Together and without fusing single tasks, or what X and y share would be made for each.
    with config.set({"optimization.fuse.active": False}):
        lazy = iter(optimize(*(part for part in parts if is_dask(part))))
    parts = [_chunks(next(lazy)) if is_dask(part) else part for part in parts]
    sums = list(map(delayed(summand), *parts))
    ends = np.cumsum(count)
    folds = [sums[end - size : end] for size, end in zip(count, ends, strict=True)]
    return list(compute(*(_tree(delayed(add), fold) for fold in folds)))


def fold_sizes(n, n_folds):
    """Sizes of consecutive folds of n rows, as KFold makes them."""
    if n_folds > max(n, 1):
        raise ValueError(f"X must have a row for each of {n_folds} folds, got {n} rows.")
    return np.full(n_folds, n // n_folds) + (np.arange(n_folds) < n % n_folds)


def _tree(add, sums):
    while len(sums) > 1:
        sums = [add(sums[i : i + _FAN_IN]) for i in range(0, len(sums), _FAN_IN)]
    return sums[0]


def _borders(X, n_folds):
    """Sizes of the chunks cut at the borders of folds, None if unknown, and chunks of each fold."""
    sizes = np.asarray(X.chunks[0])
    if np.isnan(sizes).any():
        if len(sizes) < n_folds:
            raise ValueError(
                f"X must have a chunk for each of {n_folds} folds where the sizes of chunks are "
                f"unknown, got {len(sizes)} chunks: compute_chunk_sizes() of a dask array finds "
                "them."
            )
        return None, fold_sizes(len(sizes), n_folds)
    ends = np.cumsum(fold_sizes(X.shape[0], n_folds))
    borders = np.union1d(np.cumsum(sizes), ends)
    count = np.searchsorted(borders, ends, side="right")
    return tuple(np.diff(borders, prepend=0).tolist()), np.diff(count, prepend=0)


def _cut(data, X, name, sizes):
    """Data in chunks of these sizes, lazy or a list; `sizes` None takes those they have."""
    if data is None:
        return [None] * (X.numblocks[0] if sizes is None else len(sizes))
    lazy = is_dask(data)
    data = as_dask_array(data) if lazy else np.asarray(data)
    if data.ndim > 2 or data.ndim == 0:
        raise ValueError(f"{name} must have one or two dimensions, got {data.ndim}.")
    if lazy and data.ndim == 2:
        data = data.rechunk({1: -1})
    if sizes is None or (lazy and np.isnan(data.shape[0])):
        if not lazy or data.numblocks[0] != X.numblocks[0] or sizes not in (None, X.chunks[0]):
            raise ValueError(
                f"{name} must be a dask collection with the chunks of X where the sizes of chunks "
                "are unknown: compute_chunk_sizes() of a dask array finds them."
            )
        return data
    if data.shape[0] != X.shape[0]:
        raise ValueError(f"{name} must have {X.shape[0]} rows as X has, got {data.shape[0]}.")
    return data.rechunk({0: sizes}) if lazy else np.split(data, np.cumsum(sizes)[:-1])


def _chunks(data):
    """Chunks of rows of a dask array, to be loaded by tasks."""
    return data.to_delayed(optimize_graph=False).ravel().tolist()
