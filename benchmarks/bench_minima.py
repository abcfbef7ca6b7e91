"""What do certified minima of several outputs cost, and does an independent solver agree?

Paths of 60 decays for networks of two layers, `deep_linear_path(X, y, weight_decays=...)`, are
timed against one fit of scikit-learn's `RidgeCV` with 60 penalties on the same data. The ways
run in turn on one thread; seconds are those of the process (`time.process_time`), ratios those
of the medians. Then, untimed:

- every point of a path is held against a dual bound that is computed here, from its map, and
  every few points `verify` confirms the minimum that `global_minimum` reports;
- every few points accelerated proximal gradients (FISTA, a singular value decomposition per
  step, nothing of the package but the moments) run until their own duality gap is 1e-10;
- if cvxpy is installed, it solves some of the problems that are small enough for it.

With three layers, where the problem is not convex, each point of a path is to be proven by
`certify` or by the search of `global_minimum`. Last, single fits of 100 inputs and outputs, and
a grid search over 12 settings.

    python benchmarks/bench_minima.py            # about five minutes on one core
    python benchmarks/bench_minima.py --quick    # small data only, one repeat
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from _environment import write_results
from _measure import Timings, in_turn, parser, row, show
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import (
    SecondMoments,
    certify,
    deep_linear_path,
    global_minimum,
    verify,
)

N_DECAYS = 60

DIFFERENCES = ("most_above_fista", "most_below_fista", "largest_difference_from_cvxpy")

# From the decay at which two layers collapse down to a thousandth of it.
WEAKEST = 1e-3

# What is called certified, and the duality gap of the reference.
CERTIFIED, REFERENCE_GAP = 1e-8, 1e-10

# Every so many decays of a path the reference is run, and `verify`.
EVERY = 6


def random_data(d, m, condition):
    """2,000 rows: d inputs whose covariance has this condition number, m outputs, noise."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(d, d)))[0]
    X = random.normal(size=(2000, d)) * np.geomspace(1, condition**-0.5, d) @ axes
    Y = X @ random.normal(size=(d, m))
    return X, Y + 0.5 * Y.std() * random.normal(size=Y.shape)


def serum():
    """Six serum measurements of the diabetes data from age, sex, body mass and pressure."""
    data = load_diabetes().data
    return data[:, :4], data[:, 4:]


# name: function of no arguments that returns X, Y; repeats; whether cvxpy can solve it
CASES = {
    "linnerud, 20 x 3, 3 outputs": (partial(load_linnerud, return_X_y=True), 9, True),
    "diabetes, 442 x 4, 6 outputs": (serum, 9, True),
    "random, 2000 x 10, 5 outputs": (partial(random_data, 10, 5, 100), 9, True),
    "random, 2000 x 100, 10 outputs": (partial(random_data, 100, 10, 1), 5, False),
    "condition 100, 2000 x 100, 10 outputs": (partial(random_data, 100, 10, 100), 5, False),
    "random, 2000 x 100, 100 outputs": (partial(random_data, 100, 100, 1), 3, False),
    "condition 100, 2000 x 100, 100 outputs": (partial(random_data, 100, 100, 100), 3, False),
}
N_QUICK = 3  # the first ones


def cpu_seconds(function):
    """Seconds that a call of a function takes of one core, and what it returns."""
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def decays_of(moments):
    """Sixty decays, the largest that at which two layers collapse."""
    return np.linalg.norm(moments.cross_moment, 2) * np.geomspace(WEAKEST, 1, N_DECAYS)


class Nuclear:
    """``||R_x M^T - R_y||_F^2 + 2 g ||M||_*``, the objective of two layers, in plain numpy."""

    def __init__(self, moments, g):
        self.R_x, self.R_y, self.g = moments.input_factor, moments.output_factor, g

    def value(self, M):
        """Objective of a map."""
        return np.sum(self._residual(M) ** 2) + 2 * self.g * np.linalg.norm(M, "nuc")

    def dual(self, M):
        """Lower bound: the residuals, scaled until they are dual feasible."""
        E = -self._residual(M)
        inner, square = np.sum(E * self.R_y), np.sum(E**2)
        c = min(inner / square, self.g / np.linalg.norm(self.R_x.T @ E, 2)) if square else 0.0
        return 2 * c * inner - c**2 * square

    def minimum(self):
        """Objective of FISTA, with restarts, once its duality gap has closed; and the steps."""
        step = 1 / np.linalg.norm(self.R_x, 2) ** 2
        M = extrapolated = np.zeros((self.R_y.shape[1], self.R_x.shape[1]))
        t, n_steps = 1.0, 0
        while self.value(M) - self.dual(M) > REFERENCE_GAP * self.value(M):
            for _ in range(20):
                downhill = extrapolated - step * self._residual(extrapolated).T @ self.R_x
                U, s, Vt = np.linalg.svd(downhill, full_matrices=False)
                new = U * np.maximum(s - step * self.g, 0) @ Vt
                if np.sum((extrapolated - new) * (new - M)) > 0:
                    t = 1.0
                t_next = (1 + np.sqrt(1 + 4 * t**2)) / 2
                extrapolated = new + (t - 1) / t_next * (new - M)
                M, t, n_steps = new, t_next, n_steps + 1
        return self.value(M), n_steps

    def by_cvxpy(self):
        """Objective of the map that cvxpy finds, by an interior-point method."""
        import cvxpy

        M = cvxpy.Variable((self.R_y.shape[1], self.R_x.shape[1]))
        loss = cvxpy.sum_squares(self.R_x @ M.T - self.R_y)
        problem = cvxpy.Problem(cvxpy.Minimize(loss + 2 * self.g * cvxpy.normNuc(M)))
        tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-11)
        with warnings.catch_warnings():
            # Says that it has stopped short of these tolerances, which are beyond its reach.
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            problem.solve(solver=cvxpy.CLARABEL, **tight)
        return self.value(M.value)

    def _residual(self, M):
        return self.R_x @ M.T - self.R_y


def path_of_two(name, repeats):
    """Time and check a path with two layers; a dict."""
    make, default, solvable = CASES[name]
    X, Y = make()
    moments = SecondMoments.from_data(X, Y)
    decays = decays_of(moments)
    ridge = RidgeCV(alphas=decays * len(X))
    ways = {
        "path": lambda: deep_linear_path(X, Y, weight_decays=decays, depth=2),
        "RidgeCV": lambda: ridge.fit(X, Y),
    }
    timings = in_turn(ways, repeats or default, warm_up=1, clock=time.process_time)
    path = timings.outcomes["path"]
    problems = [Nuclear(moments, g) for g in decays]
    bounds = np.array([p.dual(M) for p, M in zip(problems, path.coefs, strict=True)])
    gaps = (path.objectives - bounds) / path.objectives
    others = against_others(moments, problems, path, range(0, N_DECAYS, EVERY), solvable)
    return row(
        name,
        timings,
        [("path", "RidgeCV")],
        agreement=max(value for key, value in others.items() if key in DIFFERENCES),
        figures={
            "share certified": float(np.mean(gaps <= CERTIFIED)),
            "largest gap": float(gaps.max()),
        },
        part="two layers, 60 decays",
        **others,
    )


def against_others(moments, problems, path, chosen, solvable):
    """Minima against `verify`, FISTA and cvxpy at the `chosen` decays."""
    minima = [global_minimum(moments, depth=2, weight_decay=problems[i].g) for i in chosen]
    reports = [verify(minimum, moments) for minimum in minima]
    known = np.array([path.objectives[i] for i in chosen])
    fista, steps = zip(*(problems[i].minimum() for i in chosen), strict=True)
    found = {
        "checked": len(known),
        "share_verified": float(np.mean([r.ok and r.gap <= CERTIFIED for r in reports])),
        "most_above_fista": float(np.max(known / fista - 1)),
        "most_below_fista": float(np.max(1 - known / fista)),
        "fista_steps": steps,
    }
    if solvable and find_spec("cvxpy"):
        values = np.array([problems[i].by_cvxpy() for i in chosen])
        found["largest_difference_from_cvxpy"] = float(np.abs(known / values - 1).max())
    return found


def path_of_three(name):
    """Time a path with three layers, and what `certify` proves of it."""
    moments = SecondMoments.from_data(*CASES[name][0]())
    decays = decays_of(moments)
    seconds, path = cpu_seconds(lambda: deep_linear_path(moments, weight_decays=decays, depth=3))
    points = zip(decays, path.coefs, path.objectives, strict=True)
    gaps = [1 - certify(M, moments, depth=3, weight_decay=g) / J for g, M, J in points]
    closed = np.array(gaps) <= CERTIFIED
    # What one singular value decomposition leaves open the search may have closed by branching.
    searched = [global_minimum(moments, depth=3, weight_decay=g) for g in decays[~closed]]
    proven = sum(minimum.kind == "certified" for minimum in searched) / N_DECAYS
    figures = {
        "share closed by certify": float(np.mean(closed)),
        "largest gap of certify": float(max(gaps)),
        "share certified": float(np.mean(closed)) + proven,
    }
    return row(name, once("path", seconds), figures=figures, part="three layers, 60 decays")


def once(way, seconds):
    """Timings of what ran once."""
    return Timings({way: [seconds]}, {})


def single_fits(name):
    """Seconds of one minimum, the data read before, at a hundredth and a tenth of the collapse."""
    moments = SecondMoments.from_data(*CASES[name][0]())
    top = decays_of(moments)[-1]
    rows = []
    for depth in (2, 3):
        for share in (0.01, 0.1):
            solve = partial(global_minimum, moments, depth=depth, weight_decay=share * top)
            seconds, minimum = cpu_seconds(solve)
            gap = 1 - minimum.lower_bound / minimum.objective
            case = f"{name}, {depth} layers, {share:g} of the decay of collapse"
            figures = {"kind": minimum.kind, "gap": gap}
            took = once("global_minimum", seconds)
            rows.append(row(case, took, figures=figures, part="single minima"))
    return rows


def grid_search():
    """Seconds of a search over three depths and four decays of networks fitted exactly."""
    X, Y = load_linnerud(return_X_y=True)
    network = DeepLinearRegressor(solver="analytic")
    grid = {
        "deeplinearregressor__depth": [2, 3, 4],
        "deeplinearregressor__weight_decay": [1e-3, 1e-2, 0.1, 1.0],
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=5)
    took = once("search", cpu_seconds(lambda: search.fit(X, Y))[0])
    figures = {"settings": 12, "fits": 61}
    return row("linnerud, GridSearchCV", took, figures=figures, part="grid search")


def main():
    """Print what is found and write the results."""
    quick = parser(__doc__, "small data only, one repeat").parse_args().quick
    torch.set_num_threads(1)
    names = list(CASES)
    if not find_spec("cvxpy"):
        print("cvxpy is not installed: nothing is compared with it")
    rows = []
    for name in names[: N_QUICK if quick else None]:
        rows.append(path_of_two(name, 1 if quick else None))
        show(rows[-1])
    tens = [name for name in names if "10 outputs" in name]
    rows += [path_of_three(name) for name in (names[:N_QUICK] if quick else tens)]
    rows += [] if quick else single_fits("random, 2000 x 100, 100 outputs")
    rows.append(grid_search())
    write_results("bench_minima", rows, quick=quick)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
