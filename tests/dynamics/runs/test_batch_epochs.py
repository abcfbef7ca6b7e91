"""Mini-batches on gradients that are written out: the same run as by autograd."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import is_classifier
from skorch.callbacks import Callback

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics.networks._batch_gradient import BatchGradient, _MapPasses
from sklearn_deeplinear.dynamics.networks._flat import pack
from sklearn_deeplinear.nn._activations import ACTIVATIONS, HOMOGENEOUS
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._losses import LOSSES, MeanLoss
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X = RNG.standard_normal((29, 3))
Y = np.abs(X @ RNG.standard_normal((3, 2))) + 0.1 * RNG.standard_normal((29, 2))
CLASSES = np.array(["a", "b", "c"])[np.argmax(np.c_[Y, Y.mean(axis=1)], axis=1)]
WEIGHT = RNG.randint(0, 4, 29).astype(float)
RUN = {
    "width": 4,
    "init": "normal",
    "init_scale": 0.4,
    "weight_decay": 0.02,
    "step_size": 0.02,
    "max_iter": 5,
    "tol": 0.0,
    "batch_size": 7,
    "record_every": 2,
    "random_state": 0,
}
PATHS = {"depth": (1, 2, 3), "n_pathways": 3}
MODELS = {
    "linear": (DeepLinearRegressor, {"depth": 3}),
    "linear, one layer": (DeepLinearRegressor, {"depth": 1}),
    "linear, one decay": (DeepLinearRegressor, {"weight_decay": [0.1, 0.0]}),
    "linear, float32": (DeepLinearRegressor, {"depth": 3, "dtype": "float32"}),
    "pathways": (MultiPathwayRegressor, PATHS),
    "pathways, no intercept": (MultiPathwayRegressor, {**PATHS, "fit_intercept": False}),
    **{
        f"{name} pathways": (
            MultiPathwayRegressor,
            {**PATHS, "activation": name, "activate_output": name in ("gelu", "relu")},
        )
        for name in ACTIVATIONS
        if name != "identity"
    },
    **{
        f"{name} perceptron{', no biases' * (not bias)}": (
            HomogeneousMLPRegressor,
            {"depth": 3, "activation": name, "fit_bias": bias},
        )
        for name in sorted(HOMOGENEOUS)
        for bias in (False, True)
    },
    "perceptron, float32": (HomogeneousMLPRegressor, {"dtype": "float32"}),
    "linear classifier": (DeepLinearClassifier, {"depth": 3}),
    "linear classifier of two": (DeepLinearClassifier, {"depth": 2}),
    "classifier": (HomogeneousMLPClassifier, {"depth": 2}),
    "classifier of squared error": (HomogeneousMLPClassifier, {"loss": "squared_error"}),
}
DATA = {
    "batches of two sizes": {},
    "one batch": {"batch_size": 100},
    "batches of one sample": {"batch_size": 1},
    "weights": {"weight": WEIGHT},
    "schedule": {"step_size": lambda t: 0.05 / (1 + t)},
    "no decay": {"weight_decay": 0.0},
}


class Follower(Callback):
    """Follows single batches, and so asks for autograd."""

    def on_batch_end(self, net, **kwargs):
        """Do nothing."""


class Witness(Callback):
    """Keeps what is known between epochs: gradients and the state of the optimizer."""

    def on_train_begin(self, net, **kwargs):
        """Forget former runs."""
        self.seen = []

    def on_epoch_end(self, net, **kwargs):
        """Copy what there is."""
        for p in net.module_.parameters():
            kept = {"grad": p.grad, "p": p.detach(), **net.optimizer_.state[p]}
            self.seen.append({name: tensor.clone() for name, tensor in kept.items()})


def fitted(name, solver, callbacks, weight=None, **options):
    kind, own = MODELS[name]
    model = kind(**{**RUN, **options, **own}, solver=solver, callbacks=callbacks)
    labels = np.where(CLASSES == "a", "a", "b") if name.endswith("two") else CLASSES
    return model.fit(X, labels if is_classifier(model) else Y, weight)


# Every model on the first data with both, and on each of the others with one in turn.
ROUTES = [
    (name, case, solver)
    for i, name in enumerate(MODELS)
    for j, case in enumerate(DATA)
    for k, solver in enumerate(("sgd", "adam"))
    if j == 0 or (i + j) % 4 == k
]


@pytest.mark.parametrize(("name", "case", "solver"), ROUTES)
def test_both_routes_make_the_same_run(monkeypatch, name, case, solver):
    """Also what callbacks see between epochs; in single precision to its rounding."""
    seen = Witness(), Witness()
    slow = fitted(name, solver, [Follower(), seen[0]], **DATA[case])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", None)  # there is no autograd
        fast = fitted(name, solver, [seen[1]], **DATA[case])
    rtol = 2e-4 if "float32" in name else 1e-12
    assert len(seen[0].seen) == len(seen[1].seen) > 0
    for expected, found in zip(*(witness.seen for witness in seen), strict=True):
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            atol = rtol * max(1.0, float(tensor.abs().max()))
            torch.testing.assert_close(found[key], tensor, rtol=rtol, atol=atol)
    for curve in ("loss", "objective", "time"):
        pair = (getattr(model.trajectory_, curve) for model in (fast, slow))
        assert_allclose(*pair, rtol=rtol)
    for column in ("train_loss", "train_batch_count"):
        assert_allclose(fast.net_.history[:, column], slow.net_.history[:, column], rtol=rtol)
    assert np.abs(np.diff(fast.trajectory_.loss)).max() > 1e-4 * fast.trajectory_.loss[0]


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_net_goes_on_where_the_epochs_ended(solver):
    nets = [fitted("relu perceptron", solver, calls).net_ for calls in ([Follower()], None)]
    for net in nets:
        net.partial_fit(X, Y)
    first, second = (net.predict(X) for net in nets)
    assert_allclose(first, second, rtol=1e-12)


class Freezer(Callback):
    """Freezes the first parameter in some epochs."""

    def on_epoch_begin(self, net, **kwargs):
        """Freeze it in epochs 3 and 4."""
        next(net.module_.parameters()).requires_grad_(len(net.history) not in (3, 4))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_frozen_parameters_stay(solver):
    """The optimizer does not count the steps that a parameter is left out of."""
    slow = fitted("relu perceptron", solver, [Freezer(), Follower()])
    fast = fitted("relu perceptron", solver, [Freezer()])
    assert_allclose(fast.trajectory_.loss, slow.trajectory_.loss, rtol=1e-12)
    free = fitted("relu perceptron", solver, None)
    assert np.abs(free.loss_ / fast.loss_ - 1) > 1e-6


MODULES = {
    "many inputs": HomogeneousNetwork([(8, 6), (7, 8), (1, 7)], dtype=torch.float64),
    "many outputs": HomogeneousNetwork([(8, 1), (7, 8), (6, 7)], dtype=torch.float64),
    "bottleneck": HomogeneousNetwork([(1, 6), (6, 1)], dtype=torch.float64),
    "one layer": HomogeneousNetwork([(2, 6)], dtype=torch.float64),
    "one layer, many outputs": HomogeneousNetwork([(6, 2)], dtype=torch.float64),
    "one layer with a bias": HomogeneousNetwork([(3, 6)], bias=True, dtype=torch.float64),
    "pathways of all depths": ParallelPathways(
        [[(2, 6)], [(9, 6), (2, 9)], [(1, 6), (9, 1), (2, 9)]], dtype=torch.float64
    ),
    **{
        f"{name}, {output}": ParallelPathways(
            [[(3, 6)], [(4, 6), (5, 4), (3, 5)]], name, output, dtype=torch.float64
        )
        for name in ACTIVATIONS
        for output in (False, True)
    },
}


@pytest.mark.parametrize("n", [1, 4, 50])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_autograd(name, loss, n):
    """One memory for batches of several sizes, in turn, each at other parameters."""
    module, generator = MODULES[name], torch.Generator().manual_seed(0)
    matrices = [p for p in module.parameters() if p.ndim == 2]
    d, m = matrices[0].shape[1], matrices[-1].shape[0]
    state = pack([p.detach() for p in module.parameters()])
    torch.nn.utils.vector_to_parameters(state, module.parameters())
    if isinstance(module, ParallelPathways):
        module.intercept.copy_(torch.randn(m, generator=generator, dtype=state.dtype))
    decays = [0.1 * layer for layer in range(len(matrices))]
    written = BatchGradient(module, state, loss, decays)
    memory = {size: written.of_size(size) for size in (n, n + 2)}
    for size in (n, n + 2, n):
        state.copy_(torch.randn(state.shape, generator=generator, dtype=state.dtype))
        inputs, Y = (torch.randn(size, k, generator=generator, dtype=state.dtype) for k in (d, m))
        if loss != "squared_error":
            Y = torch.eye(m, dtype=state.dtype)[Y.argmax(dim=1)]
        weight = torch.rand(size, generator=generator, dtype=state.dtype)
        outputs = module(inputs)
        value = MeanLoss(loss)(outputs, (LOSSES[loss].batch_targets(Y), weight))
        value = value + sum(g * W.square().sum() for g, W in zip(decays, matrices, strict=True))
        expected = pack(torch.autograd.grad(value, list(module.parameters())))
        found = torch.empty_like(Y)
        memory[size][0].copy_(inputs)
        written.write(memory[size], Y, weight[:, None] / size, found)
        torch.testing.assert_close(found, outputs.detach(), rtol=1e-12, atol=1e-12)
        scale = 1e-14 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(written.gradient, expected, rtol=1e-11, atol=scale)


def test_a_linear_chain_goes_the_way_of_fewer_operations():
    def way(name, n):
        module = MODULES[name]
        state = pack([p.detach() for p in module.parameters()])
        gradient = BatchGradient(module, state, "squared_error", 0.0)
        return [isinstance(passes, _MapPasses) for passes in gradient.of_size(n)[2]]

    assert way("many inputs", 50) == way("many outputs", 50) == [True]
    assert way("bottleneck", 50) == [False] and way("relu, False", 50) == [False, False]
    assert way("pathways of all depths", 50) == [True, True, True]
