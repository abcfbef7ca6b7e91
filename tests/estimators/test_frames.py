"""Data frames of pandas and polars and tables of pyarrow: names, values, and blocks of rows."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear._streamed import is_streamed
from sklearn_deeplinear.theory import SecondMoments

NAMES = ["size", "age", "rooms"]
MODELS = {
    "analytic": DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic"),
    "gd": DeepLinearRegressor(max_iter=20, tol=0),
    "sgd": DeepLinearRegressor(solver="sgd", max_iter=2, random_state=0),
    "cv": DeepLinearRegressorCV([0.1, 1.0], cv=3),
    "left out": DeepLinearRegressorCV([0.1, 1.0]),
    "pathways": MultiPathwayRegressor(max_iter=10, tol=0, random_state=0),
    "perceptron": HomogeneousMLPRegressor(max_iter=10, tol=0, random_state=0),
    "classifier": DeepLinearClassifier(max_iter=20, tol=0),
}


def data():
    """Columns of three types."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=200), rng.integers(0, 90, 200), rng.normal(size=200) > 0
    columns = columns[0].astype(np.float32), columns[1].astype(np.int16), columns[2]
    X = np.column_stack(columns).astype(float)
    return dict(zip(NAMES, columns, strict=True)), X, X @ [1.0, 0.1, 2.0] + rng.normal(size=200)


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def polars_frame(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def arrow_table(columns):
    return pytest.importorskip("pyarrow").table(columns)


def arrow_chunks(columns):
    """A table of two pieces."""
    pa = pytest.importorskip("pyarrow")
    parts = [{name: part[rows] for name, part in columns.items()} for rows in (FIRST, REST)]
    return pa.concat_tables([pa.table(part) for part in parts])


def nullable_frame(columns):
    return pandas_frame(columns).convert_dtypes()


FIRST, REST = slice(70), slice(70, None)
FRAMES = {
    "pandas": pandas_frame,
    "nullable": nullable_frame,
    "polars": polars_frame,
    "arrow": arrow_table,
    "chunks": arrow_chunks,
}


def has_names(frame):
    """Whether scikit-learn finds them: before 1.9 by a protocol that polars left from 2 on."""
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    return version >= (1, 9) or hasattr(frame, "__dataframe__")


@pytest.fixture(params=["whole", "in blocks"])
def how(request, monkeypatch):
    """Frames as arrays, or in blocks of 50 rows or so."""
    if request.param == "in blocks":
        monkeypatch.setattr("sklearn_deeplinear._streamed._LARGE_FRAME", 0)
        monkeypatch.setattr("sklearn_deeplinear._streamed._BLOCK_SIZE", 3 * 50)
        monkeypatch.setattr("sklearn_deeplinear.theory._batches._SMALL_BLOCK_BYTES", 8 * 4 * 50)
    return request.param


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", MODELS)
def test_frames_are_fitted_like_arrays_and_keep_their_names(name, frame, how):
    columns, X, y = data()
    if name == "classifier":
        y = np.where(y > np.median(y), "large", "small")
    model, given = MODELS[name], FRAMES[frame](columns)
    expected, score = model.fit(X, y).predict(X), model.score(X, y)
    model.fit(given, y)
    assert list(getattr(model, "feature_names_in_", [])) == (NAMES if has_names(given) else [])
    found = model.predict(given)
    if name == "classifier":
        assert (found == expected).all()
    else:
        assert_allclose(found, expected, rtol=1e-9)
    assert_allclose(model.score(given, y), score, rtol=1e-9)
    if has_names(given):
        with pytest.raises(ValueError, match="same order"):
            model.predict(FRAMES[frame](dict(reversed(columns.items()))))


@pytest.mark.parametrize("frame", FRAMES)
def test_targets_and_weights_may_be_columns(frame, how):
    columns, X, y = data()
    weight = np.linspace(0, 1, 200)
    given = FRAMES[frame]({**columns, "y": y, "weight": weight})
    series, shares = given["y"], given["weight"]
    model = MODELS["analytic"]
    expected = model.fit(X, y, weight).coef_
    assert_allclose(model.fit(FRAMES[frame](columns), series, shares).coef_, expected, rtol=1e-9)
    moments = SecondMoments.from_data(FRAMES[frame](columns), series, shares)
    assert_allclose(moments.input_moment, model.moments_.input_moment, rtol=1e-9)
    assert moments.single_target


@pytest.mark.parametrize("frame", FRAMES)
def test_columns_that_are_no_numbers_are_refused(frame, how):
    columns, _, y = data()
    given = FRAMES[frame]({**columns, "age": np.array(["old", "new"] * 100)})
    with pytest.raises(ValueError, match="old|numbers"):
        MODELS["analytic"].fit(given, y)


@pytest.mark.parametrize("frame", FRAMES)
def test_large_frames_are_read_in_blocks(frame, monkeypatch):
    given = FRAMES[frame](data()[0])
    assert not is_streamed(given)
    monkeypatch.setattr("sklearn_deeplinear._streamed._LARGE_FRAME", 599)
    assert is_streamed(given)
