"""Extreme eigenvalues of the Hessian at the weights of an estimator or a module."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.dynamics.networks._curvature import module_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._data_loss import data_loss, is_module
from sklearn_deeplinear.dynamics.networks._module import checked_loss


def hessian_eigenvalues(
    estimator, X, y, *, k=1, which="LA", sample_weight=None, loss=None, weight_decay=0.0
) -> np.ndarray:
    """Extreme eigenvalues of the Hessian of the training objective, at the current weights.

    For linear networks the Hessian-vector products work on moments, so that their cost
    does not depend on the number of samples. Where an activation has a kink, the Hessian is
    that of the smooth piece that the weights lie in.

    Parameters
    ----------
    estimator : fitted estimator or torch.nn.Module
        The network. The estimators of this package bring their own loss and weight decay.
    X : array-like of shape (n_samples, d)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, m)
        Targets; for a classifier class labels.
    k : int, default=1
        Number of eigenvalues; multiple ones count as often as they occur.
    which : {"LA", "SA", "LM"}, default="LA"
        The largest eigenvalues, the smallest ones, or those largest in magnitude.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples; estimators only.
    loss : callable, default=None
        ``loss(module(X), y)``; modules only. None takes cross-entropy if y holds
        integers, and otherwise the squared error, summed over the outputs and averaged
        over the samples.
    weight_decay : float or sequence of floats, default=0.0
        gamma of the trainable parameters of two dimensions or more; modules only.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        The most extreme one first, NaN where the Hessian is not finite. Their errors are
        about 1e-9 of the norm of the Hessian at most; of those below a millionth of it a
        neighbour may be taken for the wanted one. Gradient descent is stable there while the
        largest is below ``2 / step_size``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, or belongs to the other kind
        of network, or if a loss is not a tensor of one element that depends on the parameters.

    References
    ----------
    .. [1] Cohen, J., Kaur, S., Li, Y., Kolter, J. Z., Talwalkar, A. (2021). "Gradient
       descent on neural networks typically occurs at the edge of stability." ICLR.

    Examples
    --------
    One mode of strength 2 with white inputs has curvature 2 L s^(2-2/L) = 8 at L = 2.

    >>> import numpy as np
    >>> from sklearn_deeplinear import DeepLinearRegressor
    >>> from sklearn_deeplinear.dynamics import hessian_eigenvalues
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([-2.0, 2.0])
    >>> model = DeepLinearRegressor(depth=2, solver="analytic").fit(X, y)
    >>> hessian_eigenvalues(model, X, y).round(8)
    array([8.])
    """
    if is_module(estimator, "estimator", "_hessian_eigenvalues", loss, weight_decay):
        if sample_weight is not None:
            raise ValueError("sample_weight must be None for a module: put it into its loss.")
        closure = checked_loss(data_loss(estimator, X, y, loss))
        return module_hessian_eigenvalues(
            estimator, closure, weight_decay=weight_decay, k=k, which=which
        )
    return estimator._hessian_eigenvalues(X, y, sample_weight, k=k, which=which)
