"""How far gradient descent is from smaller steps and from the gradient flow."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    abscissa_label,
    axes_and_figure,
    legend_above,
)

_LABELS = {"distance": "distance of the parameters", "loss": "loss"}
_REFERENCE, _OTHERS = COLORS[-1], COLORS[:-1]
# Below this share of the way from the start, curves lie on the axis of a linear scale.
_FLAT = 0.05


class StepSizeDisplay:
    """Distances between runs of one network that differ in their step size, or their losses.

    Where the distances of the run to those with smaller steps and to the gradient flow stay
    far below its distance from the start, descent follows the flow.

    Parameters
    ----------
    comparison : StepSizeComparison
        What :func:`sklearn_deeplinear.dynamics.compare_step_sizes` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing them.
    lines_ : dict of matplotlib Line2D
        Curves of the divisors of the step size and of "flow".
    reference_line_ : matplotlib Line2D
        Of distances that from the start, of losses that of the run which is compared.

    See Also
    --------
    sklearn_deeplinear.dynamics.compare_step_sizes : Makes the runs.

    References
    ----------
    .. [1] Elkabetz, O., Cohen, N. (2021). "Continuous vs. discrete optimization of deep
       neural networks." NeurIPS 34, Figure 1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.dynamics import compare_step_sizes
    >>> from sklearn_deeplinear.inspection import StepSizeDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> network = DeepLinearRegressor(depth=3, width=10, random_state=0)
    >>> comparison = compare_step_sizes(
    ...     network, scale(X), scale(y), step_size=0.02, divisors=(2, 5), max_iter=200
    ... )
    >>> display = StepSizeDisplay.from_comparison(comparison)
    >>> list(display.lines_)
    [2, 5, 'flow']
    """

    def __init__(self, comparison):
        self.comparison = comparison

    @classmethod
    def from_comparison(cls, comparison, *, ax=None, **plot_options):
        """Draw a comparison.

        Parameters
        ----------
        comparison : StepSizeComparison
            What :func:`sklearn_deeplinear.dynamics.compare_step_sizes` returned.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : StepSizeDisplay
        """
        return cls(comparison).plot(ax=ax, **plot_options)

    def plot(
        self,
        ax=None,
        *,
        quantity="distance",
        against="iteration",
        line_kw=None,
        reference_kw=None,
    ):
        """Draw the distances or the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        quantity : {"distance", "loss"}, default="distance"
            Euclidean distances of all trainable parameters, on a log scale where those
            between runs are less than a twentieth of that from the start; or the losses of
            all runs.
        against : {"iteration", "time"}, default="iteration"
            Horizontal axis; iterations are those of the run that is compared.
        line_kw, reference_kw : dict, default=None
            For the `plot` method of the axes, for the curves of the other runs and for the
            reference.

        Returns
        -------
        display : StepSizeDisplay
            Itself.

        Raises
        ------
        ValueError
            If `quantity` or `against` is unknown.
        """
        if quantity not in _LABELS:
            raise ValueError(f'quantity must be "distance" or "loss", got {quantity!r}.')
        abscissa = abscissa_label(against)
        at = getattr(self.comparison, against)
        name, reference, curves = self._curves(quantity)
        self.ax_, self.figure_ = axes_and_figure(ax)
        # The reference lies below the others: of losses they can hide one another.
        first = {"color": _REFERENCE, "label": name, "linewidth": 3, **(reference_kw or {})}
        (self.reference_line_,) = self.ax_.plot(at, reference, **first)
        self.lines_ = {}
        for (key, values), color in zip(curves.items(), cycle(_OTHERS), strict=False):
            style = "--" if key == "flow" else "-"
            look = {"color": color, "linestyle": style, "label": _label(key, quantity)}
            (self.lines_[key],) = self.ax_.plot(at, values, **{**look, **(line_kw or {})})
        self.ax_.set(xlabel=abscissa, ylabel=_LABELS[quantity])
        if quantity == "distance" and _flat(reference, curves):
            self.ax_.set_yscale("log", nonpositive="mask")  # at the start all are zero
        legend_above(self.ax_)
        return self

    def _curves(self, quantity):
        """Name and values of the reference, and the other curves by their keys."""
        if quantity == "distance":
            return "from the start", self.comparison.distance_from_init, self.comparison.distance
        losses = dict(self.comparison.loss)
        return "step η", losses.pop(1), losses


def _label(key, quantity):
    run = "gradient flow" if key == "flow" else f"step η/{key}"
    return f"from {run}" if quantity == "distance" else run


def _flat(reference, curves):
    """Whether no curve rises visibly beside the reference, but some are above zero."""
    highest = max((np.max(values) for values in curves.values()), default=0.0)
    return 0 < highest < _FLAT * np.max(reference)
