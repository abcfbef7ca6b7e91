"""Meaning of the parameters that estimators share."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.estimators._options import (
    check_device,
    check_dtype,
    check_step_size,
    torch_generator,
)

CPU = torch.device("cpu")


def test_auto_is_a_device_of_this_machine(device):
    assert check_device("auto").type in {"cpu", "cuda"}
    assert check_device(device).type == device
    assert check_device(torch.device(device)) == torch.device(device)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta", None, 3.5, "", "cpu gpu"])
def test_a_device_that_cannot_train_is_refused(device):
    with pytest.raises(ValueError, match="device"):
        check_device(device)


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        *((name, torch.float64) for name in ("float64", np.float64, float, torch.float64)),
        *((name, torch.float32) for name in ("float32", np.float32, "f4", torch.float32)),
        (None, torch.float64),
    ],
)
def test_a_precision_has_many_names(dtype, wanted):
    assert check_dtype(dtype, CPU) is wanted


def test_accelerators_train_in_single_precision_by_default():
    assert check_dtype(None, torch.device("cuda")) is torch.float32
    assert check_dtype(None, torch.device("mps")) is torch.float32
    assert check_dtype("float64", torch.device("cuda")) is torch.float64
    with pytest.raises(ValueError, match="dtype.*mps"):
        check_dtype("float64", torch.device("mps"))


@pytest.mark.parametrize("dtype", ["float16", torch.bfloat16, int, "double precision", 7, object()])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype"):
        check_dtype(dtype, CPU)


def never():
    raise AssertionError("the automatic step size was computed without need")


def test_a_step_size_becomes_a_schedule():
    schedule, reported = check_step_size("auto", lambda: 0.25)
    assert (schedule(0), schedule(9), reported) == (0.25, 0.25, 0.25)
    schedule, reported = check_step_size(np.float32(0.5), never)
    assert (schedule(3), reported) == (0.5, 0.5)

    def decaying(t):
        return np.float64(1 / (t + 1))

    schedule, reported = check_step_size(decaying, never)
    assert (schedule(0), schedule(3)) == (1.0, 0.25) and reported is decaying


@pytest.mark.parametrize("step_size", [0, -1, np.nan, np.inf, True, None, "fast", [0.1]])
def test_other_step_sizes_are_refused(step_size):
    with pytest.raises((ValueError, TypeError), match="step_size"):
        check_step_size(step_size, never)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, None, "fast", [0.1, 0.2]])
def test_a_schedule_is_checked_at_every_step(value):
    schedule, _ = check_step_size(lambda t: 0.1 if t < 5 else value, never)
    assert schedule(4) == 0.1
    with pytest.raises((ValueError, TypeError), match="step_size"):
        schedule(5)


def test_generators_are_seeded_the_scikit_learn_way():
    def draw(random_state):
        return torch.rand(3, generator=torch_generator(random_state)).tolist()

    assert draw(0) == draw(0) != draw(1)
    assert draw(0) == draw(np.random.RandomState(0))
    stream = np.random.RandomState(0)
    assert draw(stream) != draw(stream)  # an instance moves on
