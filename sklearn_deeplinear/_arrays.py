"""The border of the estimators: arrays of any library come in, and results go back to theirs.

Under ``sklearn.config_context(array_api_dispatch=True)`` data may be torch tensors on any device,
or arrays of another library that follows the array API standard. Behind the border there are torch
tensors, which stay on the device where they came in, and NumPy arrays for all others; fitted
attributes and predictions are of the library and on the device of X, as scikit-learn has it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_deeplinear._compat import (
    _check_sample_weight,
    _convert_to_numpy,
    array_device,
    get_namespace,
)


@dataclass(frozen=True)
class Place:
    """Where arrays are.

    Attributes
    ----------
    xp : array API namespace or None
        Their library; None is NumPy.
    device : object or None
        Their device, as the library names it.
    """

    xp: Any = None
    device: Any = None

    @classmethod
    def of(cls, array) -> Place:
        """Place of an array; without array API dispatch whatever is given is read by NumPy."""
        xp, dispatched = get_namespace(array)
        if not dispatched or xp.__name__.endswith("numpy"):
            return NUMPY
        return cls(xp, array_device(array))

    def __str__(self):
        if self.xp is None:
            return "NumPy"
        return f'{self.xp.__name__.rpartition(".")[-1]} on device "{self.device}"'

    @property
    def is_torch(self):
        """Whether the library is torch."""
        return self.xp is not None and self.xp.__name__.endswith("torch")

    @property
    def float_dtypes(self):
        """Precisions to compute in, the highest one first."""
        if self.xp is None:
            return [np.float64, np.float32]
        known = self.xp.__array_namespace_info__().dtypes(kind="real floating", device=self.device)
        return [known[name] for name in ("float64", "float32") if name in known]

    def moved(self, value):
        """Arrays of numbers, in lists of any depth, moved here; anything else as it is."""
        if isinstance(value, list):
            return [self.moved(part) for part in value]
        if not _is_array(value) or Place.of(value) == self:
            return value
        if is_tensor(value) and self.is_torch:
            return value.to(self.device)
        array = on_host(value)
        if self.xp is None or array.dtype.kind not in "biuf":  # text is NumPy's alone
            return array
        if array.dtype == np.float64 and self.float_dtypes[0] != self.xp.float64:
            array = array.astype(np.float32)
        return self.xp.asarray(array.copy(), device=self.device)


NUMPY = Place()


def _is_array(value):
    return is_tensor(value) or hasattr(value, "__array_namespace__")


def is_tensor(value):
    """Whether `value` is a torch tensor."""
    torch = sys.modules.get("torch")  # which nobody has to load who has no tensors
    return torch is not None and isinstance(value, torch.Tensor)


def on_host(value):
    """Arrays, in lists of any depth, as NumPy arrays; anything else is the same object."""
    if isinstance(value, list):
        parts = [on_host(part) for part in value]
        same = all(part is own for part, own in zip(parts, value, strict=True))
        return value if same else parts
    if is_tensor(value):
        return value.numpy(force=True)
    if isinstance(value, np.ndarray | np.generic) or not _is_array(value):
        return value
    return _convert_to_numpy(value, value.__array_namespace__())


def move_results(estimator, place):
    """Put fitted arrays where the data came from; records and moments stay in NumPy."""
    if place != NUMPY:
        for name, value in vars(estimator).items():
            if name.endswith("_"):
                setattr(estimator, name, place.moved(value))


def read_data(estimator, X, y, *, labels=False, **options):
    """Check data as scikit-learn does, and bring them together where X is.

    Parameters
    ----------
    estimator : estimator
        The one that reads them.
    X, y : array-like
        Inputs and targets.
    labels : bool, default=False
        Whether the targets are labels, which come to the host.
    **options : dict
        For scikit-learn's ``validate_data``.

    Returns
    -------
    X, y : arrays
        Tensors on the device of X, if that is one, else NumPy arrays.
    """
    place = Place.of(X)
    _check_precision(X, "X")
    _check_precision(y, "y")
    if place != NUMPY and is_tensor(X):
        X = X.detach()
    X, y = validate_data(estimator, X, y, dtype=place.float_dtypes, **options)
    if place == NUMPY or not is_tensor(X):
        return on_host(X), on_host(y)
    return X, on_host(y) if labels else place.moved(y).detach()


def read_weight(sample_weight, X, **options):
    """Check sample weights, which are always NumPy's: they are one number for a row of X."""
    _check_precision(sample_weight, "sample_weight")
    rows = np.broadcast_to(0.0, (len(X), 1)) if is_tensor(X) else X
    return _check_sample_weight(on_host(sample_weight), rows, dtype=np.float64, **options)


def read_inputs(estimator, X, method, **options):
    """Check inputs of a fitted estimator, which must come from where it was fitted.

    Parameters
    ----------
    estimator : estimator
        It has `weights_` or `coef_`.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    method : str
        Name of the method that got them.
    **options : dict
        For scikit-learn's ``validate_data``.

    Returns
    -------
    X : array of shape (n_samples, n_features)
        In single or double precision, as it came in.

    Raises
    ------
    ValueError
        If the inputs are not valid, or are elsewhere than the data of `fit` were.
    """
    check_is_fitted(estimator)
    place, fitted = Place.of(X), getattr(estimator, "weights_", None) or estimator.coef_
    while isinstance(fitted, list):
        fitted = fitted[0]
    # Without dispatch the place of any array is NumPy's.
    if Place.of(fitted) != place or (place == NUMPY and not isinstance(fitted, np.ndarray)):
        raise ValueError(_elsewhere(type(estimator).__name__, method, fitted, place))
    _check_precision(X, "X")
    if place == NUMPY or not is_tensor(X):
        return validate_data(estimator, X, reset=False, dtype=place.float_dtypes, **options)
    checked = validate_data(estimator, X.detach(), reset=False, dtype=place.float_dtypes, **options)
    return X.to(checked.dtype)  # with its gradient, if it has one


def _elsewhere(name, method, fitted, place):
    message = (
        f"Inputs passed to {name}.{method}() must use the same namespace and the same device as "
        "those passed to fit()"
    )
    if not get_config()["array_api_dispatch"]:
        return (
            f"{message}, which were of type {type(fitted).__name__}: enable "
            "array_api_dispatch in sklearn.config_context."
        )
    return f"{message}: {Place.of(fitted)}, got {place}."


def _check_precision(array, name):
    """Refuse numbers of fewer digits than float32, which sums of many would lose."""
    place = Place.of(array)
    if place == NUMPY:
        return
    xp, dtype = place.xp, array.dtype
    if xp.isdtype(dtype, "real floating") and dtype not in (xp.float32, xp.float64):
        raise ValueError(
            f"{name} must be of float32, float64 or integers, got {dtype}: convert it to one of "
            "these."
        )


def linear_map(X, coef, intercept=None):
    """``X coef^T + intercept``, in the precision of NumPy for arrays of these, in any library."""
    xp = Place.of(X).xp
    if xp is not None:
        dtype = xp.result_type(X.dtype, coef.dtype)
        X, coef = xp.astype(X, dtype, copy=False), xp.astype(coef, dtype, copy=False)
    outputs = X @ (coef.T if coef.ndim == 2 else coef)
    return outputs if intercept is None else outputs + intercept


def largest(outputs):
    """Index of the largest number of each row of an array of any library."""
    place = Place.of(outputs)
    return outputs.argmax(axis=1) if place.xp is None else place.xp.argmax(outputs, axis=1)
