"""Moments of sparse inputs are those of the same inputs filled in."""

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import SecondMoments, _batches, global_minimum

RNG = np.random.default_rng(0)
X = scipy.sparse.csr_array(RNG.normal(size=(300, 12)) * (RNG.uniform(size=(300, 12)) < 0.2))
Y = X @ RNG.normal(size=(12, 2)) + RNG.normal(size=(300, 2))
WEIGHTS = {
    "equal": None,
    "whole numbers": RNG.integers(0, 3, 300),
    "huge": RNG.uniform(size=300) * 1e308,
    "tiny": RNG.uniform(size=300) * 1e-308,
    "one row": np.eye(300)[7],
}


def same(sparse, dense):
    for name in ("input_moment", "cross_moment", "output_moment", "mean_x", "mean_y"):
        size = np.abs(getattr(dense, name)).max()
        assert_allclose(
            getattr(sparse, name), getattr(dense, name), rtol=0, atol=1e-13 * size + 0.0
        )
    assert (sparse.n_samples, sparse.single_target) == (dense.n_samples, dense.single_target)
    assert_allclose(sparse.sum_weight, dense.sum_weight)


@pytest.mark.parametrize("kind", ["csr_array", "csc_array", "coo_array", "csr_matrix"])
@pytest.mark.parametrize("center", [True, False])
def test_all_kinds_of_sparse_inputs_count(kind, center):
    sparse = getattr(scipy.sparse, kind)(X)
    for y in (Y, Y[:, 0]):
        moments = SecondMoments.from_data(sparse, y, center=center)
        same(moments, SecondMoments.from_data(X.toarray(), y, center=center))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_count_as_for_dense_inputs(weight, center):
    sparse = SecondMoments.from_data(X, Y, weight, center=center)
    same(sparse, SecondMoments.from_data(X.toarray(), Y, weight, center=center))


@pytest.mark.parametrize("units", [(1e-160, 1), (1, 1e-160), (1e-155, 1e-155), (1e140, 1e-140)])
def test_squares_that_have_lost_digits_are_not_taken(units):
    unit_x, unit_y = units
    moments = SecondMoments.from_data(unit_x * X, unit_y * Y)
    dense = SecondMoments.from_data(X.toarray(), Y)
    R_x, R_y = moments.input_factor / unit_x, moments.output_factor / unit_y
    assert_allclose(R_x.T @ R_x, dense.input_moment, rtol=0, atol=1e-13)
    assert_allclose(R_y.T @ R_x, dense.cross_moment, rtol=0, atol=1e-13)


def test_well_conditioned_inputs_are_never_filled_in(monkeypatch):
    def refuse(*args):
        raise AssertionError("filled in")

    monkeypatch.setattr(SecondMoments, "_from_block", refuse)
    SecondMoments.from_data(X, Y)


@pytest.mark.parametrize("spread", [1e-3, 1e-6])
def test_products_that_lose_digits_are_not_taken(spread):
    """Columns that are nearly equal: their difference is known to the digits of the data."""
    near = X.toarray()
    near[:, 1] = near[:, 0] * (1 + spread * RNG.normal(size=300))
    near[:, 2] = near[:, 3]
    sparse = SecondMoments.from_data(scipy.sparse.csr_array(near), Y)
    dense = SecondMoments.from_data(near, Y)
    assert len(sparse.spectrum.sigma) == len(dense.spectrum.sigma) == 11
    assert_allclose(sparse.spectrum.sigma, dense.spectrum.sigma, rtol=1e-9)


def test_indicators_are_filled_in_block_by_block(monkeypatch):
    """Their centred columns sum to zero, which products know to eight digits only."""
    monkeypatch.setattr(_batches, "_SMALL_BLOCK_BYTES", 8 * 6 * 70)
    indicators = scipy.sparse.csr_array(np.eye(5)[RNG.integers(0, 5, 400)])
    y = RNG.normal(size=400)
    moments = SecondMoments.from_data(indicators, y)
    same(moments, SecondMoments.from_data(indicators.toarray(), y))
    assert len(moments.spectrum.sigma) == 4


def test_batches_may_be_sparse_and_dense():
    parts = [(X[:100], Y[:100]), (X[100:].toarray(), Y[100:])]
    same(SecondMoments.from_batches(parts), SecondMoments.from_data(X.toarray(), Y))


def test_minima_are_those_of_the_dense_inputs():
    options = {"depth": 3, "weight_decay": 0.01}
    sparse, dense = (
        global_minimum(SecondMoments.from_data(inputs, Y[:, 0]), **options)
        for inputs in (X, X.toarray())
    )
    assert_allclose(sparse.objective, dense.objective, rtol=1e-12)


def test_values_that_are_not_finite_are_named():
    bad = X.copy()
    bad.data[3] = np.nan
    with pytest.raises(ValueError, match="X must be finite"):
        SecondMoments.from_data(bad, Y)


def test_sparse_targets_are_refused():
    with pytest.raises(ValueError, match="y must be dense"):
        SecondMoments.from_data(X, scipy.sparse.csr_array(Y))
