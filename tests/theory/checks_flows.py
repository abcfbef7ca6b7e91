"""mode_flow, pathway_flow, two_layer_flow and end_to_end_flow on structured problems."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

from sklearn_deeplinear.theory import (
    SecondMoments,
    end_to_end_flow,
    mode_flow,
    pathway_flow,
    two_layer_flow,
)
from tests.structured import cases
from tests.theory.check import Check, off
from tests.theory.reference_flows import (
    Race,
    flow_of_scalars,
    flow_of_weights,
    rates,
    two_layers,
)

# Integration to 1e-13 a step, over some hundred steps with growth of errors in between.
INTEGRATED = 1e-9
# Between the steps of an explicit method at the edge of its stability, where a map has come to
# its end: 2.6e-9 of its size were measured.
AT_THE_END = 3e-8
CLOSED_FORM = 1e-12

SIZES = (1.0, 3.0, 1e-20, 1e12, 1e-150, 1e150)
STARTS = (1e-100, 1e-25, 1e-8, 0.01, 0.5, 1 - 1e-9, 3.0)
MOMENTS_OF_TIME = (1e-3, 0.5, 0.9, 1.0, 1.05, 1.5, 4.0)


def mode_checks():
    for depth in (1, 2, 3, 4, 7, 50):
        for s in SIZES:
            for start in STARTS:
                for a in (1.0, 4.0):
                    yield Check(
                        "mode_flow",
                        f"depth {depth}, s = {s:g}, a_0 = {start:g} s, A = {a:g}",
                        lambda depth=depth, s=s, start=start, a=a: _mode(s, start * s, depth, a),
                        s in (3.0, 1e12) or a == 4.0,
                    )
        for s, a_0 in ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 1.0), (-2.0, 0.5), (-2.0, -2.0)):
            yield Check(
                "mode_flow",
                f"depth {depth}, s = {s:g}, a_0 = {a_0:g}",
                lambda depth=depth, s=s, a_0=a_0: _mode_at_rest(s, a_0, depth),
            )
            yield Check(
                "mode_flow",
                f"depth {depth}, s = {s:g}, a_0 = {a_0:g}, mirrored",
                lambda depth=depth, s=s, a_0=a_0: _mirrored(s, a_0, depth),
            )


def _mode(s, a_0, depth, a):
    flow = mode_flow(s, a_0, depth=depth, input_moment=a)
    return _raced(
        s, [a_0], [depth], a, lambda t: np.asarray(flow(t))[..., None], flow(np.inf)[None]
    )


def _raced(s, a_0, depths, a, flow, limit):
    """Worst deviation at times before, during and after the passage, and of the limit.

    The strength of the leader is turned into a time, whose error times the speed is that
    of the strength: relative to itself while it grows, to the end afterwards.
    """
    race = Race(s, a_0, depths, a=a)
    worst = off(limit, race.end, absolute=INTEGRATED * s / a)
    worst = max(worst, off(flow(0.0), a_0, relative=1e-13, absolute=1e-14 * s * (1 in depths)))
    if race.leader is None or abs(race.y_end - race.y_0) < 1e-12:
        return max(worst, off(flow(1.0 / s), a_0, absolute=1e-11 * s / a))
    way = race.y_end - race.y_0
    unit = race.time(race.y_end - np.sign(way) * min(abs(way) / 2, np.log(2)))
    with np.errstate(over="ignore"):
        times = unit * np.array(MOMENTS_OF_TIME)
    times = times[np.isfinite(times) & (times > 1e-300)]
    for t, strengths in zip(times, np.asarray(flow(times)), strict=True):
        if not np.isfinite(strengths).all() or (strengths < 0).any():
            return np.inf
        worst = max(worst, _late(race, t, strengths / np.exp(race.log_unit)))
    return worst


def _late(race, t, k):
    """How wrong the strengths k, in units of s / a, are at time t."""
    growing = race.y_end > race.y_0
    y = np.log(k[race.leader]) if k[race.leader] > 0 else -np.inf
    passed = (y - race.y_end) * (1 if growing else -1)
    if passed > INTEGRATED or (y - race.y_0) * (1 if growing else -1) < -INTEGRATED:
        return np.inf
    if passed > -10 * INTEGRATED:  # at the end: it must have had the time to get near
        almost = race.y_end - (1 if growing else -1) * 20 * INTEGRATED
        return 0.0 if race.time(almost) <= t * (1 + INTEGRATED) else np.inf
    if abs(y - race.y_0) < 1e-12:
        y = race.y_0 + (1e-12 if growing else -1e-12)
    # One layer moves at once, whatever its strength: its error is relative to the end.
    allowed = INTEGRATED * (max(np.exp(race.y_end - y), 1.0) if race.L[race.leader] == 1 else 1.0)
    # A slow start passes within what float64 can tell of its time.
    speed, late = abs(race.velocity(y)), abs(race.time(y) - t)
    deviation = late * speed / (allowed + CLOSED_FORM * t * speed)
    expected = race.strengths(y)
    floor = 1e-300 if 1 not in race.L else 1.0
    gap = np.abs(k - expected) / (INTEGRATED * np.maximum(expected, floor))
    return float(max(deviation, gap.max()))


def _mode_at_rest(s, a_0, depth):
    """Where nothing moves, or the strength decays to zero without end."""
    flow = mode_flow(s, a_0, depth=depth)
    times = np.array([0.0, 1e-3, 0.1, 1.0, 7.0])
    if depth == 1:
        expected = s + (a_0 - s) * np.exp(-2 * times)
        limit = s
    else:
        limit = s if a_0 * s > 0 else 0.0
        expected = np.full(5, a_0)
        if a_0 not in (0.0, s):
            expected = np.array([_decayed(s, a_0, depth, t) for t in times])
    gap = off(flow(times), expected, absolute=INTEGRATED * max(abs(s), abs(a_0)))
    return max(gap, off(flow(np.inf), limit, absolute=1e-9 * max(abs(s), 1e-300)))


def _decayed(s, a_0, depth, t):
    """a_0 > 0 and s <= 0: the strength falls to zero; time is an integral over it."""
    if t == 0:
        return a_0

    def time(y):
        def slowness(v):
            return np.exp(v * (2 / depth - 1)) / (2 * depth * (np.exp(v) - s))

        return quad(slowness, y, np.log(a_0), epsabs=0, epsrel=1e-12, limit=500)[0]

    return np.exp(brentq(lambda y: time(y) - t, np.log(a_0) - 60, np.log(a_0), xtol=1e-13))


def _mirrored(s, a_0, depth):
    times = np.array([0.0, 0.1, 1.0, np.inf])
    one, other = mode_flow(s, a_0, depth=depth), mode_flow(-s, -a_0, depth=depth)
    return off(other(times), -one(times), relative=1e-15)


def pathway_flow_checks():
    pairs = {
        "1e-100 and half of it": (1e-100, 0.5e-100),
        "1e-25 and half of it": (1e-25, 0.5e-25),
        "1e-17 and 0.9 of it": (1e-17, 0.9e-17),
        "1e-13 and 0.9 of it": (1e-13, 0.9e-13),
        "1e-3 and 1e-9": (1e-3, 1e-9),
        ".02 and .01": (0.02, 0.01),
        "equal": (0.01, 0.01),
        "zero and .01": (0.0, 0.01),
        "zeros": (0.0, 0.0),
        "at rest": (0.75, 0.25),
        "beyond": (2.0, 1.0),
    }
    depths = ((2, 2), (3, 3), (7, 7), (2, 3), (3, 5), (1, 2), (1, 3), (4, 2), (1, 1), (20, 20))
    for L in depths:
        for s in (10.0, 1.0, 1e-20, 1e12, 1e-150, 1e150):
            for name, pair in pairs.items():
                if name == "beyond" and len(set(L)) > 1 and s not in (1.0, 10.0):
                    continue  # one of the two falls to zero, and tells nothing of the other
                yield Check(
                    "pathway_flow",
                    f"depths {L}, s = {s:g}, {name}",
                    lambda L=L, s=s, pair=pair: _pathways(s, pair, L),
                    s in (1.0, 1e12),
                )
    for L in ((2, 2), (3, 3), (2, 3), (3, 2, 2), (7, 5), (1, 3)):
        for lam in (1.0, 1e-4, 1e-12, 3.0):
            for name, pair in {"zero and .3": (0.0, 0.3), ".1 and .05": (0.1, 0.05)}.items():
                start = (*pair, 0.0)[: len(L)]
                yield Check(
                    "pathway_flow",
                    f"depths {L}, imbalance {lam:g}, {name}",
                    lambda L=L, lam=lam, start=start: _imbalanced(start, L, lam),
                )
    for L in ((2, 2), (3, 3), (3, 3, 3)):
        yield Check(
            "pathway_flow",
            f"depths {L}, many modes at once",
            lambda L=L: _many_modes(L),
        )


def _pathways(s, pair, depths):
    a_0 = [s * k for k in pair]
    flow = pathway_flow(s, a_0, depths=depths)
    return _raced(s, a_0, depths, 1.0, flow, flow(np.inf))


def _imbalanced(a_0, depths, lam):
    """Against the flow of the scalar weights themselves, L_p of them in every pathway."""
    flow, times = pathway_flow(4.0, a_0, depths=depths, imbalance=lam), (0.0, 0.1, 0.4, 1.5)
    weak = flow.weights(0.0)
    weights = [
        np.array([u, *[np.sqrt(u**2 + lam)] * (L - 1)]) for u, L in zip(weak, depths, strict=True)
    ]
    start = off([np.prod(w) for w in weights], a_0, relative=1e-12)
    expected = flow_of_scalars(weights, 4.0, times)
    return max(start, off(flow(np.array(times)), expected, absolute=INTEGRATED * 4.0))


def _many_modes(depths):
    """Modes do not know of each other: one call for all is one call for each."""
    s = np.array([[4.0, 4.0], [1.0, 0.0]])
    a_0 = 0.01 * np.arange(1, len(depths) + 1)[:, None, None] * np.ones((2, 2))
    flow = pathway_flow(s, a_0, depths=depths)
    times = np.array([0.0, 0.2, 1.0, np.inf])
    got, worst = flow(times), 0.0
    for index in np.ndindex(2, 2):
        alone = pathway_flow(s[index], a_0[:, *index], depths=depths)
        worst = max(
            worst, off(got[(slice(None), slice(None), *index)], alone(times), relative=1e-14)
        )
    return worst


def two_layer_checks():
    for case in cases():
        if not (case.is_white and case.A[0, 0] == 1 and max(case.S.shape) <= 4):
            continue
        settles = _settled(case.S, 0.0) is not None
        for name, weights in two_layer_starts(case.S).items():
            for t in (0.0, 0.05, 0.7, 5.0, np.inf):
                yield Check(
                    "two_layer_flow",
                    f"{name}, t = {t:g}, {case.name}",
                    lambda case=case, weights=weights, t=t: _two_layers(case, weights, t),
                )
                # Integration needs very many steps where the end comes late.
                if name.startswith("balanced") and t > 0 and (settles or np.isfinite(t)):
                    yield Check(
                        "end_to_end_flow",
                        f"depth 2, {name}, t = {t:g}, {case.name}",
                        lambda case=case, weights=weights, t=t: _two_layers(
                            case, weights, t, end_to_end_flow
                        ),
                        t == 0.05,
                    )


def two_layer_starts(S):
    """lambda-balanced weights: of rank one and full rank, with zero layers, lambda of any sign."""
    m, d = S.shape
    r = min(m, d)
    ones_m, ones_d = np.ones((m, 1)), np.ones((1, d))
    e_m, e_d = np.eye(m)[:, -1:], np.eye(d)[:1]
    left, right = np.eye(m, r), np.eye(r, d)
    starts = {
        "balanced rank one": [ones_d * (m / d) ** 0.25 / 8, ones_m * (d / m) ** 0.25 / 8],
        "balanced along axes": [e_d / 4, e_m / 4],
        "balanced full rank": [right / 8, left / 8],
        "balanced zeros": [np.zeros((2, d)), np.zeros((m, 2))],
        "lambda 1, first layer zero": [np.zeros((r, d)), left],
        "lambda -1, last layer zero": [right, np.zeros((m, r))],
        "lambda 2": [right * 0.5, left * 1.5],
        "lambda -2": [right * 1.5, left * 0.5],
    }
    if r > 1:
        sizes = 2.0 ** -np.arange(2, 2 + r)
        starts["balanced, sizes 1/4, 1/8, ..."] = [sizes[:, None] * right, left * sizes]
    return starts


def _two_layers(case, weights, t, flow=None):
    S, d = case.S, case.S.shape[1]
    time = t
    if np.isinf(t):
        gap = weights[1].T @ weights[1] - weights[0] @ weights[0].T
        time = _settled(S, np.trace(gap) / len(gap))
    if time is None:
        return _at_rest(two_layer_flow(weights, case.moments)(t), S, weights)
    expected = _closed_form(tuple(map(_frozen, weights)), _frozen(S), time)
    # Everything is bounded by the larger of the start and the end.
    size = max(np.abs(expected).max(), max(np.sum(W**2) for W in weights))
    tolerance = CLOSED_FORM * size
    if flow is None:
        state = two_layer_flow(weights, case.moments)(t)
        got = np.block(
            [[state.input_gram, state.coef.swapaxes(-1, -2)], [state.coef, state.output_gram]]
        )
        return off(got, expected, absolute=tolerance or 1e-300)
    got = flow(case.moments, weights[1] @ weights[0], depth=2)(t)
    return off(got, expected[d:, :d], absolute=AT_THE_END * max(size, 1.0))


def _at_rest(state, S, weights):
    """How far the slopes (S - M) W_1^T and W_2^T (S - M) are from zero, times W_1 and W_2."""
    size = max(np.abs(S).max(), max(np.sum(W**2) for W in weights))
    slack = S - state.coef
    slopes = np.stack([state.output_gram @ slack, slack @ state.input_gram])
    return off(slopes, 0 * slopes, absolute=CLOSED_FORM * size * max(size, 1.0) or 1e-300)


def _settled(S, lam):
    """A time after which nothing moves, or None where that is later than can be computed.

    There something falls off like 1 / t, or two modes part slowly.
    """
    w = np.array(rates(S, lam))
    # As documented: rates closer than this count as equal.
    equal = sum(S.shape) * np.finfo(float).eps * np.abs(w).max()
    apart = np.abs(np.subtract.outer(w, w))
    nearest = apart[apart > equal].min(initial=np.abs(w).max())
    slowest = min(nearest, np.abs(w).min())
    return 40 / slowest if slowest > 0.2 else None


def _frozen(array):
    return tuple(map(tuple, np.asarray(array).tolist()))


@cache
def _closed_form(weights, S, t):
    W_1, W_2 = (np.array(W) for W in weights)
    return two_layers(W_1, W_2, np.array(S), t)


def end_to_end_checks():
    for case in cases():
        m, d = case.S.shape
        if case.A.max() > 100 or max(m, d) > 4 or case.A.max() < 0.01:
            continue
        for depth in (1, 2, 3, 4, 6):
            for name, factors in starts(m, d, depth).items():
                yield Check(
                    "end_to_end_flow",
                    f"depth {depth}, {name}, {case.name}",
                    lambda case=case, depth=depth, factors=factors: _along(case, depth, factors),
                    depth == 6 or (depth == 4 and name != "rank one"),
                )
    for depth in (2, 3, 4, 5):
        for size in (1e-3, 1e-100, 1e-155, 1e-163):
            for modes in ([3.0], [4.0, 2.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 0.0]):
                for kept in range(1, len(modes) + 1):
                    yield Check(
                        "end_to_end_flow",
                        f"depth {depth}, {kept} of the modes {modes}, start {size:g}",
                        lambda depth=depth, size=size, modes=modes, kept=kept: _aligned(
                            depth, size, np.array(modes), kept
                        ),
                        kept > 1 and size < 1e-100,
                    )


def starts(m, d, depth):
    """Balanced factors of width equal to the rank, so that no rounding adds to the rank."""
    u, v = np.arange(1, m + 1.0), np.arange(1, d + 1.0)[::-1]
    r = min(m, d)
    modes = {
        "rank one": ([0.05], u[:, None], v[None]),
        "axes": ([0.3], np.eye(m)[:, -1:], np.eye(d)[:1]),
        "zero": ([0.0], u[:, None], v[None]),
        "equal modes": ([0.2] * r, np.eye(m)[:, :r], np.eye(d)[:r]),
        "full rank": (0.4 * 0.5 ** np.arange(r), np.eye(m)[:, :r], np.eye(d)[::-1][:r]),
    }
    found = {}
    for name, (s, U, V) in modes.items():
        root = (np.array(s)) ** (1 / depth)
        U, V = U / np.linalg.norm(U, axis=0), V / np.linalg.norm(V, axis=1)[:, None]
        if depth == 1:
            found[name] = [U * root @ V]
        else:
            middle = [np.diag(root)] * (depth - 2)
            found[name] = [root[:, None] * V, *middle, U * root]
    return found


def _along(case, depth, factors):
    times = np.array([0.0, 0.02, 0.3, 1.0])
    expected = flow_of_weights(factors, case.A, case.S, times)
    flow = end_to_end_flow(case.moments, expected[0], depth=depth)
    got = flow(times)
    size = max(np.abs(expected).max(), 1e-3)
    rank = np.linalg.matrix_rank(expected[0])
    extra = 0.0
    if depth > 1:
        # Rank never grows, whatever the time.
        s = np.linalg.svd(flow(8.0), compute_uv=False)
        extra = s[rank:].max(initial=0.0) / (INTEGRATED * max(s[0], 1e-3))
    return max(off(got, expected, absolute=INTEGRATED * size), extra)


def _aligned(depth, size, modes, kept):
    """Start along some of the modes of S: each runs on its own, the others stay away."""
    k = len(modes)
    moments = SecondMoments.from_moments(np.eye(k), np.diag(modes), np.sum(modes**2))
    a_0 = np.zeros(k)
    a_0[k - kept :] = size  # the weakest modes: a rounding error in a strong one would win
    flow = end_to_end_flow(moments, np.diag(a_0), depth=depth)
    worst = off(flow(0.0), np.diag(a_0), relative=1e-13)
    strongest = max(modes[k - kept :])
    if strongest == 0:  # it decays, by how much at time one cannot be seen
        return max(worst, off(flow(1.0), np.diag(a_0), absolute=size * 100 * size))
    race = Race(strongest, [size], [depth])
    unit = race.time(-np.log(2))
    for t in (0.5 * unit, 0.95 * unit, 1.1 * unit):
        got = np.diag(flow(t))
        separate = [mode_flow(s, a, depth=depth)(t) for s, a in zip(modes, a_0, strict=True)]
        worst = max(worst, off(got, separate, absolute=INTEGRATED * strongest))
        off_diagonal = flow(t) - np.diag(got)
        worst = max(worst, np.abs(off_diagonal).max() / (INTEGRATED * strongest))
    limit = np.where((a_0 > 0) & (modes > 0), modes, 0.0)
    if (modes[a_0 > 0] > 0).all():
        worst = max(worst, off(flow(np.inf), np.diag(limit), absolute=INTEGRATED * strongest))
    return worst
