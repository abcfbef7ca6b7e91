"""Leave-one-out in closed form against refits to the data without each sample."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path
from sklearn_deeplinear.theory._leave_one_out import leave_one_out, left_out_maps
from sklearn_deeplinear.theory._left_out_rows import LeftOutRows
from sklearn_deeplinear.theory._scalar_family import log_shrinkage
from tests.structured import cases, data_of

DEPTHS = (1, 2, 3, 4, 7)

# Residuals where they are of the size of the targets: roots are found to about 1e-11, and the
# polynomials that they are found on are right to 3e-14 of values that may nearly cancel.
TOLERANCE = 1e-9


def gaussian(n, d, seed=0, signal=1.0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * np.geomspace(1, 0.1, d) + 1
    return X, signal * X @ rng.standard_normal(d) + rng.standard_normal(n)


def decays_of(moments):
    """From hardly any to more than the collapse, and none."""
    size = np.linalg.norm(moments.cross_moment) or 1.0
    return size * np.array([0.9, 1e-8, 1e-4, 1e-2, 0.1, 0.3, 0.6, 0.99, 3.0, 0.0])


def deviation(X, y, weight=None, center=True, noise=0.0, width=None, samples=None):
    """Largest difference from refits, in units of the largest target."""
    moments = SecondMoments.from_data(X, y, weight, center=center)
    gammas = decays_of(moments)
    rho = [log_shrinkage([noise] * (L - 1), [width] * (L - 1)) if noise else 0.0 for L in DEPTHS]
    with np.errstate(divide="ignore"):
        settings = [(L, L * np.log(gammas), r) for L, r in zip(DEPTHS, rho, strict=True)]
    rows = LeftOutRows.of(moments, X, y, weight)
    found = leave_one_out(rows, settings)
    worst = 0.0
    for i in range(len(y)) if samples is None else samples:
        keep = np.arange(len(y)) != i
        share = None if weight is None else weight[keep]
        others = SecondMoments.from_data(X[keep], y[keep], share, center=center)
        for residuals, L in zip(found, DEPTHS, strict=True):
            options = {"noise": noise, "width": width} if L > 1 else {}
            path = deep_linear_path(others, weight_decays=gammas, depth=L, **options)
            expected = y[i] - path.coefs[:, 0] @ X[i] - path.intercepts[:, 0]
            worst = max(worst, np.abs(residuals[:, i] - expected).max())
    return worst / np.abs(y).max()


@pytest.mark.parametrize("scale", [1.0, 1e-140, 1e120])
def test_diabetes_in_any_units(scale):
    X, y = load_diabetes(return_X_y=True)
    assert deviation(X, scale * y, samples=range(0, 442, 20)) < TOLERANCE


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(
    ("n", "d"), [(3, 1), (3, 2), (4, 8), (12, 3), (12, 11), (12, 12), (13, 12), (12, 30), (60, 5)]
)
def test_any_shape(n, d, center):
    """Also where the samples are too few for the inputs, and each of them is fitted exactly."""
    X, y = gaussian(n, d, seed=9)
    assert deviation(X, y, center=center) < TOLERANCE


@pytest.mark.parametrize("center", [True, False])
def test_two_samples(center):
    X, y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([1.0, -2.0])
    assert deviation(X, y, center=center) < TOLERANCE


@pytest.mark.parametrize("center", [True, False])
def test_weights_also_zero_and_large_ones(center):
    """Leaving a sample out takes all its weight; one without weight changes nothing."""
    X, y = gaussian(25, 4, seed=1)
    weight = np.random.RandomState(1).exponential(size=25) ** 3
    weight[[3, 7]], weight[11] = 0.0, 20.0
    assert deviation(X, y, weight, center) < TOLERANCE
    assert deviation(X, y, 1e-200 * weight, center) < TOLERANCE


def test_samples_without_weight_where_all_others_are_fitted_exactly():
    X, y = gaussian(9, 12, seed=8)
    weight = np.ones(9)
    weight[[0, 5]] = 0.0
    for center in (True, False):
        assert deviation(X, y, weight, center) < TOLERANCE


def test_rank_of_two_centred_samples_whatever_rounding_says():
    X = np.array([[1e-2, 30.0, 7.0, 0.3], [2e-2, 80.0, -4.0, 0.1]]) * [1, 1e3, 1, 1e-3] + 1
    assert deviation(X, np.array([3.0, -1.0])) < TOLERANCE


def test_noise():
    X, y = gaussian(30, 4, seed=2)
    weight = np.random.RandomState(2).rand(30)
    assert deviation(X, y, noise=0.4, width=3) < TOLERANCE
    assert deviation(X, y, weight, False, noise=2.0, width=1) < TOLERANCE


def test_samples_of_leverage_one_repeated_samples_and_constant_inputs():
    X, y = gaussian(10, 3, seed=3)
    indicator, constant = np.eye(10)[:, :1], np.ones((10, 1))
    assert deviation(np.hstack([X, indicator, constant]), y) < TOLERANCE
    assert deviation(np.hstack([X, indicator, constant]), y, center=False) < TOLERANCE
    assert deviation(np.repeat(X, 2, axis=0), np.repeat(y, 2)) < TOLERANCE
    assert deviation(np.hstack([X, X]), y) < TOLERANCE
    assert deviation(np.ones((4, 2)), y[:4]) < TOLERANCE
    assert deviation(X, np.zeros(10) + 3) < TOLERANCE
    assert deviation(X, X @ [1.0, 2.0, -1.0]) < TOLERANCE  # fitted exactly


def test_ill_conditioned_inputs_lose_digits_by_their_condition():
    X, y = gaussian(30, 4, seed=4)
    X = X * [1.0, 1e-2, 1e-4, 1e-6]
    assert deviation(X, y) < 1e-8


def test_spectra_with_two_scales_have_several_minima():
    """Clusters of eigenvalues far apart make the curves rise and fall more than once."""
    rng = np.random.RandomState(5)
    X = rng.standard_normal((40, 6)) * [1e3, 1e3, 1e3, 1, 1, 1]
    for size in (1.0, 10.0, 100.0):
        y = X @ [1e-3, 0, 0, size, 0, size] + rng.standard_normal(40)
        assert deviation(X, y) < TOLERANCE


# Two zeros of a symmetric problem have the same objective: which one wins is up to rounding.
SYMMETRIC = {"A = 2 1 | 1 2, one output"}


@pytest.mark.parametrize(
    "case",
    [c for c in cases() if c.T.shape[1] == 1 and c.name not in SYMMETRIC],
    ids=lambda c: c.name,
)
def test_structured_problems(case):
    """Integers, equal and clustered eigenvalues, singular inputs, nothing to learn."""
    X, Y = data_of(case)
    if Y.any():
        assert deviation(X, Y[:, 0]) < TOLERANCE


def test_maps_without_each_sample_miss_it_by_the_residual():
    X, y = gaussian(15, 3, seed=6)
    weight = np.random.RandomState(6).rand(15)
    for center in (True, False):
        moments = SecondMoments.from_data(X, y, weight, center=center)
        rows = LeftOutRows.of(moments, X, y, weight)
        gammas = decays_of(moments)[[0, 3, 4, 8, 9]]
        for depth, log_rho in ((1, 0.0), (2, 0.0), (3, 0.0), (3, -0.3)):
            for gamma in gammas:
                log_decay = depth * np.log(gamma) if gamma else -np.inf
                residuals, maps, intercepts = left_out_maps(rows, depth, log_decay, log_rho)
                predicted = np.sum(maps * X, axis=1) + intercepts
                assert_allclose(residuals, y - predicted, atol=1e-12)
                if log_rho == 0.0:
                    keep = np.arange(15) != 4
                    path = deep_linear_path(
                        X[keep],
                        y[keep],
                        weight_decays=[gamma],
                        depth=depth,
                        sample_weight=weight[keep],
                        fit_intercept=center,
                    )
                    assert_allclose(maps[4], path.coefs[0, 0], atol=1e-9)
                    assert_allclose(intercepts[4], path.intercepts[0, 0], atol=1e-9)


def test_blocks_of_samples_do_not_matter(monkeypatch):
    X, y = gaussian(30, 3, seed=7)
    moments = SecondMoments.from_data(X, y)
    rows = LeftOutRows.of(moments, X, y)
    settings = [(depth, depth * np.log(decays_of(moments)[:5]), 0.0) for depth in DEPTHS]
    whole = leave_one_out(rows, settings)
    monkeypatch.setattr("sklearn_deeplinear.theory._leave_one_out._BLOCK_SIZE", 1)
    for a, b in zip(whole, leave_one_out(rows, settings), strict=True):
        assert_allclose(a, b, atol=1e-12)


def test_a_sample_may_have_most_of_the_weight_but_not_nearly_all():
    X, y = gaussian(6, 3)
    weight = np.array([1.0, 1.0, 3000.0, 1.0, 0.5, 0.2])
    for center in (True, False):
        assert deviation(X, y, weight, center) < TOLERANCE
    weight[2] = 4e6
    with pytest.raises(ValueError, match="more than 99.9 % of all weight"):
        deviation(X, y, weight)


def test_one_sample_cannot_be_left_out():
    X, y = gaussian(3, 2)
    weight = np.array([0.0, 1.0, 0.0])
    moments = SecondMoments.from_data(X, y, weight)
    with pytest.raises(ValueError, match="positive sample_weight, got n_samples = 1"):
        LeftOutRows.of(moments, X, y, weight)
