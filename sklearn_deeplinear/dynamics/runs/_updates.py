"""Rules by which full-batch training moves a network along its gradient.

To add one, write a function of the same signature and give it a name in `UPDATES`: it is
then a solver of every estimator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


def gradient_step(dynamics, options):
    """theta <- theta - eta grad J, which networks do by themselves."""
    return


def heavy_ball(dynamics, options):
    """v <- mu v + grad J, theta <- theta - eta v, from rest (Polyak 1964)."""
    velocity = torch.zeros_like(dynamics.state)

    def step(eta):
        dynamics.evaluate()
        velocity.mul_(options.momentum).add_(dynamics.gradient)
        dynamics.state.sub_(velocity, alpha=eta)

    return step


# Each takes the dynamics and the options of the run and returns ``step(eta)``; None stands for
# the steps that networks make by themselves.
UPDATES: dict[str, Callable] = {"gd": gradient_step, "momentum": heavy_ball}
