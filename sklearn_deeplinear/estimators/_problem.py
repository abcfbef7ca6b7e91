"""What an estimator asks its solvers to minimise."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._protocol import Batch, Dynamics
from sklearn_deeplinear.dynamics.runs._validation import ValidationData
from sklearn_deeplinear.estimators._run_options import RunOptions


def check_attained(minimum):
    """Return a minimum, unless no weights attain it."""
    if minimum.kind == "unattained":
        raise ValueError(
            'weight_decay must be positive on all layers or zero on all with solver="analytic": '
            "with some layers undecayed the infimum of the objective is not attained."
        )
    return minimum


def by_layer(values):
    """Numbers of the layers of each network as one tensor a layer, of all networks."""
    return list(torch.from_numpy(np.array(values, dtype=np.float64).T.copy()))


class Problem(Protocol):
    """An objective on data, and the networks that can minimise it.

    A `start` is what the problem makes of initial parameters; only the problem looks inside.
    """

    loss: str
    """Loss of a sample, by its name in `nn._losses.LOSSES`."""

    n_outputs: int
    """Number of outputs, m."""

    has_cheap_minimum: bool
    """Whether there is a ``global_minimum`` that takes milliseconds."""

    def step_flops(self, n_rows: int | None) -> float:
        """Floating-point operations of a step, roughly; `n_rows` None for all data."""

    def advice(self, n_steps: int) -> str:
        """What to do about a run of `n_steps` that is not done."""

    def initial(self, options: RunOptions, generator: torch.Generator) -> Any:
        """Start as `init` and `init_scale` ask for it."""

    def given(self, parameters: dict, name: str) -> Any:
        """Start from ``weights`` and, if there are any, ``biases``; `name` is for errors."""

    def optimum(self) -> Any:
        """Start at the global minimum, for problems that know one; a ValueError if it fails."""

    def descent_step_size(self, start: Any, options: RunOptions) -> float:
        """Automatic step of full-batch gradient descent."""

    def batch_step_size(self, start: Any, options: RunOptions) -> float:
        """Automatic step of stochastic gradient descent."""

    def rescaled_step_size(self, start: Any, options: RunOptions) -> float:
        """Automatic step of optimizers that rescale the gradient, such as Adam."""

    def dynamics(self, start: Any, options: RunOptions, compress: bool = False) -> Dynamics:
        """The network in training; in fewer dimensions where that is exact and pays."""

    def batch_network(self, start: Any, options: RunOptions, dynamics: Dynamics) -> BatchNetwork:
        """The same network as mini-batches train it."""

    def validation(self, X: Any, Y: Any, shares: Any) -> ValidationData:
        """Other data (n, d) and (n, m), with weights of sum one, in the coordinates of training."""

    def attributes(self, dynamics: Dynamics) -> dict[str, Any]:
        """Fitted attributes that predictions need, by name."""


@dataclass(frozen=True)
class BatchNetwork:
    """A network as mini-batches train it.

    Attributes
    ----------
    module : torch.nn.Module
        The network.
    data : ResidentData
        Its training data.
    weight_decay : sequence of floats
        Decays of its parameters of two dimensions or more.
    renew : callable
        Called before each epoch and at the end, to bring up to date what the module has
        besides its parameters.
    """

    module: torch.nn.Module
    data: Any
    weight_decay: Sequence[float]
    renew: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Parameters:
    """Parameters of one network, as its dynamics would tell them."""

    parts: dict[str, list]
    state: None = None

    def unpacked(self, state):
        """``weights`` and, if there are any, ``biases``."""
        return self.parts


@runtime_checkable
class Stackable(Problem, Protocol):
    """A problem whose networks train as a batch with those of others."""

    stack_values: int
    """Numbers that the data of one network take in a stack, roughly."""

    def with_decay(self, weight_decay: Any) -> Stackable:
        """The same with other decays, as users give them."""

    def curvature(self, start: Any, options: RunOptions) -> float:
        """Curvature of the loss that automatic steps of descent go by, whatever the decays."""

    def step_size_on(self, curvature: float) -> float:
        """Automatic step of descent where the loss has this curvature."""

    def core(self, start: Any) -> Any:
        """What moves of a start, and is stacked: the rest of it is zero for good."""

    def n_moving(self, core: Any) -> int:
        """Number of parameters of a network in a stack."""

    def stack_kind(self, core: Any) -> Hashable:
        """What problems of one stack have in common, shapes among it."""

    def stack(self, problems: Sequence, cores: Sequence, options: RunOptions) -> Batch:
        """The networks of `problems` like this one, at their cores, as a batch (n_problems,)."""

    def unstacked(self, batch: Batch, starts: Sequence) -> Iterable:
        """What each network of a batch is left with, for :meth:`attributes`."""
