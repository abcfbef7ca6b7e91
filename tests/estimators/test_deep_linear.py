"""What DeepLinearRegressor learns, against known estimators and the theory's minimum."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import expected_loss
from tests.estimators.references import centred, reduced_rank_regression

# Runs are cut short where the claim is about every iterate, not about the last.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_data(n=60, d=5, m=1, seed=0, noise=0.5):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3
    Y = X @ rng.standard_normal((d, m)) / d + noise * rng.standard_normal((n, m)) - 2
    return X, Y[:, 0] if m == 1 else Y, rng.uniform(0.1, 2, size=n)


def standardised_diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


@pytest.mark.parametrize("solver", ["gd", "analytic"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("m", [1, 3])
def test_depth_one_is_ridge(m, fit_intercept, weighted, solver):
    """Ridge sums what we average: alpha = gamma times the sum of the weights."""
    X, Y, weight = make_data(m=m)
    weight = weight if weighted else None
    alpha = 0.3 * (np.sum(weight) if weighted else len(X))
    ridge = Ridge(alpha, fit_intercept=fit_intercept).fit(X, Y, sample_weight=weight)
    model = DeepLinearRegressor(
        1, weight_decay=0.3, solver=solver, fit_intercept=fit_intercept, tol=1e-11, max_iter=30_000
    ).fit(X, Y, sample_weight=weight)
    assert model.converged_
    assert_allclose(model.coef_, ridge.coef_, rtol=1e-7, atol=1e-8)
    assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-7, atol=1e-8)
    assert model.coef_.shape == ridge.coef_.shape
    if fit_intercept:
        assert np.shape(model.intercept_) == np.shape(ridge.intercept_)
    assert_allclose(model.predict(X), ridge.predict(X), rtol=1e-7)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_analytic_with_white_inputs_is_no_worse_than_training(depth):
    """One factor at a time, up and down: the second moments are the identity."""
    X = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    y = X @ [1.0, 4.0, 2.0]
    options = {"width": 3, "weight_decay": 0.1}
    exact = DeepLinearRegressor(depth, solver="analytic", **options).fit(X, y)
    trained = DeepLinearRegressor(depth, init="spectral", **options).fit(X, y)
    assert exact.optimality_gap_ == pytest.approx(0, abs=1e-12 * np.var(y))
    assert -1e-12 * np.var(y) < trained.optimality_gap_ < 1e-6 * np.var(y)
    assert_allclose(trained.coef_, exact.coef_, rtol=1e-3)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(("n", "d", "m"), [(60, 5, 1), (60, 5, 3), (4, 9, 1), (4, 9, 3)])
def test_analytic_without_decay_is_least_squares(n, d, m, depth):
    """Of minimum norm where the data do not determine the map."""
    X, Y, weight = make_data(n, d, m)
    model = DeepLinearRegressor(depth, solver="analytic").fit(X, Y, sample_weight=weight)
    known = LinearRegression().fit(X, Y, sample_weight=weight)
    assert_allclose(model.coef_, known.coef_, rtol=1e-9, atol=1e-11)
    assert_allclose(model.intercept_, known.intercept_, rtol=1e-9, atol=1e-10)
    assert model.optimality_gap_ == pytest.approx(0, abs=1e-12 * np.var(Y))


@pytest.mark.parametrize("width", [1, 2, [3, 2], [2, 7, 4]])
@pytest.mark.parametrize("solver", ["gd", "analytic"])
def test_a_narrow_network_is_reduced_rank_regression(solver, width):
    X, Y, _ = make_data(m=4, d=6, noise=2.0)
    X = (X - X.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(X.T))).T  # quick to train
    depth = 1 + np.size(width)
    model = DeepLinearRegressor(
        depth, width, solver=solver, tol=1e-9, max_iter=20_000, init_scale=0.9
    ).fit(X, Y)
    rank = np.min(width)
    assert np.linalg.matrix_rank(model.coef_, tol=1e-6) == rank
    assert_allclose(model.coef_, reduced_rank_regression(X, Y, rank), atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_default_training_reaches_the_minimum_on_diabetes(depth):
    X, y = standardised_diabetes()
    model = DeepLinearRegressor(depth, weight_decay=0.05).fit(X, (y - y.mean()) / y.std())
    assert -1e-12 < model.optimality_gap_ / model.objective_ < 1e-5
    raw = DeepLinearRegressor(depth, weight_decay=0.05, max_iter=20_000).fit(X, y)
    assert -1e-12 < raw.optimality_gap_ / raw.objective_ < 1e-5


@pytest.mark.parametrize(
    "parameters",
    [
        {"depth": 1, "weight_decay": 0.1},
        {"depth": 2, "weight_decay": [0.02, 0.3]},
        {"depth": 2, "weight_decay": 0.1, "noise": 0.5},
        {"depth": 2, "weight_decay": 0.1, "width": 2},
        {"depth": 3, "width": [3, 6], "weight_decay": 0.05, "noise": [0.3, 0.0]},
        {"depth": 3, "weight_decay": 0.05},
        {"depth": 3, "width": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("init", "m"), [("spectral", 1), ("spectral", 3), ("normal", 1), ("balanced", 1)]
)
def test_no_record_lies_below_the_minimum(m, init, parameters):
    """J >= min J, up to the rounding of J, at every record of any run, weighted or not."""
    parameters = {"width": 6, **parameters}
    X, Y, weight = make_data(m=m)
    model = DeepLinearRegressor(init=init, random_state=1, max_iter=200, **parameters)
    for sample_weight in (None, weight):
        model.fit(X, Y, sample_weight=sample_weight)
        least = model.global_minimum_
        rounding = 1e-12 * model.trajectory_.objective[0]
        assert model.trajectory_.objective.min() >= least.objective - rounding
        assert least.lower_bound <= least.objective
        assert model.optimality_gap_ == model.objective_ - least.objective


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("m", [1, 2])
def test_analytic_weights_attain_the_minimum(m, noise, depth):
    X, Y, weight = make_data(m=m)
    model = DeepLinearRegressor(depth, 6, noise=noise, weight_decay=0.05, solver="analytic")
    model.fit(X, Y, sample_weight=weight)
    assert model.objective_ == pytest.approx(model.global_minimum_.objective, rel=1e-10)
    assert_allclose(np.atleast_2d(model.coef_), model.global_minimum_.coef, atol=1e-8)
    assert_allclose(model.predict(X), model.global_minimum_.predict(X), rtol=1e-7, atol=1e-8)
    assert (model.converged_, model.stop_reason_) == (True, "converged")
    assert len(model.trajectory_) == len(model.balance_history_) == 1


def test_the_minimum_is_that_of_the_fit_and_computed_once():
    """Parameters set later do not change what was trained."""
    X, y, _ = make_data()
    model = DeepLinearRegressor(weight_decay=0.1, max_iter=10).fit(X, y)
    model.set_params(weight_decay=3.0, depth=5)
    first = model.global_minimum_
    assert model.global_minimum_ is first
    again = DeepLinearRegressor(weight_decay=0.1, max_iter=0).fit(X, y).global_minimum_
    assert again.objective == first.objective
    assert model.fit(X, y).global_minimum_.objective > 2 * first.objective


def test_analytic_needs_an_attained_minimum():
    with pytest.raises(ValueError, match="weight_decay"):
        DeepLinearRegressor(weight_decay=[0.1, 0.0], solver="analytic").fit(*make_data()[:2])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("init", ["spectral", "normal"])
def test_loss_and_objective_are_those_of_the_data(init, m, weighted):
    X, Y, weight = make_data(m=m)
    weight = weight if weighted else None
    gammas = [0.3, 0.0, 0.1]
    model = DeepLinearRegressor(
        3, [4, 3], weight_decay=gammas, init=init, random_state=0, max_iter=50, record_weights=True
    ).fit(X, Y, sample_weight=weight)
    error = (np.reshape(Y - model.predict(X), (len(X), -1)) ** 2).sum(axis=1)
    penalty = sum(g * np.sum(W**2) for g, W in zip(gammas, model.weights_, strict=True))
    assert_allclose(model.loss_, np.average(error, weights=weight), rtol=1e-11)
    assert_allclose(model.objective_, model.loss_ + penalty, rtol=1e-13)
    coef = model.weights_[2] @ model.weights_[1] @ model.weights_[0]
    assert_allclose(np.atleast_2d(model.coef_), coef, rtol=1e-13)
    # The intercept leaves the (weighted) residuals without mean.
    assert_allclose(np.average(Y - model.predict(X), axis=0, weights=weight), 0, atol=1e-12)
    X0, Y0 = centred(X, Y, weight)
    for weights, loss in zip(model.trajectory_.weights, model.trajectory_.loss, strict=True):
        residual = Y0 - X0 @ (weights[2] @ weights[1] @ weights[0]).T
        by_hand = np.average((residual**2).sum(axis=1), weights=weight)
        assert_allclose(loss, by_hand, rtol=1e-11)


def two_point_outputs(weights, X, variances):
    """Outputs under every assignment of 1 - s^(1/2) and 1 + s^(1/2) to the hidden units."""
    units = [len(W) for W in weights[:-1]]
    outputs = []
    for signs in product([-1.0, 1.0], repeat=sum(units)):
        H, used = X, 0
        for W, h, s in zip(weights[:-1], units, variances, strict=True):
            H = (H @ W.T) * (1 + np.sqrt(s) * np.array(signs[used : used + h]))
            used += h
        outputs.append(H @ weights[-1].T)
    return np.array(outputs)


@pytest.mark.parametrize("m", [1, 2])
def test_noise_is_averaged_exactly(m):
    """Only the variance of the noise matters: a fair coin on each unit can be enumerated."""
    X, Y, _ = make_data(m=m)
    noise = [0.3, 0.8]
    model = DeepLinearRegressor(
        3, [4, 3], noise=noise, weight_decay=0.05, init="normal", random_state=0, max_iter=100
    ).fit(X, Y)
    X0, Y0 = centred(X, Y)
    outputs = two_point_outputs(model.weights_, X0, noise)
    loss = ((outputs - Y0) ** 2).sum(axis=2).mean()
    assert_allclose(model.loss_, loss, rtol=1e-11)
    assert_allclose(expected_loss(model.weights_, model.moments_, noise), loss, rtol=1e-11)
    mean, std = model.predict(X, return_std=True)
    outputs = outputs[..., 0] if m == 1 else outputs
    assert_allclose(mean - Y.mean(axis=0), outputs.mean(axis=0), rtol=1e-9, atol=1e-10)
    assert_allclose(std, outputs.std(axis=0), rtol=1e-9, atol=1e-10)


def test_without_noise_predictions_are_certain():
    X, y, _ = make_data()
    mean, std = DeepLinearRegressor(max_iter=5).fit(X, y).predict(X, return_std=True)
    assert std.shape == mean.shape and not std.any()


@pytest.mark.parametrize("solver", ["gd", "analytic"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.arange(12.0).reshape(6, 2) ** 2, np.full(6, 3.0)),
        (np.arange(12.0).reshape(6, 2) ** 2, np.zeros(6)),
        (np.array([[1.0, 2.0]]), np.array([5.0])),
    ],
    ids=["y is constant", "y is zero", "one sample"],
)
def test_nothing_to_learn_is_learned_at_once(X, y, depth, solver):
    """The zero map and the mean, quietly."""
    model = DeepLinearRegressor(depth, weight_decay=0.01, solver=solver).fit(X, y)
    assert model.stop_reason_ == "converged"
    assert model.n_iter_ == (0 if solver == "gd" else 1)  # scikit-learn wants at least one
    assert not model.coef_.any()
    assert_allclose(model.predict(X), y.mean())
    assert model.optimality_gap_ == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("solver", ["gd", "analytic"])
def test_a_constant_column_gets_no_coefficient(solver):
    """Even one whose mean has rounding errors, which LinearRegression fits."""
    X, y, _ = make_data()
    model = DeepLinearRegressor(max_iter=200, solver=solver)
    assert abs(model.fit(np.insert(X, 2, 0.1, axis=1), y).coef_[2]) < 1e-12
    assert np.abs(model.fit(np.full((6, 2), 0.1), np.arange(6.0)).coef_).max() < 1e-12


def test_more_inputs_than_samples():
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((20, 3000)), rng.standard_normal(20)
    model = DeepLinearRegressor(max_iter=500, tol=1e-8).fit(X, y)
    assert_allclose(model.predict(X), y, atol=1e-5)
    assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, atol=1e-7)


def test_integers_are_numbers():
    X, y, _ = make_data()
    X, y = (10 * X).astype(int), (10 * y).astype(int)
    ints = DeepLinearRegressor(max_iter=30).fit(X, y)
    floats = DeepLinearRegressor(max_iter=30).fit(X.astype(float), y.astype(float))
    assert_allclose(ints.coef_, floats.coef_, rtol=1e-13)
