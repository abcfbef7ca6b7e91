"""Step sizes as functions of the iteration."""

from __future__ import annotations

from numbers import Real

from sklearn_deeplinear._parameters import check_real


def step_size_schedule(step_size):
    """Return `step_size` as a function of the iteration."""
    if callable(step_size):
        return checked_schedule(step_size)
    if isinstance(step_size, bool) or not isinstance(step_size, Real):
        raise TypeError(f"step_size must be a float or a callable t -> eta, got {step_size!r}.")
    eta = check_real(step_size, "step_size", closed=False)
    return lambda t: eta


def checked_schedule(step_size):
    """Return the schedule t -> eta, which raises where a step size is not a positive float."""

    def schedule(t):
        return check_real(step_size(t), f"step_size({t})", closed=False)

    return schedule
