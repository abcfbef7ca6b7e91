"""Data with more inputs than rows: their decomposition, and their moments in the row space."""

import numpy as np
import pytest

from sklearn_deeplinear.theory import SecondMoments, global_minimum
from sklearn_deeplinear.theory._row_space import in_row_space
from sklearn_deeplinear.theory._wide_factor import is_wide, thin_svd

N, D = 30, 2500


def rows(kind):
    """Wide data of a kind that linear algebra may trip over."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    if kind == "duplicate rows":
        X[N // 2 :] = X[: N - N // 2]
    elif kind == "duplicate columns":
        X[:, 1:] = X[:, [0]]
    elif kind == "zero rows":
        X[N // 2 :] = 0.0
    elif kind == "constant columns":
        X[:, ::2] = 7.0
    elif kind == "zero":
        X[:] = 0.0
    elif kind == "huge means":
        X += 1e6
    elif kind in ("1e-140", "1e140"):
        X *= float(kind)
    elif kind == "graded columns":
        X *= np.logspace(0, -30, D)
    return X


KINDS = [
    *("plain", "duplicate rows", "duplicate columns", "zero rows", "constant columns", "zero"),
    *("huge means", "1e-140", "1e140", "graded columns"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_decomposition_of_wide_factors(kind):
    R = rows(kind)
    assert is_wide(R)
    U, sigma, V = thin_svd(R.copy())
    expected = np.linalg.svd(R, compute_uv=False)
    eps = N * np.finfo(float).eps
    np.testing.assert_allclose(sigma, expected, rtol=0, atol=10 * eps * expected[0])
    np.testing.assert_allclose((U * sigma) @ V.T, R, rtol=0, atol=10 * eps * expected[0])
    np.testing.assert_allclose(U.T @ U, np.eye(N), atol=10 * eps)
    np.testing.assert_allclose(V.T @ V, np.eye(N), atol=10 * eps)


@pytest.mark.parametrize("center", [True, False], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_moments_in_the_row_space_have_the_same_minimum(kind, center):
    X = rows(kind)
    Y = np.random.default_rng(1).normal(size=(N, 2))
    moments = SecondMoments.from_data(X, Y, np.arange(N) + 1.0, center=center)
    reduced = in_row_space(moments, n_idle=3)
    V = moments.spectrum.directions
    np.testing.assert_allclose(
        np.pad(V.T @ moments.input_moment @ V, (0, 3)),
        reduced.input_moment,
        rtol=1e-12,
        atol=1e-12 * np.abs(reduced.input_moment).max(initial=0.0),
    )
    assert reduced.output_moment == pytest.approx(moments.output_moment, rel=1e-12)
    gamma = 0.3 * (moments.spectrum.sigma.max(initial=0.0) or 1.0)
    here, there = (global_minimum(m, depth=2, weight_decay=gamma) for m in (moments, reduced))
    assert there.objective == pytest.approx(here.objective, rel=1e-10)
    np.testing.assert_allclose(
        there.coef[:, : len(V.T)] @ V.T, here.coef, atol=1e-8 * np.abs(here.coef).max(initial=1e-9)
    )
    assert not there.coef[:, len(V.T) :].any()
