"""Bounds from maps: below every objective, attained at minima, and equivariant."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_deeplinear.theory import (
    SecondMoments,
    _certify,
    _mode_relaxation,
    _violation,
    certify,
    global_minimum,
    pathway_global_minimum,
    verify,
)
from sklearn_deeplinear.theory._branch_and_bound import _Node, _split, directions_of
from sklearn_deeplinear.theory._certificate import certificate
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._mode_costs import Box, ModeCosts
from sklearn_deeplinear.theory._parabolas import Parabolas
from sklearn_deeplinear.theory._problem import Problem
from tests import structured
from tests.theory.brute_force import brute_force

# What the two sums of squares of a bound and of an objective may differ by, relatively.
ROUNDING = 1e-15


def random_moments(seed, condition=None):
    """Moments of up to six inputs and four outputs."""
    random = np.random.default_rng(seed)
    d, m = random.integers(2, 7), random.integers(2, 5)
    condition = 10 ** random.uniform(0, 4) if condition is None else condition
    sigma = condition ** -np.linspace(0, 0.5, d)
    V = np.linalg.qr(random.normal(size=(d, d)))[0]
    A, M = (V * sigma**2) @ V.T, random.normal(size=(m, d))
    A = (A + A.T) / 2
    return SecondMoments.from_moments(A, M @ A, 1.1 * np.trace(M @ A @ M.T))


def decay_of(moments, share, depth):
    """Share of the decay from which on zero is known to be the minimum."""
    T = moments.spectrum.targets
    size = np.linalg.norm(T)
    return share * size**2 * (moments.spectrum.sigma[0] / size) ** (2 / depth)


def objective(M, moments, depth, decay):
    """J of the map with its cheapest factors, in plain numpy."""
    loss = np.sum((moments.input_factor @ M.T - moments.output_factor) ** 2)
    s = np.linalg.svd(M, compute_uv=False)
    return loss + depth * np.sum(np.exp(np.log(decay) + 2 / depth * np.log(s[s > 0])))


@pytest.mark.parametrize("seed", range(30))
def test_no_map_has_an_objective_below_the_bound_of_another(seed):
    random, moments = np.random.default_rng(seed), random_moments(seed)
    depth = int(random.integers(2, 6))
    decay = decay_of(moments, 10 ** random.uniform(-3, 0), depth)
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    values, bounds = [minimum.objective], [minimum.lower_bound]
    for scale in (0, 1e-8, 1e-3, 0.1, 1, 10):
        M = minimum.coef + scale * random.normal(size=minimum.coef.shape)
        bounds.append(certify(M, moments, depth=depth, weight_decay=decay))
        values.append(objective(M, moments, depth, decay))
    assert max(bounds) <= min(values) * (1 + ROUNDING)
    # The bound falls by the square of the distance: 1e-8 costs nothing that can be seen.
    if minimum.objective - bounds[1] <= 1e-10 * minimum.objective:
        assert bounds[2] >= minimum.objective * (1 - 1e-8)


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize("seed", range(2))
def test_no_restart_ends_below_a_certified_minimum(seed, depth):
    moments = random_moments(seed)
    rank = min(moments.n_inputs, moments.n_outputs)
    decay, widths = decay_of(moments, 0.05, depth), (rank,) * (depth - 1)
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    assert minimum.kind == "certified" and not minimum.is_zero
    found, weights = brute_force(moments, widths, decay, restarts=6, seed=seed)
    assert found >= minimum.objective * (1 - 1e-12)
    assert certify(weights, moments, depth=depth, weight_decay=decay) <= minimum.objective


def test_minima_that_are_known_are_certified_by_their_maps():
    white = SecondMoments.from_moments(2 * np.eye(3), np.diag([3.0, 2.0, 1.0]), 9.0)
    one = random_moments(3)
    S = one.cross_moment[:1]
    single = SecondMoments.from_moments(one.input_moment, S, one.output_moment)
    for moments in (white, single, random_moments(4)):
        for depth in (1, 2, 3, 6):
            for share in (0, 1e-6, 0.05, 0.6, 2):
                decay = decay_of(moments, share, depth)
                minimum = global_minimum(moments, depth=depth, weight_decay=decay)
                bound = certify(minimum.coef, moments, depth=depth, weight_decay=decay)
                assert_allclose(bound, minimum.objective, rtol=1e-9)


@pytest.mark.parametrize(("depth", "width"), [(2, 1), (2, 2), (3, 2), (4, 1)])
def test_bottlenecks_have_bounds_of_their_own(depth, width):
    moments = random_moments(5, condition=30)
    decay = decay_of(moments, 1e-3, depth)
    wide = global_minimum(moments, depth=depth, weight_decay=decay)
    narrow = global_minimum(moments, depth=depth, weight_decay=decay, width=width)
    assert narrow.kind == "certified"
    assert narrow.objective > wide.objective * (1 + 1e-3)
    found, _ = brute_force(moments, (width,) * (depth - 1), decay, restarts=5)
    assert found >= narrow.objective * (1 - 1e-12)
    bound = certify(narrow.coef, moments, depth=depth, weight_decay=decay, width=width)
    assert wide.objective < bound <= narrow.objective * (1 + ROUNDING)


def fractional(seed):
    """Problems of four inputs and three outputs in which modes compete for one strength."""
    random = np.random.default_rng(seed)
    sigma = 10.0 ** -np.sort(random.uniform(0, 2, size=4))
    T = random.normal(size=(4, 3)) * np.exp(2 * random.normal(size=(4, 1)))
    return SecondMoments.from_moments(np.diag(sigma**2), (sigma[:, None] * T).T, np.sum(T**2))


# Seed, depth and share of the decay; the gap that the best map leaves is 0.2 % to 23 %.
OPEN = [(1, 3, 0.02), (66, 4, 0.02)]


@pytest.mark.parametrize(("seed", "depth", "share"), OPEN)
def test_branching_closes_what_one_map_cannot_prove(seed, depth, share):
    moments = fractional(seed)
    decay = decay_of(moments, share, depth)
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    alone = certify(minimum.coef, moments, depth=depth, weight_decay=decay)
    assert alone <= minimum.objective * (1 - 1e-3)
    assert minimum.kind == "certified" and verify(minimum, moments).ok
    found, _ = brute_force(moments, (3,) * (depth - 1), decay, restarts=4)
    assert found >= minimum.objective * (1 - 1e-12)


def test_what_stays_open_is_bounded_and_not_called_certified():
    moments = fractional(5)
    decay = decay_of(moments, 0.02, 4)
    minimum = global_minimum(moments, depth=4, weight_decay=decay)
    assert minimum.kind == "stationary" and verify(minimum, moments).ok
    assert 1e-8 < 1 - minimum.lower_bound / minimum.objective < 1e-3
    found, _ = brute_force(moments, (3, 3, 3), decay, restarts=4)
    assert found >= minimum.objective * (1 - 1e-12)


@pytest.mark.parametrize("case", structured.cases()[::5], ids=lambda case: case.name)
def test_structured_problems_are_verified(case):
    moments = case.moments
    for depth, share, width in ((2, 0.1, None), (3, 0.05, None), (3, 0.3, 1), (5, 0.02, None)):
        if not case.S.any():
            share = 0.0
        decay = decay_of(moments, share, depth) if share else 0.1
        minimum = global_minimum(moments, depth=depth, weight_decay=decay, width=width)
        report = verify(minimum, moments)
        assert report.ok, report.problems
        assert minimum.kind in ("exact", "certified")
        options = {"depth": depth, "weight_decay": decay, "width": width}
        for M in (minimum.coef, 0 * minimum.coef, np.ones_like(minimum.coef)):
            bound = certify(M, moments, **options)
            assert bound <= minimum.objective * (1 + ROUNDING) + ROUNDING * case.c


@pytest.mark.parametrize("case", structured.extreme(), ids=lambda case: case.name)
def test_bounds_scale_with_the_units(case):
    moments = case.moments
    x, y = np.abs(case.R).max(), np.abs(case.T).max()
    plain = case.in_units(1 / x, 1 / y).moments
    M = np.ones(case.S.shape)
    for depth in (1, 2, 3):
        unit = np.exp(2 * np.log(y) - 2 / depth * (np.log(y) - np.log(x)))
        got = certify(M * (y / x), moments, depth=depth, weight_decay=0.02 * unit)
        wanted = certify(M, plain, depth=depth, weight_decay=0.02)
        # Logarithms of units of 1e150 are accurate to 1e-13.
        assert_allclose(got / y / y, wanted, rtol=1e-11)
        minimum = global_minimum(moments, depth=depth, weight_decay=0.02 * unit)
        assert verify(minimum, moments).ok
        assert got <= minimum.objective


def test_partly_decayed_layers_leave_the_regression_of_their_rank():
    moments = random_moments(7)
    for width in (None, 1):
        infimum = global_minimum(moments, depth=3, weight_decay=[0.1, 0.0, 0.2], width=width)
        assert infimum.kind == "unattained" and verify(infimum, moments).ok
        bound = certify(0 * infimum.coef, moments, depth=3, weight_decay=[0.1, 0, 0.2], width=width)
        assert_allclose(bound, infimum.objective, rtol=1e-12)


def test_noise_of_one_output_is_verified_and_that_of_several_bounded():
    moments = random_moments(8)
    one = SecondMoments.from_moments(moments.input_moment, moments.cross_moment[:1], 50.0)
    options = {"depth": 3, "width": 4, "weight_decay": 0.02, "noise": 0.5}
    report = verify(global_minimum(one, **options), one)
    assert report.ok and report.gap <= 1e-9
    report = verify(global_minimum(moments, **options), moments)
    assert report.ok and report.gap <= 0.02


@pytest.mark.parametrize("depths", [(2, 3), (3, 4), (1, 2, 4), (1, 1), (3, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_pathways_are_certified_by_the_directions_of_their_sum(seed, depths):
    moments = random_moments(seed)
    decays = [[decay_of(moments, 0.1 * (p + 1), L)] * L for p, L in enumerate(depths)]
    minimum = pathway_global_minimum(moments, depths=depths, weight_decay=decays)
    assert minimum.kind in ("exact", "certified")
    report = verify(minimum, moments)
    assert report.ok and abs(report.gap) <= 1e-8
    random = np.random.default_rng(seed)
    for _ in range(20):
        weights = minimum.weights()
        weights = [[W + 0.1 * random.normal(size=W.shape) for W in path] for path in weights]
        M = sum(end_to_end(path) for path in weights)
        penalty = sum(
            np.sum(gamma * np.sum(W**2))
            for path, decay in zip(weights, decays, strict=True)
            for W, gamma in zip(path, decay, strict=True)
        )
        assert moments.loss(M) + penalty >= minimum.lower_bound
    assert not verify(replace(minimum, objective=0.9 * minimum.objective), moments).ok


def test_pathways_without_decay_are_verified():
    moments = random_moments(11)
    for depths, decay in (
        ((2, 3), 0.0),
        ((2, 3), [[0.1, 0.0], [0.1] * 3]),
        ((1, 2), [[0.1], [0.0] * 2]),
    ):
        assert verify(
            pathway_global_minimum(moments, depths=depths, weight_decay=decay), moments
        ).ok


def test_infima_are_claimed_only_where_the_bound_proves_them():
    """A free pathway too narrow for all modes: what is left to the others is not known."""
    S = np.array([[1.0, -1, 2], [0, 1, 2], [1, -2, 1]])
    moments = SecondMoments.from_moments(np.eye(3), S, np.sum(S**2))
    options = {"depths": (2, 3), "widths": [(3,), (3, 2)]}
    minimum = pathway_global_minimum(moments, weight_decay=[[9, 3], [3, 0, 3]], **options)
    assert minimum.kind == "unattained" and "lower_bound" in repr(minimum)
    assert minimum.lower_bound < minimum.objective / 2
    assert verify(minimum, moments).ok
    # Where it is wide enough least squares proves it.
    options["widths"][1] = (3, 3)
    moments = SecondMoments.from_moments(np.eye(3), S, np.sum(S**2) + 1)
    minimum = pathway_global_minimum(moments, weight_decay=[[9, 3], [3, 0, 3]], **options)
    assert minimum.kind == "unattained" and "lower_bound" not in repr(minimum)
    assert verify(minimum, moments).ok and minimum.objective == pytest.approx(1, rel=1e-12)
    assert verify(replace(minimum, lower_bound=0.5), moments).ok
    minimum = replace(minimum, pathway_coefs=[0 * S, 0 * S], coef=0 * S)
    objective = moments.output_moment
    assert not verify(replace(minimum, objective=objective, lower_bound=objective), moments).ok


def test_verification_tells_what_is_false():
    moments = random_moments(9)
    minimum = global_minimum(moments, depth=3, weight_decay=decay_of(moments, 0.05, 3))
    report = verify(minimum, moments)
    assert report.ok and abs(report.gap) <= 1e-8 and not report.problems
    assert repr(report).startswith("Verification(ok=True, gap=") and "\n" not in repr(report)
    lies = {
        "lower objective": replace(minimum, objective=0.9 * minimum.objective),
        "higher bound": replace(minimum, lower_bound=1.1 * minimum.objective),
        "another map": replace(minimum, coef=minimum.coef + 0.1),
        "a poor map": replace(
            minimum,
            coef=0.5 * minimum.coef,
            objective=objective(0.5 * minimum.coef, moments, 3, minimum.weight_decay[0]),
        ),
        "no map": replace(minimum, coef=np.nan * minimum.coef),
        "another shape": replace(minimum, coef=minimum.coef[:1]),
    }
    for lie, claimed in lies.items():
        report = verify(claimed, moments)
        assert not report.ok and report.problems, lie


def test_weights_stand_for_their_map_and_are_checked():
    moments = random_moments(10)
    minimum = global_minimum(moments, depth=3, weight_decay=0.1)
    options = {"depth": 3, "weight_decay": 0.1}
    weights = minimum.weights(5)
    M = weights[2] @ weights[1] @ weights[0]
    assert_allclose(certify(weights, moments, **options), certify(M, moments, **options), rtol=1e-9)
    with pytest.raises(ValueError, match="depth=3 matrices"):
        certify(weights[:2], moments, **options)
    with pytest.raises(ValueError, match="shape"):
        certify(M[:1], moments, **options)


def costs_and_matrix(seed, n_modes=None):
    """Costs of modes, and a matrix that touches them, or exceeds them by little or much."""
    random = np.random.default_rng(seed)
    k, p = random.integers(3, 9), n_modes or random.integers(2, 6)
    Y = random.normal(size=(max(k, p), p))
    sigma = np.geomspace(1, 10 ** -random.uniform(0, 2), max(k, p))
    log_g = np.log(10) * random.uniform(-4, -1)
    costs = ModeCosts(sigma, Y / np.linalg.norm(Y), log_g, int(random.integers(2, 6)))
    directions = np.linalg.qr(random.normal(size=(p, p)))[0]
    Lambda = certificate([costs], directions, p).Lambda
    strong = directions[:, : p // 2]
    return costs, Lambda + 10 ** -random.uniform(0, 12) * strong @ strong.T


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_the_relaxation_end_just_inside(seed):
    random, (costs, _) = np.random.default_rng(seed), costs_and_matrix(seed)
    p = costs.n_modes
    x = np.linspace(costs.weakest(), costs.strongest(1.0), 10)
    boxes = Box(-np.inf, x[4], 1), Box(x[5], np.inf, p - 1)
    program = _mode_relaxation._Program.at(costs, boxes, [x[:5], x[5:]])
    v, step = random.normal(size=p), random.normal(size=(p, p))
    at = program.inside(-program.size * (np.eye(p) + 10 * np.outer(v, v)), np.zeros(2))
    step = 100 * program.size * (step + step.T), 500 * program.size * np.array([0.0, 1.0])
    t = program._longest(program._inverse_root(*at), *step)
    slacks = [program.slacks(at[0] + u * step[0], at[1] + u * step[1]) for u in (t, 1.2 * t)]
    least = [np.linalg.eigvalsh(slack).min() for slack in slacks]
    assert t < 1 and least[0] > 0 > least[1]


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_branching_works_in_the_units_of_the_targets(unit, monkeypatch):
    given = []
    monkeypatch.setattr(_certify, "closed", lambda _, rank, *numbers: given.append(numbers) or 0.0)
    own = random_moments(3)
    c = unit**2 * own.output_moment
    others = SecondMoments.from_moments(own.input_moment, unit * own.cross_moment, c)
    for moments, scale in ((own, 1.0), (others, unit)):
        decay, M = decay_of(moments, 0.05, 3), 0.5 * scale * own.cross_moment
        problem = Problem.checked(moments, 3, None, decay, 0.0)
        _certify.proven_bound(problem, M, objective(M, moments, 3, decay))
    for here, there in zip(given[0][:3], given[1][:3], strict=True):  # residual, value and bound
        assert_allclose(here, there, rtol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_newton_finds_weights_that_share_every_direction_and_every_count(seed):
    costs, _ = costs_and_matrix(seed, n_modes=4)
    x = np.linspace(costs.weakest(), costs.strongest(1.0), 10)
    boxes = Box(-np.inf, x[4], 1), Box(x[5], np.inf, 3)
    program = _mode_relaxation._Program.at(costs, boxes, [x[:5], x[5:]])
    at = program.inside(-program.size * np.eye(4), np.zeros(2))
    for _ in range(40):
        root = program._inverse_root(*at)
        inverse = np.swapaxes(root, 1, 2) @ root
        step, decrement = program._newton(inverse, 0.1 * program.size)
        t = program._longest(root, *step) / (1 + np.sqrt(decrement))  # damped: it converges
        at = [value + t * change for value, change in zip(at, step, strict=True)]
    weights = 0.1 * program.size * inverse
    assert_allclose(weights.sum(axis=0), np.eye(4), atol=1e-6)
    traces = np.trace(weights, axis1=1, axis2=2)
    assert_allclose([traces[:5].sum(), traces[5:].sum()], [1, 3], atol=1e-6)


def test_directions_of_a_relaxation_are_ordered_by_their_strength():
    costs, _ = costs_and_matrix(0, n_modes=4)
    U = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    weights = np.stack([np.outer(u, u) for u in U.T])
    relaxation = SimpleNamespace(x=np.array([-1.0, -4.0, 0.0, -2.0]), weights=weights)
    found = directions_of(costs, relaxation)
    assert_allclose(np.abs(U.T @ found), np.eye(4)[:, [2, 0, 3, 1]], atol=1e-10)


def test_a_box_is_split_into_all_that_its_modes_can_do():
    costs, _ = costs_and_matrix(0, n_modes=4)
    x, weights = np.array([-6.0, -2.0]), np.stack([2.5 / 4 * np.eye(4), 1.5 / 4 * np.eye(4)])
    multipliers = SimpleNamespace(Lambda=np.zeros((4, 4)), points=[x])
    where = np.zeros(2, dtype=int)
    relaxation = SimpleNamespace(x=x, weights=weights, box=where, multipliers=multipliers)
    node = _Node(0.0, 0, (Box(-np.inf, np.inf, 4),), [x], relaxation)
    numbers, ends = [], set()
    for boxes, points in _split(costs, node):
        assert len(boxes) == len(points) and sum(box.count for box in boxes) == 4
        numbers.append(sum(box.count for box in boxes if box.upper == np.inf))
        ends |= {box.lower for box in boxes} | {box.upper for box in boxes}
    (middle,) = ends - {-np.inf, np.inf}
    assert x[0] < middle < x[1] and sorted(numbers) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(6))
def test_no_parabola_proves_more_than_is_true(seed):
    """The least tolerance that is proven on an interval, against the excess on a grid of it."""
    costs, Lambda = costs_and_matrix(seed)
    lower, upper = costs.weakest(), costs.strongest(1.0)
    x = np.linspace(lower, upper, 2001)
    Lambda = Lambda + 0.1 * np.linalg.norm(Lambda, 2) * np.eye(costs.n_modes)
    for low, high in zip(x[:-1:400], x[400::400], strict=True):
        inside = x[(x >= low) & (x <= high)]
        excess = -np.linalg.eigvalsh(costs.at(inside) - Lambda)[:, 0].min()
        parabolas = Parabolas(costs, Lambda)
        for share in (0.5, 0.9, 0.99, 0.999) if excess > 1e-9 else ():
            assert not parabolas.below(low, high, share * excess)[2]


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_parabolas_allow_for_the_rounding_of_the_largest_numbers(factor):
    costs, Lambda = costs_and_matrix(0)
    of_costs = np.linalg.norm(costs.at(np.array([-np.inf]))[0], 2)
    size = max(np.linalg.norm(factor * Lambda, 2), of_costs)
    # Eigenvalues of so large matrices are known to about so much; a hundred times that is idle.
    unit = np.finfo(float).eps * size * costs.n_modes
    assert unit <= Parabolas(costs, factor * Lambda).least_tolerance <= 100 * unit


def compared(costs, Lambda, monkeypatch):
    """The excess of Lambda by short intervals, by parabolas, and on a grid."""
    box, found = Box(-np.inf, np.inf, costs.n_modes), []
    for many in (np.inf, 0):
        monkeypatch.setattr(_violation, "_MANY", many)
        found.append(_violation.violation(costs, Lambda, box).size)
    top = costs.strongest(np.linalg.norm(Lambda, 2))
    x = np.append(-np.inf, np.linspace(costs.weakest() - 5, top + 5, 4001))
    grid = max(-np.linalg.eigvalsh(costs.at(x) - Lambda)[:, 0].min(), 0.0)
    return *found, grid


@pytest.mark.parametrize("seed", range(40))
def test_parabolas_prove_what_short_intervals_do(seed, monkeypatch):
    costs, Lambda = costs_and_matrix(seed)
    by_intervals, by_parabolas, grid = compared(costs, Lambda, monkeypatch)
    # What both may take off in vain: a share of 1e-4, rounding and the accuracy of 1e-12.
    assert abs(by_parabolas - by_intervals) <= 2e-4 * by_intervals + 1e-11
    assert min(by_parabolas, by_intervals) >= grid - 1e-15


@pytest.mark.parametrize("name", ["white", "diagonal", "few modes", "equal modes"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_parabolas_on_structured_problems(depth, name, monkeypatch):
    """Where modes touch the costs at one strength, at zero, or do not interact."""
    random = np.random.default_rng(0)
    sigma = np.ones(5) if name == "white" else np.geomspace(1, 0.1, 5)
    Y = {
        "diagonal": np.diag([1.0, 2.0, 3.0, 4.0, 5.0]),
        "few modes": np.diag([1.0, 1.0, 1e-3, 1e-4, 0.0]),
        "equal modes": np.eye(5),
    }.get(name, random.normal(size=(5, 5)))
    costs = ModeCosts(sigma, Y / np.linalg.norm(Y), np.log(0.05), depth)
    Lambda = certificate([costs], np.linalg.svd(Y)[2].T, 5).Lambda
    by_intervals, by_parabolas, grid = compared(costs, Lambda, monkeypatch)
    assert abs(by_parabolas - by_intervals) <= 2e-4 * by_intervals + 1e-11
    assert min(by_parabolas, by_intervals) >= grid - 1e-15


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_thirty_outputs_are_certified(depth):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 40))
    moments = SecondMoments.from_data(X, X @ random.normal(size=(40, 30)))
    decay = 0.02 * np.linalg.norm(moments.cross_moment, 2)
    minimum = global_minimum(moments, depth=depth, weight_decay=decay)
    assert minimum.kind == "certified" and verify(minimum, moments).ok
    M = minimum.coef + 0.1 * random.normal(size=minimum.coef.shape)
    assert certify(M, moments, depth=depth, weight_decay=decay) <= minimum.objective
