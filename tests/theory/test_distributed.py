"""Moments of dask arrays and data frames are those of the data, whatever the chunks."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._distributed import is_dask
from sklearn_deeplinear.theory._tally import consecutive_folds

da = pytest.importorskip("dask.array")

# Of columns of size one, a merge at a time, of which each loses a few digits of 1e-16.
EQUAL = {"rtol": 1e-12, "atol": 1e-13}


def data(n=60, d=4, m=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    return X, X @ rng.normal(size=(d, m)) + rng.normal(size=(n, m)), rng.random(n)


def assert_same(moments, expected):
    for name in ("input_moment", "cross_moment", "output_moment", "mean_x", "mean_y"):
        assert_allclose(getattr(moments, name), getattr(expected, name), **EQUAL)
    assert moments.n_samples == expected.n_samples
    assert_allclose(moments.sum_weight, expected.sum_weight, rtol=1e-12)
    assert moments.single_target == expected.single_target


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(
    ("rows_x", "rows_y", "columns"),
    [(60, 60, 4), (1, 1, 4), (7, 7, 4), (7, 11, 3), (25, 60, 1), ((1, 0, 59), 20, 2)],
    ids=["whole", "rows", "equal", "unequal", "columns", "empty"],
)
def test_chunks_of_any_size_have_the_moments_of_the_data(rows_x, rows_y, columns, center, weighted):
    X, y, weight = data()
    weight[7:14] = 0  # of all rows of a chunk
    lazy = da.from_array(X, chunks=(rows_x, columns)), da.from_array(y, chunks=(rows_y, 1))
    weights = (weight, da.from_array(weight, chunks=13)) if weighted else (None, None)
    expected = SecondMoments.from_data(X, y, weights[0], center=center)
    assert_same(SecondMoments.from_data(*lazy, weights[1], center=center), expected)
    assert_same(SecondMoments.from_data(lazy[0], y, weights[0], center=center), expected)


def test_structured_chunks():
    """Constant and collinear columns, single precision, and weights of 600 orders of magnitude."""
    X, y, weight = data()
    X[:, 1], X[:, 2] = 5.0, 2 * X[:, 0]
    X, weight = X.astype(np.float32), weight * np.logspace(-300, 300, 60)
    lazy = [da.from_array(part, chunks=(9, -1)[: part.ndim]) for part in (X, y[:, 0], weight)]
    expected = SecondMoments.from_data(X, y[:, 0], weight)
    moments = SecondMoments.from_data(*lazy)
    assert_same(moments, expected)
    assert len(moments.spectrum.sigma) == len(expected.spectrum.sigma)


def test_a_dask_array_is_a_batch_like_others():
    X, y, _ = data()
    lazy = da.from_array(X[20:], chunks=(9, 4)), y[20:]
    moments = SecondMoments.from_batches([(X[:20], y[:20]), lazy])
    assert_same(moments, SecondMoments.from_data(X, y))


def test_data_frames_whose_chunks_have_unknown_sizes():
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    X, y, weight = data()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y[:, 0], w=weight)
    lazy = dd.from_pandas(frame, npartitions=5)
    lazy = lazy[lazy["a"] > lazy["a"].max() - 1.5]  # leaves partitions with few rows or none
    kept = X[:, 0] > X[:, 0].max() - 1.5
    moments = SecondMoments.from_data(lazy[list("abcd")], lazy["y"], lazy["w"])
    assert_same(moments, SecondMoments.from_data(X[kept], y[kept, 0], weight[kept]))


@pytest.mark.parametrize("chunk", [60, 20, 7, 1])
@pytest.mark.parametrize("n_folds", [1, 3, 7])
def test_folds_are_consecutive_rows_wherever_chunks_end(chunk, n_folds):
    X, y, weight = data()
    lazy = da.from_array(X, chunks=(chunk, 4))
    folds = consecutive_folds(lazy, y, weight, n_folds)
    stored = consecutive_folds(X, y, weight, n_folds)
    rows = np.array_split(np.arange(60), n_folds)  # as KFold has them
    for fold, again, part in zip(folds, stored, rows, strict=True):
        expected = SecondMoments.from_data(X[part], y[part], weight[part])
        assert_same(fold, expected)
        assert_same(again, expected)


def test_folds_are_whole_chunks_where_sizes_are_unknown():
    X, y, _ = data()
    lazy, targets = da.from_array(X, chunks=(13, 4)), da.from_array(y, chunks=(13, 2))
    every = da.ones(60, chunks=13) > 0
    folds = consecutive_folds(lazy[every], targets[every], None, 2)  # 13 * 5 chunks
    assert [fold.n_samples for fold in folds] == [39, 21]
    assert_same(folds[1], SecondMoments.from_data(X[39:], y[39:]))


@pytest.mark.parametrize("n_folds", [1, 4])
def test_each_chunk_is_read_once_and_only_moments_are_results(n_folds):
    read, results = [], []

    def load(block_info=None):
        read.append(block_info[None]["chunk-location"][0])
        return np.random.default_rng(len(read)).normal(size=(100, 3))

    def get(graph, keys, **options):
        results.append(dask.threaded.get(graph, keys, **options))
        return results[-1]

    dask = pytest.importorskip("dask")
    chunks = ((100,) * 10, (3,))
    rows = da.map_blocks(load, chunks=chunks, dtype=float, meta=np.empty((0, 3)))
    with dask.config.set(scheduler=get):
        consecutive_folds(rows[:, :2], rows[:, 2], None, n_folds)
    assert sorted(read) == list(range(10))
    (tallies,) = results
    assert [tally.total.factor.shape for (tally,) in _each(tallies)] == [(3, 3)] * n_folds


def _each(values):
    """Results as dask nests them: a list or, in 2025, a tuple for each collection, or bare."""
    return [[value] if hasattr(value, "total") else value for value in values]


def unknown(*arrays):
    return [part[da.ones(60, chunks=part.chunks[0]) > 0] for part in arrays]


def test_chunks_that_do_not_match_are_named():
    X, y, weight = data()
    X, other = da.from_array(X, chunks=(20, 4)), da.from_array(y, chunks=(13, 2))
    with pytest.raises(ValueError, match="y must have 60 rows as X has, got 50"):
        SecondMoments.from_data(X, other[:50])
    with pytest.raises(ValueError, match="sample_weight must have 60 rows as X has, got 59"):
        SecondMoments.from_data(X, other, weight[1:])
    with pytest.raises(ValueError, match="y must be a dask collection with the chunks of X"):
        SecondMoments.from_data(*unknown(X, other))
    with pytest.raises(ValueError, match="y must be a dask collection with the chunks of X"):
        SecondMoments.from_data(*unknown(X), y)
    with pytest.raises(ValueError, match="y must have shape"):  # found by the task
        SecondMoments.from_data(*unknown(X), da.from_array(y[:57], chunks=(19, 2)))
    with pytest.raises(ValueError, match="a row for each of 61 folds"):
        consecutive_folds(X, y, None, 61)
    with pytest.raises(ValueError, match="a chunk for each of 4 folds"):
        consecutive_folds(*unknown(X), *unknown(da.from_array(y, chunks=(20, 2))), None, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((60, 4), np.nan)}, "finite"),
        ({"X": np.ones(60)}, "X must have shape"),
        ({"X": np.ones((0, 4)), "y": np.ones(0), "sample_weight": None}, "X must have rows"),
        ({"y": np.ones((60, 2, 2))}, "y must have one or two dimensions"),
        ({"sample_weight": -np.ones(60)}, "sample_weight must be finite and not negative"),
        ({"sample_weight": np.zeros(60)}, "sample_weight must not be zero everywhere"),
    ],
)
def test_bad_data_are_named(change, message):
    X, y, weight = data()
    given = {"X": X, "y": y, "sample_weight": weight} | change
    lazy = {
        name: part if part is None else da.from_array(part, chunks=-1)
        for name, part in given.items()
    }
    with pytest.raises(ValueError, match=message):
        SecondMoments.from_data(**lazy)


def test_other_objects_of_dask_are_not_taken_for_arrays():
    dask = pytest.importorskip("dask")
    assert not is_dask(dask.delayed(np.ones)((3, 2)))  # which has any attribute
    assert is_dask(da.ones((3, 2)))
