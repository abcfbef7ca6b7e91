"""Balance of adjacent layers along a run."""

from __future__ import annotations

from itertools import cycle

from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    STYLES,
    abscissa_label,
    axes_and_figure,
    fitted,
    legend_above,
    lone,
)

_LABELS = {
    "layer": "||W_l||² - ||W_{l+1}||²",
    "neuron": "largest unit difference",
    "matrix": "||W_l W_lᵀ - W_{l+1}ᵀ W_{l+1}||",
    "change": "change since the start",
}


class BalanceDisplay:
    """Balance quantities of a training run, one curve per pair of adjacent layers.

    Parameters
    ----------
    balance_history : BalanceHistory or list of them
        Run to draw; a list holds one for each of several pathways.
    name : str, default=None
        Prefix of the names in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing the curves.
    lines_ : list of matplotlib Line2D
        One curve per pair of layers, pathway by pathway.

    See Also
    --------
    TrajectoryDisplay : Loss and objective along the run.

    References
    ----------
    .. [1] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced." NeurIPS 31.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.inspection import BalanceDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressor(
    ...     depth=3, init="normal", max_iter=50, tol=0, random_state=0
    ... ).fit(X, y)
    >>> display = BalanceDisplay.from_estimator(model, quantity="change")
    >>> len(display.lines_)
    2
    """

    def __init__(self, balance_history, *, name=None):
        self.balance_history = balance_history
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **plot_options):
        """Draw the balance of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with a `balance_history_`.
        name : str, default=None
            Prefix of the names in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : BalanceDisplay
        """
        history = fitted(estimator, "balance_history_", cls.__name__)
        return cls(history, name=name).plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, quantity="layer", against="iteration", name=None, **line_kw):
        """Draw one quantity.

        Of several pathways each has a line style, and each pair of layers a colour.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        quantity : {"layer", "neuron", "matrix", "change"}, default="layer"
            What to draw; see :class:`sklearn_deeplinear._results.BalanceHistory`.
        against : {"iteration", "time"}, default="iteration"
            Horizontal axis.
        name : str, default=None
            Prefix of the names in the legend; None takes that of the display.
        **line_kw
            Passed to the `plot` method of the axes.

        Returns
        -------
        display : BalanceDisplay
            Itself.

        Raises
        ------
        ValueError
            If `quantity` or `against` is unknown, or the run has no such quantity.
        """
        if quantity not in _LABELS:
            raise ValueError(f"quantity must be one of {', '.join(_LABELS)}, got {quantity!r}.")
        abscissa = abscissa_label(against)
        curves = list(self._curves(quantity, against))
        self.ax_, self.figure_ = axes_and_figure(ax)
        name = self.name if name is None else name
        self.lines_ = []
        for label, axis, column, look in curves:
            label = f"{name}, {label}" if name else label
            options = {"label": label, **look, **lone(axis), **line_kw}
            self.lines_ += self.ax_.plot(axis, column, **options)
        self.ax_.set(xlabel=abscissa, ylabel=_LABELS[quantity])
        if self.lines_:
            legend_above(self.ax_)
        return self

    def _curves(self, quantity, against):
        """Yield label, abscissae, ordinates and look of each curve."""
        several = isinstance(self.balance_history, list)
        histories = self.balance_history if several else [self.balance_history]
        for pathway, (history, style) in enumerate(zip(histories, cycle(STYLES), strict=False), 1):
            values = getattr(history, quantity)
            if values is None:
                raise ValueError(
                    f"quantity={quantity!r} was not recorded: only linear networks conserve it, "
                    'and compression="krylov" does not measure it.'
                )
            for pair, (column, color) in enumerate(zip(values.T, cycle(COLORS), strict=False), 1):
                label, look = f"layers {pair} and {pair + 1}", {}
                if several:
                    label = f"pathway {pathway}, {label}"
                    look = {"color": color, "linestyle": style}
                yield label, getattr(history, against), column, look
