"""Bounds of noisy networks: below every network, and attained where theory says so."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import SecondMoments, expected_loss, global_minimum, verify
from sklearn_deeplinear.theory._certify import proven_bound
from sklearn_deeplinear.theory._moments import Spectrum
from sklearn_deeplinear.theory._noise_relaxation import (
    Quiet,
    added_curvature,
    inflated_minimum,
    shrunk,
    shrunk_minimum,
    taken_off,
)
from sklearn_deeplinear.theory._problem import Problem
from tests.theory.brute_force import brute_force

# What two sums of squares may differ by, relatively.
ROUNDING = 1e-12


def random_moments(seed, d=4, m=3):
    random = np.random.RandomState(seed)
    X = random.randn(40, d) * np.exp(random.randn(d))
    return SecondMoments.from_data(X, X @ random.randn(d, m) + 0.5 * random.randn(40, m))


def moments_of(A, M, unexplained=0.1):
    """Moments of a linear teacher M."""
    A, M = np.asarray(A, float), np.asarray(M, float)
    return SecondMoments.from_moments(A, M @ A, np.trace(M @ A @ M.T) + unexplained)


@pytest.mark.parametrize("widths", [(3,), (2, 5), (4, 1, 3), (2, 2, 2, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_noise_adds_at_least_the_square_of_a_nuclear_norm(seed, widths):
    random, moments = np.random.RandomState(seed), random_moments(seed)
    sizes = (4, *widths, 3)
    weights = [random.randn(b, a) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    noise = 10 ** random.uniform(-2, 2, size=len(widths))
    M = np.linalg.multi_dot(weights[::-1])
    nuclear = np.linalg.svd(M @ np.linalg.cholesky(moments.input_moment), compute_uv=False).sum()
    variance = expected_loss(weights, moments, noise) - moments.loss(M)
    assert variance >= added_curvature(noise, widths) * nuclear**2 * (1 - ROUNDING)


def all_bounds(moments, widths, decay, noise, coef):
    """Every bound that is known, from its own solver and from the map `coef`."""
    depth, spectrum = len(widths) + 1, moments.spectrum
    problem = Problem.checked(moments, depth, widths, decay, noise)
    kappa = added_curvature(problem.noise, widths)
    options = (spectrum, problem.mean_log_decay, depth, problem.rank, kappa)
    B, inflated = inflated_minimum(*options)
    return [inflated, shrunk_minimum(*options, B)[1], proven_bound(problem, coef)]


@pytest.mark.parametrize("kappa", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_taken_off_bounds_the_noise_of_a_map_and_brings_the_targets_nearer(seed, kappa):
    spectrum = random_moments(seed).spectrum
    sigma, Y = spectrum.sigma[:, None], spectrum.targets
    U, s, Vt = np.linalg.svd(Y, full_matrices=False)
    N = 0.5 * s[0] * np.outer(U[:, 0], Vt[0])
    E = taken_off(spectrum, np.log(0.1), 3, 1, kappa, N / sigma)
    bound = 2 * np.sum(E * N) - np.linalg.norm(E, 2) ** 2 / kappa
    assert_allclose(bound, kappa * np.linalg.norm(N, "nuc") ** 2, rtol=ROUNDING)
    alone = kappa * np.linalg.norm(N, "nuc") * np.outer(U[:, 0], Vt[0])
    assert np.linalg.norm(Y - N - E) < np.linalg.norm(Y - N - alone)


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_shrinking_targets_replaces_the_noise_by_a_tangent(size):
    random, kappa, spectrum = np.random.RandomState(0), 0.3, random_moments(0).spectrum
    Y = spectrum.targets
    E, N = size * random.randn(*Y.shape), random.randn(*Y.shape)
    moved = shrunk(Quiet(spectrum, 0.0, 1.0), kappa, E).spectrum
    value = np.sum((N - moved.targets) ** 2) + moved.residual - spectrum.residual
    tangent = 2 * np.sum(E * N) - np.linalg.norm(E, 2) ** 2 / kappa
    assert_allclose(value, np.sum((N - Y) ** 2) + tangent, rtol=1e-11)
    assert tangent <= kappa * np.linalg.norm(N, "nuc") ** 2


@pytest.mark.parametrize("weakest", [0.5, 1.2])
def test_what_is_taken_off_two_layers_loses_nothing_at_the_minimum(weakest):
    """min ||N - Y||^2 + kappa ||N||_*^2 + 2 g ||N||_* of white inputs, and its tangent there."""
    y, kappa, g = np.array([3.0, 2.0, weakest]), 0.2, 0.3
    norm = 0.0
    for _ in range(200):  # a contraction
        n = np.maximum(y - g - kappa * norm, 0)
        norm = 0.5 * norm + 0.5 * n.sum()
    least = np.sum((n - y) ** 2) + kappa * norm**2 + 2 * g * norm
    spectrum = Spectrum(np.ones(3), np.eye(3), np.diag(y), 0.0)
    E = taken_off(spectrum, np.log(g), 2, 3, kappa, np.diag(n))
    e = np.diag(E)
    assert_allclose(E, np.diag(e), atol=1e-12)
    n = np.maximum(y - e - g, 0)
    bound = np.sum((n - y) ** 2) + 2 * e @ n - e.max() ** 2 / kappa + 2 * g * n.sum()
    assert_allclose(bound, least, rtol=1e-10)


EYE, TEACHER = np.eye(3), [[3, -2, 0], [0, 1, 0]]
STRUCTURED = {
    "white": moments_of(EYE, TEACHER),
    "equal modes": moments_of(EYE, 2 * np.eye(3)),
    "equal modes of unequal inputs": moments_of(np.diag([4.0, 2, 1]), 2 * np.eye(3)),
    "diagonal": moments_of(np.diag([4.0, 2, 1]), np.diag([1.0, -2, 1])),
    "zero output and input": moments_of(np.diag([4.0, 2, 0]), [[1, 2, 0], [1, -1, 0], [0, 0, 0]]),
    "two inputs that are the same": moments_of([[1, 1, 0], [1, 1, 0], [0, 0, 2.0]], TEACHER),
    "nothing unexplained": moments_of(EYE + 1, [[1, 1, -2], [0, 1, 2]], 0.0),
    "ill-conditioned": moments_of(np.diag([1.0, 1e-4, 1e-8]), [[1, 1e2, 1e4], [1, -1e2, 1e4]]),
    "random": random_moments(0, 3, 3),
}
SETTINGS = {
    "two layers": ((3,), 0.1, 0.5),
    "narrow": ((1,), 0.1, 0.5),
    "strong noise": ((2,), 0.01, 1e4),
    "weak noise, little decay": ((3,), 1e-4, 1e-3),
    "no decay": ((2,), 0.0, 0.7),
    "three layers": ((2, 3), 0.05, (0.3, 0.1)),
    "three layers, no decay": ((3, 2), 0.0, (0.3, 2.0)),
    "three layers, strong noise": ((3, 1), 0.02, (5.0, 60.0)),
}


# Every moments with two of the settings, every setting with two or three of the moments.
PAIRS = [
    (name, list(SETTINGS)[(i + j) % len(SETTINGS)])
    for i, name in enumerate(STRUCTURED)
    for j in (0, 3)
]


@pytest.mark.parametrize(("name", "setting"), PAIRS)
def test_no_bound_exceeds_brute_force(name, setting):
    moments, (widths, decay, noise) = STRUCTURED[name], SETTINGS[setting]
    options = {"depth": len(widths) + 1, "width": widths, "weight_decay": decay, "noise": noise}
    minimum = global_minimum(moments, **options)
    limits = {"restarts": 1, "scale": 0.7, "max_iter": 300}
    lowest, weights = brute_force(moments, widths, decay, noise, **limits)
    assert minimum.objective <= lowest * (1 + 1e-9)
    for coef in (minimum.coef, np.linalg.multi_dot(weights[::-1]), 0 * minimum.coef):
        for bound in all_bounds(moments, widths, decay, noise, coef):
            assert bound <= min(lowest, minimum.objective) * (1 + ROUNDING)
    assert verify(minimum, moments).ok


def white_minimum(a, s, kappa, decay):
    """Least excess objective with inputs a I, S of singular values s and wide layers.

    With singular values x of M it is a |x|^2 - 2 <s, x> + kappa a (sum x)^2 + 2 decay sum x.
    """
    best = 0.0
    for r in range(1, len(s) + 1):  # the first r modes are live: linear equations
        matrix = a * np.eye(r) + kappa * a
        x = np.linalg.solve(matrix, s[:r] - decay)
        if (x > 0).all():
            best = min(best, -x @ matrix @ x)
    return best


@pytest.mark.parametrize("unit", [1.0, 1e8])
@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("noise", [0.01, 1.0, 30.0])
def test_white_inputs_and_two_layers_are_certified(noise, width, unit):
    S = unit * np.array([[3, -2, 1.0], [0, 1, 1], [1, 1, 4]])
    moments = SecondMoments.from_moments(2 * np.eye(3), S, 30.0 * unit**2)
    decay = 0.1 * unit
    minimum = global_minimum(moments, depth=2, width=width, noise=noise, weight_decay=decay)
    s = np.linalg.svd(S, compute_uv=False)
    wanted = 30.0 + white_minimum(2.0, s / unit, noise / width, 0.1)
    assert_allclose(minimum.objective / unit**2, wanted, rtol=1e-9)
    assert minimum.kind == "certified" and verify(minimum, moments).ok


@pytest.mark.parametrize("width", [3, 4, 17])
def test_two_layers_without_decay_are_certified(width):
    moments = random_moments(3)
    minimum = global_minimum(moments, depth=2, width=width, noise=0.5)
    assert minimum.kind == "certified" and verify(minimum, moments).ok
    s = np.linalg.svd(moments.spectrum.targets, compute_uv=False)
    wanted = moments.output_moment + white_minimum(1.0, s, 0.5 / width, 0.0)
    assert_allclose(minimum.objective, wanted, rtol=1e-9)


# Of four layers neither way to bound the nuclear norm closes the gap alone.
@pytest.mark.parametrize(
    ("depth", "noise", "decay"), [(2, 20.0, 1e-4), (3, 20.0, 1e-4), (4, 10.0, 1e-2)]
)
@pytest.mark.parametrize("seed", [1, 6])
def test_a_single_mode_under_strong_noise_is_certified(seed, depth, noise, decay):
    """All outputs but the strongest direction have collapsed: the network of it alone."""
    moments = random_moments(seed)
    options = {"depth": depth, "width": 4, "noise": noise, "weight_decay": decay}
    minimum = global_minimum(moments, **options)
    assert np.linalg.matrix_rank(minimum.coef) == 1
    assert minimum.kind == "certified" and verify(minimum, moments).ok
    u = np.linalg.svd(minimum.coef)[0][:, 0]
    S = np.outer(u, u @ moments.cross_moment)
    one = SecondMoments.from_moments(moments.input_moment, S, moments.output_moment)
    assert_allclose(global_minimum(one, **options).objective, minimum.objective, rtol=1e-9)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("noise", [5e-324, 1e-200, 1e-17, 1e200])
def test_noise_that_cannot_be_seen_and_noise_that_leaves_nothing(noise, depth):
    moments, options = random_moments(2), {"depth": depth, "width": 4, "weight_decay": 0.1}
    minimum = global_minimum(moments, noise=noise, **options)
    quiet = global_minimum(moments, **options).objective
    wanted = quiet if noise < 1 else moments.output_moment
    assert_allclose(minimum.objective, wanted, rtol=1e-9)
    assert minimum.kind == "certified" and verify(minimum, moments).ok


@pytest.mark.parametrize("seed", range(2))
def test_the_bound_of_two_layers_is_near(seed):
    """Convex problems lie little below wide networks, problems without noise far below."""
    moments = random_moments(seed, 8, 5)
    minimum = global_minimum(moments, depth=2, width=20, noise=3.0, weight_decay=0.05)
    quiet = global_minimum(moments, depth=2, weight_decay=0.05)
    assert minimum.lower_bound > (1 - 1e-3) * minimum.objective
    assert quiet.objective < 0.9 * minimum.objective
