"""Meaning of the constructor parameters that all estimators share."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_random_state

from sklearn_deeplinear.dynamics.runs._schedules import step_size_schedule


def check_device(device, data_device=None):
    """Return the torch device named by `device`.

    "auto" takes that of the data if these are tensors, otherwise CUDA where there is one.
    """
    if isinstance(device, str) and device == "auto":
        if isinstance(data_device, torch.device):
            return data_device
        return default_device()
    try:
        resolved = torch.device(device)
        torch.zeros(1, device=resolved).cpu()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f'device must be "auto" or a device that torch can use here, such as "cpu"; '
            f"got {device!r} ({str(error).splitlines()[0]})."
        ) from None
    return resolved


def default_device():
    """Where training runs if neither users nor their data say so."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_dtype(dtype, device):
    """Return the torch dtype; None takes float64 on the CPU and float32 elsewhere."""
    dtype = _named_dtype(dtype, device)
    if dtype == torch.float32 and torch.is_autocast_enabled(device.type):
        raise ValueError(
            "torch.autocast must be off where dtype is float32: it would multiply in lower "
            "precision than dtype says."
        )
    return dtype


def _named_dtype(dtype, device):
    if dtype is None:
        return torch.float64 if device.type == "cpu" else torch.float32
    try:
        name = str(dtype).removeprefix("torch.") if _is_torch(dtype) else np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in ("float64", "float32"):
        raise ValueError(f'dtype must be None, "float64" or "float32", got {dtype!r}.')
    if device.type == "mps" and name == "float64":
        raise ValueError('dtype must be "float32" on device "mps", which has no float64.')
    return getattr(torch, name)


def _is_torch(dtype):
    return isinstance(dtype, torch.dtype)


def check_step_size(step_size, automatic):
    """Return the schedule t -> eta and the `step_size_` to report.

    Parameters
    ----------
    step_size : float, "auto" or callable
        As given by the user.
    automatic : callable
        Computes the step size of "auto"; called only if it is needed.
    """
    if isinstance(step_size, str) and step_size == "auto":
        eta = automatic()
        return (lambda t: eta), eta
    schedule = step_size_schedule(step_size)
    return schedule, step_size if callable(step_size) else schedule(0)


def step_flops(n_rows, shapes):
    """Floating-point operations of passing `n_rows` rows through layers and back."""
    return 6 * n_rows * sum(rows * columns for rows, columns in shapes)


def linear_batch_flops(n_rows, shapes):
    """The same for linear layers, which may be multiplied first."""
    d, m = shapes[0][1], shapes[-1][0]
    return min(step_flops(n_rows, shapes), step_flops(min(d, m), shapes) + 4 * n_rows * d * m)


def own_random_state(random_state):
    """Return the `random_state` of scikit-learn, for None one that the operating system seeds.

    The global generator, which None means elsewhere, is left alone.
    """
    return check_random_state(np.random.RandomState() if random_state is None else random_state)


def torch_generator(random_state):
    """Return a torch generator of its own, seeded by :func:`own_random_state`."""
    seed = own_random_state(random_state).randint(np.iinfo(np.int32).max)
    return torch.Generator().manual_seed(int(seed))
