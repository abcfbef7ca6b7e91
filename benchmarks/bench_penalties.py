"""What do exact minima cost, beside skglm's non-convex penalties and pyscnn's convex networks?

With white inputs the singular values of the minimum are shrunk one by one, under L gamma b^(2/L):
the penalties of `skglm.penalties.L2_3` (three layers) and `L0_5` (four), whose coordinate descent
then solves the same problem, on the identity and the singular values of the targets. Strengths must
agree before times, those of the processor, are told. Ours also finds the singular vectors.

pyscnn writes networks of two layers of gated ReLU units as convex problems. With one unit whose
gate is open for all samples this is the linear network of two layers and one output,
|y - X w|^2 / n + 2 gamma |w|, which its accelerated proximal gradients solve from the samples. The
gate opens on a column of ones, whose weight is zero at the minimum, as all is centred. Both take
the samples, and their objectives must agree.

pyscnn asks for torchvision, which it does not import: `pip install --no-deps pyscnn
linalg_backends`, and opt_einsum. (The package scnn of the same index is another one, whose
files replace those of pyscnn.)

    python benchmarks/bench_penalties.py            # seconds; needs skglm or pyscnn
    python benchmarks/bench_penalties.py --quick    # the smaller problem, one repeat
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
from _environment import write_results
from _measure import agreed, in_turn, parser, row, show
from sklearn.datasets import load_diabetes, make_regression
from sklearn.preprocessing import scale

from sklearn_deeplinear.datasets import make_linear_teacher
from sklearn_deeplinear.theory import SecondMoments, global_minimum

REPEATS = 5
# Largest difference of the objectives of networks of two layers, of the smaller one, and the
# squared norm of the gradient at which pyscnn stops.
AGREE_OBJECTIVES, TOLERANCE = 1e-8, 1e-12
CONVEX = {
    "diabetes, 442 x 10": lambda: load_diabetes(return_X_y=True),
    "random, 2000 x 100": lambda: make_regression(2000, 100, noise=100.0, random_state=0),
}
# Largest difference of strengths, of the largest of them.
AGREE = 1e-6
# Modes, which are the inputs and the outputs.
SIZES = [20, 100]
PENALTIES = {3: "L2_3", 4: "L0_5"}
DECAY = 0.05


def by_skglm(strengths, depth, gamma):
    """Shrunk strengths by coordinate descent: |s - b|^2 + L gamma |b|^(2/L), each."""
    from skglm import GeneralizedLinearEstimator, penalties
    from skglm.datafits import Quadratic
    from skglm.solvers import AndersonCD

    k = len(strengths)
    # Its loss is |y - X b|^2 / (2 k).
    penalty = getattr(penalties, PENALTIES[depth])(depth * gamma / (2 * k))
    # By subgradients zero would be optimal for every strength, as it is a local minimum.
    solver = AndersonCD(tol=1e-12, fit_intercept=False, max_iter=1000, ws_strategy="fixpoint")
    model = GeneralizedLinearEstimator(Quadratic(), penalty, solver)
    return model.fit(np.asfortranarray(np.eye(k)), strengths).coef_


def by_pyscnn(X, y, gamma):
    """Weights of the linear network of two layers, from its convex form."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexGatedReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import RFISTA

    gate = np.zeros((X.shape[1] + 1, 1))
    gate[-1] = 1
    model = ConvexGatedReLU(gate)
    found, _ = optimize_model(
        model,
        RFISTA(model, max_iters=10_000, tol=TOLERANCE),
        Metrics(metric_freq=10_000),
        np.column_stack([X, np.ones(len(X))]),
        y[:, None],
        # Its loss is half of the mean of squares.
        regularizer=NeuronGL1(gamma),
        return_convex=True,
        unitize_data=False,
        dtype="float64",
    )
    return np.ravel(found.parameters[0])[:-1]


def bench_convex(name, repeats):
    """Time one network of two layers beside pyscnn; a dict."""
    X, y = map(scale, CONVEX[name]())

    def objective(w):
        return np.mean((X @ w - y) ** 2) + 2 * DECAY * np.linalg.norm(w)

    def ours():
        moments = SecondMoments.from_data(X, y)
        return global_minimum(moments, depth=2, weight_decay=DECAY).coef[0]

    ways = {"ours": ours, "pyscnn": lambda: by_pyscnn(X, y, DECAY)}
    timings = in_turn(ways, repeats, warm_up=1, clock=time.process_time)
    known, theirs = (objective(timings.outcomes[way]) for way in ways)
    return row(
        name,
        timings,
        [("pyscnn", "ours")],
        agreement=agreed(name, abs(theirs / known - 1), AGREE_OBJECTIVES),
        part="two layers, one output, from the samples",
    )


def bench(k, depth, repeats):
    """Time one problem; a dict."""
    values = np.geomspace(2, 0.05, k)
    X, Y, _ = make_linear_teacher(
        4 * k, k, k, singular_values=values, noise=0.1, whiten=True, random_state=0
    )
    strengths = np.linalg.svd(Y.T @ X / len(X), compute_uv=False)
    moments = SecondMoments.from_data(X, Y, center=False)
    ways = {
        "ours": lambda: np.linalg.svd(
            global_minimum(moments, depth=depth, weight_decay=DECAY).coef, compute_uv=False
        ),
        "skglm": lambda: by_skglm(strengths, depth, DECAY),
    }
    timings = in_turn(ways, repeats, warm_up=1, clock=time.process_time)
    ours, theirs = (np.sort(timings.outcomes[way]) for way in ways)
    name = f"{k} modes, {depth} layers"
    return row(
        name,
        timings,
        [("ours", "skglm")],
        agreement=agreed(name, np.abs(ours - theirs).max() / strengths[0], AGREE),
        figures={
            "penalty of skglm": PENALTIES[depth],
            "modes alive": int(np.sum(theirs > 0)),
        },
        part="three and four layers, white inputs",
    )


def main():
    """Run all problems and print a line each."""
    quick = parser(__doc__, "the smaller problem, one repeat").parse_args().quick
    warnings.simplefilter("ignore")
    few, repeats, rows = (1, 1, []) if quick else (None, REPEATS, [])
    runs = {
        "skglm": [partial(bench, k, depth) for k in SIZES[:few] for depth in PENALTIES],
        "scnn": [partial(bench_convex, name) for name in list(CONVEX)[:few]],
    }
    for peer, cases in runs.items():
        if not find_spec(peer):
            print(f"{peer} is not installed: its rows are left out")
            continue
        for case in cases:
            rows.append(case(repeats))
            show(rows[-1])
    if rows:
        write_results("bench_penalties", rows, quick=quick)


if __name__ == "__main__":
    main()
