"""Rules by which full-batch training moves a network along its gradient.

To add one, write a function or a class of the same signature and give it a name in `UPDATES`: it
is then a solver of every estimator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


def gradient_step(dynamics, options):
    """theta <- theta - eta grad J, which networks do by themselves."""
    return


class HeavyBall:
    """v <- mu v + grad J, theta <- theta - eta v, from rest (Polyak 1964)."""

    def __init__(self, dynamics, options):
        self.dynamics, self.momentum = dynamics, options.momentum
        self.velocity = torch.zeros_like(dynamics.state)
        self.kept = {"velocity": self.velocity}

    def __call__(self, eta):
        """Make a step."""
        self.dynamics.evaluate()
        self.velocity.mul_(self.momentum).add_(self.dynamics.gradient)
        self.dynamics.state.sub_(self.velocity, alpha=eta)


# Each takes the dynamics and the options of the run and returns ``step(eta)``; None stands for
# the steps that networks make by themselves. What a rule remembers is in ``step.kept``, tensors by
# name that it writes into, so that a run can go on from a file.
UPDATES: dict[str, Callable] = {"gd": gradient_step, "momentum": HeavyBall}
