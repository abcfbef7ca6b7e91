"""Which pathway learns which mode: curves, shares and the phase plane."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from sklearn_deeplinear._parameters import check_integer
from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    STYLES,
    abscissa_label,
    axes_and_figure,
    fitted,
    legend_above,
    lone,
)

# Modes that are drawn unless others are asked for: more curves are hard to tell apart, and
# more numbers do not fit side by side.
_MODES = {"strengths": 4, "heatmap": 10, "phase_plane": 1}
# On the colour of this share black and white numbers have the same contrast, 4.6 to 1.
_DARK = 0.72


class PathwayDisplay:
    """Strengths of the modes of the data in each pathway, which compete for them.

    Parameters
    ----------
    trajectory : Trajectory
        Run with the `mode_strengths` of every record.
    final : array-like of shape (n_pathways, n_modes), default=None
        Strengths of the network that was kept; None takes the last record.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.
    figure_ : matplotlib Figure
        Figure containing them.
    lines_ : list of matplotlib Line2D
        Curves of the strengths, pathway by pathway, those of all modes in each; of the phase
        plane one for each mode.
    image_ : matplotlib AxesImage or None
        The heat map.
    text_ : ndarray of matplotlib Text of shape (n_pathways, n_modes), or None
        Its numbers.

    See Also
    --------
    TrajectoryDisplay : Loss and objective along the run.
    BalanceDisplay : Balance of the layers of each pathway.

    References
    ----------
    .. [1] Shi, J., Shea-Brown, E., Buice, M. A. (2022). "Learning dynamics of deep linear
       networks with multiple pathways." NeurIPS 35.

    Examples
    --------
    >>> from sklearn_deeplinear import MultiPathwayRegressor
    >>> from sklearn_deeplinear.datasets import make_hierarchical
    >>> from sklearn_deeplinear.inspection import PathwayDisplay
    >>> X, Y = make_hierarchical()
    >>> model = MultiPathwayRegressor(
    ...     3, 30, init="balanced", fit_intercept=False, max_iter=1000, tol=0, random_state=0
    ... ).fit(X, Y)
    >>> display = PathwayDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'mode strength'
    >>> display.plot(kind="heatmap").image_.get_array().shape
    (2, 8)
    """

    def __init__(self, trajectory, *, final=None):
        self.trajectory = trajectory
        self.final = final

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **plot_options):
        """Draw the pathways of a fitted estimator.

        Parameters
        ----------
        estimator : MultiPathwayRegressor
            Fitted.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : PathwayDisplay
        """
        final = fitted(estimator, "mode_strengths_", cls.__name__)
        return cls(estimator.trajectory_, final=final).plot(ax=ax, **plot_options)

    def plot(
        self,
        ax=None,
        *,
        kind="strengths",
        modes=None,
        pathways=(0, 1),
        against="iteration",
        line_kw=None,
        image_kw=None,
        text_kw=None,
    ):
        """Draw the strengths along the run, the shares at its end, or the phase plane.

        Modes and pathways are given by their indices in `mode_strengths`, from zero; what is
        drawn counts them from one.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        kind : {"strengths", "heatmap", "phase_plane"}, default="strengths"
            "strengths" draws curves along the run, a colour for each pathway and a style for
            each mode; "heatmap" the share of each pathway in each mode at the end, of the sum
            of absolute strengths; "phase_plane" the strength of a mode in one pathway against
            that in another, from the start (hollow) to the end (filled).
        modes : int or sequence of ints, default=None
            Modes to draw. None takes the first, those of the largest singular values: four for
            "strengths", ten for "heatmap", one for "phase_plane".
        pathways : pair of ints, default=(0, 1)
            Pathways of the phase plane.
        against : {"iteration", "time"}, default="iteration"
            Horizontal axis of "strengths".
        line_kw, image_kw, text_kw : dict, default=None
            For the `plot`, `imshow` and `text` methods of the axes.

        Returns
        -------
        display : PathwayDisplay
            Itself.

        Raises
        ------
        ValueError
            If `kind` or `against` is unknown, there is no such mode or pathway, or the run
            has no strengths.
        """
        if kind not in _MODES:
            raise ValueError(f"kind must be one of {', '.join(_MODES)}, got {kind!r}.")
        abscissa = abscissa_label(against)
        strengths = self._strengths()
        _, n_pathways, n_modes = strengths.shape
        modes = range(min(_MODES[kind], n_modes)) if modes is None else modes
        modes = _indices(modes, n_modes, "modes")
        if kind == "phase_plane":
            pathways = _indices(pathways, n_pathways, "pathways")
            if len(pathways) != 2:
                raise ValueError(f"pathways must be a pair of ints, got {pathways!r}.")
        self.ax_, self.figure_ = axes_and_figure(ax)
        self.lines_, self.image_, self.text_ = [], None, None
        if kind == "strengths":
            at = getattr(self.trajectory, against)
            self._draw_curves(at, strengths[:, :, modes], modes, line_kw or {})
            self.ax_.set(xlabel=abscissa, ylabel="mode strength")
        elif kind == "phase_plane":
            planes = strengths[:, pathways][:, :, modes]
            self._draw_plane(planes, pathways, modes, line_kw or {})
        else:
            final = strengths[-1] if self.final is None else np.asarray(self.final)
            self._draw_shares(_shares(final[:, modes]), modes, image_kw or {}, text_kw or {})
        return self

    def _strengths(self):
        strengths = self.trajectory.mode_strengths
        if strengths is None:
            raise ValueError("trajectory must have mode_strengths, those of several pathways.")
        if not strengths.shape[2]:
            raise ValueError("trajectory must have a mode: inputs and targets do not correlate.")
        return strengths

    def _draw_curves(self, at, strengths, modes, line_kw):
        from matplotlib.lines import Line2D

        styles = dict(zip(modes, cycle(STYLES), strict=False))
        keys = []
        for p, color in zip(range(strengths.shape[1]), cycle(COLORS), strict=False):
            for values, style in zip(strengths[:, p].T, styles.values(), strict=True):
                look = {"color": color, "linestyle": style, **lone(at), **line_kw}
                self.lines_ += self.ax_.plot(at, values, **look)
            keys.append(Line2D([], [], **{"color": color, **line_kw, "label": _pathway(p)}))
        for mode, style in styles.items():
            look = {"color": "gray", "linestyle": style, **line_kw, "label": _mode(mode)}
            keys.append(Line2D([], [], **look))
        legend_above(self.ax_, handles=keys)

    def _draw_plane(self, strengths, pathways, modes, line_kw):
        for mode, values, color in zip(modes, strengths.T, cycle(COLORS), strict=False):
            across, up = values
            look = {"color": color, "label": _mode(mode), **line_kw}
            (line,) = self.ax_.plot(across, up, **look)
            self.lines_.append(line)
            color = line.get_color()
            self.ax_.scatter(across[0], up[0], facecolors="white", edgecolors=color, zorder=3)
            self.ax_.scatter(across[-1], up[-1], color=color, zorder=3)
        self.ax_.axline((0, 0), slope=1, color="gray", linestyle=":", label="equal shares")
        names = [f"mode strength in {_pathway(p)}" for p in pathways]
        bounds = self.ax_.dataLim.get_points()
        low, high = bounds.min(), bounds.max()
        margin = 0.05 * (high - low) or 1.0
        both = (low - margin, high + margin)
        self.ax_.set(xlim=both, ylim=both, xlabel=names[0], ylabel=names[1], aspect="equal")
        legend_above(self.ax_)

    def _draw_shares(self, shares, modes, image_kw, text_kw):
        look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "aspect": "auto"}
        self.image_ = self.ax_.imshow(shares, **{**look, **image_kw})
        self.text_ = np.empty(shares.shape, dtype=object)
        for (p, k), share in np.ndenumerate(shares):
            look = {"color": "white" if share > _DARK else "black", "ha": "center", "va": "center"}
            self.text_[p, k] = self.ax_.text(k, p, f"{share:.2f}", **{**look, **text_kw})
        self.ax_.set_xticks(range(len(modes)), [mode + 1 for mode in modes])
        self.ax_.set_yticks(range(len(shares)), range(1, 1 + len(shares)))
        self.ax_.set(xlabel="mode", ylabel="pathway", title="share of the pathways in each mode")


def _indices(values, n, name):
    """List of indices below `n`, each of which is checked."""
    values = list(values) if np.iterable(values) else [values]
    for value in values:
        if check_integer(value, name) >= n:
            raise ValueError(f"{name} must be below {n}, got {value!r}.")
    return values


def _shares(strengths):
    """Shares of the pathways in the sum of absolute strengths, zero where no pathway has any."""
    size = np.abs(strengths)
    total = size.sum(axis=0)
    return size / np.where(total > 0, total, 1.0)


def _mode(index):
    return f"mode {index + 1}"


def _pathway(index):
    return f"pathway {index + 1}"
