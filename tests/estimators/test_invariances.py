"""Symmetries of the objective are those of its training, for any data, depths and decays.

Each property trains twice, from starts that the symmetry maps into each other, and maps the
predictions back. Few steps: rounding grows along a run.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MODELS = {
    "linear": (DeepLinearRegressor, {}),
    "perceptron": (HomogeneousMLPRegressor, {"fit_bias": False}),
    "pathways": (MultiPathwayRegressor, {"n_pathways": 2}),
    "relu pathways": (MultiPathwayRegressor, {"n_pathways": 2, "activation": "relu"}),
}
STEPS = {"max_iter": 8, "tol": 0.0, "solver": "gd", "width": 3}
# Rounding of ten steps, in the size of the targets.
TOLERANCE = 1e-9
problems = given(
    name=st.sampled_from([*MODELS]),
    depth=st.integers(1, 4),
    decay=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 1000),
)


def problem(name, depth, seed):
    """X (n, d), Y (n, 2) and the initial weights of each pathway."""
    rng = np.random.RandomState(seed)
    d = rng.randint(1, 5)
    X, Y = rng.standard_normal((rng.randint(2, 12), d)), rng.standard_normal((1, 2))
    Y = X @ rng.standard_normal((d, 2)) + Y + 0.1 * rng.standard_normal((len(X), 2))
    sizes = [d, *[3] * (depth - 1), 2]
    shapes = list(zip(sizes[1:], sizes, strict=False))
    return X, Y, [[0.7 * rng.standard_normal(shape) for shape in shapes] for _ in range(2)]


def fitted(name, depth, decay, X, Y, start, step_size="auto", **fit):
    """A network that starts as told and takes a few steps."""
    Model, options = MODELS[name]
    options = {**STEPS, **options, "step_size": step_size}
    init = start if "pathways" in name else start[0]
    return Model(depth, weight_decay=decay, init=init, **options).fit(X, Y, **fit)


def trained(name, depth, decay, X, Y, start, **fit):
    """Predictions at X and the objectives of a network that starts as told."""
    model = fitted(name, depth, decay, X, Y, start, **fit)
    return model.predict(X), model.trajectory_.objective


def scaled(start, factor):
    return [[factor * W for W in path] for path in start]


def assert_same(found, wanted, Y):
    """Outputs and objectives, up to rounding in units of the targets."""
    size = max(np.abs(Y).max(), np.abs(wanted[0]).max())
    assert_allclose(found[0], wanted[0], atol=TOLERANCE * size)
    assert_allclose(found[1], wanted[1], rtol=TOLERANCE, atol=TOLERANCE * size**2)


@problems
def test_rotated_inputs(name, depth, decay, seed):
    X, Y, start = problem(name, depth, seed)
    d = X.shape[1]
    Q = np.linalg.qr(np.random.RandomState(seed).standard_normal((d, d)))[0]
    turned = [[path[0] @ Q, *path[1:]] for path in start]
    first = fitted(name, depth, decay, X, Y, start)
    # That of perceptrons follows from a few Lanczos iterations, whose start does not turn with X.
    step_size = first.step_size_
    found = trained(name, depth, decay, X @ Q, Y, turned, step_size=step_size)
    assert_same(found, (first.predict(X), first.trajectory_.objective), Y)


@problems
def test_units_of_targets(name, depth, decay, seed):
    """J of c Y is c^2 J of Y where W_l are c^(1/L) times as large and gamma c^(2 - 2/L)."""
    X, Y, start = problem(name, depth, seed)
    outputs, objective = trained(name, depth, decay, X, Y, start)
    c = 2.0 ** np.random.RandomState(seed).randint(-30, 30)
    there = c ** (2 - 2 / depth) * decay
    start = scaled(start, c ** (1 / depth))
    assert_same(
        trained(name, depth, there, X, c * Y, start), (c * outputs, c**2 * objective), c * Y
    )


@problems
def test_copies_of_samples_and_their_order(name, depth, decay, seed):
    X, Y, start = problem(name, depth, seed)
    rng = np.random.RandomState(seed)
    copies = rng.randint(1, 4, len(X))
    wanted = trained(name, depth, decay, X, Y, start, sample_weight=copies)
    rows = np.repeat(np.arange(len(X)), copies)
    rng.shuffle(rows)
    found, objective = trained(name, depth, decay, X[rows], Y[rows], start)
    first = [np.flatnonzero(rows == i)[0] for i in range(len(X))]
    assert_same((found[first], objective), wanted, Y)


@problems
def test_order_of_features_of_units_and_of_pathways(name, depth, decay, seed):
    X, Y, start = problem(name, depth, seed)
    rng = np.random.RandomState(seed)
    features = rng.permutation(X.shape[1])
    moved = [[path[0][:, features], *path[1:]] for path in start]
    if depth > 1:
        units = rng.permutation(3)
        moved = [[W[0][units], W[1][:, units], *W[2:]] for W in moved]
    moved = moved[::-1] if "pathways" in name else moved
    wanted = trained(name, depth, decay, X, Y, start)
    assert_same(trained(name, depth, decay, X[:, features], Y, moved), wanted, Y)


LAYOUTS = {
    "columns": np.asfortranarray,
    "every other number": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
}
TRAINED = {
    **MODELS,
    "linear classifier": (DeepLinearClassifier, {}),
    "perceptron classifier": (HomogeneousMLPClassifier, {}),
}


@pytest.mark.parametrize("solver", ["gd", "adam"])
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_numbers_lie_in_memory(name, solver, layout):
    """To the last bit: Adam makes much of rounding where the gradient is nothing else."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((50, 7)) * np.geomspace(1, 30, 7) + 3
    y = X @ rng.standard_normal(7)
    if "classifier" in name:
        y = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    Model, options = TRAINED[name]
    options = {**STEPS, **options, "solver": solver, "random_state": 0}
    model, wanted = (Model(**options).fit(there, y) for there in (LAYOUTS[layout](X), X))
    assert_array_equal(model.predict(X), wanted.predict(X))
    assert_array_equal(model.trajectory_.objective, wanted.trajectory_.objective)
    for part, same in zip(flat(model.weights_), flat(wanted.weights_), strict=True):
        assert_array_equal(part, same)


def flat(weights):
    """The layers of all pathways, or of one network."""
    return sum(weights, []) if isinstance(weights[0], list) else weights
