"""Files from which a run that was stopped, however that was, goes on bit for bit.

What a run knows where it may be taken up is a tree: dicts and lists of tensors, arrays and plain
values. It is offered at each such place, and written when the last file is old enough, when the
run is interrupted and when it ends. A file is complete or not there: it is written beside the
former one, which it then replaces.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.lib.format import write_array

from sklearn_deeplinear._warnings import warn_user
from sklearn_deeplinear.dynamics.networks._protocol import Remembering
from sklearn_deeplinear.dynamics.runs._whole_files import whole_file

# Seconds between two files, and at least so many times what the last one took: a thousand records
# of a small network take 0.1 s, 250 MB of recorded weights two to three.
SECONDS, SPACING = 10.0, 20
# Reasons to end that another run would find, too.
_FINAL = (None, "converged", "early_stopping", "diverged")


def memory_of(network):
    """What decides where a network goes besides its state, or None."""
    return network.memory() if isinstance(network, Remembering) else None


def recall(network, memory):
    """Give a network back what :func:`memory_of` it was."""
    if memory is not None:
        network.recall(memory)


class NoCheckpoint:
    """Keeps nothing, of runs that start anew each time."""

    def resume(self, log):
        """Nothing to go on from."""
        return

    def keep(self, log, reason, place):
        """Keep nothing."""

    def close(self):
        """Write nothing."""


NO_CHECKPOINT = NoCheckpoint()


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : str or path-like
        Its name; the folder must exist.
    key : dict of str
        What tells the run from others, by the name of a parameter or of a part of the data.

    Raises
    ------
    ValueError
        If there is no such folder, or the name is that of a folder.
    """

    def __init__(self, path, key):
        self.path, self.key = os.path.abspath(os.fspath(path)), key
        self.start, self.offered, self.next = None, None, time.monotonic() + SECONDS
        if not os.path.isdir(os.path.dirname(self.path)) or os.path.isdir(self.path):
            raise ValueError(f"checkpoint must name a file in a folder that exists, got {path!r}.")

    def resume(self, log):
        """Give the log and its network back what the file knows, if there is one.

        Parameters
        ----------
        log : Log
            Of a run that has just begun.

        Returns
        -------
        place : dict or None
            What :meth:`keep` was given beside the log, with the `reason`; None where the run
            starts from its beginning.

        Raises
        ------
        ValueError
            If the file is no checkpoint, or one of another run.
        """
        self.start = log.kept.clone()
        if not os.path.exists(self.path):
            return None
        saved = self._read()
        names = [*dict.fromkeys([*self.key, *saved["key"]])]
        others = [name for name in names if self.key.get(name) != saved["key"].get(name)]
        if not others and not torch.equal(saved["start"], self.start.cpu()):
            others = ["its initial weights (give random_state a number)"]
        if others:
            raise ValueError(
                f"checkpoint must name a file of this run, or none: the run of {self.path} "
                f"differs in {', '.join(others)}."
            )
        log.recall(saved["log"])
        return saved["place"]

    def keep(self, log, reason, place):
        """Offer a place to go on from: the log, and what ``place()`` says that is needed there.

        Nothing of that may change later: :func:`snapshot` copies tensors. A run that was
        interrupted is at no such place, and goes on from the one before.
        """
        if reason not in _FINAL:
            return
        self.offered = {"log": log.memory(), "place": {"reason": reason, **place()}}
        if time.monotonic() >= self.next:
            self.close()

    def close(self):
        """Write what was offered last, if that is not done. Without success, warn and go on."""
        if self.offered is None:
            return
        begin = time.monotonic()
        try:
            with whole_file(self.path) as beside, open(beside, "wb") as file:
                _write(file, {"key": self.key, "start": self.start, **self.offered})
                file.flush()
                os.fsync(file.fileno())
            self.offered = None
        except (OSError, MemoryError) as error:
            cause = error if str(error) else "there is not enough memory for a copy of the run"
            warn_user(
                UserWarning(
                    f"checkpoint could not be written to {self.path}, training goes on: {cause}"
                )
            )
        end = time.monotonic()
        self.next = end + max(SECONDS, SPACING * (end - begin))

    def _read(self):
        try:
            with open(self.path, "rb") as file, zipfile.ZipFile(file):  # not a lone array
                return _read(np.load(file, allow_pickle=False))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint must name a file of an earlier run, or none: {self.path} is not one."
            ) from error


def snapshot(tree):
    """The same tree with copies of the tensors, which runs write into."""
    if isinstance(tree, dict):
        return {name: snapshot(part) for name, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [snapshot(part) for part in tree]
    return tree.clone() if torch.is_tensor(tree) else tree


def _write(file, tree):
    """Write a tree as two arrays: its form as JSON, and the bytes of all arrays in a row."""
    arrays: list[np.ndarray] = []
    form = json.dumps(_form(tree, arrays))
    values = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    parts = {"form": form.encode(), "values": values}
    # As np.savez does, which leaves an open archive behind if NumPy is of 2.0 and the disk full.
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                write_array(member, np.frombuffer(part, np.uint8), allow_pickle=False)


def _form(tree, arrays):
    """What JSON can hold of a tree, whose arrays are appended to `arrays`."""
    if isinstance(tree, dict):
        return {"dict": {name: _form(part, arrays) for name, part in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return [_form(part, arrays) for part in tree]
    if torch.is_tensor(tree) or isinstance(tree, (np.ndarray, np.generic)):
        array = tree.numpy(force=True) if torch.is_tensor(tree) else np.asarray(tree)
        arrays.append(array)
        return {"array": [array.dtype.str, array.shape, array.nbytes, torch.is_tensor(tree)]}
    return tree


def _read(file):
    """The tree that was written; its tensors are on the CPU."""
    form, sizes = json.loads(bytes(file["form"])), []
    _filled(form, lambda dtype, shape, size, is_tensor: sizes.append(size))
    ends = pairwise(accumulate(sizes, initial=0))
    values = file["values"]

    def fill(dtype, shape, size, is_tensor):
        begin, end = next(ends)
        array = values[begin:end].copy().view(dtype).reshape(shape)
        return torch.from_numpy(array) if is_tensor else array

    return _filled(form, fill)


def _filled(form, fill):
    """A tree of the form that :func:`_form` has left of it, with arrays made by `fill`."""
    if isinstance(form, list):
        return [_filled(part, fill) for part in form]
    if not isinstance(form, dict):
        return form
    if "array" in form:
        return fill(*form["array"])
    return {name: _filled(part, fill) for name, part in form["dict"].items()}
