"""What does an accelerator gain over the CPU of the same machine?

Batched sweeps, wide and small networks, mini-batches, and moments of large data: the same fits
from the same weights on both devices, in turn, whose outcomes must agree. Times are by the clock,
for the results are NumPy arrays: a fit ends when they are there, and NumPy data are moved to the
device in its time. The first fit on the device is not timed. The CPU takes the threads that torch
takes by default. Each row says how long the operations of a fit would take on the device at the
rate of large matrix products, its arrays at the rate of large copies, and its calls at the rate of
the shortest call: no fit of these calls takes less than the highest of the three.

    python benchmarks/bench_gpu.py                 # minutes; CUDA where there is one
    python benchmarks/bench_gpu.py --device cpu --quick    # small sizes, to see that it works
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, chosen, in_turn, parser
from sklearn.exceptions import ConvergenceWarning
from torch.utils._python_dispatch import TorchDispatchMode

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
    decays = np.geomspace(1e-4, 1, 20 if small else 300)
    options = {"max_iter": 20 if small else 300, "tol": 0, "step_size": 1e-3, "init": "normal"}

    def run(device):
        model = DeepLinearRegressor(3, 20 if small else 100, random_state=0, **options)
        model.set_params(device=device, dtype="float64")
        search = BatchedGridSearchCV(model, {"weight_decay": decays}, cv=3, refit=False)
        return search.fit(X, Y[:, 0]).cv_results_["mean_test_score"]

    return "float64", run


def pathways(small):
    """Objective of wide linear pathways, which train in a few directions of their layers."""
    return fitted(MultiPathwayRegressor(depth=4, init_scale=0.01), 32, 20, 20, small)


def linear(small):
    """Objective of a wide linear network from random weights."""
    model = DeepLinearRegressor(3, init="normal", init_scale=0.02)
    return fitted(model, 2000, 500, 500, small, steps=100, dtype="float64")


def little(small):
    """Objective of a network of 220 weights, of data like scikit-learn's on diabetes."""
    model = DeepLinearRegressor(3, init="normal", init_scale=0.3)
    options = {"steps": 2000, "width": 10, "dtype": "float64"}
    return fitted(model, 442, 10, 1, small, **options)


def perceptron(small):
    """Objective of a wide ReLU network."""
    return fitted(HomogeneousMLPRegressor(3), 5000, 784, 10, small, steps=100)


def batches(small):
    """Objective of a wide ReLU network in batches."""
    model = HomogeneousMLPRegressor(3, solver="adam", batch_size=256)
    return fitted(model, 20_000, 784, 10, small, steps=5, step_size=1e-4)


def fitted(model, n, d, m, small, *, steps=200, width=1000, dtype="float32", step_size=1e-3):
    """Objective of a fit, recorded at its ends."""
    X, Y = data(min(n, 100) if small else n, min(d, 20) if small else d, m)
    steps, width = (min(steps, 5), min(width, 20)) if small else (steps, width)
    options = {"step_size": step_size, "tol": 0, "random_state": 0, "dtype": dtype}
    model.set_params(width=width, max_iter=steps, record_every=steps, **options)

    def run(device):
        fit = model.set_params(device=device).fit(X, Y)
        return fit.trajectory_.objective

    return dtype, run


def moments(small):
    """Moments of tensors that are on the device."""
    X, Y = (torch.from_numpy(part) for part in data(2000 if small else 1_000_000, 50, 1))
    places: dict = {}

    def run(device):
        if device not in places:
            places[device] = X.to(device), Y.to(device)
        made = moments_of if device == "cpu" else on_device
        return made(*places[device], None, True).input_moment

    return "float64", run


CASES = {
    "300 candidates x 3 folds, 100-100-100-1": sweep,
    "linear, 500-1000-1000-500": linear,
    "linear, 10-10-10-1": little,
    "two pathways, width 1000, depth 4": pathways,
    "perceptron 784-1000-1000-10": perceptron,
    "perceptron, batches of 256": batches,
    "moments, 1,000,000 x 50": moments,
}


class Work(TorchDispatchMode):
    """Counts the calls that compute, what they multiply, and the bytes that they touch."""

    def __init__(self):
        super().__init__()
        self.calls = self.flops = self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if function.is_view or name in ("empty", "new_empty", "empty_like", "detach"):
            return out
        given = [part for part in (*args, *(kwargs or {}).values()) if torch.is_tensor(part)]
        self.calls += 1
        self.bytes += sum(part.numel() * part.element_size() for part in given)
        if torch.is_tensor(out) and not any(out is part for part in given):
            self.bytes += out.numel() * out.element_size()
        if name.rstrip("_") in ("mm", "bmm", "addmm", "baddbmm"):
            *_, left, right = (part for part in args if torch.is_tensor(part))
            self.flops += 2 * left.numel() * right.shape[-1]
        if name == "linalg_qr":
            self.flops += 2 * args[0].numel() * args[0].shape[-1]
        return out


def seconds_on(device, call, repeats):
    """Median time of a call on a device, of several in a row."""
    times = []
    for turn in range(6):  # the first of which is not counted
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times += [(time.perf_counter() - begin) / repeats] if turn else []
    return float(np.median(times))


def rates(device, small):
    """Operations a second by dtype, bytes a second, and seconds of the shortest call."""
    side, size = (512, 2**22) if small or device == "cpu" else (8192, 2**27)
    found = {}
    for name in AGREE:
        A, B = torch.randn(2, side, side, dtype=getattr(torch, name), device=device)
        out = torch.empty_like(A)
        found[name] = 2 * side**3 / seconds_on(device, lambda: torch.mm(A, B, out=out), 3)  # noqa: B023
    source = torch.randn(size, dtype=torch.float64, device=device)
    target, number = torch.empty_like(source), torch.ones(1, device=device)
    found["bytes"] = 16 * size / seconds_on(device, lambda: target.copy_(source), 10)
    found["call"] = seconds_on(device, lambda: number.add_(1), 2000)
    return found


def floor(run, device, dtype, rate):
    """Seconds that what one fit does takes on the device at least, by what it does."""
    with Work() as work:
        run(device)
    return {
        "products": work.flops / rate[dtype],
        "bytes": work.bytes / rate["bytes"],
        "calls": work.calls * rate["call"],
    }


def bench(name, device, small, rate):
    """Time one case on the CPU and on a device; a dict."""
    dtype, run = CASES[name](small)
    run(device)
    least = floor(run, device, dtype, rate)
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
        "floor": least,
        **timings.figures(),
    }


def main():
    """Run all cases on the device, print a table and write the results."""
    line = parser(__doc__, "small sizes, one repeat", only="case")
    line.add_argument("--device", help="default: CUDA, if there is one")
    arguments = line.parse_args()
    device = arguments.device or ("cuda" if torch.cuda.is_available() else None)
    if device is None:
        print("no CUDA device: nothing to compare")
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    is_gpu = device.startswith("cuda")
    card = torch.cuda.get_device_name(device) if is_gpu else device
    rate = rates(device, arguments.quick)
    print(f"{card} against the CPU, {torch.get_num_threads()} threads")
    print(
        f"products {rate['float64'] / 1e12:.2f} (float64), {rate['float32'] / 1e12:.2f} (float32) "
        f"TFLOP/s, copies {rate['bytes'] / 1e12:.2f} TB/s, a call {rate['call'] * 1e6:.1f} us"
    )
    head = f"{'CPU s':>9}{'device s':>10}{'ratio':>8}{'difference':>12}"
    print(f"{'case':44}{head}{'floor s':>10}  of")
    rows = []
    for name in chosen(CASES, arguments.only):
        row = bench(name, device, arguments.quick, rate)
        rows.append(row)
        cpu, own = row["seconds"]["cpu"], row["seconds"]["device"]
        most = max(row["floor"], key=row["floor"].get)
        print(
            f"{name:44}{cpu:9.3f}{own:10.3f}{row['cpu_over_device']:8.1f}"
            f"{row['difference']:12.0e}{row['floor'][most]:10.4f}  {most}",
            flush=True,
        )
    if is_gpu and not arguments.only:
        found = {"device": card, "rates": rate, "cases": rows}
        write_results("bench_gpu", found, quick=arguments.quick)


if __name__ == "__main__":
    main()
