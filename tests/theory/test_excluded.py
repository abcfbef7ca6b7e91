"""What maps outside of a Krylov space gain, held against the minima in it and in all of space."""

import numpy as np
import pytest

from sklearn_deeplinear.theory._excluded import Excluded


def least(A, s, c, depth, g):
    """Least c - 2 s z + z A z + L g ||z||^(2 / L) of zero and of ridge solutions, many."""
    a, Q = np.linalg.eigh(A)
    s = Q.T @ s
    z = s / (a + np.geomspace(1e-6, 1e4, 3_000)[:, None] * a[-1])
    norm = np.linalg.norm(z, axis=1)
    return min(c, (c - 2 * z @ s + z**2 @ a + depth * g * norm ** (2 / depth)).min())


def problem(n=40):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    A, s = (Q * np.geomspace(1.0, 0.05, n)) @ Q.T, rng.normal(size=n)
    return A, s, 1.2 * s @ np.linalg.solve(A, s)


def krylov(A, s, k):
    """The problem in k columns, S there, and by how much A leaves them."""
    V = s[:, None] / np.linalg.norm(s)
    for _ in range(k):
        new = A @ V[:, -1]
        for _ in range(2):
            new -= V @ (V.T @ new)
        beyond = np.linalg.norm(new)
        V = np.column_stack([V, new / beyond])
    V = V[:, :k]
    return V.T @ A @ V, V.T @ s[:, None], np.array([[beyond]])


@pytest.mark.parametrize("strength", [1e-3, 0.02, 0.1])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_bound_holds_and_closes(depth, strength):
    A, s, c = problem()
    g = strength * c / np.linalg.norm(np.linalg.solve(A, s)) ** (2 / depth)
    whole = least(A, s, c, depth, g)
    missed = []
    for k in (4, 12, 36):
        H, S, beyond = krylov(A, s, k)
        excluded, inside = Excluded(H, S, beyond, c), least(H, S[:, 0], c, depth, g)
        # The grid of 200 penalties finds the minimum to the square of its steps of one tenth.
        assert inside - 1e-6 * c <= excluded.least(depth, np.log(g)) <= inside + 1e-2 * c
        missed.append(excluded.missed(depth, np.log(g)))
        assert inside - whole <= missed[-1] + 1e-6 * c
    assert missed[-1] <= 1e-4 * c
