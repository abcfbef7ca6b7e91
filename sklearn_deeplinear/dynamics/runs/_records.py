"""At which iterations a run is recorded, and which of these records are measured together."""

from __future__ import annotations

import math

import numpy as np

_MAX_RECORDS = 1000
# Time that measuring may take, in that of training. A run of fewer steps than the second number
# may spend as much on it as one of so many, the less so the nearer the cost of a record is to
# the third number of steps.
_MEASURING, _SHORT_RUN, _DEAR_RECORD = 1 / 4, 1200, 80
# Steps between two looks at what was recorded, and memory for the states kept until then.
CHUNK_STEPS = 200
_CHUNK_BYTES = 2**26
# Temporaries of a batch are as large as its states: of 64 MB they are mapped anew at each use,
# and recording 108 networks of 620 parameters at every step took 1.5 times as long.
_BATCH_CHUNK_BYTES = 2**22


def record_iterations(max_iter, record_every=None, record_cost=1, steps=1):
    """Iterations at which a run is recorded, the first and the last always among them.

    Parameters
    ----------
    max_iter : int
        Number of iterations: of steps, or of epochs.
    record_every : int or None
        Iterations between records. None spaces at most 1,000 records evenly, so far apart
        that measuring them takes about a quarter of the time of training (of 1,200 steps,
        in a shorter run of a small network).
    record_cost : float
        Cost of measuring a record, in steps.
    steps : int
        Steps of an iteration: batches of an epoch.

    Returns
    -------
    iterations : ndarray of int
    """
    if record_every is None:
        allowance = max(steps * max_iter / _SHORT_RUN, record_cost / _DEAR_RECORD)
        spacing = record_cost / _MEASURING * min(1.0, allowance) / steps
        record_every = max(1, -(-max_iter // (_MAX_RECORDS - 1)), math.ceil(spacing))
    iterations = np.arange(0, max_iter + 1, record_every)
    return iterations if iterations[-1] == max_iter else np.append(iterations, max_iter)


def chunks(iterations, state, steps=CHUNK_STEPS):
    """Split the records after the first into the chunks that are measured together.

    A run that ends within a chunk, which takes so many `steps`, has made the others for nothing.
    """
    spacing = max(1, int(iterations[1] - iterations[0])) if len(iterations) > 1 else 1
    limit = _CHUNK_BYTES if state.ndim == 1 else _BATCH_CHUNK_BYTES
    fitting = limit // (state.numel() * state.element_size())
    size = int(np.clip(steps // spacing, 1, max(1, fitting)))
    return [iterations[i : i + size] for i in range(1, len(iterations), size)]
