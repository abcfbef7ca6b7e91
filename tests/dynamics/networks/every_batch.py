"""Batches of networks of every kind that takes them, and the same networks one by one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.networks._linear_classifier import LinearClassifierDynamics
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.networks._perceptron import perceptron_dynamics
from sklearn_deeplinear.dynamics.networks._sample_gradient import SampleGradient
from sklearn_deeplinear.dynamics.networks._stacks import each, stacked
from sklearn_deeplinear.theory import SecondMoments

BATCH = (4, 3)  # configurations x folds
FOLDS = (20, 23, 21)  # samples


@dataclass(frozen=True)
class Fold:
    """Data of one fold: arrays, and their moments, centred as X and Y are."""

    X: np.ndarray
    Y: np.ndarray
    share: np.ndarray
    moments: SecondMoments


def make_fold(n, d, m, seed, classes=False):
    rng = np.random.RandomState(seed)
    X, Y, weight = rng.randn(n, d), rng.randn(n, m), rng.uniform(0.5, 1.5, n)
    if classes:
        Y = np.eye(m)[rng.randint(m, size=n)]
        return Fold(X, Y, weight[:, None] / weight.sum(), None)
    moments = SecondMoments.from_data(X, Y, weight)
    centred = X - moments.mean_x, Y - moments.mean_y
    return Fold(*centred, weight[:, None] / weight.sum(), moments)


def of(name, folds):
    return each(lambda fold: getattr(fold, name), folds)


def linear(parts, folds, like):
    """The weights of one chain; folds may be one, of a single network, or a list."""
    (weights,), (decay,) = parts["weights"], parts["decay"]
    return LinearDynamics.from_moments(weights, of("moments", folds), decay, parts["noise"])


def linear_pathways(parts, folds, like):
    term = LinearPathways.from_moments(of("moments", folds), like)
    return pathway_dynamics(parts["weights"], term, parts["decay"])


def active_pathways(activation, activate_output=False):
    def make(parts, folds, like):
        data = (of(name, folds) for name in ("X", "Y", "share", "moments"))
        term = ActivePathways.from_data(*data, activation, activate_output, like)
        return pathway_dynamics(parts["weights"], term, parts["decay"])

    return make


def perceptron(activation, loss="squared_error"):
    def make(parts, folds, like):
        X, Y, share = (stacked(of(name, folds), like) for name in ("X", "Y", "share"))
        return perceptron_dynamics(
            parts["weights"][0],
            parts["biases"][0] if "biases" in parts else None,
            *(X, Y, share.squeeze(-1)),
            activation=activation,
            loss=loss,
            weight_decay=parts["decay"][0],
        )

    return make


def linear_classifier(loss):
    def make(parts, folds, like):
        X, Y, share = (stacked(of(name, folds), like) for name in ("X", "Y", "share"))
        term = SampleGradient(X, (Y > 0).to(like), share.squeeze(-1), loss, True)
        (weights,), (decay,) = parts["weights"], parts["decay"]
        return LinearClassifierDynamics(weights, term, decay)

    return make


@dataclass(frozen=True)
class Kind:
    """How the networks of a sweep are made, of `d` inputs, `m` outputs and hidden `widths`."""

    make: object
    d: int = 4
    m: int = 2
    widths: tuple = ((5, 3),)
    samples: tuple = FOLDS
    noise: float = 0.0
    biased: bool = False
    classes: bool = False

    @property
    def shapes(self):
        """Shapes of the layers of each pathway."""
        sizes = [[self.d, *hidden, self.m] for hidden in self.widths]
        return [list(zip(path[1:], path, strict=False)) for path in sizes]


PATHS = ((4,), (5, 3), ())
KINDS = {
    "linear pathways": Kind(linear_pathways, widths=PATHS),
    "two layers": Kind(linear_pathways, widths=((4,), (5,))),
    "one pathway": Kind(linear_pathways),
    "linear pathways, transposed": Kind(linear_pathways, d=2, m=6, widths=PATHS),
    "linear pathways, few rows": Kind(linear_pathways, d=30, widths=PATHS, samples=(5, 7, 6)),
    "relu pathways": Kind(active_pathways("relu"), widths=PATHS),
    "leaky pathways, one output": Kind(active_pathways("leaky_relu", True), m=1, widths=PATHS),
    "tanh pathways": Kind(active_pathways("tanh", True), widths=PATHS),
    "gelu pathways": Kind(active_pathways("gelu"), widths=PATHS[:2], samples=(3, 20, 9)),
    "linear perceptron": Kind(perceptron("identity")),
    "relu perceptron": Kind(perceptron("relu"), biased=True),
    "one unit": Kind(perceptron("relu"), d=1, m=1, widths=((1,),), biased=True),
    "one layer": Kind(perceptron("relu"), widths=((),), biased=True),
    "classifier": Kind(
        perceptron("relu", "cross_entropy"), m=3, biased=True, classes=True, samples=(3, 20, 9)
    ),
    "two linear classes": Kind(linear_classifier("log_loss"), m=1, samples=(30, 20, 25)),
    "linear classes": Kind(linear_classifier("cross_entropy"), d=5, m=3, classes=True),
    "more linear classes than inputs": Kind(
        linear_classifier("cross_entropy"), d=2, m=3, classes=True
    ),
    "leaky classifier": Kind(perceptron("leaky_relu", "cross_entropy"), classes=True),
}


class Sweep:
    """The same networks as a batch and one by one, with starts, data and numbers of their own.

    Attributes
    ----------
    batch : Dynamics
        All of them.
    networks : dict
        Each of them, by its index.
    parts : dict
        Weights, decays and the like of the batch, by pathways and layers.
    """

    def __init__(self, kind, like=None, shape=BATCH, scale=0.5):
        like = torch.empty(0, dtype=torch.float64) if like is None else like
        rng = np.random.RandomState(0)

        def draw(size, high=None):
            values = scale * rng.randn(*size) if high is None else rng.uniform(0, high, size)
            return torch.from_numpy(values).to(like)

        self.parts = {
            "weights": [[draw((*shape, *s)) / max(s) ** 0.5 for s in path] for path in kind.shapes],
            "decay": [[draw(shape, 0.2) for _ in path] for path in kind.shapes],
            "noise": [draw(shape, kind.noise) for _ in kind.widths[0]],
        }
        if kind.biased:
            self.parts["biases"] = [[draw((*shape, s[0])) for s in path] for path in kind.shapes]
        self.folds = [
            make_fold(n, kind.d, kind.m, seed, kind.classes) for seed, n in enumerate(kind.samples)
        ]
        self.kind, self.like = kind, like
        self.batch = kind.make(self.parts, self.folds, like)
        self.shape = shape

    @cached_property
    def networks(self):
        return {index: self.network(index) for index in np.ndindex(*self.shape)}

    def network(self, index):
        """One of the networks, on its own."""
        return self.kind.make(_at(self.parts, index), self.folds[index[-1]], self.like)


def _at(parts, index):
    if isinstance(parts, dict):
        return {name: _at(part, index) for name, part in parts.items()}
    if isinstance(parts, list):
        return [_at(part, index) for part in parts]
    return parts[index] if parts[index].ndim else float(parts[index])
