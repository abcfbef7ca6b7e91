"""What DeepLinearRegressor refuses, and that it says what was wrong."""

import re

import numpy as np
import pytest
import torch

from sklearn_deeplinear import DeepLinearRegressor

NAN, INF = np.nan, np.inf
RNG = np.random.RandomState(0)
X = RNG.standard_normal((20, 3))
Y = RNG.standard_normal(20)
W_1, W_2 = np.ones((4, 3)), np.ones((1, 4))


def put(array, value):
    """Copy of an array with one entry replaced."""
    array = np.array(array, dtype=float)
    array.flat[1] = value
    return array


def ids(value):
    """Short, and the same in every process."""
    return re.sub(r" at 0x\w+|\s+|[<>]", "", repr(value))[:30]


BAD = {
    "depth": [0, -1, 2.5, True, "2", None],
    "width": [0, -3, 2.5, True, None, "4", [4, 4], [0], [2.5], [True], [[4]], []],
    "weight_decay": [-1, NAN, INF, None, True, "a", [0.1] * 3, [0.1, -1], [0.1, NAN], [[0.1] * 2]],
    "noise": [-1, NAN, INF, None, True, "a", [0.1, 0.1], [-1], [NAN], [INF]],
    "solver": ["newton", None, 3],
    "step_size": [
        *(0, -1.0, NAN, INF, "foo", None, True, [0.1]),
        *(lambda t: NAN, lambda t: -0.1, lambda t: 0, lambda t: INF),
        *(lambda t: None, lambda t: "a", lambda t: [0.1, 0.2]),
        lambda t: 0.01 if t < 5 else NAN,
    ],
    "max_iter": [-1, 2.5, NAN, None, "10", True],
    "tol": [-1e-3, NAN, INF, None, "a", True],
    "init": [
        *("foo", None, 3, [], [W_1], [W_1, W_2, W_2], [W_2, W_1], [W_1.T, W_2.T]),
        *([put(W_1, NAN), W_2], [put(W_1, INF), W_2], ["a", "b"], [W_1, None]),
    ],
    "init_scale": [0, -1, NAN, INF, "a", True, [0.1, 0.1], [0.1]],
    "fit_intercept": ["yes", None, 2],
    "record_every": [0, -1, 2.5, "a", True],
    "record_weights": ["yes", None, 2],
    "warm_start": ["yes", None, 2],
    "device": ["cuda:99", "nonsense", "meta", 3.5, None, ""],
    "dtype": ["int32", "float16", "complex128", "foo", 3, True, torch.float16],
    "random_state": ["a", 2.5, -1],
    "verbose": [-1, "a"],
}


GD_ONLY = {"solver", "step_size", "init", "init_scale"}
CASES = [
    (solver, name, value)
    for solver in ("gd", "analytic")
    for name, values in BAD.items()
    for value in values
    if solver == "gd" or name not in GD_ONLY
]


@pytest.mark.parametrize(("solver", "name", "value"), CASES, ids=ids)
def test_a_bad_parameter_is_named(solver, name, value):
    model = DeepLinearRegressor(**{"width": 4, "max_iter": 20, "solver": solver} | {name: value})
    with pytest.raises((ValueError, TypeError), match=name):
        model.fit(X, Y)


@pytest.mark.parametrize("init", ["normal", "orthogonal", "identity", "xavier_normal"])
@pytest.mark.parametrize("scale", [[0.1], [0.1] * 3, [0.1, 0], [0.1, NAN], [[0.1, 0.1]]], ids=ids)
def test_a_bad_scale_per_layer_is_named(scale, init):
    with pytest.raises((ValueError, TypeError), match="init_scale"):
        DeepLinearRegressor(width=4, init=init, init_scale=scale).fit(X, Y)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("init", [np.ones((4, X.shape[1])), 1j * np.ones((1, 4))]),
        ("weight_decay", np.array([0.1, 1j])),
    ],
)
def test_imaginary_parts_are_not_dropped(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        DeepLinearRegressor(width=4, **{name: value}).fit(X, Y)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"(?s)(?=.*'gd')(?=.*'analytic')"):
        DeepLinearRegressor(solver="newton").fit(X, Y)
    with pytest.raises(ValueError, match=r"(?s)(?=.*'spectral')(?=.*'normal')"):
        DeepLinearRegressor(init="newton").fit(X, Y)


def test_a_warm_start_of_another_shape_is_refused():
    model = DeepLinearRegressor(width=4, max_iter=3, tol=0, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="warm_start"):
        model.set_params(width=5).fit(X, Y)
    with pytest.raises(ValueError, match="warm_start"):
        model.set_params(depth=3, width=4).fit(X, Y)
    with pytest.raises(ValueError, match="warm_start.* numbers of features and outputs"):
        model.set_params(depth=2).fit(X[:, :2], Y)


def test_an_initial_network_that_overflows_is_refused():
    with pytest.raises(ValueError, match="init"):
        DeepLinearRegressor(width=4, init=[1e200 * W_1, 1e200 * W_2]).fit(X, Y)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (put(X, NAN), "X contains NaN"),
        (put(X, INF), "X contains infinity"),
        (X + 1j, "Complex data"),
        (X[:0], "0 sample"),
        (X[:, :0], "0 feature"),
        (X[:, 0], "Expected 2D array"),
        (X[None], "dim 3"),
        (X[:-1], "inconsistent numbers of samples"),
        (np.full(X.shape, "a"), "could not convert"),
    ],
    ids=ids,
)
def test_bad_inputs_are_refused(bad, message):
    """In scikit-learn's own words."""
    with pytest.raises((ValueError, TypeError), match=message):
        DeepLinearRegressor().fit(bad, Y)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (put(Y, NAN), "y contains NaN"),
        (put(Y, INF), "y contains infinity"),
        (Y[:-1], "inconsistent numbers of samples"),
        (None, "y"),
        (Y + 1j, "Complex data"),
        (Y[:, None, None], "dim 3"),
        (np.full(20, "a"), "y must hold numbers"),
    ],
    ids=ids,
)
def test_bad_targets_are_refused(bad, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DeepLinearRegressor().fit(X, bad)


@pytest.mark.parametrize(
    "bad",
    [-np.ones(20), np.ones(3), np.zeros(20), put(Y**2, NAN), put(Y**2, INF), np.ones((20, 2))],
    ids=ids,
)
def test_bad_weights_are_refused(bad):
    with pytest.raises((ValueError, TypeError), match="(?i)sample.weight"):
        DeepLinearRegressor().fit(X, Y, sample_weight=bad)


def test_a_failed_fit_leaves_a_model_that_can_be_fitted():
    model = DeepLinearRegressor(width=4, max_iter=3, tol=0, step_size=lambda t: NAN)
    with pytest.raises(ValueError, match="step_size"):
        model.fit(X, Y)
    assert not hasattr(model, "weights_")
    assert model.set_params(step_size=0.1).fit(X, Y).n_iter_ == 3
