"""Large steps against small ones and the flow, and a published run reproduced."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear.datasets._mnist import load_mnist_subset
from sklearn_deeplinear.dynamics._comparison import compare_step_sizes
from sklearn_deeplinear.dynamics._gradient_descent import gradient_descent
from sklearn_deeplinear.dynamics._gradient_flow import gradient_flow
from sklearn_deeplinear.dynamics.networks._data_loss import data_loss

DATA = Path(__file__).parents[1] / "data"


def make_net(n_outputs=2, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, n_outputs)
    ).double()


def make_data(seed=0):
    rng = np.random.RandomState(seed)
    return rng.standard_normal((30, 4)), rng.standard_normal((30, 2))


def flat(net):
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def test_curves_are_those_of_separate_runs():
    net, (X, y) = make_net(), make_data()
    start = flat(net)

    def loss(net):
        return (net(torch.tensor(X)) - torch.tensor(y)).square().sum() / len(X)

    result = compare_step_sizes(
        net, X, y, step_size=0.05, divisors=(3,), max_iter=40, record_every=20, weight_decay=0.1
    )
    assert_array_equal(result.iteration, [0, 20, 40])
    assert_allclose(result.time, [0, 1, 2], rtol=1e-14)
    assert set(result.loss) == {1, 3, "flow"}
    assert set(result.distance) == {3, "flow"}
    big, small, flow = (copy.deepcopy(net) for _ in range(3))
    decay = {"weight_decay": 0.1}
    coarse = gradient_descent(big, loss, step_size=0.05, max_iter=40, record_every=20, **decay)
    gradient_descent(small, loss, step_size=0.05 / 3, max_iter=120, record_every=60, **decay)
    gradient_flow(flow, loss, time=2.0, times=[0.0, 1.0, 2.0], **decay)
    assert_allclose(result.loss[1], coarse.loss, rtol=1e-12)
    assert_allclose(result.distance_from_init[-1], (flat(big) - start).norm(), rtol=1e-12)
    assert_allclose(result.distance[3][-1], (flat(big) - flat(small)).norm(), rtol=1e-9)
    assert_allclose(result.distance["flow"][-1], (flat(big) - flat(flow)).norm(), rtol=1e-6)
    assert result.n_gradients[1] == 40
    assert result.n_gradients[3] == 120
    assert_array_equal(flat(net), start)


def test_distance_to_smaller_steps_extrapolates_to_the_flow():
    """Euler's error is proportional to the step: distance[r] = (1 - 1/r) distance["flow"]."""
    result = compare_step_sizes(make_net(), *make_data(), step_size=0.01, max_iter=100)
    assert len(result) == 101
    for r in (2, 5, 10, 20):
        assert_allclose(result.distance[r], (1 - 1 / r) * result.distance["flow"], rtol=0.03)


def test_steps_may_shrink_along_the_way():
    schedule = lambda t: 0.1 / (1 + t)  # noqa: E731
    result = compare_step_sizes(
        make_net(), *make_data(), step_size=schedule, divisors=(50,), max_iter=30
    )
    assert_allclose(result.time, np.concatenate([[0], np.cumsum(0.1 / np.arange(1, 31))]))
    assert_allclose(result.distance[50], 0.98 * result.distance["flow"], rtol=0.05)


def test_integer_targets_take_cross_entropy():
    net, (X, _) = make_net(3), make_data()
    y = np.arange(30) % 3
    result = compare_step_sizes(net, X, y, step_size=0.01, divisors=(), flow=False, max_iter=1)
    log_p = torch.log_softmax(net(torch.tensor(X)), dim=1).detach().numpy()
    assert_allclose(result.loss[1][0], -log_p[np.arange(30), y].mean(), rtol=1e-13)


def test_vector_targets_are_not_broadcast_against_a_column_of_outputs():
    net, (X, y) = make_net(1), make_data()
    result = compare_step_sizes(
        net, X, y[:, 0], step_size=0.01, divisors=(), flow=False, max_iter=1
    )
    outputs = net(torch.tensor(X)).detach().numpy()[:, 0]
    assert_allclose(result.loss[1][0], np.mean((outputs - y[:, 0]) ** 2), rtol=1e-13)


def test_a_convolutional_network_with_a_loss_of_its_own():
    torch.manual_seed(4)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    ).double()
    X, y = torch.randn(12, 1, 6, 6), torch.randint(3, (12,))
    result = compare_step_sizes(
        net,
        X,
        y,
        step_size=0.01,
        divisors=(4,),
        max_iter=20,
        loss=torch.nn.MultiMarginLoss(),
        rtol=1e-5,
        atol=1e-7,
        method="RK23",
    )
    assert result.loss[1][-1] < result.loss[1][0]
    # Both stand in for the limit of small steps; max-pooling keeps them from agreeing better.
    assert_allclose(result.loss["flow"], result.loss[4], rtol=1e-2)
    assert (result.distance["flow"] < 0.1 * result.distance_from_init.max()).all()


def test_a_comparison_ends_where_a_run_diverges():
    with pytest.warns(ConvergenceWarning, match=r"\[1\].*diverged"):
        result = compare_step_sizes(
            torch.nn.Linear(4, 2).double(),
            *make_data(),
            step_size=1.5,
            divisors=(20,),
            max_iter=3000,
            record_every=10,
            flow=False,
        )
    assert 0 < result.iteration[-1] < 3000
    assert np.isfinite(result.loss[1]).all()
    assert len(result.time) == len(result.distance[20]) == len(result)


def test_data_frames_and_lists_are_data():
    X, y = make_data()
    options = {"step_size": 0.01, "divisors": (2,), "flow": False, "max_iter": 2}
    compared = [
        compare_step_sizes(make_net(), *data, **options).loss[2]
        for data in ((X, y), (pd.DataFrame(X), pd.DataFrame(y)), (np.asarray(X).tolist(), y))
    ]
    assert_allclose(compared[1:], [compared[0]] * 2, rtol=1e-12)


def test_progress_is_printed_when_asked_for(capsys):
    compare_step_sizes(make_net(), *make_data(), step_size=0.01, divisors=(2,), max_iter=20)
    assert capsys.readouterr().out == ""
    compare_step_sizes(
        make_net(), *make_data(), step_size=0.01, divisors=(2,), max_iter=20, verbose=1
    )
    lines = capsys.readouterr().out.splitlines()
    assert 5 <= len(lines) <= 10
    assert "iteration 20 of 20" in lines[-1]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"estimator_or_module": object()}, TypeError, "estimator_or_module must be"),
        ({"divisors": (1,)}, ValueError, "divisors must be"),
        ({"divisors": (2.5,)}, TypeError, "divisors must be"),
        ({"loss": lambda module: 0.0}, TypeError, r"two arguments, loss\(outputs, y\)"),
        ({"divisors": 2}, TypeError, "divisors must be a sequence"),
        ({"step_size": None}, TypeError, "step_size must be"),
        ({"step_size": lambda t: -0.1}, ValueError, r"step_size\(0\) must be"),
        ({"y": np.array(["a", "b"] * 15)}, TypeError, "y must hold numbers"),
        (
            {"estimator_or_module": torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout())},
            ValueError,
            "must not be random",
        ),
        ({"y": np.zeros((29, 2))}, ValueError, "same number of samples"),
        ({"y": np.zeros((30, 3))}, ValueError, "shape of the outputs"),
        ({"loss": "mse"}, TypeError, "loss must be callable"),
        ({"X": np.full((30, 4), np.nan)}, ValueError, "gradient are finite"),
    ],
)
def test_bad_parameters_are_named(change, error, match):
    X, y = make_data()
    arguments = {
        "estimator_or_module": make_net(),
        "X": X,
        "y": y,
        "step_size": 0.01,
        "max_iter": 2,
    }
    with pytest.raises(error, match=match):
        compare_step_sizes(**{**arguments, **change})


@pytest.fixture(scope="module")
def published():
    """The authors' run on a linear network: its curves, data, and network at the start.

    Records are 100 iterations of size eta_0 = 0.001 apart. Losses were recorded before the
    last step of each hundred, weights after it.
    """
    pytest.importorskip("mlxtend")
    run = np.load(DATA / "elkabetz2021_linear.npz")
    net = torch.nn.Sequential(
        *(torch.nn.Linear(*run[f"init_{layer}"].T.shape, bias=False) for layer in range(3))
    ).double()
    for layer, linear in enumerate(net):
        linear.weight.data = torch.tensor(run[f"init_{layer}"])
    return run, *load_mnist_subset(), net


def test_published_losses_are_reproduced(published):
    (run, X, y, net), r = published, 2
    net = copy.deepcopy(net)
    steps = 100 * r - 1
    result = gradient_descent(
        net, data_loss(net, X, y), step_size=0.001 / r, max_iter=steps, record_every=steps
    )
    assert_allclose(result.loss, run[f"loss_r{r}"][:2], rtol=1e-6)


def test_published_distances_are_reproduced(published):
    """The first 100 of 2,000 iterations."""
    run, X, y, net = published
    result = compare_step_sizes(
        net, X, y, step_size=0.001, divisors=(2,), flow=False, max_iter=100, record_every=100
    )
    assert_allclose(result.distance_from_init, run["dist_from_init"][:2], rtol=1e-6)
    assert_allclose(result.distance[2], run["dist_r2"][:2], rtol=1e-6)
