"""Step sizes against the flow, and curvature, of estimators."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics import compare_step_sizes, hessian_eigenvalues
from sklearn_deeplinear.theory import SecondMoments


def regression(n=40, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 4) + 1
    return X, X @ rng.randn(4, 2) + rng.randn(n, 2)


def fitted(**parameters):
    settings = {"depth": 3, "width": 5, "init": "normal", "random_state": 0, "tol": 0}
    return DeepLinearRegressor(**settings | {"max_iter": 100} | parameters).fit(*regression())


def dense_hessian(model, X, y):
    """Hessian of J on the centred data, by autograd."""
    X, y = torch.from_numpy(X - X.mean(axis=0)), torch.from_numpy(y - y.mean(axis=0))
    shapes = [W.shape for W in model.weights_]

    def objective(flat):
        parts = flat.split([rows * columns for rows, columns in shapes])
        output = X
        for part, shape in zip(parts, shapes, strict=True):
            output = output @ part.view(shape).T
        loss = (output - y).square().sum() / len(X)
        return loss + model.weight_decay * flat.square().sum()

    flat = torch.cat([torch.from_numpy(W).reshape(-1) for W in model.weights_])
    return torch.autograd.functional.hessian(objective, flat).numpy()


def test_extreme_eigenvalues_are_those_of_the_dense_hessian():
    X, y = regression()
    model = fitted(weight_decay=0.1)
    eigenvalues = np.linalg.eigvalsh(dense_hessian(model, X, y))
    assert_allclose(hessian_eigenvalues(model, X, y, k=2), eigenvalues[-1:-3:-1], rtol=1e-6)
    assert_allclose(hessian_eigenvalues(model, X, y, which="SA"), eigenvalues[:1], rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_sharpness_of_a_balanced_minimum(depth):
    # White inputs and one mode of strength s: 2 L s^(2 - 2/L).
    X = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    y = X @ np.array([0.0, 2.0, 0.0])
    model = DeepLinearRegressor(depth=depth, solver="analytic").fit(X, y)
    assert_allclose(hessian_eigenvalues(model, X, y), 2 * depth * 2 ** (2 - 2 / depth), rtol=1e-6)


def test_products_do_not_see_the_samples():
    model, (X, y) = fitted(), regression()
    moments = SecondMoments.from_data(np.tile(X, (50, 1)), np.tile(y, (50, 1)))
    assert moments.input_moment.shape == (4, 4)
    many = hessian_eigenvalues(model, np.tile(X, (50, 1)), np.tile(y, (50, 1)))
    assert_allclose(many, hessian_eigenvalues(model, X, y), rtol=1e-9)


def test_recorded_sharpness_is_that_of_the_recorded_weights():
    X, y = regression()
    model = fitted(record_sharpness=True, record_weights=True, record_every=50, noise=0.2)
    for weights, sharpness in zip(
        model.trajectory_.weights, model.trajectory_.sharpness, strict=True
    ):
        start = clone(model).set_params(init=weights, max_iter=0).fit(X, y)
        assert_allclose(hessian_eigenvalues(start, X, y), sharpness, rtol=1e-6)
    assert fitted().trajectory_.sharpness is None
    assert "sharpness" in model.trajectory_.to_frame()


def test_smaller_steps_follow_the_flow_more_closely():
    X, y = regression()
    model = fitted()
    compared = compare_step_sizes(
        model, X, y, step_size=model.step_size_, divisors=(2, 4), max_iter=100, record_every=20
    )
    to_flow = compared.distance["flow"]
    assert np.all(compared.distance[2][1:] < compared.distance[4][1:])
    # Errors are proportional to the step: between eta and eta/2 lies half of the distance
    # to the flow, between eta and eta/4 three quarters.
    assert_allclose(compared.distance[2][1:] / to_flow[1:], 1 / 2, rtol=0.1)
    assert_allclose(compared.distance[4][1:] / to_flow[1:], 3 / 4, rtol=0.1)


def test_the_compared_run_is_the_fitted_one():
    X, y = regression()
    model = fitted(record_every=20)
    compared = compare_step_sizes(
        model, X, y, step_size=model.step_size_, divisors=(2,), flow=False, record_every=20
    )
    assert_allclose(compared.loss[1], model.trajectory_.loss, rtol=1e-12)
    assert_allclose(compared.time, model.trajectory_.time)


def test_what_does_not_fit_is_named():
    X, y = regression()
    with pytest.raises(TypeError, match="estimator"):
        hessian_eigenvalues(object(), X, y)
    with pytest.raises(ValueError, match="loss and weight_decay"):
        hessian_eigenvalues(fitted(), X, y, weight_decay=0.1)
    with pytest.raises(TypeError, match="estimator_or_module"):
        compare_step_sizes(object(), X, y, step_size=0.1)


PERCEPTRONS = {
    "one target": (HomogeneousMLPRegressor, {"fit_bias": False, "activation": "relu"}, 1),
    "two targets": (HomogeneousMLPRegressor, {"activation": "leaky_relu"}, 2),
    "two classes": (HomogeneousMLPClassifier, {}, 2),
    "three classes": (
        HomogeneousMLPClassifier,
        {"fit_bias": False, "activation": "leaky_relu"},
        3,
    ),
    "squared error of two classes": (
        HomogeneousMLPClassifier,
        {"fit_bias": False, "loss": "squared_error"},
        2,
    ),
    "squared error of three classes": (
        HomogeneousMLPClassifier,
        {"loss": "squared_error", "activation": "identity"},
        3,
    ),
}


def perceptron(case, **parameters):
    """An estimator and data for it: targets, or names of classes."""
    kind, options, m = PERCEPTRONS[case]
    X, Y = regression()
    Y = np.abs(X[:, :3] @ np.random.RandomState(1).randn(3, 3))
    if kind is HomogeneousMLPRegressor:
        y = Y[:, 0] if m == 1 else Y[:, :m]
    else:
        y = np.array(["red", "blue", "green"])[Y[:, :m].argmax(axis=1)]
    settings = {"depth": 3, "width": [8, 6], "max_iter": 30, "tol": 0, "random_state": 0}
    return kind(**settings | options | parameters), X, y


def dense_objective(model, X, y, share, gammas):
    """J of all parameters, a term at a time, and the parameters of the fit."""
    inputs = torch.from_numpy(X)
    parts = [torch.from_numpy(p) for p in [*model.weights_, *(model.biases_ or [])]]
    depth = len(model.weights_)
    slope = {"relu": 0.0, "leaky_relu": 0.01, "identity": 1.0}[model.activation]

    def sample_loss(f, target):
        if isinstance(model, HomogeneousMLPRegressor):
            return sum((f[j] - value) ** 2 for j, value in enumerate(np.atleast_1d(target)))
        label = list(model.classes_).index(target)
        if model.loss == "cross_entropy":
            return torch.log(torch.exp(f).sum()) - f[label]
        return sum((f[j] - float(j == label)) ** 2 for j in range(len(f)))

    def objective(flat):
        tensors = flat.split([p.numel() for p in parts])
        tensors = [t.view(p.shape) for t, p in zip(tensors, parts, strict=True)]
        H = inputs
        for layer, W in enumerate(tensors[:depth]):
            H = H if layer == 0 else torch.where(H > 0, H, slope * H)
            H = H @ W.T + (tensors[depth + layer] if len(tensors) > depth else 0)
        loss = sum(w * sample_loss(f, target) for w, f, target in zip(share, H, y, strict=True))
        return loss + sum(g * (W**2).sum() for g, W in zip(gammas, tensors[:depth], strict=True))

    return objective, torch.cat([p.reshape(-1) for p in parts])


@pytest.mark.parametrize("decay", [0.0, [0.01, 0.02, 0.05]])
@pytest.mark.parametrize("case", PERCEPTRONS)
def test_curvature_of_perceptrons_is_that_of_their_objective(case, decay):
    """On both sides of the size up to which the Hessian is built whole; weighted or not."""
    model, X, y = perceptron(case, weight_decay=decay)
    weight = np.random.RandomState(2).randint(0, 3, len(X)) if np.any(decay) else None
    model.fit(X, y, sample_weight=weight)
    share = np.ones(len(X)) if weight is None else weight
    objective, flat = dense_objective(model, X, y, share / share.sum(), np.broadcast_to(decay, 3))
    assert_allclose(float(objective(flat)), model.objective_, rtol=1e-12)
    eigenvalues = np.linalg.eigvalsh(
        torch.autograd.functional.hessian(objective, flat, vectorize=True)
    )
    options = {"sample_weight": weight}
    found = hessian_eigenvalues(model, X, y, k=3, **options)
    assert_allclose(found, eigenvalues[:-4:-1], rtol=1e-6)
    lowest = hessian_eigenvalues(model, X, y, which="SA", **options)
    assert_allclose(lowest, eigenvalues[:1], rtol=1e-6, atol=1e-9)


def test_classes_are_those_of_the_fit():
    """Also where the data hold some of them only."""
    model, X, y = perceptron("three classes")
    model.fit(X, y)
    some = y != "green"
    found = hessian_eigenvalues(model, X[some], y[some])
    assert_allclose(found, hessian_eigenvalues(model, X, y, sample_weight=some), rtol=1e-9)


@pytest.mark.parametrize("solver", ["gd", "flow", "sgd", "adam"])
@pytest.mark.parametrize("case", ["two targets", "two classes"])
def test_perceptrons_record_their_sharpness(case, solver):
    model, X, y = perceptron(case, solver=solver, weight_decay=0.01, batch_size=16, max_iter=10)
    model.set_params(record_every=5)
    plain = clone(model).fit(X, y)
    model.set_params(record_sharpness=True).fit(X, y)
    start = clone(model).set_params(max_iter=0).fit(X, y)
    sharpness = model.trajectory_.sharpness
    assert sharpness.shape == (3,)
    assert_allclose(sharpness[0], hessian_eigenvalues(start, X, y)[0], rtol=1e-9)
    assert_allclose(sharpness[-1], hessian_eigenvalues(model, X, y)[0], rtol=1e-9)
    assert plain.trajectory_.sharpness is None
    for one, other in zip(plain.weights_, model.weights_, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("width", [2, 20])
@pytest.mark.parametrize(
    "model", [DeepLinearRegressor(), HomogeneousMLPRegressor(activation="leaky_relu")]
)
def test_a_run_that_diverges_records_sharpness_up_to_there(model, width):
    """Also where the Hessian of later ones is not finite, small or too large to build whole."""
    model = clone(model).set_params(depth=3, width=width, step_size=1e3, init="normal")
    model.set_params(random_state=0, max_iter=50)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.set_params(record_sharpness=True, record_every=1).fit(*regression())
    assert model.stop_reason_ == "diverged"
    assert model.trajectory_.sharpness[0] > 0


def parameters_of(model):
    parts = [*model.weights_, *(model.biases_ or [])]
    return np.concatenate([part.ravel() for part in parts])


@pytest.mark.parametrize("case", ["two targets", "two classes"])
def test_compared_perceptrons_are_those_of_separate_fits(case):
    model, X, y = perceptron(case, weight_decay=0.01)
    eta = 0.05
    compared = compare_step_sizes(
        model, X, y, step_size=eta, divisors=(2, 4), flow=False, record_every=10
    )
    assert not [name for name in vars(model) if name.endswith("_")]
    model.set_params(step_size=eta, record_every=10).fit(X, y)
    start = clone(model).set_params(max_iter=0).fit(X, y)
    moved = np.linalg.norm(parameters_of(model) - parameters_of(start))
    assert_allclose(compared.distance_from_init[-1], moved, rtol=1e-9)
    assert_allclose(compared.loss[1], model.trajectory_.loss, rtol=1e-9)
    for r in (2, 4):
        fine = clone(model).set_params(step_size=eta / r, max_iter=30 * r, record_every=10 * r)
        fine.fit(X, y)
        assert_allclose(compared.loss[r], fine.trajectory_.loss, rtol=1e-9)
        distance = np.linalg.norm(parameters_of(model) - parameters_of(fine))
        assert_allclose(compared.distance[r][-1], distance, rtol=1e-6)


def test_distance_of_a_smooth_perceptron_to_its_flow_halves_with_the_step():
    model, X, y = perceptron("two classes", activation="identity")
    etas = 0.02 / 2 ** np.arange(3)
    compared = [
        compare_step_sizes(model, X, y, step_size=eta, divisors=(), max_iter=round(1 / eta))
        for eta in etas
    ]
    distances = [c.distance["flow"][-1] for c in compared]
    assert_allclose(np.divide(distances[:-1], distances[1:]), 2, rtol=0.05)
    flow = model.set_params(solver="flow", step_size=0.02, max_iter=50).fit(X, y)
    assert_allclose(compared[0].loss["flow"][-1], flow.loss_, rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "method", "rtol"), [("relu", "trapezoidal", 1e-6), ("identity", "DOP853", 1e-6)]
)
def test_kinks_decide_how_the_flow_is_followed(activation, method, rtol):
    """By default as a fit with solver="flow" does; what is asked for comes first."""
    model, X, y = perceptron("two classes", activation=activation, max_iter=10)

    def cost(**options):
        compared = compare_step_sizes(model, X, y, step_size=0.05, divisors=(), **options)
        return compared.n_gradients["flow"]

    assert cost() == cost(method=method, rtol=rtol)
    assert cost(method="RK23") != cost() != cost(rtol=1e-3)


def test_compared_runs_share_their_start():
    model, X, y = perceptron("three classes", random_state=None)
    compared = compare_step_sizes(model, X, y, step_size=0.05, divisors=(2,), max_iter=2)
    assert compared.distance[2][0] == compared.distance["flow"][0] == 0
    again = model.set_params(warm_start=True).fit(X, y)
    compared = compare_step_sizes(again, X, y, step_size=0.05, divisors=(2,), max_iter=2)
    assert_allclose(compared.loss[1][0], again.loss_, rtol=1e-12)


def test_what_does_not_fit_a_perceptron_is_named():
    model, X, y = perceptron("two classes")
    with pytest.raises(NotFittedError):
        hessian_eigenvalues(model, X, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match="y must hold classes seen by fit, got .*green"):
        hessian_eigenvalues(model, X, np.where(y == "red", "green", y))
    with pytest.raises(ValueError, match="features"):
        hessian_eigenvalues(model, X[:, :3], y)
    with pytest.raises(ValueError, match="one class"):
        compare_step_sizes(model, X, np.full(len(X), "red"), step_size=0.1)
    with pytest.raises(ValueError, match="width"):
        compare_step_sizes(clone(model).set_params(width=0), X, y, step_size=0.1)
    with pytest.raises(TypeError, match="sklearn_deeplinear or a torch.nn.Module, got Pipeline"):
        hessian_eigenvalues(make_pipeline(model), X, y)
    regressor, X, y = perceptron("two targets")
    with pytest.raises(ValueError, match="y must hold n_targets = 2 columns, got 1"):
        hessian_eigenvalues(regressor.fit(X, y), X, y[:, 0])
    with pytest.raises(ValueError, match="columns as in fit"):
        hessian_eigenvalues(fitted(), X, y[:, 0])


@pytest.mark.parametrize("estimator", [DeepLinearRegressor, MultiPathwayRegressor])
def test_tools_take_the_data_that_fit_takes(estimator):
    """Data frames and lists; a model is not changed by what it is shown."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(20, 3), rng.randn(20)
    model = estimator(width=4, max_iter=3, tol=0, random_state=0).fit(X, y)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = clone(model).fit(frame, y)
    wanted = hessian_eigenvalues(model, X, y)
    assert_allclose(hessian_eigenvalues(named, frame, pd.Series(y)), wanted)
    assert_allclose(hessian_eigenvalues(model, X.tolist(), y.tolist()), wanted)
    options = {"step_size": 0.01, "divisors": (2,), "flow": False}
    losses = [
        compare_step_sizes(model, *data, **options).loss[2]
        for data in ((X, y), (frame, pd.Series(y)), (X.tolist(), y.tolist()))
    ]
    assert_allclose(losses[1:], [losses[0]] * 2)
    assert not hasattr(model, "feature_names_in_")
