"""Does a skorch net on resident tensors train as fast as a bare torch loop?

Both train the same network from the same weights on the same batches, with Adam or SGD.
The bare loop permutes, slices, steps and records nothing; the net runs with skorch's
events and history, and with the package's records (loss, gradient norm, balance on all
data). skorch's own NeuralNet on numpy arrays, without callbacks, is timed beside them. The
contestants run in turn, and ratios are those of the medians.

    python benchmarks/bench_minibatch.py            # about 2 minutes on two cores
    python benchmarks/bench_minibatch.py --quick    # one repeat of two epochs
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, in_turn, parser, row, show
from skorch import NeuralNet

from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.runs._minibatch import train_minibatch
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.dynamics.runs._resident_data import ResidentData
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import SecondMoments

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
STEP_SIZE = 1e-3
# name: n, d, m, h, L, batch size
CASES = {
    "many batches": (20_000, 50, 1, 100, 3, 200),
    "narrow": (20_000, 50, 1, 10, 2, 200),
    "small batches": (2000, 20, 3, 50, 3, 20),
}


def make_case(n, d, m, h, depth):
    """Regression data as tensors, and initial weights."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    sizes = [d, *[h] * (depth - 1), m]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [torch.from_numpy(rng.standard_normal(s) / np.sqrt(s[1])) for s in shapes]
    return X - X.mean(axis=0), y - y.mean(axis=0), shapes, weights


def make_module(shapes, weights):
    """Network with the given weights."""
    module = HomogeneousNetwork(shapes, dtype=torch.float64)
    with torch.no_grad():
        for p, W in zip(module.parameters(), weights, strict=True):
            p.copy_(W)
    return module


def bare_loop(X, y, shapes, weights, solver, batch_size, epochs):
    """Train with autograd; return the module."""
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    module = make_module(shapes, weights)
    optimizer = OPTIMIZERS[solver](module.parameters(), lr=STEP_SIZE)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        order = torch.randperm(len(X), generator=generator)
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            loss = (module(X[rows]) - y[rows]).square().sum() / len(rows)
            loss.backward()
            optimizer.step()
    return module


def our_net(X, y, shapes, weights, solver, batch_size, epochs):
    """Train in a net with records; return the module."""
    moments = SecondMoments.from_data(X, y, center=False)
    depth = len(shapes)
    dynamics = LinearDynamics.from_moments(weights, moments, [0.0] * depth, [0.0] * (depth - 1))
    _, net = train_minibatch(
        dynamics,
        HomogeneousNetwork(shapes, dtype=torch.float64),
        ResidentData(torch.from_numpy(X), torch.from_numpy(y)),
        loss="squared_error",
        solver=solver,
        schedule=lambda t: STEP_SIZE,
        weight_decay=[0.0] * depth,
        batch_size=batch_size,
        generator=torch.Generator().manual_seed(0),
        iterations=record_iterations(epochs),
    )
    return net.module_


def skorch_net(X, y, shapes, weights, solver, batch_size, epochs):
    """Train in skorch's own net without callbacks."""
    net = NeuralNet(
        make_module(shapes, weights),
        torch.nn.MSELoss,
        optimizer=OPTIMIZERS[solver],
        lr=STEP_SIZE,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        callbacks="disable",
        iterator_train__shuffle=True,
        verbose=0,
    )
    return net.fit(X, y).module_


CONTESTANTS = {"ours": our_net, "torch loop": bare_loop, "skorch": skorch_net}


def run_case(name, solver, epochs, repeats):
    """Time one case; return its figures, in seconds per epoch."""
    *sizes, batch_size = CASES[name]
    case = make_case(*sizes)
    ways = {
        contestant: partial(train, *case, solver, batch_size, epochs)
        for contestant, train in CONTESTANTS.items()
    }
    timings = in_turn(ways, repeats, warm_up=1)
    final = {
        contestant: torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        for contestant, module in timings.outcomes.items()
    }
    error = agreed(f"{name}, {solver}", (final["ours"] - final["torch loop"]).abs().max(), 1e-8)
    n, _, _, h, depth, _ = CASES[name]
    return row(
        f"{name}, {solver}",
        timings.each(epochs),
        [("ours", "torch loop"), ("skorch", "ours")],
        agreement=error,
        figures={"samples": n, "batch": batch_size, "layers": depth, "width": h},
        of="an epoch",
    )


def main():
    """Run all cases and print one line each."""
    quick = parser(__doc__, "two epochs, one repeat").parse_args().quick
    epochs, repeats = (2, 1) if quick else (10, 5)
    rows = []
    for name in CASES:
        for solver in OPTIMIZERS:
            rows.append(run_case(name, solver, epochs, repeats))
            show(rows[-1])
    write_results("bench_minibatch", rows, quick=quick)


if __name__ == "__main__":
    main()
