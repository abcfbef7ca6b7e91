"""What tells the run of one fit from others: digests of its parameters and data, by name."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass

import numpy as np
import torch

# What changes nothing of a run, and the file itself.
_ASIDE = {"callbacks", "checkpoint", "continued"}
# Iterations at which the values of a callable step size are compared.
_PROBES = (0, 1, 10, 100, 1000)


def run_key(problem, options):
    """Digests of all that a run depends on but its initial weights.

    Parameters
    ----------
    problem : Problem
        A dataclass of data and of parameters of the network.
    options : RunOptions
        How it is trained.

    Returns
    -------
    key : dict of str
        A digest for each field of the two.
    """
    parts = {part.name: getattr(options, part.name) for part in fields(options)}
    parts = {name: value for name, value in parts.items() if name not in _ASIDE}
    if callable(options.step_size):
        probes = [t for t in _PROBES if t < options.max_iter]
        parts["step_size"] = [options.step_size(t) for t in probes]
    if not isinstance(options.random_state, (int, np.integer)):
        del parts["random_state"]  # its draws are compared: the initial weights
    parts["network"] = type(problem).__name__
    parts |= {part.name: getattr(problem, part.name) for part in fields(problem)}
    return {name: _digest(value) for name, value in parts.items()}


def _digest(value):
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest, value):
    """Feed a digest with the type and the content of a value, whatever it is made of."""
    if is_dataclass(value):
        value = {part.name: getattr(value, part.name) for part in fields(value)}
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple)):
        digest.update(f"{len(value)} parts ".encode())
        for part in value:
            _feed(digest, part)
    elif torch.is_tensor(value) or isinstance(value, (np.ndarray, np.generic)):
        array = value.numpy(force=True) if torch.is_tensor(value) else np.asarray(value)
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    else:
        digest.update(f"{value!r} ".encode())
