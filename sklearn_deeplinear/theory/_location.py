"""Where weighted rows lie: their mean, their range and the sum of their weights.

Data sets merge by the gap between their means. Where the data vary by little more than the
rounding error of a mean, as times or coordinates do, that gap drowns in it: a mean is
therefore held to twice the working precision, as a float64 and what that leaves out. The
sum of the weights is held with an exponent of its own, for only ratios of weights matter
and these must not overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Values this close, relative to their size, differ by rounding errors only, as shares do that
# sum to one: such a column is worth no coefficient, which would be of the order of 1e15.
_CONSTANT = 8 * np.finfo(float).eps

# Entries of the rows that numpy gets to see, see `_side_by_side`.
_LONG_ROW = 512

# Rounding error of a mean, in the standard deviation, whose square changes no second moment.
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class Location:
    """Mean, range and total weight of the rows of a data set with p columns.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Weighted mean, rounded.
    low : ndarray of shape (p,)
        What rounding took from the mean: ``mean + low`` has twice the digits.
    least, largest : ndarray of shape (p,)
        Range of the values; NaN where it is not known.
    weight : float
        Sum of the weights is ``weight * 4**exponent``.
    exponent : int
        See `weight`.
    """

    mean: np.ndarray
    low: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    weight: float
    exponent: int

    @classmethod
    def of_means(cls, mean, sum_weight) -> Location:
        """Location of a population of which the mean alone is known."""
        unknown = np.full(len(mean), np.nan)
        return cls(mean, np.zeros(len(mean)), unknown, unknown, *_scaled(sum_weight))

    @classmethod
    def of_rows(cls, rows, weight, center, n_inputs) -> tuple[Location, float]:
        """Location of `rows` (n, p), which are centred in place.

        Rows of different weights are also multiplied by their square roots, up to a factor.

        Parameters
        ----------
        rows : ndarray of shape (n, p)
            Values, checked to be finite.
        weight : ndarray of shape (n,), or None
            Weights of any size, not all zero. Rows of weight zero count for the range.
        center : bool
            False takes the means as zero.
        n_inputs : int
            Number of columns that belong to X; the others belong to y.

        Returns
        -------
        location : Location
        scale : float
            Factor on `rows` after which their squares sum to the second moments.

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        n = len(rows)
        share, root, scale, total = weighed(weight, n)
        least, largest = _columnwise(np.minimum, rows), _columnwise(np.maximum, rows)
        finite = np.isfinite(least) & np.isfinite(largest)
        if not finite.all():
            name = "y" if finite[:n_inputs].all() else "X"
            raise ValueError(f"{name} must be finite: it holds NaN or infinity.")
        mean, low = np.zeros((2, rows.shape[1]))
        if center:
            # A mean lies within the range, which makes that of equal values exact. That of
            # what is left after subtracting it tells the rounding error of the mean.
            first = np.clip(share @ rows, least, largest)
            _subtract(first, rows)
            second = share @ rows
            # Values of equal weights have a standard deviation of range / sqrt(2 n) or more.
            spread = (largest - least) / np.sqrt(2 * n)
            if weight is not None or (np.abs(second) > _NEGLIGIBLE * spread).any():
                _subtract(second, rows)
            mean, low = two_sum(first, second)
        else:
            least = largest = np.full(rows.shape[1], np.nan)
        if root is not None:
            rows *= root[:, None]
        return cls(mean, low, least, largest, *total), scale

    @property
    def sum_weight(self) -> float:
        """Sum of the weights; infinity where it exceeds the largest float64."""
        with np.errstate(over="ignore"):
            return float(np.ldexp(self.weight, 2 * self.exponent))

    @property
    def constant(self) -> np.ndarray:
        """Whether the values of each column are equal up to rounding, bool of shape (p,)."""
        size = np.maximum(np.abs(self.least), np.abs(self.largest))
        return self.largest - self.least <= _CONSTANT * size

    def merged(self, other):
        """Merge with the location of other rows.

        Returns
        -------
        location : Location
        root, other_root : float
            Square roots of the shares of the two in the sum of the weights.
        gap : ndarray of shape (p,)
            Mean of `other` less that of `self`, as exact as the pairs are.
        """
        exponent = max(self.exponent, other.exponent)
        weights = [
            math.ldexp(part.weight, 2 * (part.exponent - exponent)) for part in (self, other)
        ]
        total = sum(weights)
        root, other_root = (
            math.ldexp(math.sqrt(part.weight / total), part.exponent - exponent)
            for part in (self, other)
        )
        difference, error = two_sum(other.mean, -self.mean)
        gap = difference + (error + (other.low - self.low))
        # From the mean of the heavier rows it is less than half of the gap to that of all,
        # and the lighter the other rows are the smaller is the rounding error.
        heavy, step = (self, gap * (weights[1] / total))
        if weights[1] > weights[0]:
            heavy, step = other, -gap * (weights[0] / total)
        mean, low = two_sum(heavy.mean, step)
        mean, low = two_sum(mean, low + heavy.low)
        mantissa, more = _scaled(total)
        location = Location(
            mean,
            low,
            np.minimum(self.least, other.least),
            np.maximum(self.largest, other.largest),
            mantissa,
            exponent + more,
        )
        return location, root, other_root, gap


def weighed(weight, n):
    """What rows of these weights, None for equal ones, count in a mean.

    Returns
    -------
    share : ndarray of shape (n,)
        Weights of sum one.
    root : ndarray of shape (n,), or None
    scale : float
        ``scale * root`` are the square roots of the shares, also of those that underflow.
    total : tuple of float and int
        Sum of the weights, see `Location`.
    """
    if weight is None:
        return np.full(n, 1 / n), None, n**-0.5, _scaled(float(n))
    exponent = _scaled(weight.max())[1]
    scaled = np.ldexp(weight, -2 * exponent)
    total = float(scaled.sum())
    root = np.ldexp(np.sqrt(weight), -exponent)
    mantissa, more = _scaled(total)
    return scaled / total, root, 1 / math.sqrt(total), (mantissa, exponent + more)


def shares_of(weight):
    """Weights in units of their sum, which may itself be no float64 number."""
    scaled = weight / weight.max()
    return scaled / scaled.sum()


def _side_by_side(rows):
    """Views of contiguous `rows` with many in one, along which numpy is up to ten times faster."""
    n, p = rows.shape
    many = max(1, min(n, _LONG_ROW // p))
    whole = n - n % many
    return [part for part in (rows[:whole].reshape(-1, many * p), rows[whole:]) if len(part)]


def _columnwise(ufunc, rows):
    """Reduce the columns of contiguous rows."""
    parts = [ufunc.reduce(part).reshape(-1, rows.shape[1]) for part in _side_by_side(rows)]
    return ufunc.reduce(np.concatenate(parts))


def _subtract(vector, rows):
    """Subtract a vector from contiguous rows, in place."""
    for part in _side_by_side(rows):
        part -= np.tile(vector, part.shape[1] // len(vector))


def _scaled(weight):
    """Mantissa between 1/4 and 1, and exponent to the base 4."""
    mantissa, exponent = math.frexp(weight)
    return (mantissa, exponent // 2) if exponent % 2 == 0 else (mantissa / 2, (exponent + 1) // 2)


def two_sum(a, b):
    """Sum of two arrays and its rounding error, exactly (Knuth, 1969)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
