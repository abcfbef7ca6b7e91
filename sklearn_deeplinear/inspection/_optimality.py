"""What training reached, the exact minimum, and what is proven, for several fits."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_deeplinear.inspection._plotting import COLORS, axes_and_figure, legend_above, lone
from sklearn_deeplinear.inspection._refitted import best_refitted

_TRAINED, _EXACT, _PROVEN = COLORS[1], COLORS[0], COLORS[5]


class OptimalityDisplay:
    """Objectives of trained networks above their exact minima, and lower bounds below.

    Points on the line have been trained to the global minimum. Between the line and the bound,
    which meet where the minimum is proven to be global, nothing is known.

    Parameters
    ----------
    values : array-like of shape (n_fits,)
        What the fits differ in, such as the weight decay or the depth.
    objective : array-like of shape (n_fits,)
        Objectives that training reached.
    minimum : array-like of shape (n_fits,)
        Objectives of the exact minima.
    lower_bound : array-like of shape (n_fits,), default=None
        Proven lower bounds; None takes the minima.
    name : str, default=None
        Name of the values, for the horizontal axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing them.
    trained_ : matplotlib Line2D
        Markers of the trained networks.
    minimum_line_ : matplotlib Line2D
        Line of the minima.
    unknown_ : matplotlib PolyCollection or None
        Area between bounds and minima; None where all bounds meet the minima.

    See Also
    --------
    TrajectoryDisplay : One run on its way to the minimum.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.inspection import OptimalityDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> fits = [
    ...     DeepLinearRegressor(weight_decay=gamma, max_iter=5000).fit(scale(X), scale(y))
    ...     for gamma in np.geomspace(0.01, 1, 5)
    ... ]
    >>> display = OptimalityDisplay.from_estimators(fits)
    >>> bool((display.objective - display.minimum < 1e-6).all())
    True
    """

    def __init__(self, values, objective, minimum, *, lower_bound=None, name=None):
        self.values = values
        self.objective = objective
        self.minimum = minimum
        self.lower_bound = lower_bound
        self.name = name

    @classmethod
    def from_estimators(cls, estimators, *, param="weight_decay", ax=None, **plot_options):
        """Draw fitted estimators that differ in one parameter.

        Parameters
        ----------
        estimators : list of estimators
            Fitted, with a ``global_minimum_``, in the order in which they are to be drawn.
        param : str, default="weight_decay"
            Parameter that they differ in, a number.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : OptimalityDisplay

        Raises
        ------
        ValueError
            If there are no estimators, or `param` is not a number of each.
        TypeError
            If one of them knows no minimum.
        """
        if not len(estimators):
            raise ValueError("estimators must hold at least one fitted estimator.")
        for estimator in estimators:
            check_is_fitted(estimator)
        values = [_number(estimator, param) for estimator in estimators]
        return cls._of_fits(values, estimators, param).plot(ax=ax, **plot_options)

    @classmethod
    def from_search(
        cls,
        search,
        X=None,
        y=None,
        *,
        param="weight_decay",
        fit_params=None,
        ax=None,
        **plot_options,
    ):
        """Draw the candidates of a fitted search against one parameter.

        Searches keep scores of folds, and no objectives: for each value of the parameter the
        candidate with the best score is fitted again, to all data.

        Parameters
        ----------
        search : GridSearchCV, BatchedGridSearchCV, ..., or DeepLinearRegressorCV
            Fitted search over networks that know their minimum, alone or as the last step of a
            pipeline.
        X : array-like of shape (n_samples, n_features), default=None
            Inputs; may be None for DeepLinearRegressorCV, which keeps their moments.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets, likewise.
        param : str, default="weight_decay"
            Parameter for the horizontal axis, a number. The name of a step before it may be
            left out.
        fit_params : dict, default=None
            Passed to `fit`, such as sample weights.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : OptimalityDisplay

        Raises
        ------
        ValueError
            If `param` was not searched or is not a number, data are missing, or the search does
            not choose by one metric.
        TypeError
            If `search` is none, or its networks know no minimum.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.preprocessing import scale
        >>> from sklearn_deeplinear import DeepLinearRegressor
        >>> from sklearn_deeplinear.inspection import OptimalityDisplay
        >>> from sklearn_deeplinear.model_selection import BatchedGridSearchCV
        >>> X, y = load_diabetes(return_X_y=True)
        >>> X, y = scale(X), scale(y)
        >>> grid = {"weight_decay": [0.01, 0.1, 1.0], "depth": [1, 2]}
        >>> model = DeepLinearRegressor(width=10, max_iter=300, tol=0)
        >>> search = BatchedGridSearchCV(model, grid, cv=3).fit(X, y)
        >>> display = OptimalityDisplay.from_search(search, X, y)
        >>> display.values
        array([0.01, 0.1 , 1.  ])
        """
        values, networks = best_refitted(search, X, y, param, fit_params)
        return cls._of_fits(values, networks, param).plot(ax=ax, **plot_options)

    @classmethod
    def _of_fits(cls, values, estimators, param):
        minima = [_minimum_of(estimator) for estimator in estimators]
        return cls(
            np.array(values),
            np.array([estimator.objective_ for estimator in estimators]),
            np.array([minimum.objective for minimum in minima]),
            lower_bound=np.array([minimum.lower_bound for minimum in minima]),
            name=param.rpartition("__")[2],
        )

    def plot(self, ax=None, *, trained_kw=None, minimum_kw=None, unknown_kw=None):
        """Draw what was trained, the minima, and what is unknown below them.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        trained_kw, minimum_kw : dict, default=None
            For the `plot` method of the axes.
        unknown_kw : dict, default=None
            For their `fill_between`.

        Returns
        -------
        display : OptimalityDisplay
            Itself.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        values, minimum = np.asarray(self.values), np.asarray(self.minimum)
        bound = minimum if self.lower_bound is None else np.asarray(self.lower_bound)
        # A single minimum is a ring around what has been trained to it.
        ring = {"markersize": 12, **lone(values)}
        exact = {"color": _EXACT, "label": "exact minimum", **ring, **(minimum_kw or {})}
        (self.minimum_line_,) = self.ax_.plot(values, minimum, **exact)
        self.unknown_ = None
        if (bound < minimum - 1e-8 * np.abs(minimum)).any():
            area = {"color": _PROVEN, "alpha": 0.4, "linewidth": 0, "label": "not excluded"}
            self.unknown_ = self.ax_.fill_between(
                values, bound, minimum, **{**area, **(unknown_kw or {})}
            )
        trained = {"color": _TRAINED, "marker": "o", "linestyle": "none", "label": "trained"}
        (self.trained_,) = self.ax_.plot(
            values, self.objective, **{**trained, **(trained_kw or {})}
        )
        name = "value" if self.name is None else self.name.replace("_", " ")
        self.ax_.set(xlabel=name, ylabel="objective J")
        positive = (values > 0).all()
        if positive and values.max() > 20 * values.min():
            self.ax_.set_xscale("log")
        elif (values == np.round(values)).all():  # no ticks between depths
            self.ax_.xaxis.get_major_locator().set_params(integer=True)
        legend_above(self.ax_)
        return self


def _minimum_of(estimator):
    try:
        return estimator.global_minimum_
    except AttributeError as error:
        raise TypeError(
            f"estimators must have a global_minimum_; {type(estimator).__name__} has none."
        ) from error


def _number(estimator, param):
    params = estimator.get_params()
    if param not in params:
        raise ValueError(f"param must be a parameter of the estimators, got {param!r}.")
    if not np.isscalar(params[param]) or isinstance(params[param], str):
        raise ValueError(f"param must be a number of each estimator, {param!r} is not.")
    return float(params[param])
