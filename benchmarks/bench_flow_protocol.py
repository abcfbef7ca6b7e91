"""Is an adaptive solver a cheaper gradient flow than gradient descent with a tenth of the step?

Elkabetz and Cohen (2021) stand in for gradient flow by gradient descent with steps
eta_0 / 10, ten for each step of size eta_0 = 0.001. Here both are held against a much
tighter solve, on networks 784-50-50-10 and 1,000 digits: for each setting of the solver,
the error in weight space and the cost, in gradients (backward passes) and in seconds. The
tight solve of the ReLU network is by another method than the one to be judged, and takes
longer than all others together.

    python benchmarks/bench_flow_protocol.py [--steps 2000 | --full] [--net linear relu]
"""

import copy
from time import perf_counter

import torch
from _environment import write_results
from _measure import Timings, parser, row

from sklearn_deeplinear.datasets import load_mnist_subset
from sklearn_deeplinear.dynamics import gradient_descent, gradient_flow

ETA, DIVISOR, SEED, TARGET = 1e-3, 10, 0, 20
ACTIVATIONS = {"linear": torch.nn.Identity, "relu": torch.nn.ReLU}
# The reference of a network whose gradient jumps asks for a low order.
REFERENCES = {
    "linear": {"method": "DOP853", "rtol": 1e-9, "atol": 1e-12},
    "relu": {"method": "RK23", "rtol": 1e-7, "atol": 1e-9},
}
SETTINGS = {
    "linear": [
        {"method": method, "rtol": rtol, "atol": rtol / 1000}
        for method in ("RK23", "RK45", "DOP853")
        for rtol in (1e-4, 1e-5, 1e-6)
    ],
    "relu": [
        {"method": method, "rtol": rtol, "atol": rtol / 10}
        for method, tolerances in (
            ("RK45", (1e-5, 1e-6)),
            ("RK23", (1e-5, 1e-6)),
            ("trapezoidal", (1e-6, 1e-7, 9e-8, 8e-8, 7e-8, 5e-8)),
        )
        for rtol in tolerances
    ],
}


def make_net(activation):
    """Build the network without biases, Xavier-uniform."""
    torch.manual_seed(SEED)
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((784, 50), (50, 50), (50, 10))]
    for layer in layers:
        torch.nn.init.xavier_uniform_(layer.weight)
    hidden = ACTIVATIONS[activation]
    return torch.nn.Sequential(layers[0], hidden(), layers[1], hidden(), layers[2]).double()


def weights(net):
    """Return all weights as one vector."""
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach()


def bench(activation, n_steps):
    """Measure errors and costs of one network; a list of dicts, one per way to the flow."""
    X, y = (torch.tensor(array) for array in load_mnist_subset())
    start = make_net(activation)

    def loss(net):
        return torch.nn.functional.cross_entropy(net(X), y)

    def run(name, train):
        net, clock = copy.deepcopy(start), perf_counter()
        trajectory = train(net)
        seconds = perf_counter() - clock
        row = {"name": name, "gradients": int(trajectory.iteration[-1]), "seconds": seconds}
        return row, weights(net)

    def flow(net, settings):
        return gradient_flow(net, loss, time=n_steps * ETA, times=[n_steps * ETA], **settings)

    def descent(net, divisor):
        return gradient_descent(
            net,
            loss,
            step_size=ETA / divisor,
            max_iter=n_steps * divisor,
            record_every=n_steps * divisor,
        )

    ways = {f"eta_0/{r}": lambda net, r=r: descent(net, r) for r in (1, DIVISOR)}
    for s in SETTINGS[activation]:
        ways["{method} rtol={rtol:g} atol={atol:g}".format(**s)] = lambda net, s=s: flow(net, s)
    reference, exact = run("reference", lambda net: flow(net, REFERENCES[activation]))
    rows = [reference | {"error": 0.0}]
    show(activation, rows[0])
    for name, train in ways.items():
        row, end = run(name, train)
        rows.append(row | {"error": (end - exact).norm().item()})
        show(activation, rows[-1])
    return rows


def show(activation, row):
    """Print one measurement."""
    print(
        f"{activation:7s} {row['name']:32s} {row['gradients']:7d} gradients "
        f"{row['seconds']:8.1f} s   error {row['error']:.2e}",
        flush=True,
    )


def verdict(rows):
    """Compare the cheapest way that is as accurate as the protocol with the protocol."""
    protocol = next(row for row in rows if row["name"] == f"eta_0/{DIVISOR}")
    good = [r for r in rows if "tol" in r["name"] and r["error"] <= protocol["error"]]
    if not good:
        return {"cheapest": None, "met": False}
    best = min(good, key=lambda row: row["gradients"])
    return {
        "cheapest": best["name"],
        "fewer_gradients": protocol["gradients"] / best["gradients"],
        "less_time": protocol["seconds"] / best["seconds"],
        "met": protocol["gradients"] / best["gradients"] >= TARGET,
    }


def summary(net, n_steps, ways, result):
    """The row of one network: small steps beside the cheapest way that is as accurate."""
    by_name = {way["name"]: way for way in ways}
    known = {"eta_0 by ten": by_name[f"eta_0/{DIVISOR}"], "flow": by_name.get(result["cheapest"])}
    known = {name: way for name, way in known.items() if way}
    figures = {f"gradients, {name}": way["gradients"] for name, way in known.items()}
    figures |= {"times fewer": result.get("fewer_gradients")}
    figures |= {f"error, {name}": way["error"] for name, way in known.items()}
    return row(
        f"{net}, {n_steps:,} steps",
        Timings({name: [way["seconds"]] for name, way in known.items()}, {}),
        [tuple(known)] if len(known) == 2 else [],
        figures=figures | {"solver": result["cheapest"]},
        net=net,
        steps=n_steps,
        verdict=result,
        ways=ways,
    )


def main():
    """Run the benchmark and write its results."""
    line = parser(__doc__, "the linear net, 200 steps")
    line.add_argument("--steps", type=int, default=2000, help="eta_0-steps (default 2000)")
    line.add_argument("--full", action="store_true", help="the 10,000 steps of the paper")
    line.add_argument("--net", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    arguments = line.parse_args()
    n_steps = 10_000 if arguments.full else 200 if arguments.quick else arguments.steps
    for net in ["linear"] if arguments.quick else arguments.net:
        ways = bench(net, n_steps)
        result = verdict(ways)
        print(net, result, flush=True)
        name = f"bench_flow_protocol_{net}_{n_steps}"
        found = summary(net, n_steps, ways, result)
        write_results(name, [found], quick=arguments.quick, seed=SEED, repeats=1)


if __name__ == "__main__":
    main()
