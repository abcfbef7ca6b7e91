"""Mini-batch training: the same weights as a loop written out, and how a run ends."""

import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.history import History

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._resident_data import ResidentBatches, ResidentData
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import SecondMoments

SHAPES = [(6, 5), (2, 6)]
DECAY = [0.05, 0.2]


def make_data(weighted=False):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((47, 5))
    Y = X @ rng.standard_normal((5, 2)) + 0.1 * rng.standard_normal((47, 2))
    weight = rng.randint(0, 3, size=47).astype(float) if weighted else None
    return X, Y, weight


def make_weights():
    rng = np.random.RandomState(1)
    return [torch.from_numpy(0.4 * rng.standard_normal(shape)) for shape in SHAPES]


def train(X, Y, weight=None, *, epochs=6, **options):
    moments = SecondMoments.from_data(X, Y, weight, center=False)
    dynamics = LinearDynamics.from_moments(make_weights(), moments, DECAY, [0.0])
    data = ResidentData(
        torch.from_numpy(X),
        torch.from_numpy(Y),
        None if weight is None else torch.from_numpy(weight),
    )
    defaults = {
        "loss": "squared_error",
        "solver": "sgd",
        "schedule": lambda t: 0.02,
        "weight_decay": DECAY,
        "batch_size": 10,
        "generator": torch.Generator().manual_seed(3),
        "iterations": record_iterations(epochs, options.pop("record_every", 1)),
    }
    module = HomogeneousNetwork(SHAPES, dtype=torch.float64)
    run, net = train_minibatch(dynamics, module, data, **{**defaults, **options})
    return run, net, dynamics


def written_out(X, Y, weight, epochs, make_optimizer, schedule):
    """The same training with the objective of every batch spelt out for autograd."""
    if weight is None:
        weight = np.ones(len(X))
    X, Y, weight = (torch.from_numpy(array[weight > 0]) for array in (X, Y, weight))
    weights = [W.clone().requires_grad_() for W in make_weights()]
    optimizer = make_optimizer(weights)
    generator = torch.Generator().manual_seed(3)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = schedule(epoch)
        for rows in torch.randperm(len(X), generator=generator).split(10):
            optimizer.zero_grad()
            error = X[rows] @ weights[0].T @ weights[1].T - Y[rows]
            shares = weight[rows] * len(X) / weight.sum() / len(rows)
            objective = (shares[:, None] * error**2).sum()
            for gamma, W in zip(DECAY, weights, strict=True):
                objective = objective + gamma * (W**2).sum()
            objective.backward()
            optimizer.step()
    return [W.detach() for W in weights]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("solver", "optimizer"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)]
)
def test_steps_follow_the_gradient_of_the_objective(solver, optimizer, weighted):
    X, Y, weight = make_data(weighted)

    def schedule(t):
        return 0.02 / (t + 1)

    _, net, dynamics = train(X, Y, weight, solver=solver, schedule=schedule)
    expected = written_out(X, Y, weight, 6, optimizer, schedule)
    for W, V, p in zip(dynamics.weights, expected, net.module_.parameters(), strict=True):
        torch.testing.assert_close(W, V, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(W, p.detach(), rtol=0, atol=0)


def test_the_mean_over_batches_of_one_permutation_is_the_gradient_on_all_data():
    """Unbiased: a sample is in every batch with the same probability and share."""
    X, Y, weight = make_data(weighted=True)
    data = ResidentData(*(torch.from_numpy(array) for array in (X, Y, weight)))
    n = len(data)
    assert n == (weight > 0).sum()
    shares = torch.zeros(n)
    batches = ResidentBatches(ResidentData(torch.arange(n), data.y, data.weight), 1)
    for index, (_, w) in batches:
        shares[index] += w[0] / n
    expected = torch.from_numpy(weight[weight > 0] / weight.sum())
    torch.testing.assert_close(shares.double(), expected, rtol=1e-6, atol=0)


def test_every_epoch_sees_every_sample_once_in_a_new_order():
    data = ResidentData(torch.arange(23), torch.zeros(23))
    batches = ResidentBatches(data, 5, torch.Generator().manual_seed(0))
    orders = [torch.cat([X for X, _ in batches]) for _ in range(2)]
    assert len(batches) == 5
    assert all(order.sort().values.equal(torch.arange(23)) for order in orders)
    assert not orders[0].equal(orders[1])
    assert len(ResidentBatches(data, 1000)) == 1


def test_records_are_those_of_the_whole_data():
    X, Y, _ = make_data()
    run, _, dynamics = train(X, Y, epochs=7, record_every=3, record_weights=True)
    assert run.trajectory.iteration.tolist() == [0, 3, 6, 7]
    # 47 samples in batches of 10 are five steps
    np.testing.assert_allclose(run.trajectory.time, 0.02 * 5 * run.trajectory.iteration)
    for weights, loss, objective in zip(
        run.trajectory.weights, run.trajectory.loss, run.trajectory.objective, strict=True
    ):
        mean = np.sum((X @ weights[0].T @ weights[1].T - Y) ** 2) / len(X)
        penalty = sum(g * np.sum(W**2) for g, W in zip(DECAY, weights, strict=True))
        np.testing.assert_allclose([loss, objective], [mean, mean + penalty], rtol=1e-10)
    np.testing.assert_array_equal(dynamics.weights[0], run.trajectory.weights[-1][0])
    assert run.balance.matrix.shape == (4, 1)


class Follower(Callback):
    """Follows single batches, and so makes the net notify at every one."""

    def on_batch_end(self, net, **kwargs):
        """Count the batches."""
        self.count = getattr(self, "count", 0) + 1


def test_a_callback_that_follows_batches_changes_nothing_but_speed():
    X, Y, weight = make_data(weighted=True)
    fast_run, fast, _ = train(X, Y, weight)
    follower = Follower()
    slow_run, slow, _ = train(X, Y, weight, callbacks=[follower])
    n_batches = -(-int((weight > 0).sum()) // 10)
    assert follower.count == 6 * n_batches
    np.testing.assert_allclose(slow_run.trajectory.loss, fast_run.trajectory.loss, rtol=1e-12)
    for name in ("train_loss", "train_batch_count"):
        np.testing.assert_allclose(slow.history[:, name], fast.history[:, name], rtol=1e-12)


def test_skorch_callbacks_work():
    X, Y, _ = make_data()
    clipped, _, _ = train(X, Y, callbacks=[GradientNormClipping(1e-6)], weight_decay=[0.0, 0.0])
    assert abs(clipped.trajectory.loss[-1] / clipped.trajectory.loss[0] - 1) < 1e-5
    decayed = LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.1)
    run, _, _ = train(X, Y, epochs=3, callbacks=[decayed])
    np.testing.assert_allclose(run.trajectory.time, 0.1 * np.array([0, 1, 1.1, 1.11]))


def test_a_callback_can_stop_training_and_the_last_epoch_is_recorded():
    X, Y, _ = make_data()
    stopping = EarlyStopping("train_loss", threshold=1e6, patience=2, sink=lambda text: None)
    run, net, dynamics = train(X, Y, epochs=50, record_every=20, callbacks=[("stopping", stopping)])
    assert run.stop_reason == "callback"
    assert run.n_iter == len(net.history) < 10
    measured = dynamics.measure(dynamics.state[None])
    assert measured["objective"].item() == run.trajectory.objective[-1]


def test_tolerance_ends_a_run():
    X, Y, _ = make_data()
    run, net, _ = train(X, Y, epochs=500, batch_size=47, schedule=lambda t: 0.1, tol=1e-3)
    norm = run.trajectory.gradient_norm
    assert run.stop_reason == "converged"
    assert norm[-1] <= 1e-3 * norm[0] < norm[-2]
    assert len(net.history) == run.n_iter < 500


def test_divergence_keeps_the_last_finite_record():
    X, Y, _ = make_data()
    with pytest.warns(UserWarning, match="diverged"):
        run, net, dynamics = train(X, Y, epochs=50, schedule=lambda t: 3.0)
    assert run.stop_reason == "diverged"
    assert torch.isfinite(dynamics.state).all()
    assert all(torch.isfinite(p).all() for p in net.module_.parameters())


def test_interruption_keeps_the_last_record():
    class Interruption(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 5:
                raise KeyboardInterrupt

    X, Y, _ = make_data()
    with pytest.warns(UserWarning, match="interrupted") as caught:
        run, _, dynamics = train(X, Y, epochs=9, record_every=2, callbacks=[Interruption()])
    assert caught[0].message.n_iter == 4
    assert run.stop_reason == "interrupted"
    reference = train(X, Y, epochs=4, callbacks=[Follower()])[2]
    torch.testing.assert_close(dynamics.state, reference.state, rtol=0, atol=0)


def test_a_watcher_sees_what_lies_between_records_and_can_stop():
    seen = []

    def watch(index, log):
        seen.append((index, None if log is None else int(log.parts[-1]["iteration"][-1])))
        return log is not None and index == 1

    X, Y, _ = make_data()
    run, _, _ = train(X, Y, epochs=9, record_every=2, watch=watch)
    assert seen == [(0, None), (0, 2), (1, None), (1, 4)]
    assert (run.stop_reason, run.n_iter) == ("callback", 4)


def test_no_epochs_leave_the_weights_alone():
    X, Y, _ = make_data()
    run, net, dynamics = train(X, Y, epochs=0)
    assert run.stop_reason == "max_iter" and run.trajectory.iteration.tolist() == [0]
    torch.testing.assert_close(dynamics.weights[0], make_weights()[0], rtol=0, atol=0)
    assert net.predict(X).shape == (47, 2)


def test_global_randomness_is_left_alone_and_seeds_repeat():
    X, Y, _ = make_data()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first, second = (train(X, Y)[2].state for _ in range(2))
    other = train(X, Y, generator=torch.Generator().manual_seed(4))[2].state
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_net_is_silent(capsys):
    train(*make_data()[:2])
    assert capsys.readouterr().out == ""


def test_a_pickled_net_predicts_and_can_be_trained_further():
    X, Y, _ = make_data()
    _, net, dynamics = train(X, Y, solver="adam", callbacks=[Follower()])
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copy.predict(X), net.predict(X))
    assert isinstance(copy.history, History) and copy.history[-1, "epoch"] == 6
    state = dynamics.state.clone()
    copy.partial_fit(X, Y)
    assert len(copy.history) == 6 + copy.max_epochs
    assert np.abs(copy.predict(X) - net.predict(X)).max() > 0
    torch.testing.assert_close(dynamics.state, state, rtol=0, atol=0)  # memory of its own
