"""Minima of networks with an output per class: convex solvers, restarts, and their bounds."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear.theory._class_minimum import ClassProblem, class_minimum
from sklearn_deeplinear.theory._layers import end_to_end


def posed(X, codes, depth, g, rank=100, free=True, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    shares = weight / weight.sum()
    X = X - shares @ X if free else X
    return ClassProblem(X, np.eye(codes.max() + 1)[codes], shares, depth, rank, g, free)


def solved(problem):
    matrices = problem.minimise()
    J = problem.objective(matrices)[0]
    return J, problem.lower_bound(matrices), end_to_end(matrices[:-1]), matrices


def drawn(n=30, d=4, K=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.3, 2, d)
    codes = (X @ rng.standard_normal((d, K)) + rng.standard_normal((n, K))).argmax(axis=1)
    codes[:K] = np.arange(K)
    return X, codes


def structured():
    """Inputs that generic ones never are: ties, opposite samples, one value, more columns."""
    yield "identity", np.eye(6), np.arange(6) % 3
    yield "one feature", np.arange(9.0)[:, None], np.arange(9) // 3
    yield "rank one", np.outer(np.arange(9.0), [1, 2, -1]), np.arange(9) % 3
    yield "opposite", np.vstack([np.eye(3), -np.eye(3)]), np.r_[0, 1, 2, 2, 1, 0]
    yield "constant", np.ones((6, 2)), np.arange(6) % 2
    yield "two classes", *drawn(20, 3, 2)
    yield "wide", np.random.RandomState(0).standard_normal((6, 12)), np.arange(6) % 3
    yield "small units", 1e-7 * drawn()[0], drawn()[1]


STRUCTURED = {name: data for name, *data in structured()}


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize("g", [0.1, 0.001])
def test_one_layer_is_logistic_regression(load, g):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    problem = posed(X, y, 1, g)
    J, bound, M, _ = solved(problem)
    C = 1 / (2 * len(X) * g)
    model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(X, y)
    np.testing.assert_allclose(problem.coef(M), model.coef_, atol=1e-6)
    assert bound <= J <= bound + 1e-12


def proximal_gradient(X, codes, g, n_iter=20_000):
    """Accelerated proximal gradient for the nuclear norm, with a plain bound on the curvature."""
    n, K = len(X), codes.max() + 1
    Y, X = np.eye(K)[codes], X - X.mean(axis=0)
    eta = 1 / (np.linalg.norm(X, 2) ** 2 / n + 1)
    M, b = np.zeros((K, X.shape[1])), np.zeros(K)
    N, c, t = M, b, 1.0
    for _ in range(n_iter):
        delta = (softmax(X @ N.T + c, axis=1) - Y) / n
        U, s, Vt = np.linalg.svd(N - eta * delta.T @ X, full_matrices=False)
        new_M, new_b = (U * np.maximum(s - 2 * g * eta, 0)) @ Vt, c - eta * delta.sum(axis=0)
        new_t = (1 + np.sqrt(1 + 4 * t**2)) / 2
        N, c = new_M + (t - 1) / new_t * (new_M - M), new_b + (t - 1) / new_t * (new_b - b)
        M, b, t = new_M, new_b, new_t
    loss = -np.mean(np.sum(Y * log_softmax(X @ M.T + b, axis=1), axis=1))
    return loss + 2 * g * np.linalg.norm(M, "nuc")


@pytest.mark.parametrize("g", [0.2, 0.05, 0.01])
def test_two_layers_are_the_nuclear_norm_and_certified(g):
    X, codes = drawn(40, 4, 4)
    J, bound, *_ = solved(posed(X, codes, 2, g))
    assert pytest.approx(proximal_gradient(X, codes, g), rel=1e-9) == J
    assert bound <= J <= bound + 1e-10


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("depth", [1, 2])
def test_structured_data_are_certified(name, depth):
    X, codes = STRUCTURED[name]
    size = np.linalg.norm(X - X.mean(axis=0), 2) / np.sqrt(len(X)) or 1.0
    for g in (1.0, 0.1, 0.01):
        J, bound, *_ = solved(posed(X, codes, depth, g * size ** (2 / depth)))
        assert bound <= J <= bound + 1e-8


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("name", ["drawn", *STRUCTURED])
def test_restarts_end_no_lower_than_the_minimum_nor_than_its_bound(name, depth, free):
    X, codes = drawn() if name == "drawn" else STRUCTURED[name]
    X = X / (np.linalg.norm(X, 2) / np.sqrt(len(X)))
    for g in (0.1, 0.01):
        problem = posed(X, codes, depth, g, free=free)
        J, bound, _, matrices = solved(problem)
        assert bound <= J
        shapes = [W.shape for W in matrices]
        cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]

        def function(w, problem=problem, shapes=shapes, cuts=cuts):
            parts = [p.reshape(s) for p, s in zip(np.split(w, cuts), shapes, strict=True)]
            value, gradients = problem.objective(parts)
            return value, np.concatenate([g.ravel() for g in gradients])

        rng = np.random.RandomState(0)
        n_parameters = sum(W.size for W in matrices)
        starts = [rng.standard_normal(n_parameters) for _ in range(6)]
        for w in starts if not free else []:
            w[cuts[-1] :] = 0
        lowest = min(minimize(function, w, jac=True, method="L-BFGS-B").fun for w in starts)
        assert lowest + 1e-7 * lowest >= J and bound <= lowest


def test_gradients_are_those_of_differences():
    problem = posed(*drawn(), depth=3, g=0.05)
    rng = np.random.RandomState(0)
    point = [rng.standard_normal(W.shape) for W in problem.minimise()]
    gradients = problem.objective(point)[1]
    for direction in ([rng.standard_normal(W.shape) for W in point] for _ in range(5)):
        ends = [
            problem.objective([W + h * D for W, D in zip(point, direction, strict=True)])[0]
            for h in (1e-5, -1e-5)
        ]
        slope = sum(np.sum(G * D) for G, D in zip(gradients, direction, strict=True))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_weights_repeat_and_ranks_bind():
    X, codes = drawn()
    weight = np.random.RandomState(0).randint(1, 4, len(X))
    weighted = solved(posed(X, codes, 2, 0.02, weight=weight.astype(float)))
    repeated = solved(posed(np.repeat(X, weight, axis=0), np.repeat(codes, weight), 2, 0.02))
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-10)
    J, bound, M, _ = solved(posed(X, codes, 2, 0.005, rank=1))
    assert np.linalg.matrix_rank(M, tol=1e-8) == 1
    assert bound <= solved(posed(X, codes, 2, 0.005))[0] < J


@pytest.mark.parametrize("width", [2, 3])
def test_as_many_units_as_contrasts_are_no_bottleneck_without_decay(width):
    """Outputs of three classes matter up to a common shift, which two units can do without."""
    X, codes = drawn(60)
    data = X - X.mean(axis=0), np.eye(3)[codes], np.full(60, 1 / 60)
    one = class_minimum(*data, width=(), gamma=np.zeros(1), free_intercept=True)
    two = class_minimum(*data, width=(width,), gamma=np.zeros(2), free_intercept=True)
    assert one.kind == two.kind == "exact"
    assert two.objective == pytest.approx(one.objective, rel=1e-12)


def test_large_decay_leaves_the_shares_of_the_classes():
    X, codes = drawn()
    shares = np.bincount(codes) / len(codes)
    for depth in (2, 3):
        J, _, M, _ = solved(posed(X, codes, depth, 10.0))
        assert not M.any() or np.abs(M).max() < 1e-6
        assert pytest.approx(-np.sum(shares * np.log(shares)), rel=1e-12) == J


@pytest.mark.parametrize(
    ("x", "codes", "infimum"),
    [
        ([-1, 0, 0, 1, 2, 2, 3], [0, 0, 1, 1, 1, 2, 2], 4 / 7 * np.log(2)),
        ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 2], 4 / 6 * np.log(2)),
    ],
)
def test_classes_that_share_places_alone_leave_no_minimum(x, codes, infimum):
    """What is left is log(2) of each sample at a shared place; the map grows for ever."""
    X, Y = np.array(x, float)[:, None], np.eye(3)[codes]
    shares = np.full(len(X), 1 / len(X))
    for depth in (1, 2):
        minimum = class_minimum(
            X - X.mean(),
            Y,
            shares,
            width=(3,) * (depth - 1),
            gamma=np.zeros(depth),
            free_intercept=True,
        )
        assert minimum.kind == "unattained"
        assert minimum.loss == pytest.approx(infimum, rel=1e-9)


def test_a_minimum_with_hardly_any_doubt_is_attained():
    """One sample is far out, but whatever gains there loses elsewhere."""
    X, codes = np.array([0.0, 0, 0, 1, 1, 1, 1e4])[:, None], np.array([0, 1, 2, 0, 1, 2, 2])
    shares, options = np.full(7, 1 / 7), {"gamma": np.zeros(1), "free_intercept": True}
    minimum = class_minimum(X - X.mean(), np.eye(3)[codes], shares, width=(), **options)
    chances = softmax(minimum.decision_function(X - X.mean()), axis=1)
    assert chances.min() < 1e-6 and minimum.kind == "exact"
    assert np.abs((chances - np.eye(3)[codes]).T @ np.c_[X / 1e4, np.ones(7)]).max() < 1e-10


@pytest.mark.parametrize("depth", [1, 2])
def test_bounds_from_points_that_are_no_minima_hold_all_the_same(depth):
    rng, problem = np.random.default_rng(0), posed(*drawn(), depth, 0.05)
    least, _, _, matrices = solved(problem)
    for size in (0.01, 0.1, 0.5, 2.0):
        moved = [W + size * rng.normal(size=W.shape) for W in matrices]
        assert problem.lower_bound(moved) <= least * (1 + 1e-12)
