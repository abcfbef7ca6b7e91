"""Exact leave-one-out residuals of deep linear networks with one output.

The closed forms are those of :mod:`_left_out_rows`, the equations to be solved those of
:mod:`_left_out_problem`. Minima without samples of little influence are shifts of those of all data
(:mod:`_left_out_path`). Others are looked for in one table of curves for all depths, noises and
decays.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._left_out_curves import CELL, POINTS, Block, Table
from sklearn_deeplinear.theory._left_out_path import CALM, LeftOutPath, turns_once
from sklearn_deeplinear.theory._left_out_problem import LeftOutProblem
from sklearn_deeplinear.theory._left_out_shifts import shifted_minima

# Where tau is so many e-foldings beyond all eigenvalues, it is as good as zero or infinite.
_NEGLIGIBLE = 36.0

# Numbers in the table of polynomials of a block of samples: 4 MB fit into a cache.
_BLOCK_SIZE = 2**19

# Samples that are shifted at once.
_N_SHIFTED = 2**12

# The share of samples without a shift from which on a setting is looked up for all of them.
_MANY = 0.1


def leave_one_out(rows, settings):
    """Residuals of all samples, each predicted by the global minimum without it.

    Parameters
    ----------
    rows : LeftOutRows
        The data.
    settings : sequence of (int, ndarray of shape (J,), float)
        Depth L, ``sum_l log gamma_l`` for J settings of the decays (-inf for none), and the
        log_rho of :func:`log_shrinkage`; the numbers J may differ.

    Returns
    -------
    residuals : list of ndarray of shape (J, n)
        y less the prediction, one array a member of `settings`.
    """
    # One array: freed as a whole, its memory is kept for the next one.
    ends = np.cumsum([len(log_decay) for _, log_decay, _ in settings])
    residuals = np.split(np.empty((ends[-1], len(rows.y))), ends[:-1])
    _solve(rows, settings, residuals, [None] * len(settings))
    return residuals


def left_out_maps(rows, depth, log_decay, log_rho=0.0):
    """Residuals (n,), maps (n, d) and intercepts (n,) without each sample, at one setting.

    The intercepts belong to inputs as they are, not centred. See :func:`leave_one_out`.
    """
    (residuals,), (x,) = found = np.empty((2, 1, len(rows.y)))
    _solve(rows, [(depth, np.array([log_decay]), log_rho)], found[:1], found[1:])
    rho = np.exp(log_rho)
    # What the map is made of is the residual that it would have without shrinkage by noise.
    alone = (residuals + np.expm1(log_rho) * rows.residual_of_zero) / rho
    coordinates = rho * rows.coordinates(alone, x)
    maps = coordinates @ rows.directions.T
    return residuals, maps, rows.intercepts(coordinates) - maps @ rows.moments.mean_x


def _solve(rows, settings, e, x):
    """Write residuals and x = log(tau / sigma_1^2) of the minima, or None for x.

    x is inf for the zero map, -inf for no penalty.
    """
    if len(rows.sigma):
        known = [np.zeros(residuals.shape, dtype=bool) for residuals in e]
        _shift(rows, settings, e, x, known)
        many = [np.mean(~k, axis=1) > _MANY for k in known]
        _look_up(rows, settings, many, np.arange(len(rows.y)), e, x)
        few = [~all_of_them for all_of_them in many]
        rest = [~k[f].all(axis=0) for k, f in zip(known, few, strict=True)]
        _look_up(rows, settings, few, np.flatnonzero(np.any(rest, axis=0)), e, x)
    else:
        for residuals, places in zip(e, x, strict=True):
            residuals[:] = rows.residual_of_zero
            if places is not None:
                places[:] = np.inf
    for (_, _, log_rho), residuals in zip(settings, e, strict=True):
        if log_rho:
            residuals *= np.exp(log_rho)
            residuals -= np.expm1(log_rho) * rows.residual_of_zero


def _shift(rows, settings, e, x, known):
    """Write what is known by shifts of the minima of all data."""
    calm = np.flatnonzero(rows.leverage <= CALM * rows.whole)
    if len(calm) < len(rows.y) / 2 or not rows.target.any():
        return
    paths = [
        LeftOutPath(LeftOutProblem(rows, *setting), interpolate=places is None)
        for setting, places in zip(settings, x, strict=True)
    ]
    names = "depth", "points", "offset"
    depth, x_all, offset = (np.concatenate([getattr(p, name) for p in paths]) for name in names)
    ends = np.cumsum([len(path.points) for path in paths])[:-1]
    free = rows.residuals_of_least_squares()
    for start in range(0, len(calm), _N_SHIFTED):
        samples = calm[start : start + _N_SHIFTED]
        if len(calm) == len(rows.y):
            samples = slice(start, start + _N_SHIFTED)
        block = Block.of(rows, samples)
        places = None if x[0] is None else np.empty((len(x_all), len(block.share)))
        found = shifted_minima(rows, block, depth, x_all, offset, places)
        parts = zip(*(np.split(part, ends) for part in found), strict=True)
        for i, (path, part) in enumerate(zip(paths, parts, strict=True)):
            part[1][:] &= turns_once(rows, block, path.problem.depth)
            at = e[i][:, samples], known[i][:, samples]  # views of slices, else copies
            path.write(block, part, free[samples], *at)
            e[i][:, samples], known[i][:, samples] = at
            if places is not None:
                at = x[i][:, samples]
                path.write_places(places, at)
                x[i][:, samples] = at


def _look_up(rows, settings, chosen, samples, e, x):
    """Look for the minima of chosen settings, without each of some samples, in a table."""
    chosen = [np.flatnonzero(c) for c in chosen]
    which = [i for i, c in enumerate(chosen) if c.size]
    if not which or not samples.size:
        return
    problems = []
    for i in which:
        depth, log_decay, log_rho = settings[i]
        problems.append(LeftOutProblem(rows, depth, log_decay[chosen[i]], log_rho))
    free = rows.residuals_of_least_squares()
    low, high = _range(rows, [problem for problem in problems if problem.needs_table])
    edges = low + CELL * np.arange(max(1, int(np.ceil((high - low) / CELL))) + 1)
    step = max(1, _BLOCK_SIZE // (2 * len(POINTS) * len(edges)))
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        table = Table(rows, part, edges)
        for i, problem in zip(which, problems, strict=True):
            found = np.repeat(rows.residual_of_zero[part, None], len(chosen[i]), axis=1)
            at = np.full_like(found, np.inf)
            problem.solve(table, found, at, free[part])
            e[i][np.ix_(chosen[i], part)] = found.T
            if x[i] is not None:
                x[i][np.ix_(chosen[i], part)] = at.T


def _range(rows, problems):
    """Ends of the range of x where minima are looked for.

    It begins a little left of all minima with no sample left out, further left if the curve of
    some sample is not below all levels there, and rising.
    """
    if not problems:
        return 0.0, 0.0
    floor = np.log(rows.a[-1]) - _NEGLIGIBLE
    low = min(problem.lowest for problem in problems) - CELL
    block = Block.of(rows, slice(None))
    while low > floor:
        log_B, slope, _ = block.at(rows, np.array([low]))
        if all(problem.is_below(low, log_B[0], slope[0]) for problem in problems):
            break
        low -= 1
    low = float(np.clip(low, floor, _NEGLIGIBLE))
    return low, float(np.clip(max(p.highest for p in problems), low, _NEGLIGIBLE))
