"""ResNet18 on CIFAR-10 with growing weight decay, after Ziyin, Li and Meng (2022, NeurIPS 35).

    python benchmarks/figures/ziyin2022_resnet.py compute --images FOLDER
    python benchmarks/figures/ziyin2022_resnet.py plot

Needs torchvision, a CUDA device and CIFAR-10 in FOLDER (`cifar-10-batches-py`, as torchvision
lays it out; nothing is downloaded), and says which of them is missing. `compute` runs the
decays that have no result yet, each whole; a run that was stopped starts again. It has not
been run to the end: no device with the images was at hand, and no result is claimed.
`ziyin2022_collapse.py` puts the same question to small networks on a CPU.

From the paper: ResNet18, CIFAR-10, SGD with step size 0.05, batches of 128, 200 epochs, and
that the weight decay is swept. Ours: the decays, no momentum, no schedule, no augmentation,
the stem for small images (a 3 x 3 convolution of stride 1, no pooling), standardised
channels, one seed. Decays are torch's, twice those of the rest of this package; batch
normalisation stays, and its scales are decayed like all parameters.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1]))
from _environment import RESULTS, environment

SEED, STEP_SIZE, BATCH, EPOCHS = 0, 0.05, 128, 200
DECAYS = (0.0, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)


def result_of(epochs):
    """File of the results of runs of this length."""
    return RESULTS / "ziyin2022" / f"resnet_{epochs}.json"


def missing(images):
    """What a run needs and does not find, in words."""
    needs = {
        "torchvision (pip install torchvision)": find_spec("torchvision") is not None,
        "a CUDA device": torch.cuda.is_available(),
        f"the images, {images / 'cifar-10-batches-py'}": (images / "cifar-10-batches-py").is_dir(),
    }
    return [need for need, there in needs.items() if not there]


def resnet():
    """ResNet18 with the stem for images of 32 x 32."""
    from torchvision.models import resnet18

    net = resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def cifar(images, train, device):
    """Images, channels standardised, and their classes."""
    from torchvision.datasets import CIFAR10

    data = CIFAR10(images, train=train, download=False)
    X = torch.tensor(data.data, device=device).permute(0, 3, 1, 2).float() / 255
    mean, std = X.mean(dim=(0, 2, 3), keepdim=True), X.std(dim=(0, 2, 3), keepdim=True)
    return (X - mean) / std, torch.tensor(data.targets, device=device)


def train(net, X, y, decay, epochs):
    """Train by SGD on the resident images."""
    optimiser = torch.optim.SGD(net.parameters(), lr=STEP_SIZE, weight_decay=decay)
    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(y), device=y.device).split(BATCH):
            optimiser.zero_grad()
            cross_entropy(net(X[rows]), y[rows]).backward()
            optimiser.step()
    return net


@torch.no_grad()
def evaluate(net, X, y):
    """Mean loss, accuracy."""
    net.eval()
    outputs = torch.cat([net(images) for images in X.split(1000)])
    return cross_entropy(outputs, y).item(), (outputs.argmax(dim=1) == y).double().mean().item()


def compute(images, epochs):
    """Run the decays that are not there yet; keep each as it ends."""
    lacking = missing(images)
    if lacking:
        sys.exit("Cannot run, for these are missing: " + "; ".join(lacking) + ".")
    data = {part: cifar(images, part == "train", "cuda") for part in ("train", "test")}
    about = {"seed": SEED, "epochs": epochs, "device": torch.cuda.get_device_name()}
    sweep(resnet, data, epochs, result_of(epochs), about)


def sweep(make_net, data, epochs, path, about):
    """Train a network for each decay that is not in `path` yet."""
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    for decay in DECAYS:
        if any(run["weight_decay"] == decay for run in runs):
            continue
        torch.manual_seed(SEED)
        net = train(make_net().to(data["train"][0].device), *data["train"], decay, epochs)
        run = {"weight_decay": decay}
        for part, (X, y) in data.items():
            run[f"{part}_loss"], run[f"{part}_accuracy"] = evaluate(net, X, y)
        print(run, flush=True)
        runs.append(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"environment": environment(), **about, "runs": runs}) + "\n")


def plot(path):
    """Draw accuracies against the decay."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    if not path.exists():
        sys.exit(f"No results in {path}: run `compute` first.")
    runs = json.loads(path.read_text())["runs"]
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for part, style in (("train", "o--"), ("test", "s-")):
        accuracy = [run[f"{part}_accuracy"] for run in runs]
        ax.plot([run["weight_decay"] for run in runs], accuracy, style, label=f"{part} images")
    ax.axhline(0.1, color="0.5", ls=":", label="chance")
    ax.set_xscale("symlog", linthresh=1e-4)
    ax.set(xlabel="weight decay (torch's)", ylabel="accuracy", ylim=(0, 1.02))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    figure.savefig(path.with_suffix(".png"), dpi=100)
    plt.close(figure)
    print(f"wrote {path.with_suffix('.png')}")


def main(argv=None):
    """Compute or plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["compute", "plot"])
    parser.add_argument("--images", type=Path, default=Path("data"), help="folder of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args(argv)
    if arguments.action == "compute":
        compute(arguments.images, arguments.epochs)
    else:
        plot(result_of(arguments.epochs))


if __name__ == "__main__":
    main()
