"""How to train and what to record: an estimator's parameters, read and checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sklearn_deeplinear._arrays import on_host
from sklearn_deeplinear._parameters import check_integer, check_real
from sklearn_deeplinear.dynamics.runs._meters import METERS
from sklearn_deeplinear.dynamics.runs._optimizers import OPTIMIZERS, makes_batches
from sklearn_deeplinear.dynamics.runs._updates import UPDATES
from sklearn_deeplinear.dynamics.runs._validation import ValidationData
from sklearn_deeplinear.estimators._options import check_device, check_dtype


@dataclass(frozen=True)
class RunOptions:
    """Parameters of one run; nothing below `fit` sees the estimator.

    Attributes
    ----------
    former : dict or None
        ``weights`` and ``biases`` of the previous fit, to start from.
    meters : tuple of str
        What is recorded besides loss, objective, gradient norm and balance.
    validation : ValidationData or None
        Data on which the loss is recorded.
    patience : int or None
        Records without a lower loss there that end the run; None ends none.
    continued : Continued or None
        What an earlier call of `partial_fit` has left.
    compression : str
        "exact", or "krylov" where the estimator offers it.

    The others are the parameters of the estimators.
    """

    solver: str
    step_size: Any
    momentum: float
    max_iter: int
    flow_time: float | None
    tol: float
    batch_size: int
    callbacks: Any
    init: Any
    init_scale: Any
    former: dict | None
    record_every: int | None
    record_weights: bool
    meters: tuple[str, ...]
    compression: str
    device: torch.device
    dtype: torch.dtype
    random_state: Any
    patience: int | None
    checkpoint: Any
    validation: ValidationData | None = None
    continued: Any = None

    @classmethod
    def of(cls, estimator, data_device=None):
        """Read the parameters of an estimator; `data_device` is that of tensors to train on.

        Raises
        ------
        TypeError, ValueError
            If one of them is not valid.
        """
        if estimator.callbacks and not makes_batches(estimator.solver):
            raise ValueError(
                f'callbacks must be None with solver="{estimator.solver}", which would not call '
                'them: skorch callbacks are for "sgd" and "adam".'
            )
        _check_checkpoint(estimator)
        flow_time, record_every = estimator.flow_time, estimator.record_every
        device = check_device(estimator.device, data_device)
        return cls(
            solver=estimator.solver,
            step_size=estimator.step_size,
            momentum=check_real(estimator.momentum, "momentum"),
            max_iter=check_integer(estimator.max_iter, "max_iter"),
            flow_time=None if flow_time is None else check_real(flow_time, "flow_time"),
            tol=check_real(estimator.tol, "tol"),
            batch_size=check_integer(estimator.batch_size, "batch_size", low=1),
            callbacks=estimator.callbacks,
            init=estimator.init,
            init_scale=estimator.init_scale,
            former=former(estimator) if estimator.warm_start else None,
            record_every=(
                None if record_every is None else check_integer(record_every, "record_every", low=1)
            ),
            record_weights=estimator.record_weights,
            meters=_meters(estimator),
            compression=getattr(estimator, "compression", "exact"),
            device=device,
            dtype=check_dtype(estimator.dtype, device),
            random_state=estimator.random_state,
            patience=estimator.n_iter_no_change if estimator.early_stopping else None,
            checkpoint=estimator.checkpoint,
        )

    @property
    def rows_of_a_step(self):
        """Number of samples that a step sees; None for all."""
        return self.batch_size if makes_batches(self.solver) else None

    @property
    def like(self):
        """An empty tensor of the device and the precision to train in."""
        return torch.empty(0, device=self.device, dtype=self.dtype)


def _check_checkpoint(estimator):
    """Refuse a checkpoint where a run would not go on from it as if it had not been stopped."""
    if estimator.checkpoint is None:
        return
    solvers = sorted({*UPDATES, "flow", *OPTIMIZERS})
    for bad, why in (
        (estimator.solver not in solvers, f'solver="{estimator.solver}"'),
        (getattr(estimator, "compression", "exact") != "exact", 'compression="krylov"'),
        (estimator.callbacks, "callbacks, whose own state it does not hold"),
    ):
        if bad:
            names = ", ".join(f'"{name}"' for name in solvers)
            raise ValueError(f"checkpoint must be None with {why}: it is for {names} alone.")


def _meters(estimator):
    """Names of what is recorded, each once."""
    names = [*estimator.record, *(["sharpness"] if estimator.record_sharpness else [])]
    for name in names:
        if not isinstance(name, str) or name not in METERS:
            known = ", ".join(f'"{meter}"' for meter in METERS)
            raise ValueError(f"record must hold names among {known}, got {name!r}.")
    return tuple(dict.fromkeys(names))


def former(estimator):
    """Parameters of the network that was fitted, or None."""
    if not hasattr(estimator, "weights_"):
        return None
    parts = {"weights": estimator.weights_, "biases": getattr(estimator, "biases_", None)}
    return {name: on_host(part) for name, part in parts.items()}
