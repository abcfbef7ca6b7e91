"""Class probabilities out of the outputs of a network."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax


def nearest_distribution(outputs):
    """Project each row onto the probability simplex, the nearest one in squared error.

    Subtracts the same number from all classes and cuts off what is negative, so the order
    of the classes stays as it is.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_classes)
        Outputs trained on class indicators.

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes)

    References
    ----------
    .. [1] Held, M., Wolfe, P., Crowder, H. P. (1974). "Validation of subgradient
       optimization." Mathematical Programming 6, 62-88.
    """
    descending = -np.sort(-outputs, axis=1)
    counts = np.arange(1, outputs.shape[1] + 1)
    thresholds = (np.cumsum(descending, axis=1) - 1) / counts
    support = np.count_nonzero(descending > thresholds, axis=1)
    threshold = np.take_along_axis(thresholds, support[:, None] - 1, axis=1)
    return np.maximum(outputs - threshold, 0)


PROBABILITIES = {
    "cross_entropy": lambda outputs: softmax(outputs, axis=1),
    "squared_error": nearest_distribution,
}
