"""Global minima of deep linear networks with one output and any convex loss.

The least penalty of a map of norm R is L g R^(2/L), so what is left is to minimise
v(R) + L g R^(2/L) over R >= 0, with v the convex function of :mod:`._ridge_path`. Tangents bound
v from below by a polygon, on each piece of which the sum is concave: it is least at a corner.
The path is refined where the lowest corner is until that is as high as the best point.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import (
    as_array,
    check_depth,
    check_real,
    check_weight_decay,
    check_width,
)
from sklearn_deeplinear.theory._batches import check_batch
from sklearn_deeplinear.theory._generalised_minimum_result import CERTIFIED_GAP, GeneralisedMinimum
from sklearn_deeplinear.theory._glm_losses import GLM_LOSSES
from sklearn_deeplinear.theory._norm_search import LAST_TAU, NormSearch
from sklearn_deeplinear.theory._problem import mean_log
from sklearn_deeplinear.theory._ridge_path import RidgePath

# Rounding errors of bounds, relative to the loss of the best constant.
_ROUNDING = 1e-13

# Logarithms of decays, in units of the data, are cut off here, before their powers overflow.
_EXTREME = 600.0


def generalised_minimum(
    X,
    y,
    *,
    loss="log_loss",
    depth,
    width=None,
    weight_decay=0.0,
    sample_weight=None,
    fit_intercept=True,
    delta=1.35,
    tol=1e-9,
) -> GeneralisedMinimum:
    """Global minimum of a deep linear network with one output and a convex loss.

    Minimises ``J = sum_i w_i V(f(x_i), y_i) / sum_i w_i + sum_l gamma_l ||W_l||_F^2`` with
    ``f(x) = W_L ... W_1 x + b`` over all weights and intercepts.

    Parameters
    ----------
    X : array-like of shape (n_samples, d)
        Inputs.
    y : array-like of shape (n_samples,)
        Targets. Of classes two values: -1 and 1, or 0 and 1.
    loss : {"log_loss", "squared_hinge", "squared_error", "huber"}, default="log_loss"
        V(f, y): ``log(1 + exp(-y f))``, ``max(1 - y f, 0)^2``, ``r^2`` with r = f - y, or
        ``r^2`` for ``|r| <= delta`` and ``2 delta |r| - delta^2`` beyond.
    depth : int
        Number of weight matrices L.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths. The minimum does not depend on them; its weights do.
    weight_decay : float or sequence of L floats, default=0.0
        Decays gamma_l.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights w_i of the samples.
    fit_intercept : bool, default=True
        Whether there is an intercept b, which is not penalised.
    delta : float, default=1.35
        Threshold of "huber", in units of y.
    tol : float, default=1e-9
        Relative gap between objective and lower bound at which the search ends.

    Returns
    -------
    minimum : GeneralisedMinimum
        Its ``kind`` tells what is known:

        ================================== ===================================
        problem                            kind
        ================================== ===================================
        depth 1                            exact
        no decay                           exact, or unattained if the map
                                           grows without bound, as of classes
                                           that a plane separates
        decay in some layers only          unattained, unless M = 0
        all others                         certified, or stationary if the gap
                                           could not be closed
        ================================== ===================================

    Raises
    ------
    ValueError
        If a parameter is out of range, the data are not finite, targets of classes have other
        values, or there is one class only beside an intercept.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35 (the penalty of one output).

    Examples
    --------
    >>> from sklearn_deeplinear.theory import generalised_minimum
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 1, 0, 1]
    >>> minimum = generalised_minimum(X, y, depth=3, weight_decay=0.001)
    >>> minimum.kind, minimum.coef.round(4)
    ('certified', array([[0.4147]]))
    >>> W_1, W_2, W_3 = minimum.weights()
    >>> (W_3 @ W_2 @ W_1).round(4)
    array([[0.4147]])
    """
    if loss not in GLM_LOSSES:
        raise ValueError(f"loss must be one of {sorted(GLM_LOSSES)}, got {loss!r}.")
    depth = check_depth(depth)
    width = None if width is None else check_width(width, depth)
    gamma = check_weight_decay(weight_decay, depth)
    delta = check_real(delta, "delta", closed=False)
    tol = check_real(tol, "tol")
    X, y, sample_weight = _check_data(X, y, sample_weight, loss, fit_intercept)
    path = RidgePath(X, y, loss, sample_weight, fit_intercept, delta)
    return minimum_on_path(path, depth=depth, width=width, gamma=gamma, tol=tol)


def minimum_on_path(path, *, depth, gamma, width=None, tol=1e-9) -> GeneralisedMinimum:
    """The minimum for the data of a `RidgePath`, of which several settings may share one.

    Parameters
    ----------
    path : RidgePath
        Gets as many further points as are needed.
    depth, width, gamma, tol
        Checked parameters of :func:`generalised_minimum`, with the decays as an array (L,).
    """
    setting = {"depth": depth, "width": width, "weight_decay": gamma}
    unit = path.unit_y**2
    if not gamma.all():
        return _without_decay(path, setting)
    log_g = mean_log(gamma)
    log_decay = path.log_decay(log_g, depth)
    if depth == 1:
        tau = float(np.exp(np.clip(log_decay, -_EXTREME, _EXTREME)))
        best = path.at(tau)
        if tau <= LAST_TAU:
            path.raised_floor()  # of slopes so small only rounding errors are left
        # level - slope R + g R^2 is least at R = slope / (2 g).
        lower_bound = best.level - best.slope * (best.slope / tau) / 4
    else:
        search = NormSearch(path, depth, log_decay).run(tol)
        best, lower_bound = search.best, search.lower_bound
    coef, intercept = path.coef(best)
    with np.errstate(divide="ignore"):
        penalty = float(depth * np.exp(log_decay + 2 / depth * np.log(best.radius)) * unit)
    loss = best.loss * unit
    objective = loss + penalty
    bound = min(max(lower_bound, path.floor) * unit, objective)
    rounding = _ROUNDING * path.points[0].loss * unit
    certified = objective - bound <= CERTIFIED_GAP * objective + rounding
    kind = ("exact" if depth == 1 else "certified") if certified else "stationary"
    return _result(coef, intercept, loss, penalty, kind, bound, **setting)


def _without_decay(path, setting):
    """The infimum if some decay is zero: scale can move where it costs nothing."""
    point, attained = path.unpenalised()
    coef, intercept = path.coef(point)
    loss = point.loss * path.unit_y**2
    if not attained and path.separates(point):
        loss = 0.0
    attained &= not (setting["weight_decay"].any() and coef.any())
    kind = "exact" if attained else "unattained"
    return _result(coef, intercept, loss, 0.0, kind, loss, **setting)


def _result(coef, intercept, loss, penalty, kind, lower_bound, **setting):
    return GeneralisedMinimum(
        coef=coef,
        intercept=intercept,
        objective=float(loss + penalty),
        loss=float(loss),
        penalty=penalty,
        kind=kind,
        lower_bound=float(lower_bound),
        is_zero=not coef.any(),
        **setting,
    )


def _check_data(X, y, sample_weight, loss, fit_intercept):
    """Finite float64 arrays, with classes as -1 and 1."""
    X, y, sample_weight = check_batch(X, y, sample_weight)
    if hasattr(X, "tocsr"):
        raise ValueError("X must be dense, got a sparse matrix.")
    X, y = as_array(X[:], "X"), as_array(y[:], "y")  # of frames and memory maps, too
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"y must have one column, got shape {y.shape}.")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("X and y must be finite.")
    if sample_weight is not None and not sample_weight.any():
        raise ValueError("sample_weight must have a positive sum, got zeros only.")
    if GLM_LOSSES[loss].of_classes:
        y = _signs(y, loss)
        seen = y if sample_weight is None else y[sample_weight > 0]
        if fit_intercept and np.all(seen == seen[0]):
            raise ValueError("y must hold two classes of positive weight, got one.")
    return X, y, sample_weight


def _signs(y, loss):
    values = set(np.unique(y))
    if not (values <= {-1.0, 1.0} or values <= {0.0, 1.0}):
        raise ValueError(f"y must hold -1 and 1, or 0 and 1, for the loss {loss!r}.")
    return np.where(y > 0, 1.0, -1.0)
