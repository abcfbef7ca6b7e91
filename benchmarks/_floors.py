"""What this machine could not do faster: copies, matrix products and calls, as measured on it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache

import torch

# Seconds that one measurement goes on for, and how often it is made; the best one counts.
SECONDS, TURNS = 0.01, 5
# Matrix products of this size run at the full rate of the processor.
SIDE = 768
# The copy of a smaller array takes less time than a call, and cannot be told from it.
LEAST_BYTES = 2**17


def seconds_of(call):
    """Best time of a call, over some milliseconds of calls."""
    call()
    begin = time.perf_counter()
    call()
    n_calls = max(1, int(SECONDS / (time.perf_counter() - begin + 1e-9)))
    best = math.inf
    for _ in range(TURNS):
        begin = time.perf_counter()
        for _ in range(n_calls):
            call()
        best = min(best, (time.perf_counter() - begin) / n_calls)
    return best


@cache
def call_seconds():
    """Seconds that torch takes for a product of two numbers, with nothing to be computed."""
    a, b, out = (torch.ones(1, 1, dtype=torch.float64) for _ in range(3))
    return seconds_of(lambda: torch.mm(a, b, out=out))


@cache
def flops_per_second(dtype):
    """Rate of large matrix products."""
    A, B, out = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(3))
    return 2 * SIDE**3 / seconds_of(lambda: torch.mm(A, B, out=out))


def bytes_per_second(n_bytes):
    """Rate of copies of arrays of about so many bytes, each byte read once and written once.

    It depends on the cache that the array fits into.
    """
    return _copy_rate(max(LEAST_BYTES, 2 ** round(math.log2(max(n_bytes, 1)))))


@cache
def _copy_rate(n_bytes):
    source = torch.ones(n_bytes // 8, dtype=torch.float64)
    target = torch.empty_like(source)
    one, other = source[:1].clone(), target[:1].clone()
    # A call takes about as long as the copy of a small array.
    seconds = seconds_of(lambda: target.copy_(source)) - seconds_of(lambda: other.copy_(one))
    return 2 * n_bytes / max(seconds, 1e-9)


@dataclass(frozen=True)
class Floor:
    """Seconds that one step cannot do without.

    Attributes
    ----------
    flops : float
        Operations over the rate of large matrix products.
    bytes : float
        Bytes that are read and written over the rate of copies of arrays of their size.
    calls : float
        Calls of torch over the rate of calls; 0 where one call makes many steps.
    """

    flops: float
    bytes: float
    calls: float

    @property
    def seconds(self):
        """The highest of the three."""
        return max(self.flops, self.bytes, self.calls)

    @property
    def binding(self):
        """Name of the highest."""
        return max(("flops", "bytes", "calls"), key=lambda name: getattr(self, name))


def floor(*, flops, n_bytes, working_set, calls, dtype):
    """Return the floor of a step on arrays of `working_set` bytes."""
    return Floor(
        flops / flops_per_second(dtype),
        n_bytes / bytes_per_second(working_set),
        calls * call_seconds(),
    )
