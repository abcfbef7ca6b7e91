"""What runs record besides loss, objective and the norm of the gradient.

To add a quantity, write a meter (see `networks._protocol.Meter`) and give it a name in
`METERS`; users ask for it by that name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Sharpness:
    """Largest eigenvalue of the Hessian of the objective."""

    cost = 0.0  # Users ask for it, and space the records themselves.

    def __init__(self, dynamics):
        self.dynamics = dynamics

    def measure(self, states):
        """One eigenvalue for each state."""
        return np.array([self.dynamics.hessian_eigenvalues(state)[0] for state in states])

    def result(self, axis, parts):
        """The curve ``sharpness``."""
        return {"sharpness": np.concatenate(parts)}


METERS: dict[str, Callable] = {"sharpness": Sharpness}


def meters_of(dynamics, names=()):
    """The balance of the layers, where there is one, and the meters of the given names."""
    balance = dynamics.balance_meter()
    return [*([] if balance is None else [balance]), *(METERS[name](dynamics) for name in names)]
