"""One torch thread for small networks, for the time of a run.

Threads meet at a barrier in every operation. Where other processes want the cores, too, one
thread that waits for its turn holds up the others, up to a hundred times as long as the
operation takes.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode

# Floating-point operations of a step below which it is made by one thread. Measured on two
# cores, double precision, per step of a perceptron, one thread against two: idle .27 against
# .49 ms at 7e6, .74 against .56 at 2e7, 2.3 against 1.3 at 7e7, 6.2 against 3.2 at 2e8; with
# ten busy processes beside it 1.2 against 110 ms at 2e7 and 58 against 780 ms at 2e8. Up to
# here a second thread can save little and cost much.
MANY_THREADS_FROM = 2e8

_lock = threading.Lock()
_n_inside = 0
_usual = 1  # number of torch threads when the first of those inside came
_this = threading.local()


@contextmanager
def suitable_threads(flops):
    """Use one torch thread inside the block if its steps are small; restore the number.

    Blocks may be nested, and entered in several Python threads at a time.

    Parameters
    ----------
    flops : float
        Floating-point operations of a step.
    """
    global _n_inside, _usual
    if flops >= MANY_THREADS_FROM or getattr(_this, "inside", False):
        yield
        return
    former = torch.get_num_threads()
    try:
        with _lock:
            _usual = _usual if _n_inside else former
            # A Python thread that is new to torch finds what was last set in any other: our own 1.
            former = max(former, _usual)
            _n_inside, _this.inside = _n_inside + 1, True
            torch.set_num_threads(1)
        yield
    finally:
        with _lock:
            if getattr(_this, "inside", False):  # an interrupt may come before
                _n_inside, _this.inside = _n_inside - 1, False
            torch.set_num_threads(former)


def evaluation_flops(dynamics):
    """Estimate the floating-point operations of one gradient, by evaluating it.

    Every parameter is taken to be applied to as many rows as the largest tensor on the way
    has: exact for layers that see one row per sample, else mostly too much, which leaves the
    threads as they are. (Counting each operation takes a mode that first imports sympy.)
    """
    with _RowCounter() as counter:
        dynamics.evaluate()
    return 6.0 * counter.n_rows * dynamics.state.numel()


class _RowCounter(TorchFunctionMode):
    """Keeps the largest number of rows, or of samples times positions, of any tensor made."""

    def __init__(self):
        super().__init__()
        self.n_rows = 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.numel() > 0 and result.ndim > 0:
            channels = result.shape[1 if result.ndim > 2 else -1]
            self.n_rows = max(self.n_rows, result.numel() // channels)
        return result
