"""Nuclear-norm regression against plain proximal gradients and optimality conditions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import (
    SecondMoments,
    _nuclear_norm,
    _schatten,
    deep_linear_path,
    global_minimum,
)
from sklearn_deeplinear.theory._nuclear_norm import nuclear_minimum, shrunk

TIGHT = {"tol": 1e-11, "max_steps": 20_000}
RNG = np.random.default_rng(0)
PROBLEMS = {
    "tall": (np.geomspace(1, 0.2, 9), RNG.normal(size=(9, 4))),
    "wide": (np.geomspace(1, 0.5, 3), RNG.normal(size=(3, 6))),
    "square, white": (np.ones(4), RNG.normal(size=(4, 4))),
    "one output": (np.geomspace(1, 0.1, 5), RNG.normal(size=(5, 1))),
    "rank one": (np.geomspace(1, 0.3, 5), np.outer(RNG.normal(size=5), [1.0, 2.0, 0.0])),
    "equal modes": (np.ones(5), np.eye(5, 4)),
    "zero columns": (np.array([1.0, 0.5]), np.array([[1.0, 0.0], [0.0, 0.0]])),
    "integers": (np.array([1.0, 0.5, 0.25]), np.arange(9.0).reshape(3, 3)),
}


def plain(sigma, Y, g, n_steps=10_000):
    """Proximal gradients without momentum, by a singular value decomposition each."""
    B = np.zeros_like(Y)
    for _ in range(n_steps):
        U, s, Vt = np.linalg.svd(B - sigma[:, None] * (sigma[:, None] * B - Y), full_matrices=False)
        B = U * np.maximum(s - g, 0) @ Vt
    return B


def objective(sigma, Y, g, B):
    return np.sum((sigma[:, None] * B - Y) ** 2) + 2 * g * np.linalg.norm(B, "nuc")


@pytest.mark.parametrize("share", [1e-3, 0.6])
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_ends_where_plain_proximal_gradients_do(name, share):
    sigma, Y = PROBLEMS[name]
    g = share * np.linalg.norm(sigma[:, None] * Y, 2)
    reference = plain(sigma, Y, g)
    best = objective(sigma, Y, g, reference)
    for extrapolate in (True, False):
        B = nuclear_minimum(sigma, Y, g, np.zeros_like(Y), **TIGHT, extrapolate=extrapolate)
        assert_allclose(B, reference, rtol=0, atol=1e-5 * np.abs(reference).max())
        assert abs(objective(sigma, Y, g, B) - best) <= 2e-12 * best


@pytest.mark.parametrize("name", PROBLEMS)
def test_any_start_will_do(name):
    sigma, Y = PROBLEMS[name]
    g = 0.05 * np.linalg.norm(sigma[:, None] * Y, 2)
    ends = [
        objective(sigma, Y, g, nuclear_minimum(sigma, Y, g, start, **TIGHT))
        for start in (np.zeros_like(Y), 1e6 * RNG.normal(size=Y.shape), Y)
    ]
    assert_allclose(ends, ends[0], rtol=2e-12)


@pytest.mark.parametrize("structured", [False, True])
def test_extrapolation_needs_fewer_steps_and_never_fails(structured, monkeypatch):
    """Few inputs, where the steps of the memory depend on each other, and all conditions."""
    steps, shrink = [], _nuclear_norm.shrunk
    monkeypatch.setattr(_nuclear_norm, "shrunk", lambda *args: steps.append(1) or shrink(*args))
    random, totals = np.random.default_rng(0), np.zeros(2)
    for _ in range(60):
        k, p = random.integers(1, 12, 2)
        sigma = np.sort(10 ** -random.uniform(0, 1.8, k))[::-1]
        sigma = sigma / sigma[0]
        Y = random.integers(-1, 2, size=(k, p)) if structured else random.normal(size=(k, p))
        Y = Y / (np.linalg.norm(Y) or 1.0)
        g = 10 ** -random.uniform(0, 4) * (np.linalg.norm(sigma[:, None] * Y, 2) or 1.0)
        values = []
        for i, extrapolate in enumerate((True, False)):
            steps.clear()
            options = {"tol": 1e-9, "max_steps": 3000, "extrapolate": extrapolate}
            B = nuclear_minimum(sigma, Y, g, np.zeros_like(Y), **options)
            values.append(objective(sigma, Y, g, B))
            totals[i] += len(steps)
            assert len(steps) < 3000
        assert_allclose(*values, rtol=1e-9, atol=1e-15)
    assert 2 * totals[0] < totals[1]


@pytest.mark.parametrize("off", [0.0, 1e-15, 1e-12, -1e-15, -1e-12])
@pytest.mark.parametrize("seed", range(5))
def test_few_steps_decide_where_the_map_collapses(seed, off, monkeypatch):
    """Next to the decay beyond which it is zero all of the map is rounding."""
    steps, shrink = [], _nuclear_norm.shrunk
    monkeypatch.setattr(_nuclear_norm, "shrunk", lambda *args: steps.append(1) or shrink(*args))
    random = np.random.default_rng(seed)
    sigma, Y = np.geomspace(1, 0.5, 4), random.normal(size=(4, 6))
    Y /= np.linalg.norm(Y)
    g = (1 - off) * np.linalg.norm(sigma[:, None] * Y, 2)
    B = nuclear_minimum(sigma, Y, g, 1e-3 * Y, tol=1e-9, max_steps=1000)
    assert len(steps) <= 60
    assert objective(sigma, Y, g, B) <= 1 + 1e-14


@pytest.mark.parametrize("size", [0.0, 1e-170, 1.0])
def test_steps_that_do_not_change_are_not_extrapolated(size):
    memory, V, step = _nuclear_norm._Extrapolation(), np.eye(2), np.full((2, 2), size)
    for _ in range(4):
        new = memory.next(V, step)
        assert_allclose(new, V + step, rtol=0)
        V = new


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (4, 4)])
def test_shrinking_takes_the_threshold_off_singular_values(shape):
    M = RNG.normal(size=shape)
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    threshold = (s[1] + s[2]) / 2
    assert_allclose(shrunk(M, threshold), U * np.maximum(s - threshold, 0) @ Vt, atol=1e-13)
    assert not shrunk(M, 2 * s[0]).any()


@pytest.mark.parametrize("condition", [1, 100, 1e4])
def test_both_iterations_certify_the_same_minimum(condition, monkeypatch):
    """The splitting where it may do, and the factored iteration alone."""
    X = RNG.normal(size=(60, 8)) * np.geomspace(1, condition**-0.5, 8)
    moments = SecondMoments.from_data(X, RNG.normal(size=(60, 5)) + X @ RNG.normal(size=(8, 5)))
    first = global_minimum(moments, depth=2, weight_decay=0.02)
    monkeypatch.setattr(_schatten, "_WELL_CONDITIONED", 2.0)
    second = global_minimum(moments, depth=2, weight_decay=0.02)
    assert first.kind == second.kind == "certified"
    assert_allclose(first.objective, second.objective, rtol=2e-8)


def test_the_factored_iteration_goes_on_where_steps_end(monkeypatch):
    monkeypatch.setattr(_schatten, "_MAX_STEPS", 3)
    X = RNG.normal(size=(60, 8))
    moments = SecondMoments.from_data(X, RNG.normal(size=(60, 5)) + X @ RNG.normal(size=(8, 5)))
    assert global_minimum(moments, depth=2, weight_decay=0.02).kind == "certified"


def test_paths_of_weak_decays_do_not_need_the_factored_iteration(monkeypatch):
    """Many outputs, all modes alive: what is left of the objective is as small as the decay."""

    def other(*arguments):
        raise AssertionError("the splitting has not closed the gap")

    monkeypatch.setattr(_schatten, "settled_modes", other)
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 40))
    Y = X @ random.normal(size=(40, 40)) + random.normal(size=(200, 40))
    moments = SecondMoments.from_data(X, Y)
    decays = np.geomspace(1e-4, 1e-2, 40) * np.linalg.norm(moments.cross_moment, 2)
    deep_linear_path(moments, weight_decays=decays, depth=2)
