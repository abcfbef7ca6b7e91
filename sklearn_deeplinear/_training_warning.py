"""The warning of training that ended too early, one of scikit-learn's."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning


class TrainingWarning(ConvergenceWarning):
    """Training ended before it had converged.

    The text only names the case, so that the many fits of a search do not print many
    warnings; the numbers are attributes.

    Parameters
    ----------
    message : str, default=""
        What happened, and what helps.
    n_iter : int, default=None
        Number of iterations that led to the weights that were kept; an attribute.
    gradient_ratio : float, default=None
        Norm of the gradient at these weights, divided by its first value; an attribute.

    Examples
    --------
    >>> import warnings
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_deeplinear import DeepLinearRegressor, TrainingWarning
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", TrainingWarning)
    ...     model = DeepLinearRegressor(max_iter=3).fit(*load_iris(return_X_y=True))
    >>> caught[0].message.n_iter
    3
    >>> bool(1e-6 < caught[0].message.gradient_ratio < 1)
    True
    """

    def __init__(self, message="", *, n_iter=None, gradient_ratio=None):
        super().__init__(message)
        self.n_iter = n_iter
        self.gradient_ratio = gradient_ratio
