"""Sparse inputs: exact where there are few columns, with a proven error where there are many."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import Ridge

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor, MultiPathwayRegressor
from sklearn_deeplinear.theory import (
    SecondMoments,
    _krylov_moments,
    _krylov_space,
    certify,
    global_minimum,
)
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments

N, D = 60, 90


def sparse_data(kind="plain", m=1):
    """Sparse rows of a kind that may go wrong, and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) * (rng.uniform(size=(N, D)) < 0.1)
    Y = X @ rng.normal(size=(D, m)) + rng.normal(size=(N, m)) + 3.0
    if kind == "equal columns":
        X[:, 1:4] = X[:, [0]]
    elif kind == "zero columns":
        X[:, ::3] = 0.0
    elif kind == "constant columns":
        X[:, :3] = 0.1
    elif kind == "zero rows":
        X[::2] = 0.0
    elif kind == "rank one":
        X = np.outer(X[:, 0], X[7])
    elif kind == "zero":
        X[:] = 0.0
    elif kind == "one sample":
        X, Y = X[:1], Y[:1]
    elif kind == "constant target":
        Y[:] = 3.0
    elif kind == "huge means":
        X[:, :2] += 1e6
    elif kind in ("1e-70", "1e70"):
        X, Y = X * float(kind), Y * float(kind)
    return X, (Y[:, 0] if m == 1 else Y)


KINDS = [
    *("plain", "equal columns", "zero columns", "constant columns", "zero rows", "rank one"),
    *("zero", "one sample", "constant target", "huge means", "1e-70", "1e70"),
]


@pytest.fixture
def by_products(monkeypatch):
    """Let the small data here be those of many columns."""
    monkeypatch.setattr(_krylov_moments, "_MANY_INPUTS", 10)


@pytest.mark.parametrize("depth", [1, 2, 3], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_minimum_is_that_of_dense_data(by_products, kind, depth):
    X, y = sparse_data(kind)
    unit = np.abs(y).max() / (np.abs(X).max() or 1.0)
    # The same decay in the units of the data.
    gamma = 0.05 * np.abs(y).max() ** 2 / unit ** (2 / depth)
    options = {"depth": depth, "width": 3, "weight_decay": gamma, "solver": "analytic"}
    weight = np.arange(len(X)) % 3 + 1.0
    model = DeepLinearRegressor(**options).fit(scipy.sparse.csr_array(X), y, weight)
    assert isinstance(model.moments_, KrylovMoments)
    dense = DeepLinearRegressor(**options).fit(X, y, weight)
    found, exact = model.global_minimum_, dense.global_minimum_
    size = exact.objective + np.abs(y).max() ** 2 * 1e-9
    assert found.objective == pytest.approx(exact.objective, abs=1e-7 * size)
    assert found.lower_bound <= exact.objective + 1e-10 * size
    assert model.optimality_certificate_ <= exact.objective + 1e-10 * size
    assert found.kind == "certified"
    np.testing.assert_allclose(
        model.predict(scipy.sparse.csr_array(X)), dense.predict(X), atol=1e-3 * np.abs(y).max()
    )
    # The loss is that on all data, to rounding, however near the map is to the minimum.
    loss = np.average((model.predict(X) - y) ** 2, weights=weight)
    assert model.loss_ == pytest.approx(loss, rel=1e-8, abs=1e-12 * np.abs(y).max() ** 2)


@pytest.mark.parametrize("center", [True, False], ids=str)
@pytest.mark.parametrize("ridge", [1.0, 1e-2, 1e-4])
def test_the_bound_holds_and_falls(monkeypatch, ridge, center):
    """What a space of few columns misses is never more than the bound says."""
    X, y = sparse_data()
    full = SecondMoments.from_data(X, y, center=center)
    gains = []
    for most in (1, 2, 4, 8, 16, 32):
        monkeypatch.setattr(_krylov_space, "_MOST", most)
        moments = KrylovMoments.from_sparse(scipy.sparse.csr_matrix(X), y, center=center)
        gains.append(moments.gain(ridge))
        for depth, gamma in ((1, ridge), (2, np.sqrt(ridge)), (4, 0.1)):
            options = {"depth": depth, "weight_decay": gamma}
            here, exact = global_minimum(moments, **options), global_minimum(full, **options)
            assert exact.objective <= here.objective * (1 + 1e-12)
            assert here.lower_bound <= exact.objective * (1 + 1e-12)
            assert certify(exact.coef, moments, **options) <= exact.objective * (1 + 1e-12)
        missed = here.objective - exact.objective
        if depth == 1:
            assert missed <= moments.gain(ridge) + 1e-12
    assert all(later <= before for before, later in zip(gains, gains[1:], strict=False))


@pytest.mark.parametrize("m", [1, 3], ids=str)
@pytest.mark.parametrize("solver", ["gd", "momentum", "flow", "lbfgs"])
def test_training_is_that_on_dense_data(by_products, solver, m):
    X, y = sparse_data(m=m)
    options = {"solver": solver, "width": 4, "weight_decay": 0.02, "max_iter": 30, "tol": 0}
    runs = []
    for inputs in (scipy.sparse.csr_matrix(X), X):
        model = DeepLinearRegressor(**options, record_every=10)
        runs.append(model.fit(inputs, y, None, inputs[::2], y[::2]))
    for name in ("loss", "objective", "validation_loss"):
        curves = (getattr(run.trajectory_, name) for run in runs)
        np.testing.assert_allclose(*curves, rtol=1e-4, err_msg=name)
    assert runs[0].score(scipy.sparse.csr_array(X), y) == pytest.approx(runs[1].score(X, y))


def test_without_decay_the_slope_tells(by_products):
    X, y = sparse_data()
    model = DeepLinearRegressor(depth=1, solver="analytic").fit(scipy.sparse.csr_array(X), y)
    assert model.moments_.relative_slope < 1e-6
    exact = DeepLinearRegressor(depth=1, solver="analytic").fit(X, y)
    np.testing.assert_allclose(model.predict(X), exact.predict(X), atol=1e-5)


def test_several_outputs(by_products):
    X, Y = sparse_data(m=4)
    for depth, kind in ((1, "certified"), (2, "stationary")):
        options = {"depth": depth, "weight_decay": 0.05, "solver": "analytic"}
        found = DeepLinearRegressor(**options).fit(scipy.sparse.csr_array(X), Y).global_minimum_
        exact = DeepLinearRegressor(**options).fit(X, Y).global_minimum_
        assert found.objective == pytest.approx(exact.objective, rel=1e-7)
        assert found.lower_bound <= exact.objective
        assert found.kind == kind


def test_few_columns_are_exact():
    X, y = sparse_data()
    model = DeepLinearRegressor(solver="analytic", weight_decay=0.1)
    model.fit(scipy.sparse.csr_array(X), y)
    assert type(model.moments_) is SecondMoments
    assert model.global_minimum_.kind == "exact"
    np.testing.assert_allclose(model.coef_, model.fit(X, y).coef_, atol=1e-9)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
@pytest.mark.parametrize("m", [1, 2])
def test_the_minimum_predicts_for_sparse_inputs_as_the_model_does(kind, m):
    X, Y = sparse_data(m=m)
    sparse = scipy.sparse.csr_array(X).asformat(kind)
    model = DeepLinearRegressor(solver="analytic", weight_decay=0.1).fit(sparse, Y)
    found = model.global_minimum_.predict(sparse)
    np.testing.assert_allclose(found, model.predict(sparse), rtol=1e-9)
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="X must have shape"):
        model.global_minimum_.predict(sparse.tocsr()[:, :3])


def test_what_is_refused(by_products):
    X, y = sparse_data()
    sparse = scipy.sparse.csr_array(X)
    for parameters, message in (
        ({"init": "normal"}, 'init must be "spectral"'),
        ({"init": [np.ones((2, D)), np.ones((1, 2))], "width": 2}, "init must hold weights"),
        ({"record": ["sharpness"]}, "record must not hold"),
    ):
        with pytest.raises(ValueError, match=message):
            DeepLinearRegressor(**parameters).fit(sparse, y)
    # What trains on dense samples only raises what scikit-learn does.
    for solver in ("sgd", "adam"):
        with pytest.raises(TypeError, match="X must be dense"):
            DeepLinearRegressor(solver=solver).fit(sparse, y)
    for estimator in (HomogeneousMLPRegressor(), MultiPathwayRegressor()):
        with pytest.raises(TypeError, match="X"):
            estimator.fit(sparse, y)


def test_warm_start_goes_on(by_products):
    X, y = sparse_data()
    model = DeepLinearRegressor(warm_start=True, max_iter=5, tol=0, weight_decay=0.01)
    first = model.fit(scipy.sparse.csr_array(X), y).loss_
    assert model.fit(scipy.sparse.csr_array(X), y).loss_ < first


def test_many_columns_take_products_only():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(2000, 20_000, 1e-3, random_state=0, format="csr")
    y = X @ rng.normal(size=20_000) + 0.1 * rng.normal(size=2000)
    ridge = Ridge(alpha=1.0, solver="sparse_cg", tol=1e-8).fit(X, y)
    model = DeepLinearRegressor(depth=1, weight_decay=1 / 2000, solver="analytic")
    model.fit(X[:100, :50], y[:100])
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2000 * 20_000 / 4  # of X filled in, of which 20,000^2 numbers are tenfold
    assert model.global_minimum_.kind == "certified"
    np.testing.assert_allclose(model.coef_, ridge.coef_, atol=1e-3 * np.abs(ridge.coef_).max())
