"""Fits to the same data as they are posed: what many of them share is made once."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import joblib
import torch

from sklearn_deeplinear.estimators._options import check_step_size, torch_generator
from sklearn_deeplinear.estimators._run_options import RunOptions

# Copies of a state that a run holds: itself, buffers of a step, and records.
_COPIES = 8

# Parameters that change neither what is learnt of the data, nor the start, nor the curvature of
# the loss on the way from there.
_OWN = {"weight_decay", "step_size", "tol"}

# Initial weights that follow from the data.
_NOT_DRAWN = {"spectral", "identity"}


@dataclass(frozen=True, eq=False)
class Member:
    """One fit among many: what is minimised, from where, and in which steps.

    Attributes
    ----------
    core : Any
        What moves of the `start`.
    """

    estimator: Any
    problem: Any
    options: RunOptions
    start: Any
    core: Any
    schedule: Any
    step_size: Any

    @cached_property
    def kind(self):
        """What members of a stack have in common."""
        options = self.options
        run = options.max_iter, options.record_every, str(options.device), str(options.dtype)
        return type(self.estimator), self.problem.stack_kind(self.core), run

    @property
    def size(self):
        """Bytes that it takes in a stack, roughly."""
        width = torch.empty(0, dtype=self.options.dtype).element_size()
        return width * (_COPIES * self.problem.n_moving(self.core) + self.problem.stack_values)


class Candidate:
    """An estimator whose parameters are checked, to be fitted to several sets of data.

    Parameters
    ----------
    estimator : estimator
        It is left as it is.

    Attributes
    ----------
    shared : tuple
        What tells apart estimators of which one learns of data what others do not.
    """

    def __init__(self, estimator):
        estimator._validate_params()
        self.estimator, self.options = estimator, RunOptions.of(estimator)
        parameters = sorted((name, v) for name, v in vars(estimator).items() if name not in _OWN)
        self.shared = type(estimator), *((name, told_apart(v)) for name, v in parameters)

    def copy(self):
        """The estimator and its options, with a random state of their own."""
        estimator = copy.copy(self.estimator)
        estimator.random_state = copy.deepcopy(estimator.random_state)
        return estimator, replace(self.options, random_state=estimator.random_state)


def told_apart(value):
    """A hashable that tells values of a parameter apart."""
    # Functions may not pickle; a copy of one is the function itself.
    if callable(value):
        return id(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value).__name__, repr(value)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, *map(told_apart, value)
    return joblib.hash(value)


class PosedData:
    """Data that many candidates are fitted to.

    Parameters
    ----------
    X, y, sample_weight : arrays
        As :meth:`fit` takes them.
    """

    def __init__(self, X, y, sample_weight=None):
        self.data, self.families = (X, y, sample_weight), {}

    def member(self, candidate):
        """Pose the fit of a candidate, as `fit` does."""
        family = self.families.get(candidate.shared)
        if family is None:
            family = self.families[candidate.shared] = _Family(candidate, self.data)
        return family.member(candidate)


class _Family:
    """Candidates that differ in decays, steps and tolerance only."""

    def __init__(self, candidate, data):
        self.estimator, self.options = candidate.copy()
        blank = set(vars(self.estimator))
        data = self.estimator._check_data(*data)
        self.problem = self.estimator._problem_of(*data, self.options)
        self.learnt = {name: v for name, v in vars(self.estimator).items() if name not in blank}
        drawn = not isinstance(self.options.init, str) or self.options.init not in _NOT_DRAWN
        self.known = None if drawn and self.options.random_state is None else self._start()

    def _start(self):
        """A start, what moves of it, and the curvature there once it is asked for."""
        options = replace(self.options, random_state=copy.deepcopy(self.options.random_state))
        start = self.problem.initial(options, torch_generator(options.random_state))
        return _Start(self.problem, options, start)

    def member(self, candidate):
        estimator, options = candidate.copy()
        vars(estimator).update(self.learnt)
        problem, begin = self.problem.with_decay(estimator.weight_decay), self.known
        if begin is None:
            begin = self._start()
        schedule, step_size = check_step_size(
            options.step_size, lambda: problem.step_size_on(begin.curvature)
        )
        return Member(estimator, problem, options, begin.start, begin.core, schedule, step_size)


class _Start:
    """A start, and what is known of it without the decays."""

    def __init__(self, problem, options, start):
        self.problem, self.options, self.start = problem, options, start
        self.core = problem.core(start)

    @cached_property
    def curvature(self):
        return self.problem.curvature(self.start, self.options)
