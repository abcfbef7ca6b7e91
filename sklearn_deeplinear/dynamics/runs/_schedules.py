"""Step sizes as functions of the iteration."""

from __future__ import annotations

from numbers import Real

from sklearn_deeplinear._parameters import check_real


def step_size_schedule(step_size):
    """Return `step_size` as a function of the iteration.

    What a callable returns is checked when it is asked for.
    """
    if callable(step_size):
        return lambda t: check_real(step_size(t), f"step_size({t})", closed=False)
    if isinstance(step_size, bool) or not isinstance(step_size, Real):
        raise TypeError(f"step_size must be a float or a callable t -> eta, got {step_size!r}.")
    eta = check_real(step_size, "step_size", closed=False)
    return lambda t: eta
