"""Balance of adjacent layers along a run."""

from __future__ import annotations

from sklearn_deeplinear.inspection._plotting import axes_and_figure, fitted

_LABELS = {
    "layer": "||W_l||² - ||W_{l+1}||²",
    "neuron": "largest unit difference",
    "matrix": "||W_l W_lᵀ - W_{l+1}ᵀ W_{l+1}||",
    "change": "change since the start",
    "iteration": "iteration",
    "time": "time (sum of step sizes)",
}


class BalanceDisplay:
    """Balance quantities of a training run, one curve per pair of adjacent layers.

    Parameters
    ----------
    balance_history : BalanceHistory
        Run to draw.
    name : str, default=None
        Prefix of the names in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing the curves.
    lines_ : list of matplotlib Line2D
        One curve per pair of layers.

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
        if quantity not in ("layer", "neuron", "matrix", "change"):
            raise ValueError(
                f'quantity must be "layer", "neuron", "matrix" or "change", got {quantity!r}.'
            )
        if against not in ("iteration", "time"):
            raise ValueError(f'against must be "iteration" or "time", got {against!r}.')
        values = getattr(self.balance_history, quantity)
        if values is None:
            raise ValueError(f"quantity={quantity!r} is not conserved by this network.")
        self.ax_, self.figure_ = axes_and_figure(ax)
        name = self.name if name is None else name
        prefix = f"{name}, " if name else ""
        self.lines_ = []
        for pair, column in enumerate(values.T, start=1):
            options = {"label": f"{prefix}layers {pair} and {pair + 1}", **line_kw}
            axis = getattr(self.balance_history, against)
            self.lines_ += self.ax_.plot(axis, column, **options)
        self.ax_.set(xlabel=_LABELS[against], ylabel=_LABELS[quantity])
        if self.lines_:
            self.ax_.legend()
        return self
