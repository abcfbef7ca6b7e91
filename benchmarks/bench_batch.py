"""How much faster are many networks at once than one after the other?

A sweep (36 configurations of decay and step size x 3 folds) of one shape is trained by
gradient descent as one batch, and as 108 single networks, from the same weights and data,
with the same records and without. Linear networks and linear pathways are trained on moments,
others on all samples. Final weights must agree to 1e-10. The two run in turn, and the ratio is
that of the medians. The last case gives each network an end of its own: those that have ended
leave the batch.

    python benchmarks/bench_batch.py            # some minutes on two cores
    python benchmarks/bench_batch.py --quick    # a tenth of the steps, one repeat
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, chosen, in_turn, parser, row, show

from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.networks._perceptron import perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._stacks import each, stacked
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._records import record_iterations
from sklearn_deeplinear.theory import SecondMoments

BATCH = (36, 3)
LIKE = torch.empty(0, dtype=torch.float64)


@dataclass(frozen=True)
class Fold:
    """Data of a fold, centred, with shares of the samples of sum one."""

    X: np.ndarray
    Y: np.ndarray
    share: np.ndarray
    moments: SecondMoments


def of(name, folds):
    """An attribute of one fold, or of each in a list."""
    return each(lambda fold: getattr(fold, name), folds)


def linear(noise=0.0):
    """Return what makes deep linear networks."""

    def make(weights, folds, decays):
        variances = [noise] * (len(weights) - 1)
        return LinearDynamics.from_moments(weights, of("moments", folds), decays, variances)

    return make


def two_pathways(activation):
    """Return what makes networks of two pathways of half the width."""

    def make(weights, folds, decays):
        h = weights[0].shape[-2] // 2
        first, *inner, last = weights
        pathways = [
            [first[..., part, :], *(W[..., part, part] for W in inner), last[..., part]]
            for part in (slice(h), slice(h, 2 * h))
        ]
        if activation == "identity":
            term = LinearPathways.from_moments(of("moments", folds), LIKE)
        else:
            data = (of(name, folds) for name in ("X", "Y", "share", "moments"))
            term = ActivePathways.from_data(*data, activation, False, LIKE)
        return pathway_dynamics(pathways, term, [decays, decays])

    return make


def perceptron(weights, folds, decays):
    """Perceptrons of ReLU units, with biases."""
    X, Y, share = (stacked(of(name, folds), LIKE) for name in ("X", "Y", "share"))
    return perceptron_dynamics(
        weights,
        [W.new_zeros(W.shape[:-1]) for W in weights],
        X,
        Y,
        share.squeeze(-1),
        activation="relu",
        loss="squared_error",
        weight_decay=decays,
    )


# name: what makes the networks, n, d, m, h, L, steps
CASES = {
    "diabetes": (linear(), 442, 10, 1, 20, 3, 300),
    "diabetes, noise": (linear(0.1), 442, 10, 1, 20, 3, 300),
    "3 outputs": (linear(), 442, 10, 3, 20, 3, 300),
    "more outputs than inputs": (linear(), 442, 5, 20, 20, 3, 300),
    "width 100": (linear(), 442, 10, 1, 100, 3, 100),
    "linear pathways": (two_pathways("identity"), 442, 10, 1, 40, 3, 300),
    "relu pathways": (two_pathways("relu"), 442, 10, 1, 20, 3, 100),
    "perceptrons": (perceptron, 442, 10, 1, 20, 3, 100),
    "perceptrons, few samples": (perceptron, 90, 10, 1, 20, 3, 300),
    "perceptrons, width 100": (perceptron, 442, 10, 1, 100, 3, 20),
    "ends": (linear(), 442, 10, 1, 20, 3, 1000),
}


def make_case(n, d, m, h, depth):
    """Folds, weights of all networks, their decays and step sizes."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    fold = np.arange(n) % BATCH[1]
    folds = [make_fold(X[fold != k], y[fold != k]) for k in range(BATCH[1])]
    sizes = [d, *[h] * (depth - 1), m]
    weights = [
        torch.from_numpy(0.7 * rng.standard_normal((*BATCH, rows, columns)) / np.sqrt(rows))
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    decay = torch.from_numpy(np.geomspace(1e-4, 1e-1, BATCH[0]))[:, None].expand(BATCH)
    step_size = torch.from_numpy(rng.uniform(1e-3, 1e-2, BATCH))
    return folds, weights, [decay] * depth, step_size


def make_fold(X, y):
    """Centre the data of a fold."""
    moments = SecondMoments.from_data(X, y)
    share = np.full((len(X), 1), 1 / len(X))
    return Fold(X - moments.mean_x, y - moments.mean_y, share, moments)


def batch_run(make, case, iterations, ends):
    """Train all networks at once; return their state."""
    folds, weights, decays, step_size = case
    dynamics = make(weights, folds, decays)
    descend(dynamics, lambda t: step_size, iterations, ends=ends)
    return dynamics.state


def single_runs(make, case, iterations, ends):
    """Train them one after the other; return their states."""
    folds, weights, decays, step_size = case
    states = []
    for index in np.ndindex(*BATCH):
        own = [float(gamma[index]) for gamma in decays]
        dynamics = make([W[index] for W in weights], folds[index[1]], own)
        eta = float(step_size[index])
        end = None if ends is None else ends[index]
        descend(dynamics, lambda t, eta=eta: eta, iterations, ends=end)
        states.append(dynamics.state)
    return torch.stack(states).unflatten(0, BATCH)


def run_case(name, steps, records, repeats):
    """Time one case; return its figures."""
    make, n, d, m, h, depth, _ = CASES[name]
    case = make_case(n, d, m, h, depth)
    iterations = record_iterations(steps, max(1, steps // records))
    ends = None
    if name == "ends":
        ends = np.random.RandomState(1).randint(1, steps + 1, BATCH)
    ways = {
        "at once": lambda: batch_run(make, case, iterations, ends),
        "one by one": lambda: single_runs(make, case, iterations, ends),
    }
    timings = in_turn(ways, repeats)
    states, own = timings.outcomes.values()
    error = agreed(name, (states - own).abs().max(), 1e-10)
    return row(
        name,
        timings,
        [("one by one", "at once")],
        agreement=error,
        figures={"networks": int(np.prod(BATCH)), "steps": steps, "records": len(iterations)},
        sizes=dict(zip("ndmhL", CASES[name][1:], strict=False)),
    )


def main():
    """Run all cases and print one line each."""
    arguments = parser(__doc__, "a tenth of the steps", only="cases").parse_args()
    rows = []
    for name in chosen(CASES, arguments.only):
        steps = max(20, CASES[name][6] // 10) if arguments.quick else CASES[name][6]
        for records in (1, steps):
            rows.append(run_case(name, steps, records, 1 if arguments.quick else 3))
            show(rows[-1])
    if not arguments.only:
        write_results("bench_batch", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
