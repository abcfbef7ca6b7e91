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
    def of_rows(cls, rows, weight, center) -> Location:
        """Location of `rows` (n, p), which are centred in place and scaled by sqrt(share).

        Parameters
        ----------
        rows : ndarray of shape (n, p)
            Finite values.
        weight : ndarray of shape (n,), or None
            Weights of any size, not all zero. Rows of weight zero count for the range.
        center : bool
            False takes the means as zero.
        """
        if weight is None:
            exponent, total = 0, float(len(rows))
            share, root = np.full(len(rows), 1 / len(rows)), np.full(len(rows), len(rows) ** -0.5)
        else:
            exponent = _scaled(weight.max())[1]
            scaled = np.ldexp(weight, -2 * exponent)
            total = float(scaled.sum())
            # A share may underflow where its root, which scales the row, does not.
            share, root = scaled / total, np.ldexp(np.sqrt(weight), -exponent) / math.sqrt(total)
        mean, low = np.zeros((2, rows.shape[1]))
        least = largest = np.full(rows.shape[1], np.nan)
        if center:
            least, largest = rows.min(axis=0), rows.max(axis=0)
            # A mean lies within the range, which makes that of equal values exact. That of
            # what is left after subtracting it tells the rounding error of the mean.
            first = np.clip(share @ rows, least, largest)
            rows -= first
            second = share @ rows
            rows -= second
            mean, low = _two_sum(first, second)
        rows *= root[:, None]
        mantissa, more = _scaled(total)
        return cls(mean, low, least, largest, mantissa, exponent + more)

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
        difference, error = _two_sum(other.mean, -self.mean)
        gap = difference + (error + (other.low - self.low))
        # From the mean of the heavier rows it is less than half of the gap to that of all,
        # and the lighter the other rows are the smaller is the rounding error.
        heavy, step = (self, gap * (weights[1] / total))
        if weights[1] > weights[0]:
            heavy, step = other, -gap * (weights[0] / total)
        mean, low = _two_sum(heavy.mean, step)
        mean, low = _two_sum(mean, low + heavy.low)
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


def shares_of(weight):
    """Weights in units of their sum, which may itself be no float64 number."""
    scaled = weight / weight.max()
    return scaled / scaled.sum()


def _scaled(weight):
    """Mantissa between 1/4 and 1, and exponent to the base 4."""
    mantissa, exponent = math.frexp(weight)
    return (mantissa, exponent // 2) if exponent % 2 == 0 else (mantissa / 2, (exponent + 1) // 2)


def _two_sum(a, b):
    """Sum of two arrays and its rounding error, exactly (Knuth, 1969)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
