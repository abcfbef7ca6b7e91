"""What does the sharpness of a network cost, beside curvlinops and a dense Hessian?

The largest eigenvalue of the Hessian of the training objective of a deep linear network, from
"ours" (`hessian_eigenvalues` of an estimator, by products on second moments), "module"
(the same of a torch module, by automatic differentiation of all samples), curvlinops (its Hessian
as a scipy operator, and eigsh at the same accuracy, where it is installed) and the dense Hessian
(torch.autograd.functional.hessian and eigvalsh, for small networks). All must agree before times,
those of the processor, are told.

    python benchmarks/bench_curvature.py            # about a minute
    python benchmarks/bench_curvature.py --quick    # small networks, one repeat
"""

from __future__ import annotations

import time
from importlib.util import find_spec

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, chosen, in_turn, parser, row, show
from scipy.sparse.linalg import eigsh

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import hessian_eigenvalues

REPEATS = 5
# Largest difference of eigenvalues, relative to them, and the tolerance of eigsh.
AGREE, TOLERANCE = 1e-6, 1e-9
# Networks with more weights than this have no dense Hessian here.
DENSE = 700
# n, d, m, h, L
CASES = {
    "small": (1000, 10, 1, 20, 3),
    "many samples": (10_000, 20, 5, 20, 3),
    "wide": (1000, 100, 10, 100, 3),
}
QUICK = ("small",)


def make_case(n, d, m, h, depth):
    """Centred data, and a network after ten steps."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal((d, m)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, m))
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    options = {"init": "xavier_normal", "fit_intercept": False, "random_state": 0, "tol": 0}
    return X, y, DeepLinearRegressor(depth, h, max_iter=10, **options).fit(X, y)


def module_of(model):
    """The network as torch layers."""
    layers = [torch.nn.Linear(*W.shape[::-1], bias=False) for W in model.weights_]
    net = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for layer, W in zip(layers, model.weights_, strict=True):
            layer.weight.copy_(torch.from_numpy(W))
    return net


def squared_error(outputs, y):
    """Squared error, summed over outputs and averaged over samples."""
    return (outputs - y).square().sum() / len(y)


def by_curvlinops(net, X, y):
    """Largest eigenvalue from curvlinops' operator."""
    from curvlinops import HessianLinearOperator

    total = torch.nn.MSELoss(reduction="sum")
    operator = HessianLinearOperator(
        net, total, list(net.parameters()), [(X, y)], check_deterministic=False
    )
    return eigsh(operator.to_scipy(), k=1, which="LA", tol=TOLERANCE)[0][0] / len(X)


def by_dense_hessian(net, X, y):
    """Largest eigenvalue of the Hessian itself."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    sizes = [p.numel() for p in parameters]

    def loss(vector):
        parts = (v.view_as(p) for v, p in zip(vector.split(sizes), parameters, strict=True))
        weights = dict(zip(names, parts, strict=True))
        return squared_error(torch.func.functional_call(net, weights, (X,)), y)

    point = torch.nn.utils.parameters_to_vector(parameters).detach()
    return float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))[-1])


def bench(name, repeats):
    """Time one case; a dict."""
    X, y, model = make_case(*CASES[name])
    net = module_of(model)
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    n_weights = sum(W.size for W in model.weights_)
    ways = {
        "ours": lambda: hessian_eigenvalues(model, X, y)[0],
        "module": lambda: hessian_eigenvalues(net, X, y, loss=squared_error)[0],
    }
    if find_spec("curvlinops"):
        ways["curvlinops"] = lambda: by_curvlinops(net, *tensors)
    if n_weights <= DENSE:
        ways["dense"] = lambda: by_dense_hessian(net, *tensors)
    timings = in_turn(ways, repeats, warm_up=1, clock=time.process_time)
    known = timings.outcomes["ours"]
    errors = {
        way: agreed(f"{name}, {way}", abs(value / known - 1), AGREE)
        for way, value in timings.outcomes.items()
    }
    return row(
        name,
        timings,
        [(way, "ours") for way in ways if way != "ours"],
        agreement=max(errors.values()),
        figures={"weights": n_weights},
        **dict(zip(("n", "d", "m", "h", "depth"), CASES[name], strict=True)),
        sharpness=float(known),
        errors=errors,
    )


def main():
    """Run all cases and print a line each."""
    arguments = parser(__doc__, "small networks, one repeat", only="cases").parse_args()
    torch.set_num_threads(1)
    if not find_spec("curvlinops"):
        print("curvlinops is not installed: its column is left out")
    rows = []
    for name in chosen(QUICK if arguments.quick else CASES, arguments.only):
        rows.append(bench(name, 1 if arguments.quick else REPEATS))
        show(rows[-1])
    if not arguments.only:
        write_results("bench_curvature", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
