"""Problems of a kind that random data never is: integers, symmetry, degeneracy, extreme units.

A case is given by matrices R (k, d) and T (k, m) and the mean square `rest` that no map
explains: the inputs are R^T u and the targets T^T u + noise with u white, so that

    A = R^T R,      S = T^T R,      c = ||T||_F^2 + rest.

`data_of` returns rows with exactly these moments and means of zero: columns of a Hadamard
matrix stand for u and for the noise, so integer R and T give integer data where rest = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import hadamard

from sklearn_deeplinear.theory import SecondMoments

# Relative gaps between eigenvalues or singular values, down to the rounding error.
GAPS = (1e-3, 1e-6, 1e-9, 1e-12, 1e-13, 1e-14, 1e-15)


@dataclass(frozen=True, eq=False)
class Case:
    """A problem and its name."""

    name: str
    R: np.ndarray
    T: np.ndarray
    rest: float = 0.0

    @cached_property
    def A(self):
        """E[x x^T], shape (d, d)."""
        return self.R.T @ self.R

    @cached_property
    def S(self):
        """E[y x^T], shape (m, d)."""
        return self.T.T @ self.R

    @cached_property
    def c(self):
        """E||y||^2."""
        return float(np.sum(self.T**2) + self.rest)

    @cached_property
    def moments(self):
        """The moments, given as matrices."""
        return SecondMoments.from_moments(self.A, self.S, self.c)

    @property
    def rank(self):
        """Rank of S."""
        return int(np.linalg.matrix_rank(self.S / (np.abs(self.S).max() or 1.0)))

    @property
    def is_white(self):
        """Whether A is a multiple of the identity, to the last digit."""
        return bool((self.A[0, 0] * np.eye(len(self.A)) == self.A).all())

    def in_units(self, x, y):
        """The same problem with inputs x times and targets y times as large."""
        name = f"{self.name}, x * {x:g}, y * {y:g}"
        return replace(self, name=name, R=self.R * x, T=self.T * y, rest=self.rest * y**2)


def data_of(case):
    """Rows X (n, d) and Y (n, m) that have the moments of `case`; n is a power of two."""
    k, m = case.T.shape
    H = hadamard(2 ** int(np.ceil(np.log2(k + m + 1)))).astype(float)
    u, noise = H[:, 1 : k + 1], H[:, k + 1 : k + m + 1]
    return u @ case.R, u @ case.T + np.sqrt(case.rest / m) * noise


def cases():
    """All cases of ordinary size."""
    return [*white(), *diagonal(), *clustered(), *correlated(), *singular()]


def extreme():
    """Cases in units from 1e-150 to 1e150, of the inputs, of the targets and of both."""
    bases = [
        _case("one weight", [[1]], [[2]], 1),
        _case("white, S = 1 4 2", np.eye(3), [[1, 4, 2]], 1),
        _case("white, S = 3 1 | 1 2", np.eye(2), [[3, 1], [1, 2]], 1),
        _case("diagonal, one output", np.diag([2, 1, 0.5]), [[1, 2, 1]], 1),
        _case("diagonal, two outputs", np.diag([2, 1, 0.5]), [[1, 2, 1], [1, 0, -1]]),
    ]
    powers = [(1e150, 1), (1e-150, 1), (1, 1e150), (1, 1e-150), (1e8, 1e-8)]
    powers += [(1e150, 1e150), (1e-150, 1e-150), (1e150, 1e-150), (1e-150, 1e150)]
    return [base.in_units(x, y) for base in bases for x, y in powers]


def white():
    """A = I and A = a I: rank one, equal and clustered singular values, symmetric, zero."""
    maps = {
        "S = 2": [[2]],
        "S = 1 4 2": [[1, 4, 2]],
        "S = 1 1 1 1": [[1, 1, 1, 1]],
        "S = 0 0 3": [[0, 0, 3]],
        "S = 1 | 2 | 2": [[1], [2], [2]],
        "S of zeros": [[0, 0], [0, 0]],
        "S = 3 1 | 1 2": [[3, 1], [1, 2]],
        "S = identity": np.eye(3),
        "S = permutation": np.eye(4)[[2, 0, 3, 1]],
        "S = rotation": [[0, -2], [2, 0]],
        "S = Hadamard": hadamard(4),
        "S = 4 2 1 on the diagonal": np.diag([4, 2, 1]),
        "S = 3 3 1 on the diagonal": np.diag([3, 3, 1]),
        "S of rank one, 3 x 3": np.outer([1, 2, 2], [2, 1, -2]),
        "S of rank one with zeros": np.outer([0, 3], [0, 1, 0]),
        "S of rank two, 3 x 4": [[1, 0, 1, 0], [0, 2, 0, 2], [1, 2, 1, 2]],
        "S of a tree of 4 items": _tree(4),
        "S skew": [[0, 1, 2], [-1, 0, 3], [-2, -3, 0]],
    }
    found = [_case(f"white, {name}", np.eye(len(S[0])), S) for name, S in maps.items()]
    for root in (0.5, 2, 3, 1e-3, 0.1):
        for name in ("S = 1 4 2", "S = 3 1 | 1 2", "S = identity", "S of rank one, 3 x 3"):
            R = root * np.eye(len(maps[name][0]))
            found.append(_case(f"A = {root}^2 I, {name}", R, maps[name], 1))
    found += [
        _case(f"white, S with gap {gap:g}", np.eye(3), np.diag([2 + gap, 2, 1])) for gap in GAPS
    ]
    rows = ([1, 2], [3, -1], [5, 5], [2, 7, 1], [6, 2, 3], [1, 1, 0], [4, 4, 2], [9, 2, 6])
    return found + [_case(f"white, integers {row}", np.eye(len(row)), [row], 2) for row in rows]


def diagonal():
    """Diagonal A of integers: equal eigenvalues, S orthogonal to the leading directions."""
    inputs = {
        "1 2 3": [1, 2, 3],
        "3 3 1": [3, 3, 1],
        "2 1 1": [2, 1, 1],
        "1000 1 .001": [1000, 1, 0.001],
    }
    outputs = {
        "one output": [[1, 2, 1]],
        "orthogonal to the first": [[0, 2, 1]],
        "last only": [[0, 0, 2]],
        "first only": [[2, 0, 0]],
        "two outputs": [[1, 2, 0], [0, 1, 1]],
        "two outputs, orthogonal to the first": [[0, 2, 1], [0, 1, -1]],
        "equal modes": np.eye(3),
        "rank one, two outputs": [[1, 2, 1], [2, 4, 2]],
        "rank two, three outputs": [[1, 0, 1], [0, 1, 1], [1, 1, 2]],
    }
    return [
        _case(f"A = ({a})^2, {b}", np.diag(roots), T, 1)
        for a, roots in inputs.items()
        for b, T in outputs.items()
    ]


def clustered():
    """Eigenvalues of A that differ by 1e-3 down to one rounding error."""
    found = []
    for gap in GAPS:
        R = np.diag(np.sqrt([1 + gap, 1, 1 - gap]))
        found.append(_case(f"gap {gap:g}, one output", R, [[1, 4, 2]], 1))
        found.append(_case(f"gap {gap:g}, two outputs", R, [[3, 1, 0], [1, 2, 1]], 1))
        R = np.diag(np.sqrt([4, 1 + gap, 1, 1]))
        found.append(_case(f"4 and gap {gap:g}, one output", R, [[0, 2, 1, 1]]))
    return found


def correlated():
    """A of integers that is not diagonal, and one of one dimension."""
    factors = {
        "A = 2 1 | 1 2": np.linalg.cholesky([[2, 1], [1, 2]]).T,
        "R of integers": np.array([[1, 1, 0], [0, 2, 1], [1, 0, 3]]),
        "R = Pascal": np.array([[1, 1, 1], [0, 1, 2], [0, 0, 1]]),
        "R circulant": np.array([[2, 1, 0], [0, 2, 1], [1, 0, 2]]),
        "one input": np.array([[2]]),
    }
    found = []
    for name, R in factors.items():
        k = len(R)
        found.append(_case(f"{name}, one output", R, [[1, 2, 3][:k]], 1))
        found.append(_case(f"{name}, ones", R, np.ones((1, k))))
        found.append(_case(f"{name}, two outputs", R, [[1, 2, 3][:k], [3, -1, 1][:k]], 1))
        found.append(_case(f"{name}, identity", R, np.eye(k), 1))
        found.append(_case(f"{name}, nothing to learn", R, np.zeros((2, k)), 3))
    return found


def singular():
    """A of less than full rank: constant, repeated and dependent inputs."""
    factors = {
        "an input of zeros": np.diag([1, 0, 2]),
        "repeated inputs": np.array([[1, 1, 0], [0, 0, 1]]),
        "A of rank one": np.array([[1, 1, 1, 1]]),
        "more inputs than rows": np.array([[1, 2, 0, 1, 1], [0, 1, 1, -1, 2]]),
    }
    found = []
    for name, R in factors.items():
        k = len(R)
        found.append(_case(f"{name}, one output", R, [[2, 0, 1][:k]], 1))
        found.append(_case(f"{name}, two outputs", R, [[2, 0, 1][:k], [1, 0, -1][:k]]))
    return [*found, _case("inputs of zeros", np.zeros((2, 2)), [[0, 0]], 1)]


def _case(name, R, T, rest=0.0):
    """A case with T given as the map (m, k) from u to the targets."""
    return Case(name, np.asarray(R, float), np.atleast_2d(np.asarray(T, float)).T, float(rest))


def _tree(n_items):
    """Features (2 n - 1, n) of a binary tree: its singular values repeat at every level."""
    levels = [np.eye(n_items)]
    while len(levels[-1]) > 1:
        levels.append(levels[-1][::2] + levels[-1][1::2])
    return np.vstack(levels)
