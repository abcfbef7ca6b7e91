"""One small network of every kind that claims to be `Dynamics`, on any device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._compressed_pathways import CompressedPathways
from sklearn_deeplinear.dynamics.compression._krylov import KrylovPathways
from sklearn_deeplinear.dynamics.compression._row_space_network import RowSpaceNetwork, narrowed
from sklearn_deeplinear.dynamics.compression._subspaces import close
from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_classifier import LinearClassifierDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._module import module_dynamics
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.networks._perceptron import perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient
from sklearn_deeplinear.theory import SecondMoments
from tests.dynamics.networks.every_batch import KINDS, Kind, Sweep
from tests.dynamics.networks.every_batch import linear as linear_batch

N, D, M = 15, 3, 2
RNG = np.random.RandomState(0)
X, Y = RNG.standard_normal((N, D)), RNG.standard_normal((N, M))
SHARES = RNG.uniform(0.5, 1.5, N)
SHARES /= SHARES.sum()
CLASSES = np.eye(M)[RNG.randint(M, size=N)]
CENTRED = [Z - SHARES @ Z for Z in (X, Y)]
MOMENTS = SecondMoments.from_data(X, Y, SHARES)
DECAYS = [0.1, 0.05, 0.2]


def layers_of(*widths, seed=1, gain=0.6, orthogonal=False):
    """Layers D -> widths -> M, float64 tensors; orthogonal ones have singular values `gain`."""
    rng, sizes = np.random.RandomState(seed), [D, *widths, M]
    layers = [rng.standard_normal(shape) for shape in zip(sizes[1:], sizes, strict=False)]
    if orthogonal:
        factors = (np.linalg.svd(W, full_matrices=False) for W in layers)
        layers = [U @ Vt for U, _, Vt in factors]
    return [torch.from_numpy(gain * W) for W in layers]


@dataclass(frozen=True)
class Case:
    """A network under test, and how its state stands for parameters.

    Attributes
    ----------
    make : callable
        ``make(like)`` makes the dynamics on the device and in the precision of a tensor.
    shapes : dict
        Shapes of what `unpacked` returns.
    kinked, linear : bool
        Whether there are units with kinks, and whether all is one linear map.
    full : callable or None
        Makes the same network without compression, whose state are the unpacked weights.
    where : str
        "anywhere", or "numbers" if its making needs to see them.
    batch : tuple
        Shape of a batch of networks.
    """

    make: Any
    shapes: dict
    kinked: bool = False
    linear: bool = False
    full: Any = None
    where: str = "anywhere"
    batch: tuple = ()


def moved(parts, like):
    if isinstance(parts, list):
        return [moved(part, like) for part in parts]
    return torch.as_tensor(parts).to(like)


def linear(widths, noise=0.0):
    def make(like):
        weights, gammas = layers_of(*widths), DECAYS[: len(widths) + 1]
        variances = [noise] * len(widths)
        return LinearDynamics.from_moments(moved(weights, like), MOMENTS, gammas, variances)

    return Case(make, {"weights": shapes(layers_of(*widths))}, linear=True, where="numbers")


def shapes(nested):
    return [shapes(part) for part in nested] if isinstance(nested, list) else tuple(nested.shape)


def pathways(activation="identity", activate_output=False, widths=((4,), (3, 3))):
    weights = [layers_of(*hidden, seed=p) for p, hidden in enumerate(widths)]
    gammas = [DECAYS[: len(path)] for path in weights]

    def make(like):
        if activation == "identity":
            term = LinearPathways.from_moments(MOMENTS, like)
        else:
            data, options = (*CENTRED, SHARES[:, None]), (activation, activate_output)
            term = ActivePathways.from_data(*data, MOMENTS, *options, like)
        return pathway_dynamics(moved(weights, like), term, gammas)

    units = activate_output or any(widths)
    return Case(
        make,
        {"weights": shapes(weights)},
        kinked=activation in ("relu", "leaky_relu") and bool(units),
        linear=activation == "identity",
    )


def compressed(network, widths, **options):
    """Wide pathways in few dimensions; `network` makes their dynamics of compressions."""
    weights = [layers_of(*hidden, seed=p, **options) for p, hidden in enumerate(widths)]
    gammas = [DECAYS[: len(path)] for path in weights]

    def make(like):
        term = LinearPathways.from_moments(MOMENTS, like)
        return network([close(path) for path in weights], term, gammas)

    def full(like):
        term = LinearPathways.from_moments(MOMENTS, like)
        return pathway_dynamics(moved(weights, like), term, gammas)

    single = network is single_network
    found = shapes(weights)
    found = {"weights": found[0] if single else found}
    return Case(make, found, linear=True, full=full, where="numbers")


def single_network(*arguments):
    return CompressedNetwork(CompressedPathways(*arguments))


def row_space(inside):
    """A network on two samples of three inputs, with weights inside of their row space or not."""
    few = SecondMoments.from_data(X[:2], Y[:2], center=False)
    weights = layers_of(4, 3)
    if inside:
        V = torch.from_numpy(few.spectrum.directions)
        weights[0] = weights[0] @ V @ V.mT

    def make(like):
        narrow, moments, basis = narrowed(weights, few)
        network = LinearDynamics.from_moments(moved(narrow, like), moments, DECAYS, [0.0, 0.0])
        return RowSpaceNetwork(network, moved(basis, like), 2 * DECAYS[0])

    def full(like):
        return LinearDynamics.from_moments(moved(weights, like), few, DECAYS, [0.0, 0.0])

    found = {"weights": shapes(weights)}
    return Case(make, found, linear=True, full=full, where="numbers")


def perceptron(activation, loss, bias, widths=(4, 3)):
    weights = layers_of(*widths)
    biases = [torch.from_numpy(RNG.standard_normal(len(W))) for W in weights] if bias else None
    targets = CLASSES if loss == "cross_entropy" else Y

    def make(like):
        return perceptron_dynamics(
            moved(weights, like),
            moved(biases, like) if bias else None,
            *(moved(part, like) for part in (X, targets, SHARES)),
            activation=activation,
            loss=loss,
            weight_decay=DECAYS[: len(weights)],
        )

    found = {"weights": shapes(weights), **({"biases": shapes(biases)} if bias else {})}
    linear = activation == "identity" and not bias
    return Case(make, found, kinked=activation != "identity" and bool(widths), linear=linear)


def classifier(loss, widths=(4, 3), free=True):
    targets = CLASSES if loss == "cross_entropy" else CLASSES[:, :1]
    weights = layers_of(*widths)
    weights[-1] = weights[-1][: targets.shape[1]]

    def make(like):
        data = (moved(part, like) for part in (X, targets, SHARES))
        term = SampleGradient(*data, loss, free)
        return LinearClassifierDynamics(moved(weights, like), term, DECAYS[: len(weights)])

    return Case(make, {"weights": shapes(weights)}, linear=True, where="numbers")


def module(unit):
    def make(like):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(D, 4), unit, torch.nn.Linear(4, M))
        net = net.to(torch.float64).to(like)
        inputs, targets = moved(X, like), moved(Y, like)
        return module_dynamics(net, lambda net: (net(inputs) - targets).square().mean(), [0.1, 0.2])

    found = {"weights": [(4, D), (4,), (M, 4), (M,)]}
    return Case(make, found, kinked=isinstance(unit, (torch.nn.ReLU, torch.nn.LeakyReLU)))


def batch(kind, several=False, **options):
    """Six networks at once, on three folds; of several pathways or of one chain of layers."""
    shape = (2, 3)
    weights = [[(*shape, *s) for s in path] for path in kind.shapes]
    found = {"weights": weights if several else weights[0]}
    if kind.biased:
        found["biases"] = [(*shape, rows) for rows, _ in kind.shapes[0]]
    return Case(lambda like: Sweep(kind, like, shape).batch, found, batch=shape, **options)


WIDE = ((12,), (15,))
CASES = {
    "linear": linear((4, 3)),
    "linear, one layer": linear(()),
    "noisy": linear((4, 3), noise=0.3),
    "compressed network": compressed(single_network, [(14, 14)], orthogonal=True),
    "row space": row_space(inside=True),
    "row space and more": row_space(inside=False),
    "linear pathways": pathways(),
    "linear pathways of one layer": pathways(widths=((), ())),
    "relu pathways": pathways("relu"),
    "relu pathways, outputs too": pathways("relu", True, widths=((), (3,))),
    "relu pathways of one layer": pathways("relu", widths=((), ())),
    "leaky pathways": pathways("leaky_relu"),
    "tanh pathways": pathways("tanh"),
    "tanh pathways, outputs too": pathways("tanh", True),
    "gelu pathways": pathways("gelu", True),
    "compressed pathways": compressed(CompressedPathways, WIDE),
    "orthogonal pathways": compressed(CompressedPathways, [(12, 12), (13,)], orthogonal=True),
    "krylov pathways": compressed(KrylovPathways, WIDE),
    "linear perceptron": perceptron("identity", "squared_error", False),
    "relu perceptron": perceptron("relu", "squared_error", True),
    "leaky perceptron": perceptron("leaky_relu", "cross_entropy", True),
    "classifier without biases": perceptron("relu", "cross_entropy", False),
    "perceptron of one layer": perceptron("relu", "cross_entropy", True, widths=()),
    "linear classifier": classifier("cross_entropy"),
    "linear classifier of two classes": classifier("log_loss"),
    "linear classifier of one layer": classifier("log_loss", widths=()),
    "linear classifier through zero": classifier("cross_entropy", free=False),
    "tanh module": module(torch.nn.Tanh()),
    "relu module": module(torch.nn.ReLU()),
    "leaky module": module(torch.nn.LeakyReLU(0.3)),
    "linear batch": batch(Kind(linear_batch), linear=True, where="numbers"),
    "noisy batch": batch(Kind(linear_batch, noise=0.3), linear=True, where="numbers"),
    "batch of linear pathways": batch(KINDS["linear pathways"], several=True, linear=True),
    "batch of relu pathways": batch(KINDS["relu pathways"], several=True, kinked=True),
    "batch of tanh pathways": batch(KINDS["tanh pathways"], several=True),
    "batch of linear perceptrons": batch(KINDS["linear perceptron"], linear=True),
    "batch of relu perceptrons": batch(KINDS["relu perceptron"], kinked=True),
    "batch of linear classifiers": batch(KINDS["linear classes"], linear=True, where="numbers"),
    "batch of classifiers": batch(KINDS["classifier"], kinked=True),
}
