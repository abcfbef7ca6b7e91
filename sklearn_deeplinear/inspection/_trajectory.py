"""Training curves above the exact minimum."""

from __future__ import annotations

from sklearn_deeplinear.inspection._plotting import abscissa_label, axes_and_figure, fitted

_LABELS = {
    "loss": "loss",
    "objective": "objective J",
    "gradient_norm": "gradient norm",
    "gap": "J - minimum of J",
    "sharpness": "largest Hessian eigenvalue",
    "validation_loss": "validation loss",
}


class TrajectoryDisplay:
    """Curves of a training run, with the exact minimum where it is known.

    Parameters
    ----------
    trajectory : Trajectory
        Run to draw.
    minimum : float, default=None
        Global minimum of the objective, or a lower bound; None if none is known.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing the curve.
    line_ : matplotlib Line2D
        The training curve.
    minimum_line_ : matplotlib Line2D or None
        The minimum.

    See Also
    --------
    BalanceDisplay : Balance of adjacent layers along the run.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.inspection import TrajectoryDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepLinearRegressor(max_iter=50, tol=0).fit(X, y)
    >>> display = TrajectoryDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'objective J'
    """

    def __init__(self, trajectory, *, minimum=None, name=None):
        self.trajectory = trajectory
        self.minimum = minimum
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **plot_options):
        """Draw the run of a fitted estimator.

        The minimum is the `lower_bound` of its `global_minimum_`: the minimum itself
        unless that is of the kind "stationary".

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with a `trajectory_`.
        name : str, default=None
            Name in the legend; None takes the class of the estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : TrajectoryDisplay
        """
        trajectory = fitted(estimator, "trajectory_", cls.__name__)
        drawn = plot_options.get("curve", "objective") in ("objective", "gap")
        known = getattr(estimator, "global_minimum_", None) if drawn else None
        name = type(estimator).__name__ if name is None else name
        display = cls(trajectory, minimum=None if known is None else known.lower_bound, name=name)
        return display.plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, curve="objective", against="iteration", name=None, **line_kw):
        """Draw a curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        curve : str, default="objective"
            What to draw: "objective", "loss", "gradient_norm", "gap" (the objective less its
            minimum, on a log scale), "validation_loss" of a fit that was given validation
            data, or what the estimator's `record` named, such as "sharpness", "nuclear_norm"
            and "effective_rank".
        against : {"iteration", "time"}, default="iteration"
            Horizontal axis.
        name : str, default=None
            Name in the legend; None takes that of the display.
        **line_kw
            Passed to the `plot` method of the axes.

        Returns
        -------
        display : TrajectoryDisplay
            Itself.

        Raises
        ------
        ValueError
            If `curve` or `against` is unknown, or the run does not have what is asked for.
        """
        abscissa = abscissa_label(against)
        values = self._values(curve)
        self.ax_, self.figure_ = axes_and_figure(ax)
        line_kw = {"label": self.name if name is None else name, **line_kw}
        (self.line_,) = self.ax_.plot(getattr(self.trajectory, against), values, **line_kw)
        self.minimum_line_ = None
        if curve == "objective" and self.minimum is not None:
            self.minimum_line_ = self.ax_.axhline(
                self.minimum, color=self.line_.get_color(), linestyle="--", linewidth=1
            )
        self.ax_.set(xlabel=abscissa, ylabel=_LABELS.get(curve, curve.replace("_", " ")))
        if curve in ("gap", "gradient_norm") and (values > 0).any():
            self.ax_.set_yscale("log")
        if self.line_.get_label() and not self.line_.get_label().startswith("_"):
            self.ax_.legend()
        return self

    def _values(self, curve):
        if curve == "gap":
            if self.minimum is None:
                raise ValueError(
                    'curve="gap" needs the minimum of the objective, which is not known.'
                )
            return self.trajectory.objective - self.minimum
        curves = self.trajectory.curves()
        if curve not in curves:
            known = ", ".join([*curves, "gap"])
            raise ValueError(
                f"curve must be one of those of this run, {known}, got {curve!r}: the "
                "estimator's record names what else is recorded, and fit takes validation data."
            )
        return curves[curve]
