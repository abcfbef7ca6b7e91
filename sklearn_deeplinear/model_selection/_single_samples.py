"""Leave-one-out cross-validation: in closed form for one output, else by refits."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.model_selection._fold_moments import all_but_one
from sklearn_deeplinear.model_selection._held_out import HeldOutModels
from sklearn_deeplinear.model_selection._pooling import one_each_is_better
from sklearn_deeplinear.model_selection._scores import FixedPredictions, score_of
from sklearn_deeplinear.theory import SecondMoments, deep_linear_path
from sklearn_deeplinear.theory._leave_one_out import leave_one_out, left_out_maps
from sklearn_deeplinear.theory._left_out_rows import LeftOutRows, shares_to_leave_out
from sklearn_deeplinear.theory._one_output import each_output


class LeaveOneOutValidation:
    """Predicts each sample by the minimum without it.

    Parameters
    ----------
    data : Data
    scorer : callable, or None
        None scores by the negative mean squared error; a scorer gets all left-out predictions
        at once.
    score_params : dict
        What the scorer gets besides.
    rows : LeftOutRows, default=None
        Those of the data with some target, if they are known.
    """

    def __init__(self, data, scorer, score_params, rows=None):
        self.data, self.scorer, self.score_params = data, scorer, score_params
        self._known_rows = rows
        self._known_residuals: tuple = (None, None)
        self.n_splits = len(data.X)
        self.share = shares_to_leave_out(self.n_splits, data.sample_weight)

    def of_each_output(self):
        """Yield the validation of each output by itself."""
        for data, rows in zip(self.data.of_each_output(), self._rows(), strict=True):
            yield LeaveOneOutValidation(data, self.scorer, self.score_params, rows)

    def scores(self, groups):
        """No scores of single samples; their means and standard deviations, by setting."""
        residuals = self.residuals(groups)
        if self.scorer is None:
            scores = [self._errors(outputs) for outputs in residuals]
            mean, std = (np.concatenate(part) for part in zip(*scores, strict=True))
            return [], -mean, std
        data = self.data
        left_out = np.concatenate([np.stack(outputs, axis=2) for outputs in residuals])
        predictions = data.outputs - left_out
        if data.y.ndim == 1:
            predictions = predictions[:, :, 0]
        mean = [
            score_of(self.scorer, FixedPredictions(p), data.X, data.y, self.score_params)
            for p in predictions
        ]
        return [], np.array(mean), np.full(len(mean), np.nan)

    def _errors(self, outputs):
        """Means and standard deviations (J,) of squared residuals, averaged over the outputs."""
        errors = outputs[0] ** 2
        for residuals in outputs[1:]:
            errors += residuals**2
        errors /= len(outputs)
        mean = errors @ self.share
        errors -= mean[:, None]
        unit = np.abs(errors).max() or 1.0  # fourth powers of targets may overflow
        errors /= unit
        errors *= errors
        return mean, unit * np.sqrt(errors @ self.share)

    def one_each_is_better(self, groups):
        """Whether the outputs do better with a setting each than with one for all."""
        return one_each_is_better(self.residuals(groups), self.share)

    def residuals(self, groups):
        """y less left-out predictions: for each group a list of an array (J, n) for each output."""
        if self._known_residuals[0] is not groups:
            self._known_residuals = groups, self._residuals_of(groups)
        return self._known_residuals[1]

    def _residuals_of(self, groups):
        closed = [group for group in groups if not self._is_joint(group)]
        settings = [(group.depth, group.log_decays, group.log_rho) for group in closed]
        outputs = [leave_one_out(rows, settings) for rows in self._rows()] if closed else []
        by_group = zip(*outputs, strict=True)
        return [
            self._refitted_residuals(group) if self._is_joint(group) else next(by_group)
            for group in groups
        ]

    def _refitted_residuals(self, group):
        X, Y = self.data.X, self.data.outputs
        found = [
            Y[i] - coefs @ X[i] - intercepts
            for i, (coefs, intercepts) in enumerate(self._refits(group))
        ]
        return list(np.transpose(found, (2, 1, 0)))

    def held_out(self, group):
        """:class:`HeldOutModels` of a group of one setting."""
        model_of = np.arange(len(self.data.X))
        if self._is_joint(group):
            refits = zip(*self._refits(group), strict=True)
            coefs, intercepts = (np.concatenate(part) for part in refits)
            return HeldOutModels.of(coefs, intercepts, model_of, self.data)
        setting = group.depth, group.log_decays[0], group.log_rho
        outputs = [left_out_maps(rows, *setting) for rows in self._rows()]
        residuals, coefs, intercepts = (
            np.stack(part, axis=1) for part in zip(*outputs, strict=True)
        )
        return HeldOutModels(coefs, intercepts, model_of, residuals, self.data.weighted)

    def _is_joint(self, group):
        """Whether outputs share a network, for which no closed form is known."""
        return self.data.moments.n_outputs > 1 and group.depth > 1 and not self.data.per_target

    def _rows(self):
        """Yield the rows with each of the outputs; not all at once, for each holds moments."""
        data, rows = self.data, self._known_rows
        for moments, y in zip(each_output(data.moments), data.outputs.T, strict=True):
            if rows is None:
                rows = LeftOutRows.of(moments, data.X, y, data.sample_weight)
            yield rows.with_target(moments, y)

    def _refits(self, group):
        """Yield maps (J, m, d) and intercepts (J, m) without each sample."""
        options = {**group.network, "weight_decays": group.weight_decays, "prove": False}
        for moments in self._moments():
            path = deep_linear_path(moments, **options)
            yield path.coefs, path.intercepts

    def _moments(self):
        """Yield the moments without each sample; of all, where it has no weight."""
        data, share, center = self.data, self.share, self.data.moments.centered
        parts = [
            SecondMoments.from_data(data.X[[i]], data.y[[i]], share[[i]], center=center)
            for i in np.flatnonzero(share)
        ]
        others = all_but_one(parts)
        for weight in share:
            yield next(others) if weight else data.moments
