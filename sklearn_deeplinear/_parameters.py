"""Checks of the parameters that describe a network, shared by theory and estimators.

Every function returns the parameter in its full form (one value per layer) and raises
an error that names the parameter and says what would be right.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np


def check_depth(depth, name="depth"):
    """Return `depth`, the number of weight matrices, as an int of at least 1."""
    return check_integer(depth, name, low=1)


def check_width(width, depth, name="width"):
    """Return the hidden widths (h_1, ..., h_{L-1}) as a tuple of ints."""
    if isinstance(width, Integral):
        return (check_integer(width, name, low=1),) * (depth - 1)
    if isinstance(width, (str, bytes)) or not np.iterable(width):
        raise TypeError(f"{name} must be an int or a sequence of ints, got {width!r}.")
    widths = list(width)
    if len(widths) != depth - 1:
        raise ValueError(
            f"{name} must be an int or have depth - 1 = {depth - 1} entries, "
            f"got {len(widths)} entries."
        )
    return tuple(check_integer(h, f"{name}[{i}]", low=1) for i, h in enumerate(widths))


def check_weight_decay(weight_decay, depth, name="weight_decay"):
    """Return (gamma_1, ..., gamma_L) as a float array, finite and not negative."""
    return _per_layer(weight_decay, depth, name, "depth")


def check_noise(noise, depth, name="noise"):
    """Return the noise variances (s_1, ..., s_{L-1}) of the hidden layers."""
    return _per_layer(noise, depth - 1, name, "depth - 1")


def _per_layer(value, n_layers, name, count):
    try:
        if isinstance(value, (bool, str, bytes)) or value is None:
            raise TypeError
        values = as_array(value, name)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a float or {count} floats, got {value!r}.") from None
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(f"{name} must be finite and at least 0, got {values.tolist()!r}.")
    if values.shape not in ((), (n_layers,)):
        raise ValueError(
            f"{name} must be a float or have {count} = {n_layers} entries, "
            f"got shape {values.shape}."
        )
    return np.full(n_layers, values)


def as_array(value, name):
    """Return `value` as a float64 array, itself if it is one; its shape is not checked."""
    try:
        array = np.asarray(value)
        # NumPy drops imaginary parts, and takes dates for numbers of days.
        if array.dtype.kind not in "cmM":
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} must be an array of real numbers, got {type(value).__name__}.")


def check_real(value, name, *, low=0.0, closed=True):
    """Return `value` as a finite float above `low` (or equal to it, if `closed`)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a float, got {value!r}.")
    number = as_float(value)
    if not np.isfinite(number) or number < low or (number == low and not closed):
        bound = "at least" if closed else "greater than"
        raise ValueError(f"{name} must be finite and {bound} {low:g}, got {value!r}.")
    return number


def as_float(value):
    """A real number, as fractions and integers of any size are, as a float."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def check_integer(value, name, *, low=0):
    """Return `value` as an int of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an int of at least {low}, got {value!r}.")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value!r}.")
    return int(value)
