"""Faults at chosen places of a call, and what a process must be left with after them."""

import ast
import logging
import os
import random
import sys
import warnings
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn import get_config

import sklearn_deeplinear
from sklearn_deeplinear.dynamics.runs._denormals import _are_flushed

_PACKAGE = str(Path(sklearn_deeplinear.__file__).parent) + os.sep


def lines_of(call):
    """The lines of the package that a call passes, in order, as pairs of file and number."""
    lines = []
    _traced(call, lambda frame: lines.append((frame.f_code.co_filename, frame.f_lineno)))
    return lines


def fail_at(call, position, error=KeyboardInterrupt):
    """Call, with an error raised before the line of the package at this position."""
    left = [position]

    def reached(frame):
        left[0] -= 1
        if left[0] == -1:
            raise error

    return _traced(call, reached)


def _traced(call, reached):
    def enter(frame, event, argument):
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            return None
        last, unreal, blocks = frame.f_lineno, *_no_places(file)

        def local(frame, event, argument):
            nonlocal last
            if event == "line":
                former, last = last, frame.f_lineno
                if last not in unreal and former not in blocks.get(last, ()):
                    reached(frame)
            return local

        return local

    former = sys.gettrace()
    sys.settrace(enter)
    try:
        return call()
    finally:
        sys.settrace(former)


@cache
def _no_places(file):
    """Lines of a file before which no signal can interrupt.

    Python looks for signals after calls and where loops begin anew. So the line of a ``with``
    that is passed once more on leaving its block is no such place, nor is the ``finally`` that
    makes the call by which something is restored.

    Returns
    -------
    lines : set of int
        Of ``finally``.
    blocks : dict of range
        Lines of the block, by that of its ``with``.
    """
    nodes = list(ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))))
    ends = [node.finalbody for node in nodes if isinstance(node, ast.Try) and node.finalbody]
    lines = {line for body in ends for line in range(body[0].lineno, body[-1].end_lineno + 1)}
    withs = [node for node in nodes if isinstance(node, ast.With)]
    return lines, {node.lineno: range(node.body[0].lineno, node.end_lineno + 1) for node in withs}


def positions_of(lines, occurrences=("first", "middle", "last")):
    """Positions at which each distinct line is passed for the first time, amid, and at last."""
    places = {}
    for position, line in enumerate(lines):
        places.setdefault(line, []).append(position)
    take = {"first": lambda p: p[0], "middle": lambda p: p[len(p) // 2], "last": lambda p: p[-1]}
    return sorted({take[which](p) for p in places.values() for which in occurrences})


def process_state():
    """All that a call must leave as it is, by name, to be compared by :func:`assert_same`."""
    state = {
        "random numbers of Python": random.getstate(),
        "random numbers of NumPy": np.random.get_state(),  # noqa: NPY002
        "random numbers of PyTorch": torch.get_rng_state(),
        "threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "denormals": _are_flushed(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "errors of NumPy": np.geterr(),
        "warning filters": list(warnings.filters),
        "showwarning": id(warnings.showwarning),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "loggers": {
            name: (logger.level, len(logger.handlers))
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        },
        "root logger": (logging.root.level, len(logging.root.handlers)),
        "scikit-learn": get_config(),
    }
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt

        state["figures"] = plt.get_fignums()
        state["rcParams"] = {name: str(value) for name, value in plt.rcParams.items()}
    return state


def assert_same(first, second, name="value"):
    """Equal bit for bit, in all that results hold."""
    if first is second:
        return
    assert type(first) is type(second), f"{name}: {type(first)} and {type(second)}"
    if is_dataclass(first):
        for part in fields(first):
            values = (getattr(result, part.name) for result in (first, second))
            assert_same(*values, f"{name}.{part.name}")
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), f"{name}: {first.keys() ^ second.keys()}"
        for key, value in first.items():
            assert_same(value, second[key], f"{name}[{key!r}]")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), name
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{name}[{index}]")
    elif isinstance(first, np.ndarray) and first.dtype == object:
        assert_same(first.tolist(), second.tolist(), name)
    elif isinstance(first, np.ndarray | np.generic | torch.Tensor | float):
        np.testing.assert_array_equal(first, second, name)
    elif hasattr(first, "get_params"):
        assert_same(first.get_params(deep=False), second.get_params(deep=False), name)
        assert_same(fitted(first), fitted(second), name)
    else:
        assert first == second, f"{name}: {first} and {second}"


def fitted(estimator):
    """Attributes of a fit, those that hold arrays and numbers of its own."""
    asides = ("net_", "refit_time_", "scorer_", "cv_results_")
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_") and name not in asides
    }
