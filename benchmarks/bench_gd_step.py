"""How much faster is `fit` than the loop a torch user writes, and how near to the machine's floor?

Ours is a whole `DeepLinearRegressor.fit`: validation, moments, steps, default records. The others
start from the same weights, make the same steps and record nothing:

- "bare": nn.Sequential, mean squared error, autograd and torch.optim.SGD;
- "compiled": that step through torch.compile, on a few cases, for compiling takes long;
- "skorch": its NeuralNet with full batches and without callbacks;
- "mlp": scikit-learn's MLPRegressor(activation="identity", solver="sgd"), which has biases too; on
  centred data they stay at zero.

They cost the same at every step, so they make fewer where steps take long, and their times are
those of the steps they made, scaled. Weights after these steps must agree with those of a fit of as
many before times are told. All run in turn; ratios are those of the medians.

A step of ours alone is the difference between the quickest fits of many steps, which take at least
twice as long, and of one, with two records. Its
floor is the highest of three: the operations of gradients by second moments over the rate of large
products, the weights and moments once read and weights once written over the rate of copies of that
size, and the calls of torch where steps are not compiled. It is that of the network as it is given:
where the start lets a wide one be trained in fewer dimensions, a step is below it.

    python benchmarks/bench_gd_step.py            # about 4 minutes on two cores
    python benchmarks/bench_gd_step.py --quick    # few steps, one repeat
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from _environment import write_results
from _floors import floor
from _measure import Timings, agreed, chosen, in_turn, largest_difference, parser, row, show
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNet

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics.networks._compiled_steps import _TINY

WEIGHT_DECAY = 1e-3
REPEATS = 5
# The fit that tells the time of a step makes so many that they would take this long at the floor
# (no step takes less than the second time), since a fit takes milliseconds besides; if it takes
# less than so many times one step, more of them.
STEP_SECONDS, LEAST_STEP, TELLING, MORE, MOST_STEPS = 0.05, 2e-7, 2, 4, 10**6
# Seconds that the steps of a bare loop may take in a turn, and at least so many steps.
PEER_SECONDS, LEAST_STEPS = 0.25, 10
# Largest difference of weights of size one tenth, after some hundred steps.
AGREE = {"float64": 1e-8, "float32": 1e-4}
# A step so many times its floor needs a reason.
FAR = 3


@dataclass(frozen=True)
class Case:
    """Sizes of data and network, steps, and how it starts."""

    n: int
    d: int
    m: int
    h: int
    depth: int
    steps: int = 1000
    dtype: str = "float64"
    init: str = "normal"
    compiled: bool = False
    claimed_ratio: float = 1.0


CASES = {
    "small": Case(1000, 10, 1, 32, 3, compiled=True, claimed_ratio=15),
    "small, 50 steps": Case(1000, 10, 1, 32, 3, 50),
    "width 100": Case(1000, 100, 1, 100, 3, claimed_ratio=5),
    "width 500": Case(1000, 100, 10, 500, 3, 200),
    "wide data": Case(10_000, 100, 1, 100, 3, claimed_ratio=60),
    "wide data, 10 outputs": Case(10_000, 100, 10, 100, 3, claimed_ratio=60, compiled=True),
    "wide data, 10 outputs, float32": Case(10_000, 100, 10, 100, 3, dtype="float32"),
    "diabetes, depth 4": Case(442, 10, 1, 50, 4, claimed_ratio=10),
    "diabetes, depth 10": Case(442, 10, 1, 50, 10),
    "ridge": Case(442, 10, 1, 1, 1),
    "tiny": Case(20, 2, 1, 2, 2),
    "more outputs than inputs": Case(500, 5, 40, 30, 3),
    "more inputs than rows": Case(60, 2000, 1, 50, 3),
    "images": Case(1000, 784, 10, 50, 3, compiled=True),
    "images, float32": Case(1000, 784, 10, 50, 3, dtype="float32"),
    "hierarchical, depth 2": Case(8, 8, 15, 1000, 2),
    "hierarchical, depth 3": Case(8, 8, 15, 1000, 3, 100),
    "hierarchical, depth 7": Case(8, 8, 15, 1000, 7, 50, claimed_ratio=0.7),
    "depth 7, 500 steps, spectral": Case(8, 8, 15, 1000, 7, 500, init="spectral", claimed_ratio=10),
}

# Why a step is far above its floor, where it was looked into.
LOOPS = (
    "0.1 to 0.2 us: counters and branches of compiled loops, a few operations a layer; a fit takes "
    "3 ms before its first step"
)
NARROW = (
    "one output: matrices times vectors, each number used once, in compiled loops over rows of 10 "
    "to 50 numbers, reach a sixth of the rate of large products"
)
WIDE = (
    "products with 8 columns read each matrix of 8 MB, which no cache near the core holds, three "
    "times and write it once: these alone take 3.4 ms a layer on one core; the floor counts one "
    "reading and the rate of large products"
)
WHY = {
    "small": NARROW,
    "small, 50 steps": NARROW,
    "width 100": NARROW,
    "wide data": NARROW,
    "diabetes, depth 4": NARROW,
    "diabetes, depth 10": NARROW,
    "ridge": LOOPS,
    "tiny": LOOPS,
    "hierarchical, depth 3": WIDE,
    "hierarchical, depth 7": WIDE,
}


def make_case(case):
    """Centred regression data and initial weights that neither vanish nor explode."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((case.n, case.d))
    noise = 0.1 * rng.standard_normal((case.n, case.m))
    y = X @ rng.standard_normal((case.d, case.m)) / np.sqrt(case.d) + noise
    X, y = ((part - part.mean(axis=0)).astype(case.dtype) for part in (X, y))
    weights = [
        (0.7 * rng.standard_normal(shape) / np.sqrt(max(shape))).astype(case.dtype)
        for shape in shapes_of(case)
    ]
    if case.init != "normal":
        start = whole_fit(X, y, case.init, case, 0)
        weights = [W.astype(case.dtype) for W in start.weights_]
    return X, y, weights


def shapes_of(case):
    """Shapes of the weights."""
    sizes = [case.d, *[case.h] * (case.depth - 1), case.m]
    return list(zip(sizes[1:], sizes[:-1], strict=True))


class Linear(torch.nn.Sequential):
    """Linear layers without biases at given weights."""

    def __init__(self, weights):
        layers = [torch.nn.Linear(*W.shape[::-1], bias=False) for W in weights]
        super().__init__(*layers)
        self.to(torch.from_numpy(weights[0]).dtype)
        with torch.no_grad():
            for layer, W in zip(layers, weights, strict=True):
                layer.weight.copy_(torch.from_numpy(W))

    def weights(self):
        """Weights of all layers."""
        return [layer.weight.detach().numpy() for layer in self]


class MeanOfSquares(torch.nn.Module):
    """Squared error, summed over outputs and averaged over samples."""

    def forward(self, outputs, y):
        return (outputs - y).square().sum() / len(y)


OPTIMIZER = {"weight_decay": 2 * WEIGHT_DECAY}


def loop(X, y, weights, eta, compile_step):
    """Return a function that trains with autograd and SGD; it returns the final weights."""
    X, y, loss_of = torch.from_numpy(X), torch.from_numpy(y), MeanOfSquares()
    forward = {}

    def run(steps):
        net = forward.get("net") or Linear(weights)
        if compile_step:  # one module, whose weights are put back, is compiled once
            net.load_state_dict(Linear(weights).state_dict())
        call = forward.get("call") or (torch.compile(net) if compile_step else net)
        forward.update({"net": net, "call": call} if compile_step else {})
        optimizer = torch.optim.SGD(net.parameters(), lr=eta, **OPTIMIZER)
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(call(X), y).backward()
            optimizer.step()
        return [W.copy() for W in net.weights()]

    return run


def skorch_net(X, y, weights, eta):
    """The same in skorch's own net."""

    def run(steps):
        net = NeuralNet(
            Linear,
            module__weights=weights,
            criterion=MeanOfSquares,
            optimizer=torch.optim.SGD,
            **{f"optimizer__{name}": value for name, value in OPTIMIZER.items()},
            lr=eta,
            batch_size=-1,
            max_epochs=steps,
            train_split=None,
            callbacks="disable",
            verbose=0,
        )
        return net.fit(X, y).module_.weights()

    return run


def perceptron(X, y, weights, eta):
    """The same in scikit-learn's perceptron, of whose loss ours is twice the value."""
    y = y[:, 0] if y.shape[1] == 1 else y
    model = MLPRegressor(
        hidden_layer_sizes=[len(W) for W in weights[:-1]],
        activation="identity",
        solver="sgd",
        learning_rate_init=2 * eta,
        momentum=0.0,
        alpha=len(X) * WEIGHT_DECAY,
        batch_size=len(X),
        shuffle=False,
        tol=0.0,
        n_iter_no_change=10**9,
        max_iter=1,
        warm_start=True,
    ).fit(X, y)

    def run(steps):
        model.set_params(max_iter=steps)
        model.coefs_ = [W.T.copy() for W in weights]
        model.intercepts_ = [np.zeros_like(bias) for bias in model.intercepts_]
        return [W.T for W in model.fit(X, y).coefs_]

    return run


def whole_fit(X, y, init, case, steps, **options):
    """Fit the estimator; return it."""
    return DeepLinearRegressor(
        case.depth,
        case.h,
        weight_decay=WEIGHT_DECAY,
        init=init,
        max_iter=steps,
        tol=0,
        device="cpu",
        dtype=case.dtype,
        **options,
    ).fit(X, y)


def floor_of(case):
    """Floor of a step by gradients on second moments, taken from the narrower end."""
    dtype, n_weights = getattr(torch, case.dtype), sum(a * b for a, b in shapes_of(case))
    narrow, size = min(case.m, case.d), torch.empty(0, dtype=dtype).element_size()
    # The products with all layers above, and with all below, and the gradients; then M A, or M
    # times a factor of A and back where there are fewer samples.
    work, data = 6 * narrow * n_weights, min(case.d, 2 * case.n) * case.d
    n_bytes = size * (2 * n_weights + data)
    # As `compiled_steps` decides, for fits that nothing compresses.
    compiled = work <= _TINY and case.m <= case.d <= case.n and case.dtype == "float64"
    compiled = compiled and find_spec("numba") is not None
    return floor(
        flops=work + 2 * case.m * data,
        n_bytes=n_bytes,
        working_set=size * (n_weights + data),
        calls=0 if compiled else 3 * case.depth + 1,
        dtype=dtype,
    )


def steps_of_peers(run, steps):
    """Number of steps that the bare loop makes in the time that it may take."""
    run(2)
    begin = time.perf_counter()
    run(5)
    per_step = (time.perf_counter() - begin) / 5
    return min(steps, max(LEAST_STEPS, int(PEER_SECONDS / per_step)))


def enough_steps(fit, steps):
    """Number of steps, at least so many, which show in the time of a whole fit."""
    alone = seconds_of_fit(fit, 1)
    while steps < MOST_STEPS and seconds_of_fit(fit, steps) < TELLING * alone:
        steps *= MORE
    return steps


def seconds_of_fit(fit, steps):
    """Seconds of a fit with two records."""
    begin = time.perf_counter()
    fit(steps, record_every=steps)
    return time.perf_counter() - begin


def run_case(name, share, repeats):
    """Time one case; return its figures."""
    case = CASES[name]
    steps = max(20, int(share * case.steps))
    X, y, weights = make_case(case)
    eta = whole_fit(X, y, weights, case, 2).step_size_  # also warms up
    peers = {
        "torch loop": loop(X, y, weights, eta, False),
        "skorch": skorch_net(X, y, weights, eta),
        "MLPRegressor": perceptron(X, y, weights, eta),
    }
    if case.compiled and share == 1:
        peers["compiled loop"] = loop(X, y, weights, eta, True)
    fewer = steps_of_peers(peers["torch loop"], steps)
    least = floor_of(case)
    fit = partial(whole_fit, X, y, weights, case, step_size=eta)
    many = max(steps, int(share * STEP_SECONDS / max(least.seconds, LEAST_STEP)))
    many = enough_steps(fit, many)
    ways = {way: partial(run, fewer) for way, run in peers.items()}
    ways |= {
        "ours": lambda: fit(steps),
        "many_steps": lambda: fit(many, record_every=many),
        "one_step": lambda: fit(1),
    }
    timings = in_turn(ways, repeats, warm_up=1)
    ours, limit = fit(fewer).weights_, AGREE[case.dtype]
    errors = {
        way: agreed(f"{name}, {way}", largest_difference(ours, timings.outcomes[way]), limit)
        for way in peers
    }
    seconds = timings.seconds
    step = (min(seconds["many_steps"]) - min(seconds["one_step"])) / (many - 1)
    # Peers make fewer steps, ours all.
    whole = timings.each(fewer / steps).seconds | {"ours": timings.seconds["ours"]}
    return row(
        name,
        Timings({way: whole[way] for way in ("ours", *peers)}, {}),
        [(way, "ours") for way in peers],
        agreement=max(errors.values()),
        floor=step / least.seconds,
        figures={
            "samples": case.n,
            "inputs": case.d,
            "outputs": case.m,
            "width": case.h,
            "layers": case.depth,
            "step, us": 1e6 * step,
        },
        **asdict(case) | {"steps": steps},
        steps_of_peers=fewer,
        records=len(timings.outcomes["ours"].trajectory_),
        floor_us={part: 1e6 * value for part, value in asdict(least).items()},
        binding=least.binding,
        why=WHY.get(name) if step > FAR * least.seconds else None,
        weight_errors=errors,
    )


def main():
    """Run all cases and print one line each."""
    arguments = parser(__doc__, "few steps, one repeat", only="cases").parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in chosen(CASES, arguments.only):
        rows.append(run_case(name, *((0.05, 1) if arguments.quick else (1, REPEATS))))
        show(rows[-1])
    if not arguments.only:
        write_results("bench_gd_step", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
