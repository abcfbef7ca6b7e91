"""Weight decay at which networks for images collapse, against depth: digits, on a CPU.

Ziyin, Li and Meng (2022, NeurIPS 35) sweep the weight decay of a ResNet18 on CIFAR-10 until
nothing is learnt (`ziyin2022_resnet.py`). Here the same question is put to networks of 2, 3, 4
and 6 layers of weights: homogeneous perceptrons (ReLU, width 64) and convolutional networks
(8 channels, the last layer linear), without biases, on 1,000 MNIST digits, one fifth held out.

    python benchmarks/figures/ziyin2022_collapse.py compute            # 6 minutes
    python benchmarks/figures/ziyin2022_collapse.py compute perceptrons
    python benchmarks/figures/ziyin2022_collapse.py plot
    python benchmarks/figures/ziyin2022_collapse.py compute --quick    # 3 decays, 2 epochs

From the paper is the question only. Ours: data, networks, cross-entropy plus the decay times
the squared norm of all weights (torch's `weight_decay` is twice that decay), Adam with step
size 0.003, batches of 100, 100 epochs, one seed. A network has collapsed when its loss on
the training digits is within 1 % of log 10, that of saying nothing. Accuracy may stay above
chance for a while, as the largest of ten tiny outputs can be the right one.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from figure_command import Figure, run
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_deeplinear import HomogeneousMLPClassifier
from sklearn_deeplinear.datasets import load_mnist_subset
from sklearn_deeplinear.inspection._plotting import COLORS

SEED, WIDTH, CHANNELS, DEPTHS = 0, 64, 8, (2, 3, 4, 6)
STEP_SIZE, BATCH, EPOCHS = 3e-3, 100, 100
DECAYS = np.geomspace(1e-3, 1.0, 16)
NOTHING, COLLAPSED, CHANCE = np.log(10), 0.99, 0.1
# With 200 digits held out an accuracy at chance has standard error 0.02.
AT_CHANCE = CHANCE + 0.04
NAMES = {"perceptrons": "Perceptrons", "convolutional": "Convolutional nets"}


@cache
def digits():
    """Training and held-out digits: every fifth of each class is held out."""
    X, y = load_mnist_subset()
    held_out = np.arange(len(y)) % 5 == 0
    return X[~held_out], y[~held_out], X[held_out], y[held_out]


def perceptron(depth, decay, epochs):
    """Loss on the training digits and accuracy on the others."""
    X, y, X_test, y_test = digits()
    model = HomogeneousMLPClassifier(
        depth=depth,
        width=WIDTH,
        fit_bias=False,
        weight_decay=decay,
        solver="adam",
        step_size=STEP_SIZE,
        batch_size=BATCH,
        max_iter=epochs,
        tol=0,
        record_every=epochs,
        random_state=SEED,
        dtype="float32",
    ).fit(X, y)
    return model.loss_, model.score(X_test, y_test)


def convolutional_net(depth):
    """Convolutions of 3 x 3, the first two of stride 2, then means (4 x 4 left), a linear layer."""
    layers, channels = [], 1
    for number in range(depth - 1):
        stride = 2 if number < 2 else 1
        convolution = nn.Conv2d(channels, CHANNELS, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, nn.ReLU()]
        channels = CHANNELS
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * CHANNELS, 10, bias=False)
    )


def convolutional(depth, decay, epochs):
    """Loss on the training digits and accuracy on the others."""
    X, y, X_test, y_test = map(torch.from_numpy, digits())
    X, X_test = (images.float().reshape(-1, 1, 28, 28) for images in (X, X_test))
    torch.manual_seed(SEED)
    net = convolutional_net(depth)
    for weight in net.parameters():
        nn.init.xavier_uniform_(weight)
    optimiser = torch.optim.Adam(net.parameters(), lr=STEP_SIZE, weight_decay=2 * decay)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(BATCH):
            optimiser.zero_grad()
            cross_entropy(net(X[rows]), y[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        right = (net(X_test).argmax(dim=1) == y_test).double().mean()
        return cross_entropy(net(X), y).item(), right.item()


def sweep(path, quick, depth, train):
    """Train with each decay."""
    decays, epochs = (DECAYS[::7], 2) if quick else (DECAYS, EPOCHS)
    loss, accuracy = np.transpose([train(depth, float(decay), epochs) for decay in decays])
    result = {"seed": SEED, "depth": depth, "decays": decays.tolist()}
    return result | {"loss": loss.tolist(), "accuracy": accuracy.tolist()}


def critical(result, at_zero):
    """Last decay before, and first decay from which on all larger ones are `at_zero`."""
    alive = np.flatnonzero(~np.asarray(at_zero))
    last, decays = alive[-1] if len(alive) else -1, result["decays"]
    return decays[max(last, 0)], decays[min(last + 1, len(decays) - 1)]


def draw(results, name):
    """Loss, accuracy, and where they tell of collapse, against depth."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    brackets = []
    for result, colour in zip(results, COLORS, strict=False):
        label, decays = f"{result['depth']} layers", result["decays"]
        axes[0].plot(decays, result["loss"], ".-", color=colour, label=label)
        axes[1].plot(decays, result["accuracy"], ".-", color=colour)
        dead = np.array(result["loss"]) > COLLAPSED * NOTHING
        lost = np.array(result["accuracy"]) <= AT_CHANCE
        brackets.append([critical(result, dead), critical(result, lost)])
        print(f"{name}, {label}: loss lost in {brackets[-1][0]}, accuracy in {brackets[-1][1]}")
    axes[0].axhline(NOTHING, color="0.5", ls=":", label="nothing learnt")
    axes[1].axhline(CHANCE, color="0.5", ls=":")
    for ax, what in zip(axes, ("loss, training digits", "accuracy, held-out digits"), strict=False):
        ax.set(xscale="log", xlabel="weight decay of every layer", ylabel=what, ylim=(0, None))
    depths = [result["depth"] for result in results]
    for k, (style, label) in enumerate((("o-", "by the loss"), ("s:", "by the accuracy"))):
        low, high = np.array(brackets)[:, k].T
        middle = np.sqrt(low * high)
        bars = [middle - low, high - middle]
        axes[2].errorbar(
            depths,
            middle,
            bars,
            fmt=style,
            color=COLORS[6 * k],
            mfc="none",
            ms=6 + 4 * k,
            label=label,
            capsize=3,
        )
    axes[2].set(yscale="log", xlabel="layers of weights", ylabel="weight decay at collapse")
    axes[2].set_xticks(depths)
    axes[2].legend(frameon=False)
    figure.suptitle(f"{NAMES[name]} on 1,000 MNIST digits")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


FIGURES = {
    name: Figure(
        {f"collapse_{name}_{depth}": partial(sweep, depth=depth, train=train) for depth in DEPTHS},
        partial(draw, name=name),
    )
    for name, train in (("perceptrons", perceptron), ("convolutional", convolutional))
}


def main(argv=None):
    """Compute or plot."""
    run(FIGURES, "ziyin2022", __doc__.splitlines()[0], argv)


if __name__ == "__main__":
    main()
