"""Cross-validation of training: settings, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.model_selection._fold_moments import moments_of_splits
from sklearn_deeplinear.model_selection._scores import spread


@dataclass(frozen=True, eq=False)
class StoppingPath:
    """Scores along the training of every setting.

    Attributes
    ----------
    iteration : ndarray of shape (n_records,)
        Steps made; of the flow its time in steps.
    time : ndarray of shape (n_settings, n_records)
        Sum of the step sizes.
    mean : ndarray of shape (n_settings, n_records)
        Mean over the folds of the score, the negative mean squared error; NaN where training
        has diverged on a fold.
    std : ndarray of shape (n_settings, n_records)
        Standard deviation over the folds.
    best : ndarray of shape (n_settings,)
        Record at which the mean is largest, or the last one if stopping is not chosen.
    """

    iteration: np.ndarray
    time: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    best: np.ndarray

    def __repr__(self):
        return one_line(self, "iteration", "mean", "best")


class TrainingValidation:
    """Trains every setting on every training set and scores it on the test set, all along.

    Parameters
    ----------
    data : Data
        See :class:`Data` of the estimator.
    splits : list of (train, test) indices, or None
        None where the data are read in blocks.
    solver, max_iter
        As the estimator has them.
    stopping : bool
        Whether to stop at the best record, not at the last one.
    """

    def __init__(self, data, splits, *, solver, max_iter, stopping):
        self.data, self.stopping = data, stopping
        self.folds = moments_of_splits(data, splits)
        self.n_splits = len(self.folds)
        self.run = {"solver": solver, "max_iter": max_iter}

    def scores(self, groups):
        """Scores of each split by setting, their means and their standard deviations."""
        from sklearn_deeplinear.model_selection._training_curves import training_curves  # torch

        moments = self.data.moments
        curves = [
            training_curves(group, self.folds, moments, step_size=group.step_size, **self.run)
            for group in groups
        ]
        scores = -np.concatenate([curve.loss for curve in curves], axis=1)  # (n_records, J, K)
        steps = np.concatenate([curve.step_size for curve in curves])
        mean, iteration = scores.mean(axis=2).T, curves[0].iteration
        last = np.full(len(mean), len(iteration) - 1)
        best = np.where(np.isnan(mean), -np.inf, mean).argmax(axis=1) if self.stopping else last
        self.step_sizes = steps
        self.path = StoppingPath(
            iteration, np.outer(steps, iteration), mean, spread(scores, axis=2).T, best
        )
        chosen = scores[best, np.arange(len(best))]  # (J, K)
        return list(chosen.T), chosen.mean(axis=1), spread(chosen, axis=1)

    def columns(self):
        """Further columns of the results: with which step, and when, each setting is stopped."""
        path, rows = self.path, np.arange(len(self.path.best))
        return {
            "step_size": self.step_sizes,
            "stopping_iteration": path.iteration[path.best],
            "stopping_time": path.time[rows, path.best],
        }
