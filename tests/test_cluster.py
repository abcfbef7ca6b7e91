"""A cluster of two worker processes: the same fits, only moments come back, deaths lose nothing."""

import os
import pickle
import signal
import threading
import time
from collections import Counter

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.theory import SecondMoments

pytestmark = pytest.mark.slow

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

SIZES = (700, 1, 299, 1000, 1, 500, 499)
EQUAL = {"rtol": 1e-12, "atol": 1e-13}


@pytest.fixture(scope="module")
def client():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def gathered(client, monkeypatch):
    """Bytes of each result that the client is sent."""
    sizes, gather = [], client.gather

    def counted(*args, **kwargs):
        results = gather(*args, **kwargs)
        sizes.append(len(pickle.dumps(results)))
        return results

    monkeypatch.setattr(client, "gather", counted)
    return sizes


def chunk(i, dtype="float64"):
    """Inputs, targets and weights that the workers make from a seed."""
    rng = np.random.default_rng(i)
    X = (rng.normal(size=(SIZES[i], 6)) + 2).astype(dtype)
    weight = rng.random(SIZES[i]) * (i != 2)  # one chunk has none
    return X, X.astype(float) @ np.arange(6.0) + rng.normal(size=SIZES[i]), weight


def lazy(dtype="float64", load=chunk):
    """Dask arrays of these chunks, and the arrays themselves."""

    def part(k, block_info=None):
        return load(block_info[None]["chunk-location"][0], dtype)[k]

    arrays = [
        da.map_blocks(part, k, chunks=chunks, dtype=kind, meta=np.empty((0,) * len(chunks), kind))
        for k, (chunks, kind) in enumerate(
            [((SIZES, (6,)), dtype), ((SIZES,), "float64"), ((SIZES,), "float64")]
        )
    ]
    parts = zip(*(chunk(i, dtype) for i in range(len(SIZES))), strict=True)
    return arrays, [np.concatenate(part) for part in parts]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic"),
        DeepLinearRegressor(depth=2, width=5, max_iter=50, tol=0),
        DeepLinearRegressorCV([0.01, 0.1, 1.0], cv=3),
    ],
    ids=["analytic", "gd", "cv"],
)
def test_fits_on_a_cluster_are_those_in_memory(client, gathered, model, dtype):
    (X, y, weight), arrays = lazy(dtype)
    model.fit(*arrays)
    coef, intercept, predictions = model.coef_, model.intercept_, model.predict(arrays[0])
    score = model.score(*arrays)
    model.fit(X, y, weight)
    assert_allclose(model.coef_, coef, **EQUAL)
    assert_allclose(model.intercept_, intercept, **EQUAL)
    assert_allclose(model.score(X, y, weight), score, **EQUAL)
    # Factors of 7 x 7, a few a result, not a chunk of 1,000 rows.
    assert gathered and max(gathered) < 10_000
    before = len(gathered)
    lazily = model.predict(X)
    assert isinstance(lazily, da.Array) and len(gathered) == before
    assert_allclose(lazily.compute(), predictions, **EQUAL)


def test_a_worker_killed_in_mid_run_loses_nothing(client, tmp_path):
    folder = str(tmp_path)

    def slow(i, dtype):
        mark = os.path.join(folder, f"{i}-{os.getpid()}-{time.time_ns()}")
        open(mark, "w").close()
        time.sleep(0.2)
        return chunk(i, dtype)

    (X, y, weight), arrays = lazy(load=slow)
    expected, found = SecondMoments.from_data(*arrays), []
    thread = threading.Thread(
        target=lambda: found.append(SecondMoments.from_data(X, y, weight, center=True))
    )
    thread.start()

    def loads():
        return [name.split("-")[:2] for name in os.listdir(folder)]

    deadline = time.monotonic() + 30
    while len(loads()) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    # The worker that has loaded most, whose chunks and moments die with it.
    victim = Counter(pid for _, pid in loads()).most_common(1)[0][0]
    assert int(victim) != os.getpid()
    os.kill(int(victim), signal.SIGKILL)
    thread.join(60)
    (moments,) = found
    assert_allclose(moments.input_moment, expected.input_moment, **EQUAL)
    assert_allclose(moments.cross_moment, expected.cross_moment, **EQUAL)
    assert moments.n_samples == expected.n_samples
    # Each chunk is loaded for inputs, targets and weights; what the dead one held, once more.
    assert len(loads()) > 3 * len(SIZES)


def test_searches_run_on_the_workers(client):
    X, y = load_diabetes(return_X_y=True)
    model = DeepLinearRegressor(solver="analytic")
    search = GridSearchCV(model, {"weight_decay": [0.1, 1.0, 10.0]}, cv=3)
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config(backend="dask"):
        found = search.set_params(n_jobs=2).fit(X, y).cv_results_["mean_test_score"]
    assert_allclose(found, expected, rtol=1e-12)
