"""Loss on data that a network is not trained on, and the end of a run that does not lower it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sklearn_deeplinear.nn._losses import LOSSES

# Outputs of the records that are measured together, as many numbers at most: 32 MB.
_BLOCK_SIZE = 2**22


@dataclass(frozen=True)
class ValidationData:
    """Data in the coordinates of training: less what was taken out of the training data.

    Of a squared loss of linear networks without noise in the outputs, rows of a factor of the
    second moments do as well as the samples, with shares of one.

    Attributes
    ----------
    X : array of shape (..., n, d)
        Inputs. Leading dimensions are those of a batch of networks, or the last of them.
    Y : array of shape (..., n, m)
        Targets.
    shares : array of shape (..., n)
        Weights of the samples, of sum one.
    loss : str
        Loss of a sample, one of `LOSSES`.
    """

    X: np.ndarray | torch.Tensor
    Y: np.ndarray | torch.Tensor
    shares: np.ndarray | torch.Tensor
    loss: str


class ValidationMeter:
    """The loss of the predictions of a network along a run, without the penalty.

    Parameters
    ----------
    dynamics : Predictive
        The network, or a batch of them.
    data : ValidationData
        Data of validation.
    """

    def __init__(self, dynamics, data):
        like, self.terms = dynamics.state, LOSSES[data.loss].terms
        self.X, self.Y, shares = (
            part.to(like)
            if hasattr(part, "back")  # sparse
            else torch.as_tensor(_contiguous(part), dtype=like.dtype, device=like.device)
            for part in (data.X, data.Y, data.shares)
        )
        self.dynamics, self.shares = dynamics, shares.unsqueeze(-1)
        self.cost = dynamics.outputs_cost(self.X.shape[-2])

    def measure(self, states):
        """One value for each state, of shape (n_records, ...)."""
        size = self.Y.shape[-2:].numel() * states[0, ..., 0].numel()
        blocks = states.split(max(1, _BLOCK_SIZE // size))
        return torch.cat([self._loss(block) for block in blocks]).numpy(force=True)

    def _loss(self, states):
        terms = self.terms(self.dynamics.outputs_at(states, self.X), self.Y)
        return (terms * self.shares).sum(dim=(-2, -1))

    def result(self, axis, parts):
        """The curve ``validation_loss``."""
        return {"validation_loss": np.concatenate(parts).astype(np.float64)}


class EarlyStopping(ValidationMeter):
    """A meter that ends a run whose loss on validation data has not fallen for some records.

    The run keeps the record of the least loss, the first of equal ones.

    Parameters
    ----------
    dynamics : Predictive
        The network, or a batch of them, each of which has an end of its own.
    data : ValidationData
        Data of validation.
    patience : int
        Number of records in a row, none of them below the least loss before, that end a run.

    Attributes
    ----------
    record : ndarray of int of the shape of the batch
        Index of the record of the least loss.
    """

    def __init__(self, dynamics, data, patience):
        super().__init__(dynamics, data)
        batch, self.patience = tuple(dynamics.state.shape[:-1]), patience
        self.least = np.full(batch, np.inf)
        self.n_records, self.waited, self.record = np.zeros((3, *batch), dtype=int)

    def memory(self):
        """What it has seen so far, by name."""
        return {name: getattr(self, name) for name in ("least", "n_records", "waited", "record")}

    def recall(self, memory):
        """Take over what :meth:`memory` was."""
        vars(self).update(memory)

    def has_ended(self, losses):
        """Whether the patience is at its end, for each of the next losses (n_records, ...)."""
        least, waited = self.least, self.waited
        ended = np.empty(losses.shape, dtype=bool)
        for row, loss in enumerate(losses):
            waited = np.where(loss < least, 0, waited + 1)
            least = np.fmin(least, loss)
            ended[row] = waited >= self.patience
        return ended

    def accept(self, losses, good):
        """Take note of the next losses, the first `good` ones of each network.

        Returns
        -------
        best : ndarray of int of the shape of the batch
            How many of the records lead to a new least loss; 0 where none does.
        """
        rows = np.arange(len(losses)).reshape(-1, *(1 for _ in good.shape))
        losses = np.where((rows < good) & ~np.isnan(losses), losses, np.inf)
        row, least = losses.argmin(axis=0), losses.min(axis=0)
        better = least < self.least
        self.record = np.where(better, self.n_records + row, self.record)
        self.waited = np.where(better, good - 1 - row, self.waited + good)
        self.least = np.minimum(self.least, least)
        self.n_records = self.n_records + good
        return np.where(better, row + 1, 0)


def _contiguous(part):
    """Data without negative strides, which tensors do not have."""
    return part if torch.is_tensor(part) else np.ascontiguousarray(part)
