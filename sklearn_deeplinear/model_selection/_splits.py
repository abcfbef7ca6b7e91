"""Cross-validation by any splitter, from moments of its folds."""

from __future__ import annotations

from copy import copy

import numpy as np

from sklearn_deeplinear._compat import _check_method_params
from sklearn_deeplinear.model_selection._fold_moments import is_partition, moments_of_splits
from sklearn_deeplinear.model_selection._held_out import HeldOutModels
from sklearn_deeplinear.model_selection._scores import (
    FixedLinearModel,
    losses_from_moments,
    score_of,
    spread,
)
from sklearn_deeplinear.theory import deep_linear_path
from sklearn_deeplinear.theory._one_output import each_output, one_output


def check_splits(splits, n_samples):
    """Splits as a list of pairs of indices from 0 on; a ValueError if they are something else.

    They may come as masks, or count from the end.
    """
    try:
        splits = list(splits)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv must split the data into pairs to train and to test on: {error}"
        ) from error
    if not splits:
        raise ValueError("cv must split the data at least once, got no splits.")
    rows = np.arange(n_samples)
    return [_indices(split, rows) for split in splits]


def _indices(split, rows):
    try:
        train, test = map(np.asarray, split)
        if not (train.ndim == test.ndim == 1 and {train.dtype.kind, test.dtype.kind} <= set("iub")):
            raise TypeError
        return rows[train], rows[test]
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(
            "cv must be a number of folds, a splitter, or pairs of arrays of the indices of "
            f"samples to train and to test on, got {split!r} among them."
        ) from error


class SplitValidation:
    """Fits every setting on every training set and scores it on the test set.

    Parameters
    ----------
    data : Data
        See :class:`Data` of the estimator: arrays, moments and how outputs are fitted.
    splits : list of (train, test) indices, or None
        None where the data are read in blocks.
    scorer : callable, or None
        None scores by the negative mean squared error, from moments alone.
    score_params : dict
        What the scorer gets besides, whole; parts by samples are cut.
    """

    def __init__(self, data, splits, scorer, score_params):
        self.data, self.splits = data, splits
        self.scorer, self.score_params = scorer, score_params
        moments = moments_of_splits(data, splits)
        self.train = [train for train, _ in moments]
        self.test = [test for _, test in moments]

    def of_each_output(self):
        """Yield the validation of each output by itself."""
        train = map(list, zip(*map(each_output, self.train), strict=True))
        for j, data in enumerate(self.data.of_each_output()):
            single = copy(self)
            single.data, single.train = data, next(train)
            single.test = [one_output(moments, j) for moments in self.test]
            yield single

    @property
    def n_splits(self):
        """Number of splits."""
        return len(self.test)

    def scores(self, groups):
        """Scores of each split by setting, their means and their standard deviations."""
        splits = [
            np.concatenate([self._scores_of_split(i, group) for group in groups])
            for i in range(self.n_splits)
        ]
        with np.errstate(invalid="ignore"):  # of scores that are infinite both ways
            return splits, np.mean(splits, axis=0), spread(splits)

    def _scores_of_split(self, i, group):
        path = self.paths(self.train[i], group)
        if self.scorer is None:
            return -losses_from_moments(self.test[i], *path)
        data, rows = self.data, self.splits[i][1]
        params = _check_method_params(data.X, self.score_params, indices=rows)
        X, y, flat = data.X[rows], data.y[rows], data.y.ndim == 1
        models = [FixedLinearModel(coef, b, flat) for coef, b in zip(*path, strict=True)]
        return np.array([score_of(self.scorer, model, X, y, params) for model in models])

    def paths(self, moments, group):
        """Maps (J, m, d) and intercepts (J, m) fitted to `moments`."""
        options = {**group.network, "weight_decays": group.weight_decays, "prove": False}
        if not self.data.per_target:
            return deep_linear_path(moments, **options)[:2]
        paths = [deep_linear_path(single, **options)[:2] for single in each_output(moments)]
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*paths, strict=True))

    def held_out(self, group):
        """:class:`HeldOutModels` of a group of one setting; None if samples are tested twice.

        None, too, if the data were read in blocks.
        """
        if self.splits is None:
            return None
        data, n = self.data, len(self.data.X)
        if not is_partition(self.splits, n):
            return None
        paths = [self.paths(train, group) for train in self.train]
        coefs, intercepts = (np.concatenate(part) for part in zip(*paths, strict=True))
        model_of = np.empty(n, dtype=int)
        for i, (_, rows) in enumerate(self.splits):
            model_of[rows] = i
        return HeldOutModels.of(coefs, intercepts, model_of, data)
