"""The number of torch threads: one for small steps, and never changed for good."""

import threading

import numpy as np
import pytest
import torch

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics import (
    compare_step_sizes,
    gradient_descent,
    gradient_flow,
)
from sklearn_deeplinear.dynamics.runs import _threads
from sklearn_deeplinear.dynamics.runs._threads import (
    MANY_THREADS_FROM,
    evaluation_flops,
    suitable_threads,
)


@pytest.fixture(autouse=True)
def three_threads():
    """A number that is neither 1 nor likely to be that of this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_only_small_steps_get_one_thread():
    with suitable_threads(0.99 * MANY_THREADS_FROM):
        assert torch.get_num_threads() == 1
        with suitable_threads(1):  # nested
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with suitable_threads(MANY_THREADS_FROM):
        assert torch.get_num_threads() == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_number_is_restored_whatever_ends_the_block(error):
    with pytest.raises(error), suitable_threads(1):
        raise error
    assert torch.get_num_threads() == 3


def test_overlapping_python_threads_are_all_restored():
    """The second comes while the first is inside, and leaves after it."""
    inside, go_on, found = threading.Event(), threading.Event(), []

    def fit():
        with suitable_threads(1):
            inside.set()
            go_on.wait(60)
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    other = threading.Thread(target=fit)
    with suitable_threads(1):
        other.start()
        inside.wait(60)
    assert torch.get_num_threads() == 3
    go_on.set()
    other.join()
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [1, 3, 3]


@pytest.fixture
def seen(monkeypatch):
    """Numbers of threads at every switch of the mode for denormals: in the middle of runs."""
    counts = []
    original = torch.set_flush_denormal

    def spy(mode):
        counts.append(torch.get_num_threads())
        return original(mode)

    monkeypatch.setattr(torch, "set_flush_denormal", spy)
    return counts


X = np.random.RandomState(0).standard_normal((30, 3))
Y = X[:, :1] + 0.1


@pytest.mark.parametrize("solver", ["gd", "sgd"])
@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(noise=0.1),
        MultiPathwayRegressor(activation="relu", width=5),
        HomogeneousMLPRegressor(width=5),
        HomogeneousMLPClassifier(width=5),
    ],
)
def test_small_fits_use_one_thread(model, solver, seen, monkeypatch):
    if solver == "sgd" and isinstance(model, DeepLinearRegressor):
        model = DeepLinearRegressor()
    y = Y[:, 0] > 0 if isinstance(model, HomogeneousMLPClassifier) else Y[:, 0]
    model.set_params(solver=solver, max_iter=3, tol=0, random_state=0).fit(X, y)
    assert set(seen) == {1}
    seen.clear()
    monkeypatch.setattr(_threads, "MANY_THREADS_FROM", 1)
    model.fit(X, y)
    assert set(seen) == {3}


def test_small_modules_use_one_thread(seen):
    inputs = torch.from_numpy(X)
    net = torch.nn.Linear(3, 1, dtype=torch.float64)

    def loss(module):
        counts.append(torch.get_num_threads())
        return module(inputs).square().mean()

    counts = []
    gradient_descent(net, loss, step_size=0.1, max_iter=5)
    assert counts.count(1) > 5
    counts.clear()
    gradient_flow(net, loss, time=0.1)
    assert counts.count(1) > 5
    compare_step_sizes(net, X, Y, step_size=0.1, max_iter=3, divisors=[2])
    assert set(seen) == {1}


def test_flops_of_layers_that_see_one_row_a_sample():
    """2 n per weight forward, 2 n for the gradient in it and 2 n for that in its input."""
    dynamics = HomogeneousMLPRegressor(width=5, fit_bias=False)._dynamics_starter(X, Y)()
    assert evaluation_flops(dynamics) == 6 * 30 * (3 * 5 + 5 * 5 + 5 * 1)
