"""Curvature of parallel pathways, against dense Hessians of a loss written out in torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from sklearn_deeplinear.theory import balanced_factors

# Runs are cut short: the claims are about every iterate.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FUNCTIONS = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    "tanh": torch.tanh,
    "gelu": lambda x: x * torch.special.ndtr(x),
}
# Lanczos iterations stop at 1e-9 of the eigenvalue.
RTOL = 1e-6


def make_data(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((40, 4)) + 1
    Y = np.column_stack([np.abs(X[:, 0]), X[:, 1] - X[:, 2]]) + 3
    return X, Y, rng.randint(0, 4, size=40).astype(float)


def dense_eigenvalues(model, weights, X, Y, weight=None, mean_x=None):
    """Eigenvalues, ascending, of the Hessian of the J in the docstring of the estimator."""
    weight = np.ones(len(X)) if weight is None else weight
    share = torch.tensor(weight / weight.sum())[:, None]
    if model.fit_intercept:
        X = X - (np.average(X, axis=0, weights=weight) if mean_x is None else mean_x)
    X, Y = torch.tensor(X), torch.tensor(Y)
    shapes = [[W.shape for W in path] for path in weights]
    theta = np.concatenate([W.ravel() for path in weights for W in path]).astype(float)
    decays = np.broadcast_to(model.weight_decay, sum(len(path) for path in weights))

    def objective(theta):
        parts = iter(theta.split([rows * columns for path in shapes for rows, columns in path]))
        output, penalty, gammas = 0.0, 0.0, iter(decays.tolist())
        for path in shapes:
            H = X
            for layer, shape in enumerate(path, start=1):
                W = next(parts).view(shape)
                H = H @ W.T
                if layer < len(path) or model.activate_output:
                    H = FUNCTIONS[model.activation](H)
                penalty = penalty + next(gammas) * W.square().sum()
            output = output + H
        error = Y - output
        if model.fit_intercept:  # the best one takes the mean out
            error = error - (share * error).sum(dim=0)
        return (share * error.square()).sum() + penalty

    hessian = torch.autograd.functional.hessian(objective, torch.tensor(theta))
    return np.linalg.eigvalsh(hessian.numpy())


CASES = [
    {"activation": "identity", "weight_decay": 0.1},
    {"activation": "identity", "fit_intercept": False},
    {"activation": "relu", "weight_decay": 0.1},
    {"activation": "relu", "fit_intercept": False, "activate_output": True},
    {"activation": "leaky_relu"},
    {"activation": "tanh", "activate_output": True},
    {"activation": "tanh"},
    {"activation": "gelu"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("width", "weighted"), [(3, False), (11, True)])
def test_eigenvalues_are_those_of_the_dense_hessian(case, width, weighted):
    """Pathways of two and three layers, on both sides of the size of dense solutions."""
    X, Y, weight = make_data()
    weight = weight if weighted else None
    widths = [[width], [width, 4]]
    model = MultiPathwayRegressor(
        [2, 3], widths, init="xavier_normal", max_iter=20, random_state=0, **case
    ).fit(X, Y, weight)
    wanted = dense_eigenvalues(model, model.weights_, X, Y, weight)
    top = hessian_eigenvalues(model, X, Y, k=3, sample_weight=weight)
    assert_allclose(top, wanted[::-1][:3], rtol=RTOL)
    lowest = hessian_eigenvalues(model, X, Y, which="SA", sample_weight=weight)
    assert_allclose(lowest, wanted[:1], atol=RTOL * np.abs(wanted).max())


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_other_data_are_seen_through_the_fitted_network(activation):
    """The best intercept is that of the new data; ReLU units see them less the old mean."""
    X, Y, _ = make_data()
    model = MultiPathwayRegressor(width=5, activation=activation, max_iter=50, random_state=0)
    model.fit(X, Y)
    other = 2 * X[:25] + 0.7, Y[:25]
    wanted = dense_eigenvalues(model, model.weights_, *other, mean_x=X.mean(axis=0))
    assert_allclose(hessian_eigenvalues(model, *other), wanted[-1:], rtol=RTOL)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("n_pathways", [1, 2, 3])
def test_sharing_a_mode_flattens_its_minimum(depth, n_pathways):
    """Split equally over N pathways its sharpness is 2 L s^(2 - 2/L) N^(2/L - 1)."""
    s, rng = 2.5, np.random.RandomState(0)
    U, _ = np.linalg.qr(rng.standard_normal((20, 3)))
    X = U * np.sqrt(20)  # E[x x^T] = 1
    M = s * np.outer([0.6, 0.8], [0.0, 0.6, 0.8])
    init = [balanced_factors(M / n_pathways, 4, depth=depth) for _ in range(n_pathways)]
    model = MultiPathwayRegressor(
        depth, 4, n_pathways=n_pathways, init=init, fit_intercept=False, max_iter=0, tol=0
    ).fit(X, X @ M.T)
    wanted = 2 * depth * s ** (2 - 2 / depth) * n_pathways ** (2 / depth - 1)
    assert_allclose(hessian_eigenvalues(model, X, X @ M.T), [wanted], rtol=RTOL)
    assert model.loss_ < 1e-20


def test_one_linear_pathway_is_a_deep_linear_network():
    X, Y, weight = make_data()
    weights = MultiPathwayRegressor(3, 6, n_pathways=1, max_iter=5).fit(X, Y, weight).weights_
    settings = {"width": 6, "max_iter": 0, "weight_decay": [0.1, 0.0, 0.2]}
    single = DeepLinearRegressor(3, init=weights[0], **settings).fit(X, Y, weight)
    path = MultiPathwayRegressor(3, n_pathways=1, init=weights, **settings).fit(X, Y, weight)
    found = [hessian_eigenvalues(m, X, Y, k=4, sample_weight=weight) for m in (single, path)]
    assert_allclose(found[1], found[0], rtol=RTOL)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"solver": "flow"},
        {"solver": "sgd", "batch_size": 15},
        {"solver": "analytic"},
        {"activation": "relu", "weight_decay": 0.05},
        {"activation": "tanh", "solver": "flow"},
        {"activation": "tanh", "solver": "adam", "batch_size": 15},
    ],
    ids=str,
)
def test_recorded_sharpness_is_that_of_the_recorded_weights(case):
    X, Y, weight = make_data()
    model = MultiPathwayRegressor(
        width=7, max_iter=40, record_every=20, record_weights=True, random_state=0, tol=0
    )
    plain = model.set_params(**case).fit(X, Y, weight).trajectory_
    recorded = model.set_params(record_sharpness=True).fit(X, Y, weight).trajectory_
    assert plain.sharpness is None
    assert_allclose(recorded.objective, plain.objective, rtol=1e-12)
    wanted = [dense_eigenvalues(model, W, X, Y, weight)[-1] for W in recorded.weights]
    assert_allclose(recorded.sharpness, wanted, rtol=RTOL)
    assert "sharpness" in recorded.to_frame()


@pytest.mark.parametrize(
    ("solver", "compression"), [("gd", "exact"), ("gd", "krylov"), ("flow", "exact")]
)
def test_compressed_runs_record_the_sharpness_of_the_full_network(solver, compression):
    """Also in directions in which a wide network never moves."""
    X, Y, weight = make_data()
    model = MultiPathwayRegressor(
        2, 20, solver=solver, compression=compression, weight_decay=0.05, record_sharpness=True
    )
    model.set_params(max_iter=30, record_every=15, record_weights=True, random_state=0, tol=0)
    run = model.fit(X, Y, weight).trajectory_
    assert run.weights[-1][0][0].shape == (20, 4)
    wanted = [dense_eigenvalues(model, W, X, Y, weight)[-1] for W in run.weights]
    assert_allclose(run.sharpness, wanted, rtol=RTOL)


def test_float32_runs_record_it_too():
    X, Y, _ = make_data()
    settings = {"width": 12, "max_iter": 10, "random_state": 0, "record_every": 5}
    runs = [
        MultiPathwayRegressor(activation="relu", dtype=dtype, record_sharpness=True, **settings)
        .fit(X, Y)
        .trajectory_
        for dtype in ("float32", "float64")
    ]
    assert_allclose(runs[0].sharpness, runs[1].sharpness, rtol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_a_run_that_diverges_keeps_its_finite_records(activation):
    X, Y, _ = make_data()
    model = MultiPathwayRegressor(width=20, activation=activation, random_state=0)
    run = model.set_params(step_size=5.0, record_sharpness=True).fit(X, Y)
    assert run.stop_reason_ == "diverged"
    assert np.isfinite(run.trajectory_.sharpness).all()


def test_a_hundred_thousand_samples_that_repeat_have_the_curvature_of_one_copy():
    X, Y, _ = make_data()
    model = MultiPathwayRegressor(width=5, max_iter=5, random_state=0).fit(X, Y)
    many = np.tile(X, (2500, 1)), np.tile(Y, (2500, 1))
    assert_allclose(hessian_eigenvalues(model, *many), hessian_eigenvalues(model, X, Y), rtol=RTOL)


@pytest.mark.parametrize(
    ("columns", "k", "match"),
    [((4, 1), 1, "X and y must have 4 and 2 columns"), ((4, 2), 0, "k must be")],
)
def test_wrong_arguments_are_named(columns, k, match):
    X, Y, _ = make_data()
    model = MultiPathwayRegressor(width=5, max_iter=5).fit(X, Y)
    with pytest.raises(ValueError, match=match):
        hessian_eigenvalues(model, X[:, : columns[0]], Y[:, : columns[1]], k=k)
