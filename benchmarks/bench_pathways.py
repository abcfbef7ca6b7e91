"""How much faster is a step of `MultiPathwayRegressor` than one a torch user writes?

The task is that of Shi, Shea-Brown and Buice (2022): 8 items, 15 features, two pathways of
width 1000, float32, weights N(0, 0.01^2) (or orthogonal, or balanced). The obvious loop has a
module per pathway, autograd and torch.optim.SGD, and records the end-to-end map of each
pathway at every step. Our steps are those that `fit` makes on the same initial weights, in
compressed coordinates where it compresses them; the maps must agree to 1e-5 after the steps
that both make. The two run in turn; ratios are those of the median times per step. The last
column times a whole `fit` over the number of steps of the paper (validation, compression,
steps, records), where that is short.

    python benchmarks/bench_pathways.py            # about 3 minutes on one core
    python benchmarks/bench_pathways.py --quick    # a fifth of the steps, one repeat
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from _environment import write_results
from _measure import Timings, agreed, chosen, parser, row, show

from sklearn_deeplinear.datasets._hierarchical import make_hierarchical
from sklearn_deeplinear.dynamics.compression._compressed_pathways import compressed
from sklearn_deeplinear.dynamics.compression._krylov import KrylovPathways
from sklearn_deeplinear.dynamics.compression._subspaces import compress
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor
from sklearn_deeplinear.theory import SecondMoments, balanced_factors

WIDTH, RATE = 1000, 0.01

# name: depth, initial weights, compression, steps, least ratio, steps of the whole fit
CASES = {
    "depth 2": (2, "normal", "exact", 1000, 15, 1000),
    "depth 3": (3, "normal", "exact", 100, 2, None),
    "depth 3, Krylov": (3, "normal", "krylov", 100, 10, 10_000),
    "depth 7": (7, "normal", "exact", 20, 3, None),
    "depth 7, orthogonal": (7, "orthogonal", "exact", 40, 50, 20_000),
    "depth 7, balanced": (7, "balanced", "exact", 40, 50, 20_000),
}
SWEEPS = 3  # where `fit` ends for Gaussian weights of depth 3


def make_weights(depth, kind):
    """Initial weights of two pathways, representable in float32."""
    rng, generator = np.random.RandomState(0), torch.Generator().manual_seed(0)
    sizes = [8, *[WIDTH] * (depth - 1), 15]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    if kind == "normal":
        return [[np.float32(0.01 * rng.standard_normal(s)) for s in shapes] for _ in range(2)]
    if kind == "orthogonal":
        blank = [[torch.empty(s, dtype=torch.float64) for s in shapes] for _ in range(2)]
        return [
            [torch.nn.init.orthogonal_(W, 0.8, generator=generator).numpy() for W in path]
            for path in blank
        ]
    maps = [0.1 * rng.standard_normal((15, 8)) for _ in range(2)]
    return [balanced_factors(M, [WIDTH] * (depth - 1)) for M in maps]


class Pathways(torch.nn.Module):
    """The sum of linear networks."""

    def __init__(self, weights):
        super().__init__()
        self.paths = torch.nn.ModuleList()
        for path in weights:
            layers = [torch.nn.Linear(*W.shape[::-1], bias=False) for W in path]
            with torch.no_grad():
                for layer, W in zip(layers, path, strict=True):
                    layer.weight.copy_(torch.from_numpy(np.asarray(W)))
            self.paths.append(torch.nn.Sequential(*layers))

    def forward(self, x):
        """Sum the outputs."""
        return sum(path(x) for path in self.paths)

    @torch.no_grad()
    def maps(self):
        """End-to-end maps of the pathways."""
        return [torch.linalg.multi_dot([W.weight for W in reversed(path)]) for path in self.paths]


def obvious_loop(X, Y, weights, steps):
    """Train with autograd and SGD, recording maps; return seconds per step and the last ones."""
    X, Y = (torch.tensor(part, dtype=torch.float32) for part in (X, Y))
    net = Pathways(weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    start, record = time.perf_counter(), []
    for _ in range(steps):
        record.append(net.maps())
        optimizer.zero_grad()
        (net(X) - Y).square().sum().backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps, [M.numpy() for M in net.maps()]


@torch.no_grad()
def our_steps(X, Y, weights, steps, compression):
    """Make the steps of a fit; return seconds per step and the last maps."""
    moments = SecondMoments.from_data(X, Y, center=False)
    rule = LinearPathways.from_moments(moments, torch.empty(0, dtype=torch.float32))
    pathways = [[torch.tensor(W, dtype=torch.float64) for W in path] for path in weights]
    decays = [[0.0] * len(path) for path in weights]
    if compression == "krylov":
        dynamics = KrylovPathways([compress(path, SWEEPS) for path in pathways], rule, decays)
    else:
        single = [[W.float() for W in path] for path in pathways]
        dynamics = compressed(pathways, rule, decays) or PathwayDynamics(single, rule, decays)
    with flushed_denormals():
        start = time.perf_counter()
        for _ in range(steps):
            dynamics.step(RATE * len(X))
        seconds = time.perf_counter() - start
    maps = [
        torch.linalg.multi_dot(path[::-1]).numpy()
        for path in dynamics.unpacked(dynamics.state)["weights"]
    ]
    return seconds / steps, maps


def whole_fit(X, Y, weights, steps, compression):
    """Fit the estimator; return seconds and the estimator."""
    model = MultiPathwayRegressor(
        len(weights[0]),
        WIDTH,
        init=weights,
        compression=compression,
        step_size=RATE * len(X),
        max_iter=steps,
        tol=0,
        fit_intercept=False,
        dtype="float32",
        device="cpu",
    )
    start = time.perf_counter()
    model.fit(X, Y)
    return time.perf_counter() - start, model


def run_case(name, share, repeats):
    """Time one case; return its figures."""
    depth, kind, compression, steps, claim, fit_steps = CASES[name]
    steps = max(5, int(steps * share))
    X, Y = make_hierarchical()
    weights = make_weights(depth, kind)
    _, maps = obvious_loop(X, Y, weights, steps)  # also warms up
    _, ours = our_steps(X, Y, weights, steps, compression)
    error = max(np.abs(M - N).max() for M, N in zip(ours, maps, strict=True))
    error = agreed(name, error, 1e-5)
    loops, mine = [], []
    for _ in range(repeats):
        loops.append(obvious_loop(X, Y, weights, steps)[0])
        mine.append(our_steps(X, Y, weights, steps, compression)[0])
    figures, others = {"layers": depth, "init": kind, "compression": compression}, {}
    if fit_steps and share == 1:
        seconds, model = whole_fit(X, Y, weights, fit_steps, compression)
        figures |= {"whole fit, s": seconds, "its steps": fit_steps}
        others |= {
            "fit_records": len(model.trajectory_),
            "fit_compression_error": model.compression_error_,
        }
    return row(
        name,
        Timings({"ours": mine, "torch loop": loops}, {}),
        [("torch loop", "ours")],
        agreement=error,
        figures=figures,
        of="a step",
        width=WIDTH,
        steps=steps,
        claimed_ratio=claim,
        **others,
    )


def main():
    """Run all cases and print one line each."""
    arguments = parser(__doc__, "a fifth of the steps", only="cases").parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in chosen(CASES, arguments.only):
        rows.append(run_case(name, *((0.2, 1) if arguments.quick else (1.0, 5))))
        show(rows[-1])
    if not arguments.only:
        write_results("bench_pathways", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
