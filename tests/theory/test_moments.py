"""Second moments: exact, mergeable, and no worse conditioned than the data."""

import mmap
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import lstsq

from sklearn_deeplinear.theory import SecondMoments, _batches


def weighted_data(n=60, d=4, m=2, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, d) * [1.0, 10.0, 0.1, 3.0][:d] + 5
    return X, X @ rng.randn(d, m) + rng.randn(n, m), rng.uniform(0.0, 2.0, n)


def by_definition(X, y, weight, center=True):
    """A, S and c as weighted averages over the samples."""
    share = weight / weight.sum()
    X = X - center * (share @ X)
    y = y - center * (share @ y)
    return (X.T * share) @ X, (y.T * share) @ X, share @ np.sum(y**2, axis=1)


def assert_same_moments(moments, expected, rtol=1e-12):
    A, S, c = expected
    assert_allclose(moments.input_moment, A, rtol=rtol, atol=rtol * np.abs(A).max())
    assert_allclose(moments.cross_moment, S, rtol=rtol, atol=rtol * np.abs(S).max())
    assert_allclose(moments.output_moment, c, rtol=rtol)


@pytest.mark.parametrize("center", [True, False])
def test_moments_are_the_weighted_averages(center):
    X, y, weight = weighted_data()
    moments = SecondMoments.from_data(X, y, weight, center=center)
    assert_same_moments(moments, by_definition(X, y, weight, center))
    assert moments.n_samples == 60
    assert_allclose(moments.sum_weight, weight.sum())


def test_a_weight_is_a_number_of_repetitions():
    X, y, _ = weighted_data()
    counts = np.random.RandomState(1).randint(0, 4, len(X))
    weighted = SecondMoments.from_data(X, y, counts)
    repeated = SecondMoments.from_data(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0))
    assert_allclose(weighted.input_moment, repeated.input_moment, rtol=1e-12)
    assert_allclose(weighted.mean_y, repeated.mean_y)


@given(
    cuts=st.lists(st.integers(1, 59), max_size=6),
    seed=st.integers(0, 2**16),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
)
def test_merging_parts_gives_the_moments_of_the_whole(cuts, seed, offset):
    X, y, weight = weighted_data(seed=seed)
    X = X + offset
    edges = [0, *sorted(set(cuts)), len(X)]
    parts = [(X[a:b], y[a:b], weight[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    merged = SecondMoments.from_batches(parts)
    # An offset of the inputs costs the digits that it takes up in the data, no more.
    rtol = 1e-11 * max(1.0, offset)
    assert_same_moments(merged, by_definition(X, y, weight), rtol=rtol)


def test_merging_commutes_and_leaves_its_operands_alone():
    X, y, _ = weighted_data()
    a, b = SecondMoments.from_data(X[:20], y[:20]), SecondMoments.from_data(X[20:], y[20:])
    before = a.factor.copy()
    assert_allclose((a + b).input_moment, (b + a).input_moment, rtol=1e-12)
    assert_allclose(a.factor, before, rtol=0)


@pytest.mark.parametrize("condition", [1e8, 1e10, 1e12])
def test_least_squares_keeps_the_digits_of_lstsq(condition):
    rng = np.random.RandomState(0)
    U, _ = np.linalg.qr(rng.randn(200, 6))
    V, _ = np.linalg.qr(rng.randn(6, 6))
    X = (U * np.geomspace(1, 1 / condition, 6)) @ V.T
    truth = rng.randn(6)
    y = X @ truth
    moments = SecondMoments.from_data(X, y, center=False)
    spectrum = moments.spectrum
    coef = spectrum.directions @ (spectrum.targets[:, 0] / spectrum.sigma)
    error = np.abs(coef - truth).max()
    reference = np.abs(lstsq(X, y)[0] - truth).max()
    # Normal equations would lose all digits from condition 1e8 on.
    assert error < 20 * max(reference, np.finfo(float).eps * condition)
    assert spectrum.residual < 1e-24


def test_constant_columns_are_left_out_of_the_spectrum():
    X, y, _ = weighted_data()
    X[:, 1] = 7.1
    spectrum = SecondMoments.from_data(X, y).spectrum
    assert spectrum.sigma.shape == (3,)
    assert_allclose(spectrum.directions[1], 0, atol=1e-14)


def test_loss_is_the_mean_squared_error_and_never_negative():
    X, y, weight = weighted_data()
    moments = SecondMoments.from_data(X, y, weight)
    coef = np.random.RandomState(3).randn(2, 4)
    errors = np.sum((y - X @ coef.T - moments.intercept(coef)) ** 2, axis=1)
    assert_allclose(moments.loss(coef), np.average(errors, weights=weight), rtol=1e-12)
    exact = SecondMoments.from_data(X, X @ coef.T)
    assert 0 <= exact.loss(coef) < 1e-24 * exact.output_moment


@pytest.mark.parametrize("m", [1, 2])
def test_a_given_intercept_is_not_that_of_the_data(m):
    """As when a model is judged on data that lie elsewhere than those it was fitted to."""
    X, y, weight = weighted_data(m=m)
    moments = SecondMoments.from_data(X, y, weight)
    rng = np.random.RandomState(3)
    coef, b = rng.randn(m, 4), rng.randn(m)
    errors = np.sum((y - X @ coef.T - b) ** 2, axis=1)
    assert_allclose(moments.loss(coef, b), np.average(errors, weights=weight), rtol=1e-13)
    assert_allclose(moments.loss(coef, moments.intercept(coef)), moments.loss(coef), rtol=1e-15)
    if m == 1:
        assert moments.loss(coef[0], float(b[0])) == moments.loss(coef, b)


def test_moments_about_zero_know_no_intercept():
    X, y, weight = weighted_data()
    moments = SecondMoments.from_data(X, y, weight, center=False)
    coef = np.ones((2, 4))
    errors = np.sum((y - X @ coef.T) ** 2, axis=1)
    assert_allclose(moments.loss(coef), np.average(errors, weights=weight), rtol=1e-13)
    assert moments.loss(coef, np.zeros(2)) == moments.loss(coef)
    with pytest.raises(ValueError, match="not centred"):
        moments.loss(coef, [0.0, 1.0])


@pytest.mark.parametrize(
    ("coef", "b", "message"),
    [
        (np.ones((4, 2)), None, r"coef must have shape \(2, 4\), got \(4, 2\)"),
        (np.ones(8), None, "coef"),
        (np.ones((2, 4)), 1.0, "intercept"),
        (np.ones((2, 4)), np.ones((2, 1)), "intercept"),
    ],
)
def test_maps_of_another_shape_are_refused(coef, b, message):
    X, y, _ = weighted_data()
    with pytest.raises(ValueError, match=message):
        SecondMoments.from_data(X, y).loss(coef, b)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (5, 40)])
def test_moments_of_a_population_match_those_of_data(n, d):
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, d), rng.randn(n, 3)
    data = SecondMoments.from_data(X, y)
    given = SecondMoments.from_moments(data.input_moment, data.cross_moment, data.output_moment)
    coef = rng.randn(3, d)
    assert_allclose(given.loss(coef), data.loss(coef), rtol=1e-10)
    assert_allclose(given.spectrum.sigma, data.spectrum.sigma, rtol=1e-8)


class RowsOnly:
    """Array-like that hands out slices of rows and counts the largest of them."""

    def __init__(self, array):
        self.array, self.shape, self.ndim, self.largest = array, array.shape, array.ndim, 0

    def __getitem__(self, rows):
        self.largest = max(self.largest, len(self.array[rows]))
        return self.array[rows]


def test_data_are_read_in_blocks_and_never_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_deeplinear.theory._batches._SMALL_BLOCK_BYTES", 8 * 6 * 70)
    X, y, weight = weighted_data(n=500)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    stored = RowsOnly(np.load(tmp_path / "X.npy", mmap_mode="r"))
    moments = SecondMoments.from_data(stored, y, weight)
    assert stored.largest <= 70
    expected = by_definition(X.astype(np.float32).astype(float), y, weight)
    assert_same_moments(moments, expected)
    assert moments.n_samples == 500


def test_dask_arrays_are_taken_in_blocks():
    array = pytest.importorskip("dask.array")
    X, y, _ = weighted_data()
    lazy = SecondMoments.from_data(array.from_array(X, chunks=(7, 4)), array.from_array(y, 7))
    assert_allclose(lazy.input_moment, SecondMoments.from_data(X, y).input_moment, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((0, 4))}, "X must"),
        ({"X": np.zeros(4)}, "X must"),
        ({"X": [["a", "b"]] * 60}, "X must hold numbers"),
        ({"X": np.ones((60, 4)) * 1j}, "X must be real"),
        ({"y": np.zeros(59)}, "y must"),
        ({"y": np.full(60, np.nan)}, "finite"),
        ({"sample_weight": np.ones(59)}, "sample_weight"),
        ({"sample_weight": -np.ones(60)}, "sample_weight"),
        ({"sample_weight": np.zeros(60)}, "sample_weight"),
    ],
)
def test_bad_data_are_named(change, message):
    X, y, weight = weighted_data()
    with pytest.raises(ValueError, match=message):
        SecondMoments.from_data(**{"X": X, "y": y, "sample_weight": weight} | change)


def test_merges_and_populations_that_make_no_sense_are_refused():
    X, y, _ = weighted_data()
    moments = SecondMoments.from_data(X, y)
    with pytest.raises(ValueError, match="same numbers"):
        moments + SecondMoments.from_data(X[:, :3], y)
    with pytest.raises(ValueError, match="centred"):
        moments + SecondMoments.from_data(X, y, center=False)
    with pytest.raises(ValueError, match="at least one batch"):
        SecondMoments.from_batches([])
    with pytest.raises(ValueError, match="output_moment"):
        SecondMoments.from_moments(np.eye(2), [[1.0, 1.0]], 1.0)
    with pytest.raises(ValueError, match="range"):
        SecondMoments.from_moments([[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0]], 9.0)
    with pytest.raises(ValueError, match="semi-definite"):
        SecondMoments.from_moments(-np.eye(2), [[1.0, 1.0]], 9.0)


@pytest.mark.parametrize(
    ("A", "S", "c", "match"),
    [
        ([[2.0, 0.5], [0.4, 2.0]], [[1.0, 1.0]], 9.0, "symmetric"),
        ([[2.0, 1e-9], [0.0, 2.0]], [[1.0, 1.0]], 9.0, "symmetric"),
        ([[2.0]], [[1.0, 1.0]], 9.0, r"shape \(2, 2\)"),
        ([[2.0, np.nan], [np.nan, 2.0]], [[1.0, 1.0]], 9.0, "finite"),
        (np.eye(2), [[1.0, np.inf]], 9.0, "finite"),
        (np.eye(2), [[1.0, 1.0]], np.nan, "finite"),
    ],
)
def test_populations_that_are_none_are_named(A, S, c, match):
    with pytest.raises(ValueError, match=match):
        SecondMoments.from_moments(A, S, c)


def test_rounding_errors_of_a_population_are_no_asymmetry():
    """Moments made by others have errors; of 1e-13 here, in an entry that should be zero."""
    moments = SecondMoments.from_moments([[2.0, 1e-13], [0.0, 2.0]], [[1.0, 1.0]], 9.0)
    assert_allclose(moments.input_moment, 2 * np.eye(2), rtol=0, atol=1e-12)
    assert (moments.n_samples, moments.sum_weight, moments.centered) == (1, 1.0, True)
    assert not (moments.single_target or moments.mean_x.any() or moments.mean_y.any())


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_populations_that_are_none_are_named_in_any_units(unit):
    S = np.array([[unit, unit]])
    with pytest.raises(ValueError, match="range"):
        SecondMoments.from_moments([[1.0, 0.0], [0.0, 0.0]], S, 9 * unit**2)
    with pytest.raises(ValueError, match="output_moment"):
        SecondMoments.from_moments(np.eye(2), S, (2 - 1e-6) * unit**2)
    assert SecondMoments.from_moments(np.eye(2), S, (2 - 1e-12) * unit**2).n_outputs == 1


def test_variances_of_a_population_that_are_rounding_count_as_zero():
    assert SecondMoments.from_moments(np.diag([1.0, 1e-17]), [[1.0, 0.0]], 9.0).factor.shape == (
        2,
        3,
    )
    assert SecondMoments.from_moments([[1.0]], [[1.0]], 9.0).factor.shape == (2, 2)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system lets nothing go")
def test_what_has_been_read_of_a_memory_map_is_let_go(monkeypatch):
    monkeypatch.setattr(_batches, "_MAPPED_BYTES", 100)
    let_go, data = [], np.arange(60.0)
    rows = _batches._Mapped(data, SimpleNamespace(madvise=let_go.append))
    # Ten numbers are 80 bytes: at the third and the fifth reading 160 are there to be let go.
    counts = []
    for start in range(0, 60, 10):
        assert_array_equal(rows[start : start + 10], data[start : start + 10])
        counts.append(len(let_go))
    assert counts == [0, 0, 1, 1, 2, 2] and set(let_go) == {mmap.MADV_DONTNEED}
