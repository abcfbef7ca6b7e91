"""Data by which NIST judges programs for linear regression, and digits of coefficients."""

import json
from pathlib import Path

import numpy as np

SETS = json.loads((Path(__file__).parent / "data" / "nist_linear.json").read_text())["sets"]

# Certified coefficients have fifteen digits.
_DIGITS = 15.0


def data_of(name):
    """Inputs (n, d), targets (n,) and certified coefficients, the intercept first."""
    entry = SETS[name]
    X, y = np.array(entry["x"], dtype=float), np.array(entry["y"], dtype=float)
    if X.ndim == 1:
        X = X[:, None] ** np.arange(1, entry["degree"] + 1)
    return X, y, np.array(entry["coefficients"])


def digits(coefficients, certified):
    """Least number of decimal digits in which coefficients agree with the certified ones."""
    error = np.abs(np.asarray(coefficients) - certified) / np.abs(certified)
    return float(np.clip(-np.log10(np.maximum(error, 10**-_DIGITS)), 0, _DIGITS).min())


def least_squares(X, y, equal_columns=False):
    """Coefficients by numpy's lstsq, on columns of the given sizes or of length one."""
    Z = np.column_stack([np.ones(len(y)), X])
    length = np.linalg.norm(Z, axis=0) if equal_columns else np.ones(Z.shape[1])
    return np.linalg.lstsq(Z / length, y)[0] / length
