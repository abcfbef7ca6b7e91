"""Cross-validated scores along training, and when to stop."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import check_integer
from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    abscissa_label,
    axes_and_figure,
    fitted,
    legend_above,
    lone,
)

_SCORE, _STOP = COLORS[:2]


class StoppingDisplay:
    """Mean and spread over the folds of the error along training, the stopping time marked.

    Parameters
    ----------
    stopping_path : StoppingPath
        Scores along the training of every setting.
    setting : int, default=0
        Row of the setting to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing it.
    line_ : matplotlib Line2D
        Mean squared error, averaged over the folds.
    spread_ : matplotlib PolyCollection
        One standard deviation over the folds to either side.
    stopping_line_ : matplotlib Line2D
        Where training stops.

    See Also
    --------
    sklearn_deeplinear.model_selection.DeepLinearRegressorCV : Records the scores.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear.inspection import StoppingDisplay
    >>> from sklearn_deeplinear.model_selection import DeepLinearRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressorCV(
    ...     weight_decays=[0.01], depths=[2], solver="gd", stopping="cv", cv=3
    ... ).fit(scale(X), scale(y))
    >>> display = StoppingDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'mean squared error of left-out folds'
    """

    def __init__(self, stopping_path, *, setting=0):
        self.stopping_path = stopping_path
        self.setting = setting

    @classmethod
    def from_estimator(cls, estimator, *, setting=None, ax=None, **plot_options):
        """Draw the scores of a fitted search.

        Parameters
        ----------
        estimator : DeepLinearRegressorCV
            Fitted with a solver that trains.
        setting : int, default=None
            Row of `cv_results_`; None takes the best setting.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : StoppingDisplay

        Raises
        ------
        TypeError, ValueError
            If `setting` is no row of `cv_results_`.
        """
        path = fitted(estimator, "stopping_path_", cls.__name__)
        setting = estimator.best_index_ if setting is None else setting
        setting = check_integer(setting, "setting")
        return cls(path, setting=setting).plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, against="iteration", line_kw=None, spread_kw=None, stop_kw=None):
        """Draw the mean squared error along training.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        against : {"iteration", "time"}, default="iteration"
            Horizontal axis.
        line_kw, spread_kw, stop_kw : dict, default=None
            For the `plot`, `fill_between` and `axvline` methods of the axes.

        Returns
        -------
        display : StoppingDisplay
            Itself.

        Raises
        ------
        ValueError
            If `against` is unknown, or there is no such setting.
        """
        abscissa = abscissa_label(against)
        path, row = self.stopping_path, self.setting
        if not 0 <= row < len(path.mean):
            raise ValueError(f"setting must be from 0 to {len(path.mean) - 1}, got {row!r}.")
        at = path.iteration if against == "iteration" else path.time[row]
        error, std = -path.mean[row], path.std[row]  # scores are negative errors
        self.ax_, self.figure_ = axes_and_figure(ax)
        line = {"color": _SCORE, "label": "mean over folds", **lone(at), **(line_kw or {})}
        (self.line_,) = self.ax_.plot(at, error, **line)
        area = {"color": _SCORE, "alpha": 0.2, "linewidth": 0, "label": "± one std over folds"}
        self.spread_ = self.ax_.fill_between(
            at, error - std, error + std, **{**area, **(spread_kw or {})}
        )
        stop = {"color": _STOP, "linestyle": "--", "label": "stop here", **(stop_kw or {})}
        self.stopping_line_ = self.ax_.axvline(at[path.best[row]], **stop)
        _from_zero(self.ax_, at)
        self.ax_.set(xlabel=abscissa, ylabel="mean squared error of left-out folds")
        legend_above(self.ax_)
        return self


def _from_zero(ax, at):
    """Logarithmic axis from the first of the places after zero, linear before, without a kink.

    The first steps decide, and zero, where training starts, has no logarithm.
    """
    last = np.max(at)
    if last > 0:
        ax.set_xlim(left=0)
    if last > 0 and last >= 10 * (first := np.min(at[at > 0])):
        ax.set_xscale("asinh", linear_width=first)
        # Those of the scale itself come close to the tick of zero.
        decades = np.arange(np.ceil(np.log10(first)), np.floor(np.log10(last)) + 1)
        ax.set_xticks([0, *10.0**decades])
