"""Exact minima against the weight decay, with the decays at which networks collapse."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.inspection._plotting import (
    COLORS,
    axes_and_figure,
    legend_above,
    lone,
)

_STYLES = ("-", "--", ":", "-.")
_LABELS = {
    "coef": "coefficients",
    "singular_values": "singular values of the coefficients",
    "rank": "rank of the coefficients",
    "norm": "norm of the coefficients",
}
# Singular values below this part of the largest one on the path count as zero in the rank.
_RANK_TOLERANCE = 1e-8


class RegularisationPathDisplay:
    """Coefficients of the global minima against the weight decay, for one depth or several.

    Vertical lines mark the decays from which zero is the global minimum, where they are known.

    Parameters
    ----------
    weight_decays : array-like of shape (n_decays,)
        Positive decays, equal in all layers.
    coefs : dict of int to ndarray of shape (n_decays, n_outputs, n_features)
        Coefficients of the minima of each depth.
    critical : dict of int to float, default=None
        Decays at which the networks of these depths collapse; None marks none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure containing them.
    lines_ : dict of int to list of matplotlib Line2D
        Curves of each depth.
    critical_lines_ : dict of int to matplotlib Line2D
        The marked decays.

    See Also
    --------
    sklearn_deeplinear.theory.deep_linear_path : The minima.
    sklearn_deeplinear.theory.critical_weight_decay : The marked decays.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_deeplinear.inspection import RegularisationPathDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> display = RegularisationPathDisplay.from_data(
    ...     scale(X), scale(y), weight_decays=np.geomspace(0.001, 10, 50), depths=(2, 3)
    ... )
    >>> round(float(display.critical[2]), 3)
    1.208
    """

    def __init__(self, weight_decays, coefs, *, critical=None):
        self.weight_decays = weight_decays
        self.coefs = coefs
        self.critical = critical

    @classmethod
    def from_data(cls, X, y, *, weight_decays, depths=(2,), ax=None, **plot_options):
        """Solve for the minima on data and draw them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        weight_decays : array-like of shape (n_decays,)
            Positive decays, drawn in ascending order.
        depths : int or sequence of int, default=(2,)
            Numbers of layers.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        **plot_options
            Passed to :meth:`plot`.

        Returns
        -------
        display : RegularisationPathDisplay

        Raises
        ------
        ValueError
            If `weight_decays` are not positive or `depths` is empty.
        """
        from sklearn_deeplinear.theory import SecondMoments, deep_linear_path

        decays = np.asarray(weight_decays, dtype=float)
        if decays.ndim != 1 or not decays.size or not (decays > 0).all():
            raise ValueError("weight_decays must be positive numbers, for a logarithmic axis.")
        decays = np.sort(decays)
        depths = list(depths) if np.iterable(depths) else [depths]
        if not depths:
            raise ValueError("depths must hold at least one depth.")
        moments = SecondMoments.from_data(X, y)
        coefs = {
            depth: deep_linear_path(moments, weight_decays=decays, depth=depth).coefs
            for depth in depths
        }
        display = cls(decays, coefs, critical=_collapses(moments, depths))
        return display.plot(ax=ax, **plot_options)

    def plot(self, ax=None, *, quantity="coef", line_kw=None, critical_kw=None):
        """Draw one quantity against the decay.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes new ones.
        quantity : {"coef", "singular_values", "rank", "norm"}, default="coef"
            What to draw of the coefficients.
        line_kw : dict, default=None
            For the `plot` method of the axes.
        critical_kw : dict, default=None
            For their `axvline`.

        Returns
        -------
        display : RegularisationPathDisplay
            Itself.

        Raises
        ------
        ValueError
            If `quantity` is unknown.
        """
        if quantity not in _LABELS:
            raise ValueError(f"quantity must be one of {', '.join(_LABELS)}, got {quantity!r}.")
        self.ax_, self.figure_ = axes_and_figure(ax)
        self.lines_, self.critical_lines_ = {}, {}
        critical = self.critical or {}
        for index, (depth, coefs) in enumerate(self.coefs.items()):
            look = {
                "color": COLORS[index % len(COLORS)],
                "linestyle": _STYLES[index % len(_STYLES)],
                **lone(self.weight_decays),
            }
            lines = self.ax_.plot(
                self.weight_decays, _values(coefs, quantity), **{**look, **(line_kw or {})}
            )
            lines[0].set_label(f"{depth} layer{'s' if depth > 1 else ''}")
            self.lines_[depth] = lines
            if 0 < critical.get(depth, np.inf) < np.inf:  # zero has no place on the axis
                thin = {"color": look["color"], "linewidth": 0.8, "alpha": 0.7}
                self.critical_lines_[depth] = self.ax_.axvline(
                    critical[depth], **{**thin, **(critical_kw or {})}
                )
        if self.critical_lines_:
            next(reversed(self.critical_lines_.values())).set_label("zero is the minimum from here")
        self.ax_.set(xscale="log", xlabel="weight decay", ylabel=_LABELS[quantity])
        legend_above(self.ax_)
        return self


def _collapses(moments, depths):
    """Critical decays of those depths for which theory knows them."""
    from sklearn_deeplinear.theory import critical_weight_decay

    known = {}
    for depth in depths:
        try:
            known[depth] = critical_weight_decay(moments, depth=depth).collapse
        except ValueError:  # several outputs and more than two layers: none is known
            continue
    return known


def _values(coefs, quantity):
    """Curves in columns, one row a decay."""
    if quantity == "coef":
        return coefs.reshape(len(coefs), -1)
    if quantity == "norm":
        return np.linalg.norm(coefs, axis=(1, 2))
    values = np.linalg.svd(coefs, compute_uv=False)
    if quantity == "singular_values":
        return values
    return (values > _RANK_TOLERANCE * values.max()).sum(axis=1)
