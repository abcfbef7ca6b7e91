"""Loss on data that a network is not trained on."""

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
            torch.as_tensor(part, dtype=like.dtype, device=like.device)
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
