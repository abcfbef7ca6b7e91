"""What zero weights are, a saddle or a minimum, against the decay and the depth or the signal."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import check_depth
from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    axes_and_figure,
    fitted,
    legend_above,
)

_PHASES = {
    "saddle": ("zero: a saddle", COLORS[5]),
    "local": ("zero: a local minimum", COLORS[4]),
    "global": ("zero: the global minimum", COLORS[3]),
}
_DEEPEST = 6
# Decays drawn by default: from so far below the first critical one to so far above the last.
_BELOW, _ABOVE, _N_DECAYS = 30.0, 3.0, 200
# Signals are drawn on a logarithmic axis if the last is so many times the first.
_WIDE = 20


class PhaseDiagramDisplay:
    """Where zero weights are a saddle, a local minimum or the global minimum of the objective.

    With two layers zero is a saddle up to the critical weight decay. With three or more it is a
    local minimum for every decay, in which training may end; from the decay of the *collapse*
    on it is the global one, and from that of the *spinodal* on the only one.

    Parameters
    ----------
    weight_decays : array-like of shape (n_decays,)
        Positive ascending decays, equal in all layers; the axis goes from the first to the last.
    depths : array-like of shape (n_rows,)
        Numbers of layers, at least two, of the rows of the diagram.
    collapse : array-like of shape (n_rows,)
        Decays from which zero is a global minimum.
    spinodal : array-like of shape (n_rows,)
        Decays from which there is no other minimum.
    signals : array-like of shape (n_rows,), default=None
        Norms of E[xy], ascending, if it is these that the rows differ in.
    network : tuple of two floats, default=None
        Decay and depth (or signal) of a network to mark.

    Attributes
    ----------
    phases : ndarray of shape (n_rows, n_decays), str
        "saddle", "local" or "global".
    ax_ : matplotlib Axes
        Axes with the diagram.
    figure_ : matplotlib Figure
        Figure containing it.
    regions_ : dict of str to matplotlib PolyCollection
        Areas of the phases that there are.
    collapse_line_ : matplotlib Line2D
        Critical line of the collapse.
    spinodal_line_ : matplotlib Line2D or None
        Critical line of the spinodal; None for two layers, which have none of their own.
    network_ : matplotlib Line2D or None
        Mark of the network.

    See Also
    --------
    sklearn_deeplinear.theory.critical_weight_decay : The critical lines.
    LandscapeDisplay : The objective of one network between zero and the minimum.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35, Figure 1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear.inspection import PhaseDiagramDisplay
    >>> from sklearn_deeplinear.theory import SecondMoments
    >>> X, y = load_diabetes(return_X_y=True)
    >>> moments = SecondMoments.from_data(scale(X), scale(y))
    >>> display = PhaseDiagramDisplay.from_moments(
    ...     moments, depths=(2, 3), weight_decays=[0.1, 1.0, 10.0]
    ... )
    >>> display.phases
    array([['saddle', 'saddle', 'global'],
           ['local', 'global', 'global']], dtype='<U6')
    """

    def __init__(self, weight_decays, depths, collapse, spinodal, *, signals=None, network=None):
        self.weight_decays = weight_decays
        self.depths = depths
        self.collapse = collapse
        self.spinodal = spinodal
        self.signals = signals
        self.network = network

    @property
    def phases(self):
        """What zero is for each row and decay, "saddle", "local" or "global"."""
        below = np.where(np.asarray(self.depths) == 2, "saddle", "local")[:, None]
        collapsed = np.asarray(self.weight_decays) >= np.asarray(self.collapse)[:, None]
        return np.where(collapsed, "global", below)

    @classmethod
    def from_moments(
        cls,
        moments,
        *,
        depths=None,
        signals=None,
        weight_decays=None,
        width=None,
        noise=0.0,
        ax=None,
        **plot_options,
    ):
        """Find the critical lines of data and draw them.

        Parameters
        ----------
        moments : SecondMoments
            Moments of the data; with three layers or more E[y x^T] must have rank one, as it
            has for a single output.
        depths : int or sequence of int, default=None
            Numbers of layers, at least two; None takes two to six. With `signals` it must be
            one number, and None takes two.
        signals : array-like of shape (n_signals,), default=None
            Positive ascending norms ||E[xy]|| that the cross moment of the data is scaled to,
            for a diagram of decay and signal; None draws decay and depth.
        weight_decays : array-like of shape (n_decays,), default=None
            Positive ascending decays; None takes a range that holds all critical ones.
        width : int or sequence of int, default=None
            Hidden widths; needed only with noise.
        noise : float or sequence of float, default=0.0
            Variances of the multiplicative noise on the hidden layers.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : PhaseDiagramDisplay

        Raises
        ------
        ValueError
            If a parameter is out of range, or the critical decays of the data are not known or
            zero.
        """
        display = cls(**_diagram(moments, depths, signals, weight_decays, width, noise))
        return display.plot(ax=ax, **plot_options)

    @classmethod
    def from_estimator(
        cls, estimator, *, depths=None, signals=None, weight_decays=None, ax=None, **plot_options
    ):
        """Draw the diagram of the data that an estimator was fitted to, and mark where it is.

        Of unequal decays the mark shows the geometric mean, which alone decides between the
        phases. Not marked is what is not in the diagram: a network without decay, as the axis is
        logarithmic, and one beyond the depths, signals or decays asked for.

        Parameters
        ----------
        estimator : DeepLinearRegressor
            Fitted, with two layers or more.
        depths : int or sequence of int, default=None
            Numbers of layers; None takes two to six, and up to that of the estimator. Ignored
            with `signals`. With one noise or, if there is noise, width per layer only the depth
            of the estimator can be drawn.
        signals : array-like of shape (n_signals,), default=None
            See :meth:`from_moments`; for the depth of the estimator.
        weight_decays : array-like of shape (n_decays,), default=None
            See :meth:`from_moments`; the range of None holds that of the estimator, too.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : PhaseDiagramDisplay

        Raises
        ------
        TypeError
            If the estimator is not a linear network.
        ValueError
            If a parameter is out of range, or the critical decays of the data are not known or
            zero.
        """
        from sklearn_deeplinear.theory import GlobalMinimum

        moments = fitted(estimator, "moments_", cls.__name__)
        minimum = fitted(estimator, "global_minimum_", cls.__name__)
        if not isinstance(minimum, GlobalMinimum):
            raise TypeError(
                "estimator must be one linear network trained on the squared error for a "
                f"{cls.__name__}, got {type(estimator).__name__}."
            )
        depth = minimum.depth
        width, noise = _common(minimum.width), _common(minimum.noise)
        if signals is not None:
            depths, where = depth, float(np.linalg.norm(moments.cross_moment, 2))
        else:
            where = depth
            alike = np.isscalar(noise) and (noise == 0 or np.isscalar(width))
            if depths is None:
                depths = range(2, max(_DEEPEST, depth) + 1) if alike else depth
        width = width if minimum.noise.any() else None
        decay = None
        if minimum.weight_decay.all():
            decay = float(np.exp(np.mean(np.log(minimum.weight_decay))))
        display = cls(**_diagram(moments, depths, signals, weight_decays, width, noise, decay))
        display.network = None if decay is None else (decay, where)
        return display.plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, region_kw=None, collapse_kw=None, spinodal_kw=None, network_kw=None):
        """Draw the phases, the critical lines and the network.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        region_kw : dict, default=None
            For their `fill_betweenx`, of all phases.
        collapse_kw, spinodal_kw, network_kw : dict, default=None
            For their `plot`.

        Returns
        -------
        display : PhaseDiagramDisplay
            Itself.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        decays = np.asarray(self.weight_decays, dtype=float)
        rows, heights = self._heights()
        depths, collapse, spinodal = (
            np.asarray(values, dtype=float)[rows]
            for values in (self.depths, self.collapse, self.spinodal)
        )
        low, high = decays.min(), decays.max()
        left = {"saddle": low, "local": low, "global": collapse}
        right = {
            "saddle": np.where(depths == 2, collapse, low),
            "local": np.where(depths > 2, collapse, low),
            "global": high,
        }
        self.regions_ = {}
        for phase, (label, color) in _PHASES.items():
            start, end = np.clip(left[phase], low, high), np.clip(right[phase], low, high)
            if (end > start).any():
                look = {"color": color, "alpha": 0.45, "linewidth": 0, "label": label}
                self.regions_[phase] = self.ax_.fill_betweenx(
                    heights, start, end, **{**look, **(region_kw or {})}
                )
        look = {"color": COLORS[6], "label": "collapse", **(collapse_kw or {})}
        (self.collapse_line_,) = self.ax_.plot(collapse, heights, **look)
        self.spinodal_line_ = self.network_ = None
        if (depths > 2).any():
            look = {"color": COLORS[6], "linestyle": "--", "label": "spinodal"}
            (self.spinodal_line_,) = self.ax_.plot(
                np.where(depths > 2, spinodal, np.nan), heights, **{**look, **(spinodal_kw or {})}
            )
        mark = self._mark(decays, heights)
        if mark is not None:
            look = {"color": COLORS[0], "marker": "*", "markersize": 14, "linestyle": "none"}
            look |= {"markeredgecolor": "white", "label": "this network", **(network_kw or {})}
            (self.network_,) = self.ax_.plot(*mark, **look)
        self.ax_.set(xscale="log", xlabel="weight decay", xlim=(low, high))
        self.ax_.set_ylim(heights.min(), heights.max())
        if self.signals is not None and heights[-1] > _WIDE * heights[0]:
            self.ax_.set_yscale("log")
        legend_above(self.ax_)
        return self

    def _heights(self):
        """Indices of rows and their heights: a point a signal, or a band a depth."""
        if self.signals is not None:
            self.ax_.set_ylabel("signal ||E[xy]||")
            return np.arange(len(self.signals)), np.asarray(self.signals, dtype=float)
        n_rows = len(self.depths)
        self.ax_.set_ylabel("number of layers")
        self.ax_.set_yticks(range(n_rows), labels=[str(depth) for depth in self.depths])
        rows = np.repeat(np.arange(n_rows), 2)
        return rows, rows + np.tile([-0.5, 0.5], n_rows)

    def _mark(self, decays, heights):
        """Decay and height of the network; None if it is not in the diagram."""
        if self.network is None:
            return None
        decay, where = self.network
        if self.signals is None:
            depths = list(self.depths)
            where = depths.index(where) if where in depths else np.inf
        inside = decays.min() <= decay <= decays.max() and heights.min() <= where <= heights.max()
        return ([decay], [where]) if inside else None


def _diagram(moments, depths, signals, weight_decays, width, noise, marked=None):
    """What the constructor takes, for the critical decays of data and one to be `marked`."""
    from sklearn_deeplinear.theory import critical_weight_decay

    if depths is None:
        depths = range(2, _DEEPEST + 1) if signals is None else 2
    depths = list(depths) if np.iterable(depths) else [depths]
    depths = np.array([check_depth(depth, "depths") for depth in depths], dtype=int)
    if not depths.size or (depths < 2).any():
        raise ValueError(
            "depths must be at least 2: with one layer no decay makes zero stationary, "
            f"got {depths.tolist()}."
        )
    critical = [
        critical_weight_decay(moments, depth=int(depth), width=width, noise=noise)
        for depth in depths
    ]
    collapse, spinodal = np.array([(each.collapse, each.spinodal) for each in critical]).T
    if not collapse.all():
        raise ValueError("moments must have a cross moment; without one zero is always best.")
    if signals is not None:
        if depths.size > 1:
            raise ValueError(f"depths must be one number with signals, got {depths.tolist()}.")
        signals = _ascending(signals, "signals")
        # The family's equation has S squared on one side and gamma^(L / (L - 1)) on the other.
        relative = signals / np.linalg.norm(moments.cross_moment, 2)
        factors = relative ** (2 * (depths[0] - 1) / depths[0])
        collapse, spinodal, depths = (
            collapse * factors,
            spinodal * factors,
            np.repeat(depths, len(signals)),
        )
    if weight_decays is None:
        low, high = collapse.min() / _BELOW, spinodal.max() * _ABOVE
        if marked is not None:
            low, high = min(low, marked / _ABOVE), max(high, marked * _ABOVE)
        weight_decays = np.geomspace(low, high, _N_DECAYS)
    return {
        "weight_decays": _ascending(weight_decays, "weight_decays"),
        "depths": depths,
        "collapse": collapse,
        "spinodal": spinodal,
        "signals": signals,
    }


def _ascending(values, name):
    values = np.asarray(values, dtype=float)
    if not (values.ndim == 1 and len(values) > 1 and values[0] > 0 and (np.diff(values) > 0).all()):
        raise ValueError(f"{name} must be two or more positive ascending numbers.")
    return values


def _common(values):
    """The number that all of `values` are, else all of them; None of None."""
    if values is None:
        return None
    values = tuple(values)
    return values[0] if len(set(values)) == 1 else values
