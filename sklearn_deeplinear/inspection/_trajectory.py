"""Training curves above the exact minimum."""

from __future__ import annotations

from itertools import cycle

from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    abscissa_label,
    axes_and_figure,
    fitted,
    legend_above,
    lone,
)

_LABELS = {
    "loss": "loss",
    "objective": "objective J",
    "gradient_norm": "gradient norm",
    "gap": "J - minimum of J",
    "sharpness": "largest Hessian eigenvalue",
    "validation_loss": "validation loss",
}
_EXACT, _BOUND = "exact minimum", "lower bound of the minimum"


class TrajectoryDisplay:
    """Curves of training runs, with the exact minimum where it is known.

    Parameters
    ----------
    trajectory : Trajectory or list of them
        Run to draw, or several.
    minimum : float or list, default=None
        Global minimum of the objective, or a lower bound; None if none is known. Of several
        runs a list with an entry for each.
    upper_bound : float or list, default=None
        Objective of the best network that is known, where `minimum` is a lower bound only: the
        minimum lies between them. None where `minimum` is exact. Of several runs a list.
    name : str or list, default=None
        Name in the legend. Of several runs a list.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure containing the curve.
    line_ : matplotlib Line2D
        The training curve, the first of several.
    lines_ : list of matplotlib Line2D
        Curves of all runs.
    validation_lines_ : list of matplotlib Line2D or None
        Their losses on validation data, None where there are none.
    minimum_line_ : matplotlib Line2D or None
        The minimum, the first of several.
    minimum_lines_ : list of matplotlib Line2D or None
        Minima of all runs, the same line where they have the same minimum.
    brackets_ : list of matplotlib Rectangle or None
        Bands between lower and upper bounds, None where the minimum is exact.

    See Also
    --------
    BalanceDisplay : Balance of adjacent layers along the run.
    OptimalityDisplay : Final objectives of many runs above their minima.

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

    Two solvers, which have the same minimum to reach:

    >>> other = DeepLinearRegressor(solver="momentum", max_iter=50, tol=0).fit(X, y)
    >>> display = TrajectoryDisplay.from_estimators([model, other], names=["gd", "momentum"])
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['gd', 'momentum', 'exact minimum']
    """

    def __init__(self, trajectory, *, minimum=None, upper_bound=None, name=None):
        self.trajectory = trajectory
        self.minimum = minimum
        self.upper_bound = upper_bound
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
        trajectory, lower, upper = cls._run_of(estimator, plot_options)
        name = type(estimator).__name__ if name is None else name
        display = cls(trajectory, minimum=lower, upper_bound=upper, name=name)
        return display.plot(ax=ax, **plot_options)

    @classmethod
    def from_estimators(cls, estimators, *, names=None, ax=None, **plot_options):
        """Draw the runs of several fitted estimators on the same axes.

        Parameters
        ----------
        estimators : list of estimators
            Fitted estimators with a `trajectory_`.
        names : list of str, default=None
            Names in the legend; None takes the classes of the estimators.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : TrajectoryDisplay

        Raises
        ------
        ValueError
            If there are no estimators, or not as many names.
        """
        if not len(estimators):
            raise ValueError("estimators must hold at least one fitted estimator.")
        names = [type(estimator).__name__ for estimator in estimators] if names is None else names
        if isinstance(names, str) or len(names) != len(estimators):
            raise ValueError(f"names must be a list of {len(estimators)} names, got {names!r}.")
        runs = [cls._run_of(estimator, plot_options) for estimator in estimators]
        trajectories, lower, upper = map(list, zip(*runs, strict=True))
        display = cls(trajectories, minimum=lower, upper_bound=upper, name=list(names))
        return display.plot(ax=ax, **plot_options)

    @classmethod
    def _run_of(cls, estimator, plot_options):
        """Trajectory of an estimator, and bounds on its minimum if the plot shows them."""
        trajectory = fitted(estimator, "trajectory_", cls.__name__)
        drawn = plot_options.get("curve", "objective") in ("objective", "gap")
        known = getattr(estimator, "global_minimum_", None) if drawn else None
        if known is None:
            return trajectory, None, None
        # That of any other kind is proven, or the bound is within rounding of it.
        upper = known.objective if known.kind == "stationary" else None
        return trajectory, known.lower_bound, upper

    def plot(
        self,
        ax=None,
        *,
        curve="objective",
        against="iteration",
        name=None,
        validation=True,
        minimum_kw=None,
        bracket_kw=None,
        **line_kw,
    ):
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
        name : str or list, default=None
            Name in the legend, of several runs a list; None takes that of the display.
        validation : bool, default=True
            Beside the "loss" draw that on validation data, dashed, where it was recorded.
        minimum_kw, bracket_kw : dict, default=None
            For the `axhline` and `axhspan` methods of the axes.
        **line_kw
            Passed to the `plot` method of the axes.

        Returns
        -------
        display : TrajectoryDisplay
            Itself.

        Raises
        ------
        ValueError
            If `curve` or `against` is unknown, or a run does not have what is asked for.
        """
        abscissa = abscissa_label(against)
        several = isinstance(self.trajectory, list)
        runs = self._runs(self.name if name is None else name)
        curves = [_values(run, minimum, curve) for run, minimum, _, _ in runs]
        self.ax_, self.figure_ = axes_and_figure(ax)
        self.lines_, self.validation_lines_ = [], []
        for (run, _, _, label), values, color in zip(runs, curves, cycle(COLORS), strict=False):
            at = getattr(run, against)
            own = {"color": color} if several else {}
            look = {"label": label, **own, **lone(at), **line_kw}
            self.lines_ += self.ax_.plot(at, values, **look)
            beside = run.validation_loss if validation and curve == "loss" else None
            self.validation_lines_.append(self._draw_validation(at, beside, line_kw))
        self._draw_minima(runs, curve, minimum_kw or {}, bracket_kw or {})
        self.line_, self.minimum_line_ = self.lines_[0], self.minimum_lines_[0]
        self.ax_.set(xlabel=abscissa, ylabel=_LABELS.get(curve, curve.replace("_", " ")))
        if curve in ("gap", "gradient_norm") and any((values > 0).any() for values in curves):
            self.ax_.set_yscale("log")
        handles = self.ax_.get_legend_handles_labels()[0]
        if handles:  # runs first, what they are to reach last
            legend_above(self.ax_, sorted(handles, key=lambda h: h.get_label() in (_EXACT, _BOUND)))
        return self

    def _runs(self, name):
        """Trajectory, minimum, upper bound and name of each run."""
        described = self.trajectory, self.minimum, self.upper_bound, name
        if not isinstance(self.trajectory, list):
            return [described]
        n = len(self.trajectory)
        columns = [[None] * n if values is None else values for values in described]
        if not n or any(not isinstance(c, list) or len(c) != n for c in columns):
            raise ValueError(
                "trajectory must hold a run at least, and minimum, upper_bound and name must be "
                "lists with an entry for each, or None."
            )
        return list(zip(*columns, strict=True))

    def _draw_validation(self, at, values, line_kw):
        """Dashed, in the colour of the run that was drawn last."""
        if values is None:
            return None
        line = self.lines_[-1]
        name = line.get_label()
        name = "validation" if name.startswith("_") else f"{name}, validation"
        look = {"color": line.get_color(), "linestyle": "--", **lone(at), **line_kw, "label": name}
        return self.ax_.plot(at, values, **look)[0]

    def _draw_minima(self, runs, curve, minimum_kw, bracket_kw):
        """Lines of the minima, and bands up to the best networks where they are not known."""
        bounds = [bounds for _, *bounds, _ in runs]
        if curve != "objective":
            bounds = [(None, None)] * len(runs)
        keys = [_rounded(pair) for pair in bounds]
        drawn = {}
        for key, (lower, upper), line in zip(keys, bounds, self.lines_, strict=True):
            if key in drawn:
                continue
            drawn[key] = [None, None]
            color = COLORS[-1] if keys.count(key) > 1 else line.get_color()
            if lower is not None:
                look = {"color": color, "linestyle": "--", "linewidth": 1, **minimum_kw}
                drawn[key][0] = self.ax_.axhline(lower, **look)
            if upper is not None:
                look = {"color": color, "alpha": 0.15, "linewidth": 0, **bracket_kw}
                drawn[key][1] = self.ax_.axhspan(lower, upper, **look)
        if any(label for *_, label in runs):
            _label_minima(drawn.values(), self.ax_.get_legend_handles_labels()[1])
        self.minimum_lines_ = [drawn[key][0] for key in keys]
        self.brackets_ = [drawn[key][1] for key in keys]


def _rounded(bounds):
    """What minima have in common that differ in rounding only."""
    return tuple(None if bound is None else f"{bound:.8g}" for bound in bounds)


def _label_minima(drawn, named):
    """Name the first line of an exact minimum, and of a lower bound, unless they are `named`."""
    named = set(named)
    for line, band in drawn:
        name = _EXACT if band is None else _BOUND
        if line is not None and name not in named:
            line.set_label(name)
            named.add(name)


def _values(trajectory, minimum, curve):
    """What a run recorded as `curve`."""
    if curve == "gap":
        if minimum is None:
            raise ValueError('curve="gap" needs the minimum of the objective, which is not known.')
        return trajectory.objective - minimum
    curves = trajectory.curves()
    if curve not in curves:
        known = ", ".join([*curves, "gap"])
        raise ValueError(
            f"curve must be one of those of this run, {known}, got {curve!r}: the "
            "estimator's record names what else is recorded, and fit takes validation data."
        )
    return curves[curve]
