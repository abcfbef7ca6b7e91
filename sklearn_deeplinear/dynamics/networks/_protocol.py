"""What every network in training offers to the runs that move it and to the meters.

A state is one flat vector of all parameters. Shapes may carry a leading batch, such as
configurations x folds: networks of one shape that are trained at once, each from a start of its
own, on data, decays, noise and step sizes of its own. It is ``()`` for a single network. Of the
networks, linear ones, pathways and perceptrons take a batch (`Batch`); compressed networks and
modules are single ones, with states of shape (n_parameters,). Of the runs,
`runs._descent.descend` trains a batch, and returns an array of runs of its shape; flows and
mini-batches move single networks.
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
        Gradient of the objective where :meth:`evaluate` was last called, or at the last state
        that was measured.
    rounding : float, or ndarray of the shape of the batch
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
    rounding: float | np.ndarray
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
        """Parameters of a state, by the names that users know: ``weights``, ``biases``.

        Those of a batch have its shape in front.
        """

    def balance_meter(self) -> Meter | None:
        """Meter of the balance of adjacent layers; None where no layers are known to be."""

    def hessian_eigenvalues(
        self, state: torch.Tensor, *, k: int = 1, which: str = "LA"
    ) -> np.ndarray:
        """Extreme eigenvalues of the Hessian of the objective at one state, shape (..., k)."""

    def record_cost(self, operations: float = 0.0) -> float:
        """Cost of a record, in steps, with meters that take so many operations."""


@runtime_checkable
class Batch(Dynamics, Protocol):
    """Networks of one shape at once, or one of a kind that could be.

    Attributes
    ----------
    batch : tuple of ints
        Shape of the batch.
    """

    batch: tuple[int, ...]

    def part(self, index: tuple) -> Dynamics:
        """Networks of the batch, at their states, as dynamics with memory of their own.

        Parameters
        ----------
        index : tuple of ints or of ndarrays of shape (n_networks,)
            Indices in the dimensions of the batch: of one network, which is a single one
            then, or of several, which are a batch of one dimension.
        """


@runtime_checkable
class Predictive(Dynamics, Protocol):
    """A network that knows its outputs at other inputs than it is trained on."""

    def outputs_at(self, states: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
        """Outputs of states of shape (n_records, ..., n_parameters), of the mean over noise.

        Parameters
        ----------
        X : tensor of shape (..., n, d)
            Inputs in the coordinates of training, less the means that were taken out of them.
            Leading dimensions are those of a batch, or the last of them.

        Returns
        -------
        outputs : tensor of shape (n_records, ..., n, m)
            In the coordinates of training, with the intercept that a state goes with there.
        """

    def outputs_cost(self, n_rows: int) -> float:
        """Floating-point operations of the outputs of a record at so many inputs, roughly."""


@runtime_checkable
class Remembering(Dynamics, Protocol):
    """A network of which not only the state decides, to the last bit, where it goes."""

    def memory(self) -> dict[str, torch.Tensor]:
        """What else decides, by name."""

    def recall(self, memory: dict[str, torch.Tensor]) -> None:
        """Go on as after that :meth:`memory`; its tensors are on the CPU."""


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
        Floating-point operations that a record takes, of all networks of a batch, at the
        speed of small products.
    """

    cost: float

    def measure(self, states: torch.Tensor) -> Any:
        """Measure states of shape (n_records, ..., n_parameters).

        Returns
        -------
        measured : tensors or arrays of shape (n_records, ...), in lists or dicts
            Of a batch its shape follows, so that each network gets its own.
        """

    def result(self, axis: dict[str, np.ndarray], parts: list) -> dict[str, Any]:
        """What the run shall hold, by name, out of all that was measured.

        Parameters
        ----------
        axis : dict of ndarray of shape (n_records,)
            ``iteration`` and ``time`` of the records.
        parts : list
            What `measure` returned of one network, chunk by chunk.
        """
