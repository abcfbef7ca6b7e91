"""How far above the known minimum do torch's own optimisers end?

Each optimiser runs on the problems of `datasets.ground_truth_problems`, from the same weights, for
as many evaluations of the loss and its gradient. Its gap, the lowest loss so far less the known
minimum, is told in units of the gap at the start, after 1, 2, 5, 10, ... evaluations, for the step
size of a few that ends lowest. An optimiser of your own is one more entry of `OPTIMISERS`.

    python benchmarks/ground_truth.py            # two minutes on one core
    python benchmarks/ground_truth.py --quick    # a tenth of the evaluations
"""

from __future__ import annotations

import math

import numpy as np
import torch
from _environment import write_results
from _measure import chosen, parser, row, show

from sklearn_deeplinear.datasets import ground_truth_problems

EVALUATIONS = 2000
STEP_SIZES = [0.3, 0.1, 0.03, 0.01, 0.003]


def lbfgs(parameters, lr):
    """Ten pairs of differences and a line search."""
    exact = {"tolerance_grad": 0.0, "tolerance_change": 0.0, "line_search_fn": "strong_wolfe"}
    return torch.optim.LBFGS(parameters, history_size=10, **exact)


# Name: function of parameters and a step size, and the step sizes that are tried.
OPTIMISERS = {
    "SGD": (lambda p, lr: torch.optim.SGD(p, lr=lr), STEP_SIZES),
    "momentum": (lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), STEP_SIZES),
    "Adam": (lambda p, lr: torch.optim.Adam(p, lr=lr), STEP_SIZES),
    "LBFGS": (lbfgs, [1.0]),
}


def gaps(problem, make, lr, evaluations):
    """Lowest loss so far less the minimum, at each of so many evaluations."""
    module, found = problem.module(), []
    optimizer = make(module.parameters(), lr)

    def closure():
        optimizer.zero_grad()
        loss = module.loss()
        loss.backward()
        found.append(loss.item() - problem.minimum)
        return loss

    while len(found) < evaluations and not (found and not math.isfinite(found[-1])):
        before = len(found)
        optimizer.step(closure)
        if len(found) == before:
            break
    return np.minimum.accumulate(found[:evaluations]).tolist()


def best(problem, name, evaluations):
    """The run of the step size that ends lowest."""
    make, step_sizes = OPTIMISERS[name]
    runs = {lr: gaps(problem, make, lr, evaluations) for lr in step_sizes}
    finite = {lr: run for lr, run in runs.items() if math.isfinite(run[-1])}
    lr = min(finite, key=lambda lr: finite[lr][-1])
    return lr, finite[lr]


def at(evaluations):
    """Evaluations to be told: 1, 2, 5, 10, ..., and the last one."""
    decades = range(int(math.log10(evaluations)) + 1)
    told = [k * 10**power for power in decades for k in (1, 2, 5) if k * 10**power < evaluations]
    return [*told, evaluations]


def main():
    """Run all optimisers on all problems and print the last gaps."""
    arguments = parser(__doc__, "a tenth of the evaluations", only="problems").parse_args()
    torch.set_num_threads(1)
    evaluations = EVALUATIONS // (10 if arguments.quick else 1)
    rows = []
    problems = {problem.name: problem for problem in ground_truth_problems()}
    for name in chosen(problems, arguments.only):
        told, figures = at(evaluations), {"minimum": problems[name].minimum}
        runs = {}
        for optimiser in OPTIMISERS:
            lr, run = best(problems[name], optimiser, evaluations)
            runs[optimiser] = {
                "step_size": lr,
                "relative_gap": [run[min(k, len(run)) - 1] / run[0] for k in told],
            }
            figures[f"gap of {optimiser} over first"] = runs[optimiser]["relative_gap"][-1]
        figures["evaluations"] = evaluations
        rows.append(row(name, None, figures=figures, told_after=told, runs=runs))
        show(rows[-1])
    if not arguments.only:
        write_results("ground_truth", rows, quick=arguments.quick, repeats=1)


if __name__ == "__main__":
    main()
