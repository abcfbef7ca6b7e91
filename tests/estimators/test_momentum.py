"""solver="momentum" against torch's own SGD with momentum, from the same weights."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways

N_STEPS, ETA, MOMENTUM, DECAY = 30, 0.02, 0.8, 0.05


def make_data(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((40, 4))
    X -= X.mean(axis=0)
    Y = X @ rng.standard_normal((4, 2)) + 0.1 * rng.standard_normal((40, 2))
    return X, Y - Y.mean(axis=0)


MODELS = {
    "linear": DeepLinearRegressor(3, 6, init="normal"),
    "compressed": DeepLinearRegressor(2, 90, init="normal", fit_intercept=False),
    "linear pathways": MultiPathwayRegressor((2, 3), 6, init="xavier_normal"),
    "tanh pathways": MultiPathwayRegressor(
        3, 5, activation="tanh", init="xavier_normal", fit_intercept=False
    ),
    "perceptron": HomogeneousMLPRegressor(3, 5),
    "classifier": HomogeneousMLPClassifier(2, 5),
}


def torch_module(model):
    """The network of a fitted model."""
    if isinstance(model, MultiPathwayRegressor):
        shapes = [[W.shape for W in weights] for weights in model.weights_]
        net = ParallelPathways(shapes, model.activation, dtype=torch.float64)
        return net.fill([list(map(torch.from_numpy, weights)) for weights in model.weights_])
    activation = getattr(model, "activation", "identity")
    biases = getattr(model, "biases_", None)
    shapes = [W.shape for W in model.weights_]
    net = HomogeneousNetwork(shapes, activation, biases is not None, dtype=torch.float64)
    biases = None if biases is None else list(map(torch.from_numpy, biases))
    return net.fill(list(map(torch.from_numpy, model.weights_)), biases)


@pytest.mark.parametrize("name", MODELS)
def test_it_makes_the_steps_of_sgd_with_momentum(name):
    X, y = make_data()
    model = MODELS[name].set_params(
        solver="momentum",
        momentum=MOMENTUM,
        step_size=ETA,
        weight_decay=DECAY,
        tol=0,
        random_state=0,
    )
    if name == "classifier":
        y = np.where(y[:, 0] > 0, "a", "b")
    start = torch_module(model.set_params(max_iter=0).fit(X, y))
    model.set_params(max_iter=N_STEPS).fit(X, y)
    inputs = torch.from_numpy(X)
    codes = torch.from_numpy((y == "b").astype(int)) if name == "classifier" else None
    matrices = [p for p in start.parameters() if p.ndim == 2]
    others = [p for p in start.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 2 * DECAY}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=ETA, momentum=MOMENTUM)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        outputs = start(inputs)
        if codes is not None:
            loss = torch.nn.functional.cross_entropy(outputs, codes)
        else:
            loss = (outputs - torch.from_numpy(y)).square().sum() / len(X)
        loss.backward()
        optimizer.step()
    found = torch_module(model).parameters()
    for p, q in zip(found, start.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_without_momentum_it_is_gradient_descent():
    X, y = make_data()
    options = {"init": "normal", "max_iter": 20, "tol": 0, "random_state": 0}
    plain = DeepLinearRegressor(3, 6, **options).fit(X, y)
    heavy = DeepLinearRegressor(3, 6, solver="momentum", momentum=0.0, **options).fit(X, y)
    np.testing.assert_allclose(heavy.coef_, plain.coef_, rtol=1e-12)


def test_it_needs_fewer_steps_where_directions_differ():
    """At condition number 100 gradient descent takes about ten times as many steps."""
    rng = np.random.RandomState(0)
    X = np.linalg.qr(rng.standard_normal((50, 3)))[0] * [1.0, 0.3, 0.1] * np.sqrt(50)
    y = X @ rng.standard_normal(3)
    options = {"fit_intercept": False, "max_iter": 20_000, "tol": 1e-6}
    steps = {
        solver: DeepLinearRegressor(1, solver=solver, **options).fit(X, y).n_iter_
        for solver in ("gd", "momentum")
    }
    assert 4 * steps["momentum"] < steps["gd"] < 20_000


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_the_share_lies_below_one(momentum):
    X, y = make_data()
    with pytest.raises(ValueError, match="momentum"):
        DeepLinearRegressor(solver="momentum", momentum=momentum).fit(X, y)
