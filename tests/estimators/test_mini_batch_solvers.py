"""solver="sgd" and "adam" on linear networks: mini-batches through skorch."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)


def regression(n=120, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 5) + 2
    return X, X @ rng.randn(5, 2) + 0.3 * rng.randn(n, 2)


@pytest.fixture
def model():
    return DeepLinearRegressor(
        depth=2, width=6, weight_decay=[0.05, 0.01], max_iter=20, tol=0, random_state=0
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_one_batch_of_all_samples_is_gradient_descent(model, weighted):
    X, y = regression()
    weight = np.random.RandomState(1).uniform(0, 2, len(X)) if weighted else None
    descent = clone(model).set_params(step_size=0.01).fit(X, y, weight)
    batch = clone(descent).set_params(solver="sgd", batch_size=1000).fit(X, y, weight)
    for W, V in zip(batch.weights_, descent.weights_, strict=True):
        assert_allclose(W, V, rtol=1e-10, atol=1e-12)
    assert_allclose(batch.intercept_, descent.intercept_, rtol=1e-10)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_mini_batches_come_near_the_minimum_in_any_unit(model, solver, unit):
    X, y = regression()
    model.set_params(solver=solver, batch_size=30, max_iter=150, weight_decay=0.0)
    model.fit(X, y * unit)
    assert 0 <= model.optimality_gap_ < 0.05 * model.global_minimum_.objective
    assert model.stop_reason_ == "max_iter"
    assert model.trajectory_.iteration[-1] == 150


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_seed_reproduces_the_run_and_global_state_is_left_alone(model, solver):
    X, y = regression()
    model.set_params(solver=solver, batch_size=16, init="normal")
    state = torch.random.get_rng_state()
    first, second = clone(model).fit(X, y), clone(model).fit(X, y)
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert_array_equal(first.coef_, second.coef_)
    assert not np.array_equal(first.coef_, other.coef_)
    assert torch.equal(torch.random.get_rng_state(), state)


class Counter(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1


def test_skorch_callbacks_are_called_and_the_net_is_kept(model):
    X, y = regression()
    counter = Counter()
    model.set_params(solver="sgd", callbacks=[("counter", counter)]).fit(X, y)
    assert counter.epochs == 20
    losses = model.net_.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert not hasattr(model.set_params(solver="gd", callbacks=None).fit(X, y), "net_")


def test_a_schedule_sets_the_step_of_each_epoch(model):
    X, y = regression()
    model.set_params(solver="sgd", batch_size=40, step_size=lambda t: 0.01 / (t + 1)).fit(X, y)
    steps = np.diff(model.trajectory_.time)
    assert_allclose(steps, [3 * 0.01 / (t + 1) for t in range(20)])


def test_noise_needs_an_exact_solver(model):
    with pytest.raises(ValueError, match="noise"):
        model.set_params(solver="adam", noise=0.1).fit(*regression())


ALL = [
    DeepLinearRegressor(depth=2, width=3),
    MultiPathwayRegressor(width=3),
    HomogeneousMLPRegressor(width=3),
]


@pytest.mark.parametrize("solver", ["gd", "flow", "sgd", "adam", "analytic"])
@pytest.mark.parametrize("estimator", ALL)
def test_callbacks_that_nobody_would_call_are_refused(estimator, solver):
    if solver == "analytic" and isinstance(estimator, HomogeneousMLPRegressor):
        pytest.skip("it has no analytic solution")
    X = np.random.RandomState(0).standard_normal((30, 3))
    model = clone(estimator).set_params(solver=solver, max_iter=2, tol=0)
    for empty in (None, [], ()):
        model.set_params(callbacks=empty).fit(X, X[:, 0])
    model.set_params(callbacks=[("early", EarlyStopping(monitor="train_loss"))])
    if solver in ("sgd", "adam"):
        assert model.fit(X, X[:, 0]).n_iter_ == 2
    else:
        with pytest.raises(ValueError, match=f'callbacks.*solver="{solver}"'):
            model.fit(X, X[:, 0])


@pytest.mark.parametrize("estimator", ALL)
def test_early_stopping_is_told_what_to_monitor(estimator):
    X = np.random.RandomState(0).standard_normal((30, 3))
    model = clone(estimator).set_params(solver="adam", max_iter=50, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match='monitor="train_loss"'):
        model.fit(X, X[:, 0])
    early = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    model.set_params(callbacks=[early]).fit(X, X[:, 0])
    assert model.stop_reason_ == "callback" and model.n_iter_ < 50


def test_other_errors_of_callbacks_are_left_alone():
    class Faulty(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyError("my own")

    X = np.random.RandomState(0).standard_normal((30, 3))
    with pytest.raises(KeyError, match="my own"):
        DeepLinearRegressor(solver="sgd", callbacks=[Faulty()]).fit(X, X[:, 0])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_default_records_are_spaced_by_steps_and_change_nothing(solver):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((200, 20))
    y = np.maximum(X @ rng.standard_normal((20, 2)), 0)
    options = {"solver": solver, "batch_size": 50, "tol": 0, "random_state": 0}
    model = HomogeneousMLPRegressor(width=10, max_iter=100, step_size=1e-3, **options)
    spaced = clone(model).fit(X, y).trajectory_
    every = clone(model).set_params(record_every=1).fit(X, y).trajectory_
    assert every.iteration.tolist() == list(range(101))
    # An epoch has four steps, and a record of a small network takes longer.
    assert 10 < len(spaced) < 101 and spaced.iteration[-1] == 100
    for curve in ("loss", "objective", "gradient_norm", "time"):
        assert_array_equal(getattr(spaced, curve), getattr(every, curve)[spaced.iteration])


def test_early_stopping_looks_at_every_epoch():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((600, 20))
    y = X[:, 0] + 0.1 * rng.standard_normal(600)
    model = HomogeneousMLPRegressor(
        width=10, max_iter=40, solver="adam", batch_size=100, tol=0, random_state=0
    )
    model.set_params(early_stopping=True, n_iter_no_change=40).fit(X, y)
    assert model.trajectory_.iteration.tolist() == list(range(41))
