"""The race of pathways, against a plain ODE solver and what it must conserve."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from sklearn_deeplinear.theory import mode_flow
from sklearn_deeplinear.theory._pathway_flow import pathway_flow

# Shi, Shea-Brown, Buice (2022): from p(0) = (0.1, 0.05) with S = 10.
END_POINTS = {
    (2, 2): (5.25, 4.75),
    (3, 3): (5.64, 4.36),
    (4, 4): (6.10, 3.90),
    (8, 8): (7.68, 2.32),
    (3, 5): (1.69, 8.31),
}


def strengths(p, depths, imbalance):
    return [x * (x * x + imbalance) ** ((D - 1) / 2) for x, D in zip(p, depths, strict=True)]


@pytest.mark.parametrize("depths", END_POINTS, ids=str)
def test_reduced_equation_ends_where_it_is_known_to(depths):
    flow = pathway_flow(10.0, strengths((0.1, 0.05), depths, 1), depths=depths, imbalance=1.0)
    assert_allclose(flow(np.inf), END_POINTS[depths], atol=1e-2)
    assert flow(np.inf).sum() == pytest.approx(10, rel=1e-9)
    assert type(flow.winner) is int and flow.winner == np.argmax(END_POINTS[depths])
    assert flow.share == pytest.approx(max(END_POINTS[depths]) / 10, abs=1e-3)


@pytest.mark.parametrize("depths", [(2, 2), (3, 3), (2, 3), (1, 4), (7, 5, 3)], ids=str)
@pytest.mark.parametrize("imbalance", [0.0, 0.3])
def test_potentials_keep_their_distance(depths, imbalance):
    a_0 = np.linspace(0.02, 0.05, len(depths))
    flow = pathway_flow(3.0, a_0, depths=depths, imbalance=imbalance)
    change = flow.invariants([0.0, 0.1, 0.5, 2.0, np.inf])
    assert change.shape == (5, len(depths) - 1)
    assert np.abs(change).max() < 1e-8


@pytest.mark.parametrize("L", [2, 3, 6])
def test_balanced_pathways_conserve_what_the_page_says(L):
    """a_p / a_q for two layers, a_p^(2/L-1) - a_q^(2/L-1) for more."""
    a = pathway_flow(3.0, [0.05, 0.04], depths=(L, L))([0.0, 0.1, 0.3, np.inf])
    quantity = a[:, 0] / a[:, 1] if L == 2 else a[:, 0] ** (2 / L - 1) - a[:, 1] ** (2 / L - 1)
    assert_allclose(quantity, quantity[0], rtol=1e-8)


def test_balanced_race_is_the_equation_of_strengths():
    depths, s, a_0 = (2, 3, 5), 4.0, [0.1, 0.2, 0.3]
    L = np.array(depths)
    reference = solve_ivp(
        lambda t, a: 2 * L * a ** (2 - 2 / L) * (s - a.sum()),
        (0, 1),
        a_0,
        t_eval=[0.05, 0.2, 1],
        rtol=1e-10,
        atol=1e-12,
    )
    assert_allclose(pathway_flow(s, a_0, depths=depths)(reference.t), reference.y.T, rtol=1e-7)


def test_imbalanced_race_is_gradient_flow_of_scalar_layers():
    """Layers (u, v, v) with v^2 - u^2 = lambda, two pathways, loss (s - sum u v v)^2."""
    s, lam, u_0 = 2.0, 0.5, np.array([0.1, 0.3])

    def velocity(t, y):
        w = y.reshape(2, 3)
        error = s - w.prod(axis=1).sum()
        others = np.stack([np.delete(w, j, axis=1).prod(axis=1) for j in range(3)], axis=1)
        return (2 * error * others).ravel()

    start = np.stack([u_0, np.sqrt(u_0**2 + lam), np.sqrt(u_0**2 + lam)], axis=1).ravel()
    times = [0.1, 0.3, 1.0]
    y = solve_ivp(velocity, (0, 1), start, t_eval=times, rtol=1e-11, atol=1e-12).y
    products = y.T.reshape(3, 2, 3).prod(axis=-1)
    flow = pathway_flow(s, strengths(u_0, (3, 3), lam), depths=(3, 3), imbalance=lam)
    assert_allclose(flow(times), products, rtol=1e-8)


@pytest.mark.parametrize("lam", [1e4, 1e8])
def test_pathways_of_much_imbalance_learn_like_linear_models(lam):
    """With u^2 << lambda each strength is K = lambda u and moves by 2 lambda^2 (s - sum K)."""
    s, a_0 = 2.0, np.array([0.1, -0.3])
    t = np.array([0.0, 0.01, 0.3, 2.0]) / lam**2
    risen = (s - a_0.sum()) * -np.expm1(-4 * lam**2 * t)
    flow = pathway_flow(s, a_0, depths=(3, 3), imbalance=lam)
    # What is left out is u^2 / lambda = (s / lambda)^2 / lambda, relatively.
    assert_allclose(flow(t), a_0 + risen[:, None] / 2, rtol=1e-8)


def test_a_pathway_of_one_layer_joins_from_zero():
    end = pathway_flow(2.0, [0.1, 0.0], depths=(2, 1))(np.inf)
    assert end[1] > 0.1 and end.sum() == pytest.approx(2.0, rel=1e-9)


def test_balanced_strengths_begin_with_all_their_digits():
    a_0 = np.array([1e-200, 3e-100, -7e-5])
    flow = pathway_flow(2.0, a_0, depths=(3, 4, 2))
    assert_allclose(flow(0.0), a_0, rtol=2e-16, atol=0)


def test_one_pathway_is_the_flow_of_a_mode():
    t = [0.0, 0.2, 1.0, np.inf]
    for L in (1, 2, 4):
        assert_allclose(
            pathway_flow(3.0, [0.1], depths=(L,))(t)[:, 0],
            mode_flow(3.0, 0.1, depth=L)(t),
            rtol=1e-8,
        )


def test_modes_race_apart_from_each_other():
    s, a_0 = np.array([3.0, 1.0]), np.array([[0.1, 0.2], [0.05, 0.3]])
    flow, t = pathway_flow(s, a_0, depths=(3, 3)), [[0.1, 0.5]]
    assert flow(t).shape == (1, 2, 2, 2)
    for k in range(2):
        assert_allclose(flow(t)[..., k], pathway_flow(s[k], a_0[:, k], depths=(3, 3))(t))
    assert flow.winner.tolist() == [0, 1]


def test_a_balanced_pathway_at_zero_never_joins_and_an_unbalanced_one_does():
    assert_allclose(pathway_flow(2.0, [0.1, 0.0], depths=(2, 3))(np.inf), [2, 0], atol=1e-10)
    assert pathway_flow(2.0, [0.1, 0.0], depths=(2, 3), imbalance=0.1)(np.inf)[1] > 0.01


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1.0, [0.1]), "a_0 must have shape"),
        ((np.nan, [0.1, 0.1]), "s and a_0 must be finite"),
        ((1.0, [0.1, np.inf]), "s and a_0 must be finite"),
    ],
)
def test_wrong_arguments_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        pathway_flow(*arguments, depths=(2, 2))


def test_nobody_has_a_share_of_nothing():
    flow = pathway_flow([2.0, 2.0], [[0.0, 0.1], [0.0, 0.0]], depths=(2, 3))
    assert_allclose(flow.share, [0, 1])


def test_a_single_depth_is_no_race():
    with pytest.raises(TypeError, match="depths must be a sequence of ints"):
        pathway_flow(1.0, [0.1, 0.1], depths=3)


def test_time_and_imbalance_are_checked():
    with pytest.raises(ValueError, match="t must be at least 0"):
        pathway_flow(1.0, [0.1, 0.1], depths=(2, 2))(-1.0)
    with pytest.raises(ValueError, match="imbalance must be finite"):
        pathway_flow(1.0, [0.1, 0.1], depths=(2, 2), imbalance=-1.0)


@pytest.mark.parametrize(
    ("a_0", "depth", "t"),
    [([1e-25, 0.5e-25], 2, 1e3), ([1e-13, 0.9e-13], 7, 1e9), ([1e-17, 0.9e-17], 3, 1e8)],
)
def test_a_slow_start_is_no_rest(a_0, depth, t):
    """The end by what is conserved: a_p / a_q for L = 2, else a_p^(2/L-1) - a_q^(2/L-1)."""
    flow = pathway_flow(10.0, a_0, depths=[depth, depth])
    x, y = flow(np.inf)
    assert_allclose(flow(t), [x, y], rtol=1e-10)
    assert x + y == pytest.approx(10, rel=1e-12)
    power = 2 / depth - 1
    if depth == 2:
        assert x / y == pytest.approx(a_0[0] / a_0[1], rel=1e-10)
    else:
        kept = a_0[1] ** power - a_0[0] ** power
        assert y**power - x**power == pytest.approx(kept, rel=1e-9)


@pytest.mark.parametrize("log_c", [-300, -150, -20, 20, 150, 290])
@pytest.mark.parametrize("depths", [(2, 2), (3, 3), (5, 5)], ids=str)
def test_a_race_does_not_know_its_units(depths, log_c):
    """Strengths in units of c: time runs at c^(2 - 2/L) of its speed."""
    a_0, times, c = np.array([0.02, 0.01]), np.array([0.02, 0.3, 2.0]), 10.0**log_c
    speed = 10.0 ** min(log_c * (2 - 2 / depths[0]), 308)
    expected, scaled = (
        pathway_flow(1.0, a_0, depths=depths),
        pathway_flow(c, c * a_0, depths=depths),
    )
    if 1e-300 < speed < 1e300:  # else a float does not hold the times
        assert_allclose(scaled(times / speed) / c, expected(times), rtol=1e-10)
    assert_allclose(scaled([0.0, np.inf]) / c, expected([0.0, np.inf]), rtol=1e-10)


def test_a_race_against_zero_is_lost_by_all():
    flow = pathway_flow([-1.0, 0.0], [[0.1, 0.1], [0.2, 0.2]], depths=(2, 3))
    assert not flow(np.inf).any()
    assert (np.diff(flow([0.0, 1.0, 1e3]), axis=0) < 0).all()
