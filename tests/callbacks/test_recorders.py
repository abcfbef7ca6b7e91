"""Recorders on ordinary skorch nets, held against definitions and finite networks."""

import numpy as np
import pytest
import torch
from skorch import NeuralNet

from sklearn_deeplinear.callbacks import BalanceRecorder, TrajectoryRecorder
from sklearn_deeplinear.callbacks._layer_pairs import find_layers, layer_pairs
from sklearn_deeplinear.theory import balance


def make_net(module, callbacks, *, step_size=0.02, epochs=4, **options):
    return NeuralNet(
        module.double(),
        torch.nn.MSELoss,
        lr=step_size,
        max_epochs=epochs,
        batch_size=16,
        train_split=None,
        callbacks=callbacks,
        verbose=0,
        **options,
    )


def make_data(shape=(5,), outputs=2):
    rng = np.random.RandomState(0)
    return rng.standard_normal((48, *shape)), rng.standard_normal((48, outputs))


def mlp(*activation, bias=True):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 6, bias=bias),
        *activation,
        torch.nn.Linear(6, 4, bias=bias),
        *activation,
        torch.nn.Linear(4, 2, bias=bias),
    )


def test_linear_networks_record_the_balance_of_theory():
    X, Y = make_data()
    recorder, weights = BalanceRecorder(), TrajectoryRecorder(record_weights=True)
    make_net(mlp(bias=False), [recorder, weights]).fit(X, Y)
    records = weights.trajectory_.weights
    start = balance(records[0])
    for row, record in enumerate(records):
        now = balance(record)
        for name in ("layer", "neuron", "matrix"):
            got = getattr(recorder.history_, name)[row]
            np.testing.assert_allclose(got, getattr(now, name), atol=1e-12)
        changes = zip(now.differences, start.differences, strict=True)
        change = [np.linalg.norm(D - D_0) for D, D_0 in changes]
        np.testing.assert_allclose(recorder.history_.change[row], change, atol=1e-12)


def test_hidden_biases_count_as_incoming_weights():
    X, Y = make_data()
    recorder, weights = BalanceRecorder(), TrajectoryRecorder(record_weights=True)
    make_net(mlp(torch.nn.ReLU()), [recorder, weights]).fit(X, Y)
    W_1, b_1, W_2, b_2, W_3, _ = weights.trajectory_.weights[-1]
    first = (W_1**2).sum(1) + b_1**2 - (W_2**2).sum(0)
    second = (W_2**2).sum(1) + b_2**2 - (W_3**2).sum(0)
    history = recorder.history_
    np.testing.assert_allclose(history.layer[-1], [first.sum(), second.sum()], atol=1e-12)
    np.testing.assert_allclose(history.neuron[-1], [abs(first).max(), abs(second).max()])
    assert history.matrix is None
    assert history.iteration.tolist() == [0, 1, 2, 3, 4]


class ConvNet(torch.nn.Module):
    """Strided, grouped and pooled convolutions, then linear layers; no matrix to speak of."""

    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.third = torch.nn.Linear(6 * 2 * 2, 5)
        self.fourth = torch.nn.Linear(5, 2)
        self.activation = activation

    def forward(self, X):
        H = torch.nn.functional.max_pool2d(self.activation(self.first(X)), 2)
        H = self.activation(self.second(H)).flatten(1)
        return self.fourth(self.activation(self.third(H)))


def convolution_drift(activation, step_size):
    """Largest change per channel over the same time, in full-batch steps."""
    X, Y = make_data((1, 8, 8))
    recorder = BalanceRecorder()
    net = make_net(
        ConvNet(activation), [recorder], step_size=step_size, epochs=round(0.4 / step_size)
    )
    net.set_params(batch_size=-1).fit(X, Y)
    return recorder.history_.drift


def test_channels_of_convolutions_are_conserved_as_the_steps_shrink():
    """Drift of the order of the step for ReLU, whatever the pooling; none such for tanh."""
    coarse = convolution_drift(torch.relu, 0.02)
    fine = convolution_drift(torch.relu, 0.01)
    np.testing.assert_allclose(coarse / fine, 2, rtol=0.2)
    not_homogeneous = convolution_drift(torch.tanh, 0.01)
    assert (not_homogeneous > 5 * fine).any()
    assert not_homogeneous.max() > 0.8 * convolution_drift(torch.tanh, 0.02).max()


def test_columns_hold_all_weights_that_read_a_channel():
    """Scaling what a channel is multiplied by scales the squared norm of its column."""
    net = ConvNet(torch.relu)
    before = [W.square().sum(0) for _, W in layer_pairs(find_layers(net))]
    with torch.no_grad():
        net.second.weight[3:, 1] *= 3  # the second group reads channels 2 and 3
        net.third.weight[:, 4:8] *= 2  # positions of channel 1
    after = [W.square().sum(0) for _, W in layer_pairs(find_layers(net))]
    np.testing.assert_allclose(after[0] / before[0], [1, 1, 1, 9], rtol=1e-6)
    np.testing.assert_allclose(after[1] / before[1], [1, 4, 1, 1, 1, 1], rtol=1e-6)


def test_layers_can_be_named_and_must_fit():
    net = ConvNet(torch.relu)
    assert list(find_layers(net, ["third", "fourth"])) == ["third", "fourth"]
    with pytest.raises(ValueError, match="layers must name"):
        find_layers(net, ["activation"])
    with pytest.raises(ValueError, match="cannot read"):
        layer_pairs(find_layers(net, ["first", "fourth"]))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_trajectory_is_that_of_all_data(optimizer):
    X, Y = make_data()
    recorder = TrajectoryRecorder(record_every=3)
    net = make_net(
        mlp(torch.nn.Tanh()), [recorder], optimizer=optimizer, optimizer__weight_decay=0.1
    ).fit(X, Y)
    run = recorder.trajectory_
    assert run.iteration.tolist() == [0, 3, 4]
    np.testing.assert_allclose(run.time, 0.02 * 3 * run.iteration)  # 3 batches an epoch
    loss = torch.nn.functional.mse_loss(net.module_(torch.from_numpy(X)), torch.from_numpy(Y))
    decay = 0.05 if optimizer is torch.optim.SGD else 0.0
    objective = loss + decay * sum(p.square().sum() for p in net.module_.parameters())
    gradients = torch.autograd.grad(objective, list(net.module_.parameters()))
    norm = torch.cat([g.reshape(-1) for g in gradients]).norm()
    got = [run.loss[-1], run.objective[-1], run.gradient_norm[-1]]
    expected = [loss.item(), objective.item(), norm.item()]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_recording_does_not_change_training():
    X, Y = make_data()
    finals = []
    for callbacks in ([], [BalanceRecorder(), TrajectoryRecorder()]):
        module = mlp(torch.nn.ReLU(), torch.nn.Dropout(0.3))
        net = make_net(module, callbacks, iterator_train__shuffle=True).fit(X, Y)
        finals.append(torch.cat([p.detach().reshape(-1) for p in net.module_.parameters()]))
    assert torch.equal(*finals)


def test_further_training_continues_the_records():
    X, Y = make_data()
    recorders = [BalanceRecorder(), TrajectoryRecorder()]
    net = make_net(mlp(), recorders).fit(X, Y)
    net.partial_fit(X, Y)
    assert recorders[0].history_.iteration.tolist() == list(range(9))
    assert recorders[1].trajectory_.iteration.tolist() == list(range(9))
    net.fit(X, Y)
    assert recorders[0].history_.iteration.tolist() == list(range(5))
