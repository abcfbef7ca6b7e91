"""Rules by which full-batch training moves a network along its gradient.

To add one, write a function of the same signature and give it a name in `UPDATES`: it is
then a solver of every estimator.
"""

from __future__ import annotations

from collections.abc import Callable


def gradient_step(dynamics, options):
    """theta <- theta - eta grad J."""
    return dynamics.step


# Each takes the dynamics and the options of the run and returns ``step(eta)``.
UPDATES: dict[str, Callable] = {"gd": gradient_step}
