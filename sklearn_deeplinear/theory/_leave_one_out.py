"""Exact leave-one-out residuals of deep linear networks with one output.

The closed forms are those of :mod:`_left_out_rows`, the equations to be solved those of
:mod:`_left_out_problem`; one table of curves serves all depths, noises and decays.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._left_out_curves import CELL, POINTS, Block, Table
from sklearn_deeplinear.theory._left_out_problem import LeftOutProblem

# Where tau is so many e-foldings beyond all eigenvalues, it is as good as zero or infinite.
_NEGLIGIBLE = 36.0

# Numbers in the table of polynomials of a block of samples: 4 MB fit into a cache.
_BLOCK_SIZE = 2**19


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
    residuals : list of ndarray of shape (n, J)
        y less the prediction, one array a member of `settings`.
    x : list of ndarray of shape (n, J)
        ``log(tau / sigma_1^2)``; inf for the zero map, -inf for no penalty.
    """
    n = len(rows.y)
    shapes = [(n, len(log_decay)) for _, log_decay, _ in settings]
    x = [np.full(shape, np.inf) for shape in shapes]
    residuals = [np.repeat(rows.residual_of_zero[:, None], J, axis=1) for _, J in shapes]
    if not len(rows.sigma):
        return residuals, x
    free = rows.residuals_of_least_squares()
    problems = [LeftOutProblem(rows, *setting) for setting in settings]
    low, high = _range(rows, [problem for problem in problems if problem.needs_table])
    edges = low + CELL * np.arange(max(1, int(np.ceil((high - low) / CELL))) + 1)
    step = max(1, _BLOCK_SIZE // (2 * len(POINTS) * len(edges)))
    for start in range(0, n, step):
        block = slice(start, start + step)
        table = Table(rows, block, edges)
        for problem, e, x_of in zip(problems, residuals, x, strict=True):
            problem.solve(table, e[block], x_of[block], free[block])
    for problem, e in zip(problems, residuals, strict=True):
        if problem.log_rho:
            e *= np.exp(problem.log_rho)
            e -= np.expm1(problem.log_rho) * rows.residual_of_zero[:, None]
    return residuals, x


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


def left_out_maps(rows, depth, log_decay, log_rho=0.0):
    """Residuals (n,), maps (n, d) and intercepts (n,) without each sample, at one setting.

    The intercepts belong to inputs as they are, not centred. See :func:`leave_one_out`.
    """
    (residuals,), (x,) = leave_one_out(rows, [(depth, np.array([log_decay]), log_rho)])
    residuals, x, rho = residuals[:, 0], x[:, 0], np.exp(log_rho)
    # What the map is made of is the residual that it would have without shrinkage by noise.
    alone = (residuals + np.expm1(log_rho) * rows.residual_of_zero) / rho
    coordinates = rho * rows.coordinates(alone, x)
    maps = coordinates @ rows.directions.T
    return residuals, maps, rows.intercepts(coordinates) - maps @ rows.moments.mean_x
