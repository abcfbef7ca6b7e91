"""What every network in training offers to the runs that move it and to the meters.

A state is one flat vector of all parameters. Shapes may carry a leading batch: networks of
one shape that are trained at once, each on moments, decays and step sizes of its own. It is
``()`` for a single network, and whoever writes ``(..., n_parameters)`` accepts both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch


@runtime_checkable
class Dynamics(Protocol):
    """A network with its objective: its parameters, and the rule by which they move.

    Attributes
    ----------
    state : tensor of shape (..., n_parameters)
        All parameters; writing into it moves the network.
    gradient : tensor of the shape of `state`
        Gradient of the objective, where :meth:`evaluate` was last called; measuring may
        overwrite it.
    rounding : float
        Size of the rounding error in the norm of the gradient, at the initial weights: a
        run that has come that far cannot go further. Zero where it is not known.
    linear : bool
        Whether the network is a linear map, the product (or, of pathways, the sum of the
        products) of its weights.
    flow_options : mapping
        ``method`` and ``rtol`` with which an ODE solver follows the gradient well.
    step : callable
        ``step(eta)`` makes one step of gradient descent, with eta a float or a tensor of
        the shape of the batch.
    """

    state: torch.Tensor
    gradient: torch.Tensor
    rounding: float
    linear: bool
    flow_options: Mapping[str, Any]
    step: Callable[[Any], None]

    def evaluate(self) -> None:
        """Leave the gradient of the objective at the current state in `gradient`."""

    def measure(self, states: torch.Tensor) -> dict[str, torch.Tensor]:
        """Measure states of shape (n_records, ..., n_parameters).

        Returns
        -------
        curves : dict of tensors of shape (n_records, ...)
            ``loss``, ``objective``, ``gradient_norm``, and what else the network knows by
            then, under the name of a field of the trajectory.
        """

    def unpacked(self, state: torch.Tensor) -> dict[str, list]:
        """Parameters of a state, by the names that users know: ``weights``, ``biases``."""

    def balance_meter(self) -> Meter | None:
        """Meter of the balance of adjacent layers; None where no layers are known to be."""

    def hessian_eigenvalues(
        self, state: torch.Tensor, *, k: int = 1, which: str = "LA"
    ) -> np.ndarray:
        """Extreme eigenvalues of the Hessian of the objective at one state."""

    def record_cost(self, operations: float = 0.0) -> float:
        """Cost of a record, in steps, with meters that take so many operations."""


@runtime_checkable
class KinkedDynamics(Dynamics, Protocol):
    """A network with units whose derivative jumps where their input is zero.

    A network has :meth:`linearised` if and only if it has such units.
    """

    def linearised(self) -> tuple[Sequence[torch.Tensor], Callable]:
        """Inputs of these units, and the gradient as a function of their slopes.

        Returns
        -------
        inputs : list of tensors
            Inputs of the units at the current state, at least one.
        gradient : callable
            ``gradient(shares)`` is the gradient of the objective, a tensor that the next
            call overwrites, with `shares` in place of the indicators of positive `inputs`;
            None takes these. To be called before the state changes.
        """


class Meter(Protocol):
    """Measures states of one run, besides what every run records.

    Attributes
    ----------
    cost : float
        Floating-point operations that a record takes, at the speed of small products.
    """

    cost: float

    def measure(self, states: torch.Tensor) -> Any:
        """Measure a batch of states (n_records, n_parameters): tensors, nested as you like."""

    def result(self, axis: dict[str, np.ndarray], parts: list) -> dict[str, Any]:
        """What the run shall hold, by name, out of all that was measured.

        Parameters
        ----------
        axis : dict of ndarray of shape (n_records,)
            ``iteration`` and ``time`` of the records.
        parts : list
            What `measure` returned, chunk by chunk.
        """
