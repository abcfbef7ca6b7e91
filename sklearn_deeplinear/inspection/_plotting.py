"""Axes for the displays; matplotlib is imported only when something is drawn."""

from __future__ import annotations

# Okabe and Ito's colours (2008), which the colour-blind tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 4)))
# Characters that fit beside each other in a figure of the default size, and what the sample of
# a line takes of them.
_ROW, _HANDLE = 72, 6

_AGAINST = {"iteration": "iteration", "time": "time (sum of step sizes)"}


def abscissa_label(against):
    """Label of the horizontal axis `against` of a run."""
    if against not in _AGAINST:
        raise ValueError(f'against must be "iteration" or "time", got {against!r}.')
    return _AGAINST[against]


def lone(at):
    """A marker where there is one place only, at which a line shows nothing."""
    return {"marker": "o"} if len(at) == 1 else {}


def axes_and_figure(ax):
    """Return `ax` and its figure, new ones, with room for a legend above, if `ax` is None."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return ax, ax.figure


def legend_above(ax, handles=None):
    """A legend above the axes, where it covers no curve."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    ax.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.03),  # above the factor of the axis, such as 1e-5, too
        ncols=max(1, min(3, _ROW // (longest + _HANDLE))),
        frameon=False,
    )


def fitted(estimator, attribute, display):
    """Return a fitted attribute of an estimator, or say what is missing."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    try:
        return getattr(estimator, attribute)
    except AttributeError as error:
        raise TypeError(
            f"estimator must have the fitted attribute {attribute} for a {display}; "
            f"{type(estimator).__name__} has none."
        ) from error
