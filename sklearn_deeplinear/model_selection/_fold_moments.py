"""Moments of the training and test sets of a cross-validation, reading the data once."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from sklearn_deeplinear.theory import SecondMoments


def moments_of_splits(data, splits):
    """Moments of the training and test set of each split of :class:`Data`.

    Where the `data` come with moments of folds, these are the test sets.
    """
    if data.folds is not None:
        return list(zip(all_but_one(data.folds), data.folds, strict=True))
    return fold_moments(data.X, data.y, data.sample_weight, splits, data.moments.centered)


def fold_moments(X, y, sample_weight, splits, center):
    """Moments of each split.

    Where the test sets are disjoint, cover the data and are what the training sets leave out,
    the moments of the training sets are merged from those of the test sets; else they are read
    off the data.

    Parameters
    ----------
    X, y, sample_weight : arrays
        Validated data.
    splits : list of (train, test) indices
        As a splitter yields them.
    center : bool
        Whether means are taken out.

    Returns
    -------
    moments : list of (SecondMoments, SecondMoments)
        Of the training and of the test set.

    Raises
    ------
    ValueError
        If a set is empty or has no weight.
    """

    def of(rows):
        weight = None if sample_weight is None else sample_weight[rows]
        if not len(rows) or (weight is not None and not weight.any()):
            raise ValueError("cv must not make sets without samples of positive weight.")
        return SecondMoments.from_data(X[rows], y[rows], weight, center=center)

    test = [of(rows) for _, rows in splits]
    whole = is_partition(splits, len(X))
    train = all_but_one(test) if whole else (of(rows) for rows, _ in splits)
    return list(zip(train, test, strict=True))


def is_partition(splits, n_samples):
    """Whether each sample is tested once and trained on in all other splits."""
    if len(splits) < 2:
        return False
    times = np.zeros(n_samples, dtype=int)
    for train, test in splits:
        times[test] += 1
        seen = np.zeros(n_samples, dtype=int)
        seen[train] += 1
        seen[test] += 1
        if not (seen == 1).all() or len(train) + len(test) != n_samples:
            return False
    return bool((times == 1).all())


def all_but_one(parts, others=None):
    """Yield the sum of all other `parts` (and of `others`), for each of them.

    By halves: a sum takes about log2(len(parts)) merges of sums, of which no more than that many
    are held at a time, and no difference is ever taken.
    """
    if len(parts) == 1:
        yield others
        return
    half = len(parts) // 2
    for own, rest in ((parts[:half], parts[half:]), (parts[half:], parts[:half])):
        total = reduce(add, rest)
        yield from all_but_one(own, total if others is None else others + total)
