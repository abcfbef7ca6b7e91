"""What is summed over batches of data, one after the other or by tasks of dask."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import NamedTuple

from sklearn_deeplinear.theory._batches import block_rows, check_batch
from sklearn_deeplinear.theory._distributed import fold_sizes, is_dask, sums_by_fold
from sklearn_deeplinear.theory._moments import SecondMoments

# Blocks of moments that are cut of data at a time: their memory is made once for all of them.
_BLOCKS_AT_A_TIME = 16


class Tally(NamedTuple):
    """Moments of batches, some or all of which may be without weight.

    Attributes
    ----------
    total : SecondMoments or None
        Of the rows that have weight, if there are any.
    n_samples : int
        Number of rows, those without weight included.
    single_target : bool
        Whether all targets were vectors.
    """

    total: SecondMoments | None
    n_samples: int
    single_target: bool

    @classmethod
    def of(cls, batches, center) -> Tally:
        """Read batches, each as :meth:`SecondMoments.from_data` takes it."""
        tally = cls(None, 0, True)
        for X, *others in batches:
            read = _distributed if is_dask(X) else _read
            for part in read(X, *others, center=center):
                tally = cls.sum([tally, part])
        return tally

    @classmethod
    def sum(cls, tallies) -> Tally:
        """Of all batches of some tallies."""
        totals = [tally.total for tally in tallies if tally.total is not None]
        return cls(
            reduce(add, totals) if totals else None,
            sum(tally.n_samples for tally in tallies),
            all(tally.single_target for tally in tallies),
        )

    @property
    def moments(self) -> SecondMoments:
        """Moments of all batches; a ValueError if none has weight."""
        if self.total is None:
            raise ValueError("sample_weight must not be zero everywhere.")
        sizes = {"n_samples": self.n_samples, "single_target": self.single_target}
        return replace(self.total, **sizes)


def consecutive_folds(X, y, sample_weight, n_folds, *, center=True) -> list[SecondMoments]:
    """Moments of consecutive folds of rows, in one pass over the data.

    The folds are those of :class:`~sklearn.model_selection.KFold` without shuffling; of dask
    collections whose chunks are of unknown sizes they are made of whole chunks.
    """
    if is_dask(X):
        tallies = _distributed(X, y, sample_weight, center=center, n_folds=n_folds)
    else:
        X, y, weight = check_batch(X, y, sample_weight)
        tallies, start = [], 0
        for size in fold_sizes(X.shape[0], n_folds):
            batches = _cut(X, y, weight, start, start + size)
            tallies.append(Tally.of(batches, center))
            start += size
    if not all(tally.n_samples for tally in tallies):
        raise ValueError(f"X must have rows in each of {n_folds} folds.")
    return [tally.moments for tally in tallies]


def _cut(X, y, weight, start, end):
    """Yield batches of the rows from `start` to `end`."""
    step = _BLOCKS_AT_A_TIME * block_rows(end - start, X.shape[1] + 1)
    for first in range(start, end, step):
        rows = slice(first, min(first + step, end))
        yield X[rows], y[rows], None if weight is None else weight[rows]


def _read(X, y, sample_weight=None, *, center):
    """Yield tallies of a batch: of blocks that have weight, and of all rows without it."""
    X, y, weight = check_batch(X, y, sample_weight)
    yield Tally(None, X.shape[0], len(y.shape) == 1)
    for block in SecondMoments._blocks(X, y, weight, center):
        yield Tally(block, 0, True)


def _distributed(X, y, sample_weight=None, *, center, n_folds=1):
    """Tallies of consecutive folds of dask data."""
    summand = partial(_tally_of_chunk, center=center)
    return sums_by_fold(summand, Tally.sum, X, y, sample_weight, n_folds)


def _tally_of_chunk(X, y, sample_weight, center):
    """Tally of a chunk, which may be empty, as after a selection of rows."""
    if not X.shape[0] and not len(y):
        return Tally(None, 0, y.ndim == 1)
    return Tally.of([(X, y, sample_weight)], center)
