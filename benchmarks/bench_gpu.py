"""What does an accelerator gain over the CPU of the same machine?

Batched sweeps, wide networks, and moments of large data: the same fits from the same weights on
both devices, in turn, whose objectives must agree. Times are by the clock, for the results are
NumPy arrays: a fit ends when they are there. The first fit on the device is not timed.

    python benchmarks/bench_gpu.py                 # minutes; CUDA where there is one
    python benchmarks/bench_gpu.py --device cpu --quick    # small sizes, to see that it works
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, in_turn, parser
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.estimators._tensor_moments import moments_of, on_device
from sklearn_deeplinear.model_selection import BatchedGridSearchCV

REPEATS = 3
# Largest difference of objectives, relative to them.
AGREE = {"float64": 1e-6, "float32": 1e-3}


def data(n, d, m):
    """Standard normal inputs, and outputs of which half is noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal((d, m)) / np.sqrt(d) + rng.standard_normal((n, m))


def sweep(small):
    """Mean scores of a search over decays."""
    X, Y = data(200 if small else 2000, 20 if small else 100, 1)
    decays = np.geomspace(1e-4, 1, 20 if small else 1000)
    options = {"max_iter": 20 if small else 300, "tol": 0, "step_size": 1e-3, "init": "normal"}

    def run(device):
        model = DeepLinearRegressor(3, 20 if small else 100, random_state=0, **options)
        model.set_params(device=device, dtype="float64")
        search = BatchedGridSearchCV(model, {"weight_decay": decays}, cv=3, refit=False)
        return search.fit(X, Y[:, 0]).cv_results_["mean_test_score"]

    return "float64", run


def pathways(small):
    """Objective of wide linear pathways."""
    return fitted(MultiPathwayRegressor(depth=4, init_scale=0.01), 32, 20, 20, small)


def perceptron(small):
    """Objective of a wide ReLU network."""
    return fitted(HomogeneousMLPRegressor(3), 5000, 784, 10, small)


def fitted(model, n, d, m, small):
    """Objective of a full-batch fit of width 1000 in single precision."""
    X, Y = data(min(n, 100) if small else n, min(d, 20) if small else d, m)
    steps, width = (5, 20) if small else (200, 1000)
    options = {"step_size": 1e-3, "tol": 0, "random_state": 0, "dtype": "float32"}
    model.set_params(width=width, max_iter=steps, record_every=steps, **options)

    def run(device):
        return np.array([model.set_params(device=device).fit(X, Y).objective_])

    return "float32", run


def moments(small):
    """Moments of tensors that are on the device."""
    X, Y = (torch.from_numpy(part) for part in data(2000 if small else 1_000_000, 50, 1))
    places: dict = {}

    def run(device):
        if device not in places:
            places[device] = X.to(device), Y.to(device)
        made = on_device if device != "cpu" else moments_of
        return made(*places[device], None, True).input_moment

    return "float64", run


CASES = {
    "1,000 candidates x 3 folds, 100-100-100-1": sweep,
    "two pathways, width 1000, depth 4": pathways,
    "perceptron 784-1000-1000-10": perceptron,
    "moments, 1,000,000 x 50": moments,
}


def bench(name, device, small):
    """Time one case on the CPU and on a device; a dict."""
    dtype, run = CASES[name](small)
    run(device)
    ways = {"cpu": lambda: run("cpu"), "device": lambda: run(device)}
    timings = in_turn(ways, 1 if small else REPEATS)
    cpu, own = timings.outcomes.values()
    difference = agreed(name, np.abs(own - cpu).max() / np.abs(cpu).max(), AGREE[dtype])
    return {
        "case": name,
        "dtype": dtype,
        "seconds": timings.medians(),
        "cpu_over_device": timings.ratio("cpu", "device"),
        "difference": difference,
        **timings.figures(),
    }


def main():
    """Run all cases on the device, print a table and write the results."""
    line = parser(__doc__, "small sizes, one repeat")
    line.add_argument("--device", help="default: CUDA, if there is one")
    arguments = line.parse_args()
    device = arguments.device or ("cuda" if torch.cuda.is_available() else None)
    if device is None:
        print("no CUDA device: nothing to compare")
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    is_gpu = device.startswith("cuda")
    print(f"{torch.cuda.get_device_name(device) if is_gpu else device} against the CPU")
    print(f"{'case':46}{'CPU s':>10}{'device s':>10}{'ratio':>8}{'difference':>12}")
    rows = []
    for name in CASES:
        row = bench(name, device, arguments.quick)
        rows.append(row)
        cpu, own = row["seconds"]["cpu"], row["seconds"]["device"]
        print(
            f"{name:46}{cpu:10.3f}{own:10.3f}{row['cpu_over_device']:8.1f}"
            f"{row['difference']:12.0e}",
            flush=True,
        )
    if is_gpu:
        rows = [{"device": torch.cuda.get_device_name(device)}, *rows]
        write_results("bench_gpu", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
