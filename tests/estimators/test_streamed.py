"""Data that are read in blocks: fits, predictions and scores are those of the arrays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from sklearn_deeplinear import (
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear._streamed import Watched, is_streamed, r2_from_moments
from sklearn_deeplinear.theory import SecondMoments

EQUAL = {"rtol": 1e-10, "atol": 1e-12}
MODELS = {
    "analytic": DeepLinearRegressor(depth=2, weight_decay=0.05, solver="analytic"),
    "gd": DeepLinearRegressor(max_iter=50, tol=0),
    "flow": DeepLinearRegressor(depth=3, width=5, max_iter=20, solver="flow"),
    "pathways": MultiPathwayRegressor(max_iter=20, tol=0, random_state=0),
    "cv": DeepLinearRegressorCV([0.01, 0.1, 1.0], cv=4),
    "cv of gd": DeepLinearRegressorCV([0.0, 0.1], [2], cv=3, solver="gd", max_iter=50),
}


class RowsOnly:
    """What h5py and zarr have in common: a shape, a dtype, and slices that are arrays."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        part = np.array(self.array[rows])
        self.largest = max(self.largest, len(part))
        return part

    def __array__(self, dtype=None, copy=None):
        self.largest = len(self.array)
        return np.array(self.array, dtype=dtype)


def data(n=400, d=5, m=None, dtype=float, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype) * 3 + 2
    Y = X @ rng.normal(size=(d, m or 1)) + rng.normal(size=(n, m or 1))
    return X, Y if m else Y[:, 0], rng.random(n)


def on_disk(tmp_path, *arrays):
    """Memory maps of some arrays."""
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    return [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(len(arrays))]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 70 rows or so, and pages that are let go after each."""
    monkeypatch.setattr("sklearn_deeplinear.theory._batches._SMALL_BLOCK_BYTES", 8 * 6 * 70)
    monkeypatch.setattr("sklearn_deeplinear.theory._batches._MAPPED_BYTES", 0)
    monkeypatch.setattr("sklearn_deeplinear.theory._tally._BLOCKS_AT_A_TIME", 1)
    monkeypatch.setattr("sklearn_deeplinear._streamed._BLOCK_SIZE", 5 * 70)


@pytest.mark.parametrize("kind", ["memmap", "rows"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16], ids=lambda t: t.__name__)
@pytest.mark.parametrize("m", [None, 2], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_blocks_make_the_fit_of_the_array(name, m, dtype, kind, small_blocks, tmp_path):
    X, y, weight = data(m=m, dtype=dtype)
    model, arrays = MODELS[name], (X, y, weight)
    stored = on_disk(tmp_path, *arrays) if kind == "memmap" else [RowsOnly(X), RowsOnly(y), weight]
    model.fit(X.astype(float), y, weight)
    # Minima of several outputs are known to 1e-8 of the objective.
    near = EQUAL if m is None or name not in ("analytic", "cv") else {"rtol": 1e-5, "atol": 1e-6}
    coef, intercept = model.coef_, model.intercept_
    predictions, score = model.predict(X), r2_score(y, model.predict(X), sample_weight=weight)
    model.fit(*stored)
    assert_allclose(model.coef_, coef, **near)
    assert_allclose(model.intercept_, intercept, **near)
    assert_allclose(model.predict(stored[0]), predictions, **near)
    assert_allclose(model.score(*stored), score, **near)
    assert model.n_features_in_ == 5
    if kind == "rows":
        assert stored[0].largest <= 70


def test_deviations_come_in_blocks_too(small_blocks):
    X, y, _ = data()
    model = DeepLinearRegressor(noise=0.1, solver="analytic").fit(X, y)
    for found, expected in zip(
        model.predict(RowsOnly(X), return_std=True), model.predict(X, return_std=True), strict=True
    ):
        assert_allclose(found, expected, **EQUAL)


def test_what_is_written_to_a_private_map_is_kept(small_blocks, tmp_path):
    X, y, _ = data()
    np.save(tmp_path / "X.npy", np.zeros_like(X))
    private = np.load(tmp_path / "X.npy", mmap_mode="c")
    private[:] = X
    coef = MODELS["analytic"].fit(private, y).coef_
    assert_array_equal(private, X)
    assert_allclose(coef, MODELS["analytic"].fit(X, y).coef_, **EQUAL)


def test_a_part_of_a_map_is_a_map(small_blocks, tmp_path):
    X, y, _ = data()
    (stored,) = on_disk(tmp_path, X)
    model = MODELS["cv"].fit(stored[37:, ::2], y[37:])
    assert_allclose(model.coef_, MODELS["cv"].fit(X[37:, ::2], y[37:]).coef_, **EQUAL)


@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(solver="sgd", max_iter=2, random_state=0),
        DeepLinearRegressor(early_stopping=True, max_iter=20, tol=0, random_state=0),
        MultiPathwayRegressor(activation="relu", max_iter=5, tol=0, random_state=0),
        HomogeneousMLPRegressor(max_iter=5, tol=0, random_state=0),
        DeepLinearRegressorCV([0.1, 1.0]),
        DeepLinearRegressorCV([0.1, 1.0], cv=3, scoring="r2"),
    ],
    ids=lambda model: str(model).replace("\n", ""),
)
def test_training_on_samples_reads_them_whole(model, tmp_path):
    X, y, _ = data(n=60)
    expected = model.fit(X, y).predict(X)
    assert_allclose(model.fit(RowsOnly(X), y).predict(X), expected, **EQUAL)
    assert_allclose(model.fit(*on_disk(tmp_path, X, y)).predict(X), expected, **EQUAL)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DeepLinearRegressor(solver="adam"), 'solver="adam"'),
        (DeepLinearRegressor(early_stopping=True), "early_stopping=True"),
        (MultiPathwayRegressor(activation="relu"), 'activation="relu"'),
        (DeepLinearRegressorCV(), "cv must be a number of folds"),
        (DeepLinearRegressorCV(cv=KFold(3, shuffle=True)), "cv must be a number of folds"),
        (DeepLinearRegressorCV(cv=3, scoring="r2"), "scoring must be None"),
    ],
    ids=["adam", "early stopping", "relu", "left out", "shuffled", "scoring"],
)
def test_dask_collections_are_not_fetched(model, message):
    X, y, _ = data(n=60)
    with pytest.raises(ValueError, match=message):
        model.fit(pytest.importorskip("dask.array").from_array(X, chunks=20), y)


def test_folds_given_one_by_one_are_used_up_once(tmp_path):
    X, y, _ = data(n=60)
    folds = list(KFold(3).split(X))
    expected = DeepLinearRegressorCV([0.1, 1.0], cv=folds).fit(X, y).best_score_
    model = DeepLinearRegressorCV([0.1, 1.0], cv=iter(folds)).fit(*on_disk(tmp_path, X, y))
    assert_allclose(model.best_score_, expected, rtol=1e-10)


def test_validation_data_may_be_stored(tmp_path):
    X, y, _ = data()
    stored, model = on_disk(tmp_path, X, y), MODELS["gd"]
    expected = model.fit(X, y, X_val=X, y_val=y).best_validation_loss_
    found = model.fit(*stored, X_val=stored[0], y_val=stored[1]).best_validation_loss_
    assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["analytic", "cv"])
def test_bad_data_are_named(name, tmp_path):
    X, y, _ = data()
    bad = X.copy()
    bad[7, 1] = np.nan
    model = MODELS[name]
    with pytest.raises(ValueError, match="X must be finite"):
        model.fit(*on_disk(tmp_path, bad, y))
    with pytest.raises(ValueError, match="y must be finite"):
        model.fit(*on_disk(tmp_path, X, np.where(y > 3, np.inf, y)))
    with pytest.raises(ValueError, match="y must have shape"):
        model.fit(*on_disk(tmp_path, X, y[1:]))
    with pytest.raises(ValueError, match="X must have shape"):
        model.fit(*on_disk(tmp_path, X[:, 0], y))
    with pytest.raises(ValueError, match="y"):
        model.fit(*on_disk(tmp_path, X), None)
    model.fit(X, y)
    with pytest.raises(ValueError, match="4 features"):
        model.predict(RowsOnly(X[:, 1:]))
    with pytest.raises(ValueError, match="X contains NaN"):
        model.predict(RowsOnly(bad))


def test_there_are_no_intervals_of_data_that_were_not_kept(tmp_path):
    X, y, _ = data()
    model = MODELS["cv"].fit(*on_disk(tmp_path, X, y))
    with pytest.raises(ValueError, match="read in blocks"):
        model.predict_interval(X)


@pytest.mark.parametrize("constant", [False, True])
def test_r2_of_moments_is_that_of_predictions(constant):
    X, y, weight = data(m=3)
    y[:, 1] = 4.0 if constant else y[:, 1]
    coef, intercept = np.random.default_rng(1).normal(size=(3, 5)), np.array([1e3, 0.0, 2.0])
    coef[1] = 0 if constant else coef[1]
    moments = SecondMoments.from_data(X, y, weight)
    expected = r2_score(y, X @ coef.T + intercept, sample_weight=weight)
    assert_allclose(r2_from_moments(moments, coef, intercept), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["gd", "cv"])
def test_long_passes_say_how_far_they_are(name, small_blocks, capsys, monkeypatch, tmp_path):
    X, y, _ = data()
    stored, model = on_disk(tmp_path, X, y), MODELS[name]
    model.set_params(verbose=1).fit(*stored)
    assert "read" not in capsys.readouterr().out
    monkeypatch.setattr("sklearn_deeplinear._streamed._LONG_PASS", 100)
    monkeypatch.setattr("sklearn_deeplinear.theory._batches._SMALL_BLOCK_BYTES", 8 * 6 * 10)
    model.fit(*stored)
    lines = [line for line in capsys.readouterr().out.splitlines() if "read" in line]
    assert 6 <= len(lines) <= 10
    assert lines[-1].endswith("of 400 rows")
    model.set_params(verbose=0).fit(*stored)
    assert "read" not in capsys.readouterr().out


def test_arrays_tensors_frames_and_sparse_matrices_are_not_streamed():
    import pandas as pd
    import scipy.sparse
    import torch

    X = np.ones((3, 2))
    for held in (X, X.tolist(), torch.ones(3, 2), pd.DataFrame(X), scipy.sparse.csr_array(X)):
        assert not is_streamed(held)
    assert is_streamed(RowsOnly(X)) and not is_streamed(Watched)
