"""One device for all of a network in training: no tensor is left elsewhere, none is read."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_deeplinear.dynamics.networks import _linear, _sample_gradient
from sklearn_deeplinear.nn import _norms
from tests.dynamics.networks.every_network import CASES

META = torch.empty(0, dtype=torch.float64, device="meta")
CPU = torch.empty(0, dtype=torch.float64)
# Which of their parts vanish, and so how they step, is looked up when they are made.
CHOSEN_BY_VALUES = {
    "compressed network",
    "orthogonal pathways",
    "linear batch",
    "noisy batch",
}
# Whose meter of the balance looks up which units are at rest when it is made.
METER_BY_VALUES = {"compressed pathways"}


@pytest.fixture(autouse=True)
def _without_graphs():
    with torch.no_grad():
        yield


@pytest.fixture
def unread(monkeypatch):
    """Leave out the two places where values decide: rounding, once, and the best intercept."""
    monkeypatch.setattr(_linear, "_norm", lambda matrices: 1.0)
    monkeypatch.setattr(_linear, "gradient_rounding", lambda *args: 0.0)
    monkeypatch.setattr(_sample_gradient, "best_intercept", lambda *args: args[-1])


def run(dynamics):
    """All that a run does with a network between two looks at its numbers."""
    dynamics.step(0.1)
    dynamics.evaluate()
    return dynamics.measure(torch.stack([dynamics.state, dynamics.state]))


@pytest.mark.parametrize("name", [name for name in CASES if name not in CHOSEN_BY_VALUES])
def test_networks_run_on_a_device_that_holds_no_numbers(name, unread):
    """The meta device refuses operations with tensors of others, and to read one."""
    dynamics = CASES[name].make(META)
    measured = run(dynamics)
    parts = [dynamics.state, dynamics.gradient, *measured.values()]
    meter = None if name in METER_BY_VALUES else dynamics.balance_meter()
    assert {part.device.type for part in parts} == {"meta"}
    assert {values.shape[0] for values in measured.values()} == {2}
    if meter is not None:
        with pytest.raises(NotImplementedError, match="no data"):  # it gives arrays
            meter.measure(dynamics.state[None])


@pytest.mark.parametrize("name", sorted(CHOSEN_BY_VALUES))
def test_no_other_network_is_left_out(name, unread):
    with pytest.raises(RuntimeError, match="item"):
        CASES[name].make(META)


class Readings(TorchDispatchMode):
    """Counts how often a number is read from a tensor, for which a run waits for its device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_a_number(name, monkeypatch):
    monkeypatch.setattr(_sample_gradient, "best_intercept", lambda *args: args[-1])
    monkeypatch.setattr(_norms, "_READ_AT_ONCE", set())  # as on other devices
    dynamics = CASES[name].make(CPU)
    with Readings() as readings:
        run(dynamics)
    assert readings.count == 0


def test_readings_are_seen():
    with Readings() as readings:
        float(torch.ones(3).sum())
    assert readings.count == 1
