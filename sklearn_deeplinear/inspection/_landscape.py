"""The objective along a line of networks, or in a plane through three of them."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from sklearn_deeplinear._parameters import as_array, check_integer
from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    axes_and_figure,
    fitted,
    legend_above,
)

_NAMES = {"identity": "linear", "relu": "ReLU"}
_STYLES = ("-", "--", ":", "-.")
# Of sizes that leave all visible where they meet: a cross on a star in a ring.
_MARKS = {
    "trained": {"marker": "o", "markersize": 21, "fillstyle": "none", "markeredgewidth": 2.5},
    "minimum": {"marker": "*", "markersize": 17, "color": COLORS[4], "markeredgecolor": "black"},
    "zero": {"marker": "X", "markersize": 10, "color": COLORS[6], "markeredgecolor": "white"},
}
_MARKS["trained"] |= {"markeredgecolor": COLORS[1]}
_AXES = {
    "minimum": "along the minimum (norm of weights)",
    "trained": "towards the trained network (norm of weights)",
    "random": "random direction (norm of weights)",
}
_N_LEVELS = 20


class LandscapeDisplay:
    """The objective around zero weights, as curves along a scale or as a slice in a plane.

    The curves are those of networks with one number left, the scale of the last layer, into
    which the solution of the linear network is plugged: with three layers or more zero is a
    local minimum with each of the activations. The slice goes through zero, the exact minimum
    and the weights that training reached.

    Parameters
    ----------
    x : array-like of shape (n_x,)
        Scales, or first coordinates in the plane.
    objective : dict of str to array-like of shape (n_x,), or array-like of shape (n_y, n_x)
        Curves of objectives under their names, or those of the slice.
    y : array-like of shape (n_y,), default=None
        Second coordinates in the plane; None for curves.
    points : dict of str to tuple of floats, default=None
        Networks to mark: (x, objective) by curves, (x, y, objective) in slices. Their names
        may be "zero", "minimum" and "trained", or others.
    labels : tuple of two str, default=None
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the landscape.
    figure_ : matplotlib Figure
        Figure containing it.
    lines_ : dict of str to matplotlib Line2D
        The curves; empty for a slice.
    contour_ : matplotlib QuadContourSet or None
        The slice; None for curves.
    colorbar_ : matplotlib Colorbar or None
        Scale of the slice.
    points_ : dict of str to matplotlib Line2D
        The marks.

    See Also
    --------
    PhaseDiagramDisplay : What zero is at other decays and depths.
    sklearn_deeplinear.theory.zero_hessian : What zero is to second order.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35, Figure 2 (the curves).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.inspection import LandscapeDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> curves = LandscapeDisplay.from_data(X, y, depth=3, weight_decay=0.2)
    >>> list(curves.lines_)
    ['linear', 'ReLU', 'tanh', 'swish']
    >>> model = DeepLinearRegressor(depth=3, width=5, weight_decay=0.2, random_state=0).fit(X, y)
    >>> slice_ = LandscapeDisplay.from_estimator(model, X, y)
    >>> list(slice_.points_)
    ['trained', 'minimum', 'zero']
    """

    def __init__(self, x, objective, *, y=None, points=None, labels=None):
        self.x = x
        self.objective = objective
        self.y = y
        self.points = points
        self.labels = labels

    @classmethod
    def from_data(
        cls,
        X,
        y,
        *,
        sample_weight=None,
        depth=2,
        width=32,
        weight_decay=0.01,
        fit_intercept=True,
        activations=("identity", "relu", "tanh", "swish"),
        scales=None,
        ax=None,
        **plot_options,
    ):
        """Plug the linear solution into networks of several activations and draw them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None weights all equally.
        depth : int, default=2
            Number of layers L, at least two.
        width : int or sequence of L - 1 ints, default=32
            Hidden widths.
        weight_decay : float or sequence of L floats, default=0.01
            Positive penalties gamma_l.
        fit_intercept : bool, default=True
            Take the means from the data, and let each network have the intercept that is best
            for it.
        activations : sequence of {"identity", "relu", "tanh", "swish"}, default=all of them
            Activations of the hidden units.
        scales : array-like of shape (n_scales,), default=None
            Scales b of the last layer; None takes those around the stationary points.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : LandscapeDisplay

        Raises
        ------
        ValueError
            If a parameter is out of range, or there are several targets.

        Notes
        -----
        The layers are W_L = b 1^T, W_l = b_l 1 1^T with b_l >= 0 such that all of them have the
        penalty of W_L, and W_1 = 1 v^T, v being the best one of a linear network. A negative b
        turns v about, which only odd activations do not notice.
        """
        from sklearn_deeplinear.inspection._landscape_data import (
            ACTIVATIONS,
            ScaleFamily,
            default_scales,
        )
        from sklearn_deeplinear.theory import SecondMoments, global_minimum

        unknown = [name for name in activations if name not in ACTIVATIONS]
        if unknown or not len(activations):
            raise ValueError(
                f"activations must be some of {', '.join(ACTIVATIONS)}, got {list(activations)}."
            )
        moments = SecondMoments.from_data(X, y, sample_weight, center=fit_intercept)
        family = ScaleFamily.checked(moments, depth, width, weight_decay)
        minimum = global_minimum(moments, depth=depth, width=width, weight_decay=weight_decay)
        if scales is None:
            scales = default_scales(family, minimum.candidates)
        scales = as_array(scales, "scales")
        if scales.ndim != 1:
            raise ValueError(f"scales must have shape (n_scales,), got {scales.shape}.")
        rows = as_array(X, "X") - moments.mean_x
        targets = np.ravel(as_array(y, "y")) - moments.mean_y[0]
        curves = {
            _NAMES.get(name, name): family.objectives(scales, name, rows, targets, sample_weight)
            for name in activations
        }
        # The candidates are sorted; without correlation there are none, and zero is the minimum.
        best = 0.0 if minimum.is_zero else family.scale_of(minimum.candidates[0].scale)
        points = {
            "minimum": (best, minimum.objective),
            "zero": (0.0, moments.output_moment),
        }
        labels = "scale b of the last layer", "objective J"
        return cls(scales, curves, points=points, labels=labels).plot(ax=ax, **plot_options)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sample_weight=None,
        n_points=41,
        random_state=0,
        ax=None,
        **plot_options,
    ):
        """Draw the slice through zero, the exact minimum and the weights of an estimator.

        Many weights attain the minimum. Those that are drawn are the ones of
        :meth:`~sklearn_deeplinear.theory.GlobalMinimum.weights`, so that a network that was
        trained to the minimum commonly stands elsewhere, as low.

        Parameters
        ----------
        estimator : DeepLinearRegressor
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Inputs, those of `fit` for the objective that was minimised.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None weights all equally.
        n_points : int, default=41
            Points of the grid along each axis, at least two.
        random_state : int, RandomState instance or None, default=0
            Seed of the directions of the plane that the networks leave open, as where all of
            them lie on a line.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : LandscapeDisplay

        Raises
        ------
        TypeError
            If the estimator is not a linear network.
        ValueError
            If the data do not suit the estimator, or no weights attain the minimum.
        """
        from sklearn_deeplinear._arrays import on_host
        from sklearn_deeplinear.inspection._landscape_data import Plane, window
        from sklearn_deeplinear.theory import (
            GlobalMinimum,
            SecondMoments,
            expected_loss,
            global_minimum,
        )

        check_integer(n_points, "n_points", low=2)
        minimum = fitted(estimator, "global_minimum_", cls.__name__)
        if not isinstance(minimum, GlobalMinimum):
            raise TypeError(
                "estimator must be one linear network trained on the squared error for a "
                f"{cls.__name__}, got {type(estimator).__name__}."
            )
        trained, exact = on_host(fitted(estimator, "weights_", cls.__name__)), minimum.weights()
        moments = SecondMoments.from_data(X, y, sample_weight, center=estimator.fit_intercept)
        gamma, noise = minimum.weight_decay, minimum.noise

        def objective(layers):
            penalty = sum(g * np.sum(W**2) for g, W in zip(gamma, layers, strict=True))
            return float(expected_loss(layers, moments, noise) + penalty)

        plane = Plane.through(
            {"minimum": exact, "trained": trained}, check_random_state(random_state)
        )
        networks = {"trained": trained, "minimum": exact, "zero": [0 * W for W in exact]}
        points = {
            name: (*plane.coordinates(layers), objective(layers))
            for name, layers in networks.items()
        }
        # Where all of them are zero, least squares sets the size.
        free = global_minimum(moments, depth=minimum.depth, width=minimum.width).weights()
        size = float(np.sqrt(sum(np.sum(W**2) for W in free))) or 1.0
        x, across = window([point[:2] for point in points.values()], size, n_points)
        grid = np.array([[objective(plane.at(u, v)) for u in x] for v in across])
        labels = tuple(_AXES[source] for source in plane.sources)
        return cls(x, grid, y=across, points=points, labels=labels).plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, colorbar=True, line_kw=None, contour_kw=None, point_kw=None):
        """Draw the landscape and the marked networks.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        colorbar : bool, default=True
            Whether a slice gets a colour bar.
        line_kw : dict, default=None
            For the `plot` method of the axes, of curves.
        contour_kw : dict, default=None
            For their `contourf`, of slices.
        point_kw : dict, default=None
            For their `plot`, of the marks.

        Returns
        -------
        display : LandscapeDisplay
            Itself.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        self.lines_, self.points_ = {}, {}
        self.contour_ = self.colorbar_ = None
        if self.y is None:
            self._draw_curves(line_kw or {})
        else:
            self._draw_slice(colorbar, contour_kw or {})
        for name, point in (self.points or {}).items():
            look = {"linestyle": "none", "label": name, "zorder": 3, "marker": "s"}
            look |= {**_MARKS.get(name, {"color": COLORS[6]}), **(point_kw or {})}
            (self.points_[name],) = self.ax_.plot([point[0]], [point[1]], **look)
        if self.labels is not None:
            self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1])
        if self.lines_ or self.points_:
            legend_above(self.ax_)
        return self

    def _draw_curves(self, options):
        for index, (name, values) in enumerate(self.objective.items()):
            look = {
                "color": COLORS[index % len(COLORS)],
                "linestyle": _STYLES[index % len(_STYLES)],
                "label": name,
            }
            (self.lines_[name],) = self.ax_.plot(self.x, values, **{**look, **options})

    def _draw_slice(self, colorbar, options):
        grid = np.asarray(self.objective, dtype=float)
        look = {"cmap": "cividis", "levels": self._levels(grid), "extend": "max", **options}
        self.contour_ = self.ax_.contourf(self.x, self.y, grid, **look)
        self.ax_.set_aspect("equal")
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(self.contour_, ax=self.ax_, label="objective J")

    def _levels(self, grid):
        """Round levels up to somewhat above the marks: far off, the objective is far larger."""
        from matplotlib.ticker import MaxNLocator

        marks = [point[2] for point in (self.points or {}).values()]
        low = min([grid.min(), *marks])
        high = low + 1.5 * (max(marks, default=low) - low)
        if not high - low > 1e-3 * (np.median(grid) - low):
            high = np.median(grid)
        return MaxNLocator(_N_LEVELS, steps=[1, 2, 5, 10]).tick_values(low, high)
