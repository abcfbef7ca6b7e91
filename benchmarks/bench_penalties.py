"""What do minima of three and four layers cost, beside skglm's non-convex penalties?

With white inputs the singular values of the minimum are shrunk one by one, under L gamma b^(2/L):
the penalties of `skglm.penalties.L2_3` (three layers) and `L0_5` (four), whose coordinate descent
then solves the same problem, on the identity and the singular values of the targets. Strengths must
agree before times, those of the processor, are told. Ours also finds the singular vectors.

    python benchmarks/bench_penalties.py            # seconds; needs skglm
    python benchmarks/bench_penalties.py --quick    # the smaller problem, one repeat
"""

from __future__ import annotations

import time
import warnings
from importlib.util import find_spec

import numpy as np
from _environment import write_results
from _measure import agreed, in_turn, parser, row, show

from sklearn_deeplinear.datasets import make_linear_teacher
from sklearn_deeplinear.theory import SecondMoments, global_minimum

REPEATS = 5
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
    )


def main():
    """Run all problems and print a line each."""
    quick = parser(__doc__, "the smaller problem, one repeat").parse_args().quick
    if not find_spec("skglm"):
        print("skglm is not installed: nothing to compare")
        return
    warnings.simplefilter("ignore")
    rows = []
    for k in SIZES[: 1 if quick else None]:
        for depth in PENALTIES:
            rows.append(bench(k, depth, 1 if quick else REPEATS))
            show(rows[-1])
    write_results("bench_penalties", rows, quick=quick)


if __name__ == "__main__":
    main()
