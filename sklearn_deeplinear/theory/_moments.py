"""Second moments of a data set, held as a triangular factor.

A linear network sees its training data only through A = E[x x^T], S = E[y x^T] and
c = E||y||^2. Forming A squares the condition number of the data, so the moments are
held as an upper-triangular factor R with R^T R = E[(x, y) (x, y)^T]: the least-squares
solution read off R is as accurate as one computed from the data, and two factors merge
by one more QR decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# A block of rows is centred and copied to float64; 32 MB keeps that copy small beside
# the data and large beside the factor it is folded into.
_BLOCK_BYTES = 2**25

# BLAS libraries work on larger blocks with threads, which then spin for tens of
# milliseconds: longer than it takes to train on a small data set.
_SMALL_DATA_BYTES = 2**19
_SMALL_BLOCK_BYTES = 2**16


@dataclass(frozen=True)
class Spectrum:
    """Singular value decomposition R_x = U diag(sigma) V^T of the input factor.

    Attributes
    ----------
    sigma : ndarray of shape (k,)
        Singular values, descending; their squares are the non-zero eigenvalues of A.
        Directions whose singular value is rounding error are left out.
    directions : ndarray of shape (d, k)
        V, orthonormal columns: the eigenvectors of A.
    targets : ndarray of shape (k, m)
        U^T R_y, so that S = targets^T diag(sigma) V^T.
    residual : float
        Mean squared error of least squares, c - ||targets||_F^2 without cancellation.
    """

    sigma: np.ndarray
    directions: np.ndarray
    targets: np.ndarray
    residual: float


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """Weighted second moments of inputs and targets, centred by default.

    Build them with :meth:`from_data`, :meth:`from_batches` or :meth:`from_moments`;
    ``a + b`` merges the moments of two data sets.

    Attributes
    ----------
    factor : ndarray of shape (k, d + m), float64
        Factor of the second moments: ``factor.T @ factor`` is the weighted mean of
        ``(x, y) (x, y)^T``, with x and y centred unless ``centered`` is False.
    mean_x : ndarray of shape (d,)
        Weighted mean of the inputs; zero when the moments are not centred.
    mean_y : ndarray of shape (m,)
        Weighted mean of the targets; zero when the moments are not centred.
    n_samples : int
        Number of rows seen, rows of weight zero included.
    sum_weight : float
        Sum of the sample weights.
    centered : bool
        Whether the means were taken out.
    single_target : bool
        Whether the targets were given as a vector; predictions then are vectors too.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_deeplinear.theory import SecondMoments
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> moments = SecondMoments.from_data(X, y)
    >>> moments.input_moment.round(4), moments.cross_moment.round(4)
    (array([[0.6667]]), array([[1.3333]]))
    >>> halves = SecondMoments.from_data(X[:1], y[:1]) + SecondMoments.from_data(X[1:], y[1:])
    >>> np.allclose(halves.input_moment, moments.input_moment)
    True
    """

    factor: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray
    n_samples: int
    sum_weight: float
    centered: bool = True
    single_target: bool = False

    @classmethod
    def from_data(cls, X, y, sample_weight=None, *, center=True):
        """Moments of a data set, read in blocks of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, d)
            Inputs: an array, a memmap, or anything of two dimensions whose slices of
            rows convert to arrays (dask, zarr, h5py). Never copied whole.
        y : array-like of shape (n_samples,) or (n_samples, m)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative and not all zero; None weights all rows
            equally.
        center : bool, default=True
            Take the weighted means out. False gives the moments about zero, for
            models without intercept.

        Returns
        -------
        moments : SecondMoments

        Raises
        ------
        ValueError
            If shapes do not match, there is no row, values are not finite, or the
            weights are negative or sum to zero.
        """
        X, y = _sliceable(X, "X"), _sliceable(y, "y")
        if len(X.shape) != 2 or X.shape[0] == 0 or X.shape[1] == 0:
            raise ValueError(f"X must have shape (n_samples, d), not empty; got {X.shape}.")
        if len(y.shape) not in (1, 2) or y.shape[0] != X.shape[0] or 0 in y.shape:
            raise ValueError(
                f"y must have shape ({X.shape[0]},) or ({X.shape[0]}, m) to match X; got {y.shape}."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X.shape[0])
        total = None
        for rows in _row_blocks(X.shape[0], X.shape[1] + (y.shape[1] if y.ndim == 2 else 1)):
            weight = None if sample_weight is None else sample_weight[rows]
            if weight is not None and not weight.any():
                continue
            block = cls._from_block(X[rows], y[rows], weight, center)
            total = block if total is None else total + block
        return cls(
            **{**total.__dict__, "n_samples": X.shape[0], "single_target": len(y.shape) == 1}
        )

    @classmethod
    def from_batches(cls, batches, *, center=True):
        """Moments of a data set that arrives in batches.

        Parameters
        ----------
        batches : iterable of (X, y) or (X, y, sample_weight)
            Batches as :meth:`from_data` takes them.
        center : bool, default=True
            Take the weighted means out.

        Returns
        -------
        moments : SecondMoments

        Raises
        ------
        ValueError
            If there is no batch, or one is not valid for :meth:`from_data`.
        """
        total = None
        for batch in batches:
            moments = cls.from_data(*batch, center=center)
            total = moments if total is None else total + moments
        if total is None:
            raise ValueError("batches must hold at least one batch of data, got none.")
        return total

    @classmethod
    def from_moments(cls, input_moment, cross_moment, output_moment):
        """Moments given as matrices, for populations and worked examples.

        Parameters
        ----------
        input_moment : array-like of shape (d, d)
            A = E[x x^T], symmetric and positive semi-definite.
        cross_moment : array-like of shape (m, d)
            S = E[y x^T].
        output_moment : float
            c = E||y||^2, at least what the inputs explain of it.

        Returns
        -------
        moments : SecondMoments
            With zero means, one sample and weight one.

        Raises
        ------
        ValueError
            If the matrices do not fit each other or are moments of no distribution.
        """
        A = np.atleast_2d(np.asarray(input_moment, dtype=np.float64))
        S = np.atleast_2d(np.asarray(cross_moment, dtype=np.float64))
        c = float(output_moment)
        m, d = S.shape
        if A.shape != (d, d):
            raise ValueError(
                f"input_moment must have shape ({d}, {d}) to match cross_moment, got {A.shape}."
            )
        if not (np.isfinite(A).all() and np.isfinite(S).all() and np.isfinite(c)):
            raise ValueError("input_moment, cross_moment and output_moment must be finite.")
        if not np.allclose(A, A.T, rtol=1e-10, atol=1e-12 * np.abs(A).max()):
            raise ValueError("input_moment must be symmetric.")
        eigenvalues, V = np.linalg.eigh((A + A.T) / 2)
        top = max(eigenvalues[-1], 0.0)
        keep = eigenvalues > d * np.finfo(float).eps * top
        if eigenvalues[0] < -1e-10 * top:
            raise ValueError("input_moment must be positive semi-definite.")
        sigma, V = np.sqrt(eigenvalues[keep]), V[:, keep]
        R_x = sigma[:, None] * V.T
        R_xy = (V.T @ S.T) / sigma[:, None]
        if not np.allclose(R_xy.T @ R_x, S, rtol=1e-8, atol=1e-8 * np.abs(S).max()):
            raise ValueError("cross_moment must lie in the range of input_moment.")
        residual = c - np.sum(R_xy**2)
        if residual < -1e-10 * abs(c):
            raise ValueError(
                f"output_moment must be at least {np.sum(R_xy**2):g}, what the inputs explain; "
                f"got {c:g}."
            )
        # Only the trace of the output moment enters a squared loss, so the unexplained
        # part may be spread evenly over the outputs.
        R_yy = np.sqrt(max(residual, 0.0) / m) * np.eye(m)
        factor = np.block([[R_x, R_xy], [np.zeros((m, d)), R_yy]])
        return cls(factor, np.zeros(d), np.zeros(m), 1, 1.0, True, False)

    @classmethod
    def _from_block(cls, X, y, weight, center):
        X = np.asarray(X, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        y = y[:, None] if y.ndim == 1 else y
        if not (np.isfinite(X).all() and np.isfinite(y).all()):
            raise ValueError("X and y must be finite: they hold NaN or infinity.")
        rows = np.concatenate([X, y], axis=1)
        share = np.full(len(X), 1 / len(X)) if weight is None else weight / weight.sum()
        means = np.zeros(rows.shape[1])
        if center:
            # A mean of many rows carries rounding error; the mean of what is left after
            # subtracting it tells how much.
            for _ in range(2):
                correction = share @ rows
                means += correction
                rows -= correction
        rows *= np.sqrt(share)[:, None]
        factor = np.linalg.qr(rows, mode="r")
        sum_weight = float(len(X)) if weight is None else float(weight.sum())
        return cls(factor, means[: X.shape[1]], means[X.shape[1] :], len(X), sum_weight, center)

    def __add__(self, other):
        """Moments of the two data sets together, from their factors alone."""
        if not isinstance(other, SecondMoments):
            return NotImplemented
        if self.factor.shape[1] != other.factor.shape[1] or self.mean_x.size != other.mean_x.size:
            raise ValueError(
                "moments to be merged must have the same numbers of inputs and outputs; got "
                f"{self.mean_x.size} and {other.mean_x.size} inputs, "
                f"{self.mean_y.size} and {other.mean_y.size} outputs."
            )
        if self.centered != other.centered:
            raise ValueError("moments to be merged must both be centred, or both not be.")
        sum_weight = self.sum_weight + other.sum_weight
        share, other_share = self.sum_weight / sum_weight, other.sum_weight / sum_weight
        gap_x, gap_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        # Moving both data sets to the common mean adds one row to the scatter.
        shift = np.sqrt(share * other_share) * np.concatenate([gap_x, gap_y])
        rows = [np.sqrt(share) * self.factor, np.sqrt(other_share) * other.factor, shift[None]]
        return SecondMoments(
            np.linalg.qr(np.concatenate(rows), mode="r"),
            self.mean_x + other_share * gap_x,
            self.mean_y + other_share * gap_y,
            self.n_samples + other.n_samples,
            sum_weight,
            self.centered,
            self.single_target and other.single_target,
        )

    @property
    def n_inputs(self):
        """Number of inputs, d."""
        return self.mean_x.size

    @property
    def n_outputs(self):
        """Number of outputs, m."""
        return self.mean_y.size

    @property
    def input_factor(self):
        """R_x of shape (k, d), with A = R_x^T R_x."""
        return self.factor[:, : self.n_inputs]

    @property
    def output_factor(self):
        """R_y of shape (k, m), with S = R_y^T R_x."""
        return self.factor[:, self.n_inputs :]

    @cached_property
    def input_moment(self):
        """A = E[x x^T], shape (d, d)."""
        return self.input_factor.T @ self.input_factor

    @cached_property
    def cross_moment(self):
        """S = E[y x^T], shape (m, d)."""
        return self.output_factor.T @ self.input_factor

    @cached_property
    def output_moment(self):
        """c = E||y||^2, a float."""
        return float(np.sum(self.output_factor**2))

    @cached_property
    def spectrum(self):
        """Singular value decomposition of the input factor, a :class:`Spectrum`."""
        R_x, eps = self.input_factor, np.finfo(float).eps
        # What centring leaves of a constant column is rounding error of its mean.
        spread = np.linalg.norm(R_x, axis=0) > 4 * eps * np.abs(self.mean_x)
        U, sigma, Vt = np.linalg.svd(R_x * spread, full_matrices=False)
        k = int(np.sum(sigma > max(self.factor.shape) * eps * sigma[0]))
        targets = U[:, :k].T @ self.output_factor
        residual = self.output_factor - U[:, :k] @ targets
        return Spectrum(sigma[:k], Vt[:k].T, targets, float(np.sum(residual**2)))

    def loss(self, coef):
        """Mean squared error of the linear map `coef`, with the best intercept.

        Parameters
        ----------
        coef : array-like of shape (m, d) or (d,)
            End-to-end map M.

        Returns
        -------
        loss : float
            ``tr(M A M^T) - 2 tr(M S^T) + c``, evaluated without cancellation.
        """
        coef = np.reshape(coef, (self.n_outputs, self.n_inputs))
        return float(np.sum((self.input_factor @ coef.T - self.output_factor) ** 2))

    def intercept(self, coef):
        """Intercept that goes with the map `coef` (m, d), shape (m,)."""
        return self.mean_y - np.reshape(coef, (self.n_outputs, -1)) @ self.mean_x


def _sliceable(array, name):
    """Leave arrays that can be sliced by rows as they are; make lists into arrays."""
    if hasattr(array, "iloc"):  # slices of a data frame are columns
        array = array.to_numpy()
    if not (hasattr(array, "shape") and hasattr(array, "__getitem__")):
        array = np.asarray(array)
    if isinstance(array, np.ndarray) and not np.issubdtype(array.dtype, np.number):
        array = _as_real(array, name)
    if isinstance(array, np.ndarray) and np.iscomplexobj(array):
        raise ValueError(f"{name} must be real: complex data is not supported.")
    return array


def _as_real(array, name):
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}.") from None


def _check_sample_weight(sample_weight, n_samples):
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weight.shape}.")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    if not weight.any():
        raise ValueError("sample_weight must not be zero everywhere.")
    return weight


def _row_blocks(n_samples, n_columns):
    """Slices of rows; each holds at least ten times as many rows as columns."""
    row_bytes = 8 * n_columns
    small = n_samples * row_bytes <= _SMALL_DATA_BYTES
    block_bytes = _SMALL_BLOCK_BYTES if small else _BLOCK_BYTES
    size = max(block_bytes // row_bytes, 10 * n_columns)
    return (slice(start, start + size) for start in range(0, n_samples, size))


def check_moments(moments):
    """Raise a TypeError unless `moments` is a SecondMoments."""
    if not isinstance(moments, SecondMoments):
        raise TypeError(f"moments must be a SecondMoments, got {type(moments).__name__}.")
