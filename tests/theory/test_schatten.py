"""Nuclear-norm and Schatten-q regression: optimality conditions, bounds, brute force."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.preprocessing import scale

from sklearn_deeplinear.theory import SecondMoments, global_minimum
from sklearn_deeplinear.theory._schatten import SchattenProblem, chord_decay, descended_map
from tests.theory.brute_force import brute_force
from tests.theory.scalar_scan import scanned_minimum
from tests.theory.weight_descent import descended, objective


def several_targets(seed=0, d=4, m=3, n_samples=40):
    random = np.random.RandomState(seed)
    X = random.randn(n_samples, d) * np.geomspace(3, 0.1, d)
    Y = X @ random.randn(d, m) + 0.3 * random.randn(n_samples, m)
    return SecondMoments.from_data(X, Y)


def white_inputs(seed=0, a=1.7, d=4, m=3):
    random = np.random.RandomState(seed)
    X = random.randn(50, d)
    X = np.linalg.qr(X - X.mean(axis=0))[0] * np.sqrt(50 * a)
    return SecondMoments.from_data(X, X @ random.randn(d, m) + 0.3 * random.randn(50, m))


def ordinary_data():
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), scale(y)
    yield "diabetes", SecondMoments.from_data(X, np.c_[y, y**2, np.sin(3 * y), X[:, 0] * X[:, 1]])
    data = load_linnerud()
    yield "linnerud", SecondMoments.from_data(data.data, data.target)
    random = np.random.RandomState(0)
    Q = np.linalg.qr(random.randn(20, 20))[0]
    X = np.linalg.qr(random.randn(300, 20))[0] * np.geomspace(20, 0.2, 20) @ Q  # cond(A) 1e4
    yield "random", SecondMoments.from_data(X, X @ random.randn(20, 20) + random.randn(300, 20))


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_gradient_of_the_reference_is_that_of_finite_differences(depth):
    random = np.random.RandomState(0)
    problem = SchattenProblem(np.array([1.0, 0.5, 0.1]), random.randn(3, 2), 0.05, depth)
    W = random.randn(2, 2)
    numeric = approx_fprime(W.ravel(), lambda w: objective(problem, w.reshape(2, 2))[0], 1e-7)
    assert problem.value(W) == pytest.approx(problem.g * objective(problem, W)[0], rel=1e-13)
    np.testing.assert_allclose(objective(problem, W)[1].ravel(), numeric, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_eliminated_objective_is_loss_plus_penalty_at_stationary_points(depth):
    minimum = global_minimum(several_targets(), depth=depth, weight_decay=0.05)
    s = np.linalg.svd(minimum.coef, compute_uv=False)
    s = s[s > 1e-12]
    assert minimum.penalty == pytest.approx(depth * 0.05 * np.sum(s ** (2 / depth)), rel=1e-12)
    assert minimum.loss == pytest.approx(several_targets().loss(minimum.coef), rel=1e-12)


@pytest.mark.parametrize(("name", "moments"), list(ordinary_data()))
@pytest.mark.parametrize("share", [1e-3, 0.05, 0.3, 0.9, 1.1])
def test_two_layers_satisfy_the_subgradient_condition_of_the_nuclear_norm(name, moments, share):
    S, A = moments.cross_moment, moments.input_moment
    gamma = share * np.linalg.norm(S, 2)
    minimum = global_minimum(moments, depth=2, weight_decay=gamma)
    assert minimum.kind == "certified"
    assert minimum.objective - minimum.lower_bound <= 1e-10 * minimum.objective
    assert minimum.is_zero == (share > 1)
    # (S - M A) / gamma = U V^T + a part orthogonal to M of spectral norm at most one.
    G = (S - minimum.coef @ A) / gamma
    assert np.linalg.norm(G, 2) <= 1 + 1e-8
    U, s, Vt = np.linalg.svd(minimum.coef, full_matrices=False)
    r = int(np.sum(s > 1e-10 * s[0])) if s[0] > 0 else 0
    np.testing.assert_allclose(G @ Vt[:r].T, U[:, :r], atol=1e-8)
    np.testing.assert_allclose(U[:, :r].T @ G, Vt[:r], atol=1e-8)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_no_map_lies_below_the_lower_bound(depth):
    random = np.random.RandomState(1)
    for seed in range(5):
        moments = several_targets(seed)
        minimum = global_minimum(moments, depth=depth, weight_decay=0.1)
        for _ in range(200):
            M = minimum.coef * random.rand() + random.randn() ** 3 * random.randn(3, 4)
            s = np.linalg.svd(M, compute_uv=False)
            J = moments.loss(M) + depth * 0.1 * np.sum(s ** (2 / depth))
            assert minimum.lower_bound <= minimum.objective <= J + 1e-12


@pytest.mark.parametrize(
    ("widths", "decay"),
    [
        ((3,), 0.2),
        ((5,), (0.1, 0.3)),
        ((2,), 0.05),  # a bottleneck below the rank of the nuclear-norm minimiser
        ((3, 4), (0.05, 0.1, 0.2)),
        ((2, 4), 0.02),
        ((3, 3, 3), 0.02),
    ],
)
def test_several_outputs_reach_brute_force(widths, decay):
    moments = several_targets(1)
    reference, _ = brute_force(moments, widths, decay, restarts=4)
    minimum = global_minimum(moments, depth=len(widths) + 1, width=widths, weight_decay=decay)
    assert minimum.objective == pytest.approx(reference, rel=1e-9)
    assert minimum.lower_bound <= reference * (1 + 1e-12)


@pytest.mark.parametrize("widths", [(3,), (1,), (3, 3), (3, 2), (3, 3, 3), (4, 1, 3)])
def test_white_inputs_are_exact_with_and_without_a_bottleneck(widths):
    moments = white_inputs()
    gamma = 0.1 * np.linalg.norm(moments.cross_moment, 2)
    minimum = global_minimum(moments, depth=len(widths) + 1, width=widths, weight_decay=gamma)
    assert minimum.kind == "exact"
    reference, _ = brute_force(moments, widths, gamma, restarts=4)
    assert minimum.objective == pytest.approx(reference, rel=1e-9)
    assert np.linalg.matrix_rank(minimum.coef) <= min(widths)


def test_white_inputs_agree_with_the_general_method():
    moments = white_inputs(2)
    exact = global_minimum(moments, depth=2, weight_decay=0.4)
    # The least change of A that is not rounding makes the general method answer.
    factor = moments.factor * (1 + 1e-9 * np.arange(7))
    almost = SecondMoments(factor, moments.mean_x, moments.mean_y, 50, 50.0)
    certified = global_minimum(almost, depth=2, weight_decay=0.4)
    assert (exact.kind, certified.kind) == ("exact", "certified")
    np.testing.assert_allclose(certified.coef, exact.coef, atol=1e-7)


@pytest.mark.parametrize("depth", [3, 4])
def test_deep_solutions_are_no_worse_than_random_restarts(depth):
    random = np.random.RandomState(3)
    for seed in range(6):
        moments = several_targets(seed, d=6, m=5)
        gamma = 10.0 ** random.uniform(-2.5, -0.5)
        minimum = global_minimum(moments, depth=depth, weight_decay=gamma)
        spectrum = moments.spectrum
        problem = SchattenProblem(spectrum.sigma, spectrum.targets, gamma, depth)
        starts = [2 * random.rand() * random.randn(5, 5) for _ in range(15)]
        lowest = min(problem.value(descended(problem, W)) for W in starts)
        assert minimum.objective <= (lowest + spectrum.residual) * (1 + 1e-10)


def test_dead_modes_leave_no_trace():
    minimum = global_minimum(several_targets(), depth=3, weight_decay=0.1)
    s = np.linalg.svd(minimum.coef, compute_uv=False)
    assert s[0] > 0.1 and (s[s < 0.01] < 1e-14).all()
    assert minimum.weights(np.sum(s > 0.01))[0].shape == (2, 4)


@pytest.mark.parametrize("depth", [2, 3, 4, 10])
@pytest.mark.parametrize("a", [1.0, 3.0])
def test_white_inputs_with_integer_moments_split_into_one_scan_a_mode(depth, a):
    S = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 1.0]])
    moments = SecondMoments.from_moments(a * np.eye(3), S, 50.0)
    s = np.linalg.svd(S, compute_uv=False)
    for gamma in s[0] * np.array([1e-3, 0.1, 0.4, 0.6]):
        minimum = global_minimum(moments, depth=depth, weight_decay=gamma)
        # Each mode has a share of c of its own, s_k^2 / a, and the rest is not explained.
        shares = s**2 / a
        expected = (50.0 - shares.sum()) + sum(
            scanned_minimum(a * np.eye(1), s[k : k + 1], shares[k], depth, gamma) for k in (0, 1)
        )
        assert minimum.kind == "exact"
        assert minimum.objective == pytest.approx(expected, abs=1e-12 * 50.0)


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("g", [1e-2, 1e-6, 1e-12])
def test_a_map_has_no_more_modes_than_the_factor_it_comes_from(g, depth):
    random = np.random.RandomState(0)
    problem = SchattenProblem(np.geomspace(1, 1e-3, 8), random.randn(8, 7) / 7, g, depth)
    s = np.linalg.svd(problem.coordinates(random.randn(7, 3)), compute_uv=False)
    assert (s[3:] <= 8 * np.finfo(float).eps * s[0]).all() and s[2] > 1e-3 * s[0]


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("width", [1, 3])
def test_a_map_fits_the_widths_it_was_made_for(width, depth):
    random = np.random.RandomState(0)
    X = random.randn(80, 6) * np.geomspace(1, 1e-2, 6)
    moments = SecondMoments.from_data(X, X @ random.randn(6, 5) + 0.1 * random.randn(80, 5))
    for decay in (1e-5, 1e-2):
        minimum = global_minimum(moments, depth=depth, width=width, weight_decay=decay)
        weights = minimum.weights()
        penalty = decay * sum(np.sum(W**2) for W in weights)
        value = moments.loss(np.linalg.multi_dot(weights[::-1])) + penalty
        assert value == pytest.approx(minimum.objective, rel=1e-10)


SYMMETRIC = {
    # Equal modes of the targets, of which the one with the larger gain costs less.
    "bottleneck": ([2, 9, 2, 9], [2, 1, 1, 2], (1,), 0.006),
    "three layers": ([2, 9, 4], [2, 2, 1], (2, 1), 0.6),
    "one mode is zero": ([1, 4, 2], [0, 2, 2], (4, 1, 5), 0.4),
    "two scales": ([1000, 1000, 1], [3, 2, 3], (4, 5, 1), 0.94868),
    "every second mode": ([1, 1, 2, 2], [3, 3, 3, 3], (2, 5), 0.424),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_problems_keep_the_modes_that_gain_most(name):
    eigenvalues, targets, widths, decay = SYMMETRIC[name]
    root = np.sqrt(np.array(eigenvalues, dtype=float))
    moments = SecondMoments.from_moments(
        np.diag(root**2), np.diag(targets * root), 1.0 + np.sum(np.square(targets))
    )
    minimum = global_minimum(moments, depth=len(widths) + 1, width=widths, weight_decay=decay)
    reference, _ = brute_force(moments, widths, decay, restarts=15, scale=0.7)
    assert minimum.objective <= reference * (1 + 1e-9)
    assert minimum.lower_bound <= reference * (1 + 1e-12)


@pytest.mark.parametrize("depth", [2, 3])
def test_descent_from_a_map_ends_lower_and_where_it_stays(depth):
    moments, g = several_targets(), 0.3
    spectrum, start = moments.spectrum, 0.5 * moments.spectrum.targets

    def value(B):
        loss = np.sum((spectrum.sigma[:, None] * B - spectrum.targets) ** 2)
        s = np.linalg.svd(B, compute_uv=False)
        return loss + depth * g * np.sum(s ** (2 / depth))

    found = descended_map(spectrum, np.log(g), depth, 3, start)
    again = descended_map(spectrum, np.log(g), depth, 3, found)
    assert value(found) < value(start)
    assert value(again) == pytest.approx(value(found), rel=1e-9)


@pytest.mark.parametrize(
    "costs", [[(2, 0.3)], [(3, 0.1)], [(2, 0.5), (5, 0.02), (3, 0.3)]], ids=str
)
def test_a_chord_lies_below_what_modes_cost_and_touches_it_at_its_end(costs):
    value = 2.0
    # The largest strength that a pathway can have for so much, and all below.
    ends = [(value / (L * g)) ** (L / 2) for L, g in costs]
    for most in (max(ends), 0.1 * max(ends)):
        strength = np.linspace(0, most, 200)
        cheapest = np.min([L * g * strength ** (2 / L) for L, g in costs], axis=0)
        nuclear = 2 * chord_decay(value, costs, np.log(most)) * strength
        assert np.all(nuclear <= cheapest * (1 + 1e-12))
        assert nuclear[-1] == pytest.approx(cheapest[-1], rel=1e-12)
