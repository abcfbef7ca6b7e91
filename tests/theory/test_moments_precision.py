"""Second moments of data that leave few digits, against rational arithmetic."""

import operator
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear.theory import SecondMoments

EPS = np.finfo(float).eps


def as_fractions(array):
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(array)


def assert_exact(moments, X, Y, weight=None, rtol=1e-12):
    """Each entry of the factor's square to `rtol` of the deviations of its two columns."""
    rows = as_fractions(np.column_stack([X, Y]))
    weight = as_fractions(np.ones(len(rows)) if weight is None else weight)
    share = weight / weight.sum()
    mean = share @ rows
    rows = rows - mean
    scatter = (rows * share[:, None]).T @ rows
    # In units of the deviations, for the square itself may lie below the least float64.
    unit = as_fractions(np.sqrt(scatter.diagonal().astype(float)))
    wanted = (scatter / unit / unit[:, None]).astype(float)
    factor = moments.factor / unit.astype(float)
    assert_allclose(factor.T @ factor, wanted, rtol=0, atol=rtol)
    means = np.concatenate([moments.mean_x, moments.mean_y])
    assert_allclose(means, mean.astype(float), rtol=EPS, atol=1e-13 * float(unit.max()))


def batches(arrays, size):
    return [[array[i : i + size] for array in arrays] for i in range(0, len(arrays[0]), size)]


def far_data(n=120, mean=1e8, spread=1e-7):
    """Columns whose deviations are a few rounding errors of their means."""
    rng = np.random.RandomState(0)
    X = mean * np.array([1.0, -0.3]) + spread * rng.randn(n, 2)
    return X, 3 * mean + 3 * spread * rng.randn(n, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 120])
@pytest.mark.parametrize(("mean", "spread"), [(1e8, 1e-7), (1e160, 1e145), (1e-140, 1e-155)])
def test_batches_of_any_size_keep_the_digits_of_the_data(size, mean, spread):
    """Where a rounded mean of a batch would be off by a seventh of the deviations."""
    X, Y = far_data(mean=mean, spread=spread)
    assert_exact(SecondMoments.from_batches(batches([X, Y], size)), X, Y)


def test_the_order_of_the_rows_and_of_the_merges_does_not_matter():
    X, Y = far_data(60)
    parts = [SecondMoments.from_data(*batch) for batch in batches([X, Y], 3)]
    pairs = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    shuffled = [parts[i] for i in np.random.RandomState(1).permutation(len(parts))]
    for order in (parts, parts[::-1], pairs, shuffled):
        assert_exact(reduce(operator.add, order), X, Y)
    assert_exact(parts[0] + reduce(operator.add, parts[1:]), X, Y)
    assert_exact(reduce(operator.add, parts[:-1]) + parts[-1], X, Y)


def test_a_data_set_in_blocks_is_as_exact_as_its_batches(monkeypatch):
    monkeypatch.setattr("sklearn_deeplinear.theory._batches._SMALL_BLOCK_BYTES", 8)
    X, Y = far_data(130)  # five blocks: ten rows a column at least
    assert_exact(SecondMoments.from_data(X, Y), X, Y)


WEIGHTS = {
    "overflowing sum": np.full(12, 1e308),
    "overflowing sums of different sizes": np.geomspace(1e300, 1.7e308, 12),
    "subnormal": np.arange(1, 13) * 5e-324,
    "all magnitudes": np.geomspace(1e-300, 1e300, 12),
    "one huge among small": np.array([1e308] + 11 * [1.0]),
    "one small among huge": np.array([1e-300] + 11 * [1e308]),
    "some zero": np.array([0.0, 1e308, 0.0] * 4),
}


@pytest.mark.parametrize("size", [1, 3, 12])
@pytest.mark.parametrize("name", WEIGHTS)
def test_only_ratios_of_weights_matter(name, size):
    weight = WEIGHTS[name]
    rng = np.random.RandomState(3)
    X, Y = rng.randn(12, 2) + 1.0, rng.randn(12, 1)
    moments = SecondMoments.from_batches(batches([X, Y, weight], size))
    assert_exact(moments, X, Y, weight)
    assert moments.n_samples == 12
    assert moments.sum_weight == np.inf or moments.sum_weight == pytest.approx(
        float(sum(map(Fraction, weight.tolist()))), rel=1e-14, abs=1e-323
    )


def test_one_huge_weight_fixes_a_point_of_the_line():
    """The others decide about its slope, as in any weighted least squares."""
    X, y = np.array([[2.0], [3.0], [4.0], [7.0]]), np.array([1.0, 2.5, 1.5, 6.0])
    moments = SecondMoments.from_data(X, y, [1e300, 1.0, 1.0, 1.0])
    slope = moments.spectrum.targets[0, 0] / moments.spectrum.sigma[0]
    x, z = X[1:, 0] - 2.0, y[1:] - 1.0
    assert slope * moments.spectrum.directions[0, 0] == pytest.approx(x @ z / (x @ x), rel=1e-14)


@pytest.mark.parametrize("value", [7.1, 0.1, -1e8 / 3, 1e200, 1e-200])
@pytest.mark.parametrize("size", [1, 7, 40])
def test_constant_columns_stay_constant(value, size):
    """Exactly, whatever the batches, though no sum of the values is exact."""
    X = np.column_stack([np.arange(40.0), np.full(40, value)])
    weight = np.random.RandomState(0).uniform(0.1, 1.0, 40)
    parts = batches([X, np.arange(40.0) % 3, weight], size)
    moments = SecondMoments.from_batches(parts)
    assert_array_equal(moments.input_factor[:, 1], 0)
    assert moments.mean_x[1] == value
    assert moments.spectrum.sigma.shape == (1,)


def test_a_column_that_is_constant_up_to_rounding_is_left_out_of_the_spectrum():
    shares = np.random.RandomState(0).dirichlet(np.ones(5), 200)
    X = np.column_stack([shares[:, 0] * 1e-6, shares.sum(axis=1)])
    assert 0 < np.ptp(X[:, 1]) < 1e-15
    for size in (1, 200):
        moments = SecondMoments.from_batches(batches([X, shares[:, 1]], size))
        assert moments.spectrum.sigma.shape == (1,)


def test_a_column_of_few_digits_is_not_taken_for_a_constant():
    X, Y = far_data(spread=5e-8)
    for size in (1, 120):
        moments = SecondMoments.from_batches(batches([X, Y], size))
        assert moments.spectrum.sigma.shape == (2,)


@pytest.mark.parametrize("unit", [1e-150, 1e-75, 1.0, 1e75, 1e149])
@pytest.mark.parametrize("center", [True, False])
def test_units_scale_the_moments(unit, center):
    rng = np.random.RandomState(0)
    X, Y = rng.randn(30, 3) + 1, rng.randn(30, 2)
    moments = SecondMoments.from_batches(batches([unit * X, unit * Y], 4), center=center)
    plain = SecondMoments.from_data(X, Y, center=center)
    for name in ("input_moment", "cross_moment", "output_moment"):
        assert_allclose(getattr(moments, name) / unit / unit, getattr(plain, name), rtol=1e-12)
    assert_allclose(moments.spectrum.sigma / unit, plain.spectrum.sigma, rtol=1e-12)


@pytest.mark.parametrize("size", [1e155, 1.7e308])
def test_squares_that_overflow_are_an_error(size):
    X = np.array([[-size], [size], [0.0]])
    with pytest.raises(ValueError, match="overflow"):
        SecondMoments.from_data(X, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="overflow"):
        SecondMoments.from_batches(batches([X, np.zeros(3)], 1))
    constant = SecondMoments.from_data(np.full((3, 1), size), [1.0, 2.0, 3.0])
    assert constant.mean_x == size and constant.output_moment == pytest.approx(2 / 3)


INTEGERS = np.array([[0, 1, 1], [3, 1, 0], [0, 1, 1], [2, 0, 1], [1, 1, 1]])
FORMS = {
    "list": INTEGERS.tolist(),
    "int8": INTEGERS.astype(np.int8),
    "float32": INTEGERS.astype(np.float32),
    "object": INTEGERS.astype(object),
    "Fortran order": np.asfortranarray(INTEGERS, dtype=float),
    "reversed": INTEGERS[::-1].astype(float)[::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_any_kind_are_taken(form):
    X, y = FORMS[form], [1, 0, 1, 2, 0]
    for size in (1, 5):
        assert_exact(SecondMoments.from_batches(batches([X, y], size)), INTEGERS, y)


def test_booleans_are_read_in_blocks_too(tmp_path):
    X = np.random.RandomState(0).rand(40, 3) < 0.5
    np.save(tmp_path / "X.npy", X)
    stored = np.load(tmp_path / "X.npy", mmap_mode="r")
    y = np.arange(40) % 4 == 0
    assert_exact(SecondMoments.from_data(stored, y), X, y)


def test_few_rows_and_few_columns():
    one = SecondMoments.from_data([[1e8, -2.0]], [3.0])
    assert_array_equal(one.factor, 0)
    assert one.spectrum.sigma.size == 0 and one.spectrum.residual == 0
    X, y = np.array([[1e8], [1e8 + 2**-20], [1e8]]), np.array([0.0, 1.0, 0.0])
    assert_exact(SecondMoments.from_data(X, y), X, y)
    repeated = SecondMoments.from_batches([(X, y)] * 50)
    assert_exact(repeated, X, y)
    assert repeated.n_samples == 150 and repeated.sum_weight == 150


def test_rows_of_low_rank_stay_so():
    """Over many merges, with means that would hide all but two digits of the deviations."""
    rng = np.random.RandomState(0)
    Z = np.round(rng.randn(60, 1) * 4) * 2.0**-20
    X = 1e8 * np.ones(3) + Z @ [[1.0, 2.0, -1.0]]  # exact
    for size in (1, 60):
        moments = SecondMoments.from_batches(batches([X, Z], size))
        assert moments.spectrum.sigma.shape == (1,)
        assert moments.spectrum.residual <= 1e-28 * moments.output_moment


def test_rows_without_weight_do_not_matter():
    X, Y = far_data(12)
    weight = np.tile([0.0, 2.0, 1.0], 4)
    moved = np.where(weight[:, None] > 0, X, 1e150)
    assert_exact(
        SecondMoments.from_data(moved, Y, weight), X[weight > 0], Y[weight > 0], weight[weight > 0]
    )
    constant = np.where(weight[:, None] > 0, 0.1, X)
    assert_array_equal(SecondMoments.from_data(constant, Y, weight).input_factor, 0)


def test_batches_without_weight_are_counted_only():
    X, Y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
    idle = (X, Y, np.zeros(3))
    moments = SecondMoments.from_batches([idle, (X, Y), (X + 9, Y), idle])
    expected = SecondMoments.from_data(X, Y) + SecondMoments.from_data(X + 9, Y)
    assert_array_equal(moments.factor, expected.factor)
    assert moments.n_samples == 12 and moments.sum_weight == 6
    with pytest.raises(ValueError, match="sample_weight must not be zero everywhere"):
        SecondMoments.from_batches([idle, idle])


@pytest.mark.parametrize("kind", ["indicators", "duplicate", "rank one"])
def test_rounding_errors_of_many_rows_make_no_direction(kind):
    """Of each of these several had a singular value of 1e-15 of the largest, or a little less."""
    for seed in range(300):
        rng = np.random.RandomState(seed)
        n, d = rng.randint(10, 200), rng.randint(2, 7)
        X, rank = rng.standard_normal((n, d)), 1
        if kind == "indicators":  # their sum is one
            X = np.eye(d)[rng.randint(0, d, n)]
            rank = len(np.unique(X, axis=0)) - 1
        elif kind == "duplicate":
            X[:, -1], rank = X[:, 0], d - 1
        else:
            X = np.outer(X[:, 0], rng.standard_normal(d))
        moments = SecondMoments.from_data(X * 10.0 ** rng.randint(-6, 7), X[:, 0])
        assert len(moments.spectrum.sigma) == rank
