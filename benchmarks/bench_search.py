"""How much faster is a grid search that trains all candidates at once?

`BatchedGridSearchCV` against scikit-learn's `GridSearchCV` over the same estimators: 36
candidates on 3 folds, 300 steps each. Scores must agree before times are told; those are of
one core, the median of several repeats, in turn. Single fits of tiny linear networks are
timed with and without compiled steps (the extra `fast`). One search of a linear network is also
made over skorch: the same network from the same weights, by SGD on batches of all samples; a
sixth of the candidates, times six.

    python benchmarks/bench_search.py            # about three minutes
    python benchmarks/bench_search.py --quick    # one repeat, without skorch
"""

from __future__ import annotations

import time
import warnings
from functools import partial

import numpy as np
import torch
from _environment import write_results
from _measure import Timings, agreed, in_turn, parser, row, show
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
from skorch import NeuralNetRegressor

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics.networks import _compiled_steps
from sklearn_deeplinear.model_selection import BatchedGridSearchCV

REPEATS = 3
# Largest difference of scores; a score is 1 at best.
AGREE = 1e-8
# Of so many candidates one is trained by skorch, whose time grows with their number.
SKORCH_SHARE = 6
WHY = f"skorch trains one in {SKORCH_SHARE} candidates, and its time is {SKORCH_SHARE} times that"
GRID = {"weight_decay": np.geomspace(1e-3, 1, 12), "step_size": [0.01, 0.02, 0.03]}
RUN = {"max_iter": 300, "tol": 0, "random_state": 0}
CASES = {
    "linear, 10-16-16-1": DeepLinearRegressor(3, 16, **RUN),
    "linear, noise": DeepLinearRegressor(3, 16, noise=0.1, **RUN),
    "linear, width 100": DeepLinearRegressor(3, 100, **RUN),
    "linear pathways": MultiPathwayRegressor(3, 8, **RUN),
    "perceptrons, 10-16-1": HomogeneousMLPRegressor(2, 16, **RUN),
    "perceptrons, width 100": HomogeneousMLPRegressor(2, 100, **RUN),
}


def measure(name, model, X, y, repeats, compiled):
    """Agreement of the scores, and seconds of both searches."""
    kinds = {"at once": BatchedGridSearchCV, "one by one": GridSearchCV}
    searches = {way: kind(model, GRID, cv=3, refit=False) for way, kind in kinds.items()}
    ways = {way: partial(search.fit, X, y) for way, search in searches.items()}
    timings = in_turn(ways, repeats, clock=time.process_time)
    batched, single = (s.cv_results_["mean_test_score"] for s in searches.values())
    error = agreed(name, np.abs(batched - single).max(), AGREE)
    case = name if compiled else f"{name}, no compiled steps"
    ratios = [("one by one", "at once")]
    return row(case, timings, ratios, agreement=error, compiled_steps=compiled)


class Linear(torch.nn.Sequential):
    """Linear layers without biases, in double precision, at given weights."""

    def __init__(self, weights):
        layers = [torch.nn.Linear(*W.shape[::-1], bias=False) for W in weights]
        super().__init__(*layers)
        self.double()
        for layer, W in zip(layers, weights, strict=True):
            layer.weight.data.copy_(torch.from_numpy(W))


def beside_skorch(X, y):
    """The same for the linear network without intercept, and a search over skorch."""
    alone = {"init": "spectral", "fit_intercept": False}
    start = DeepLinearRegressor(3, 16, **RUN | {"max_iter": 0}, **alone).fit(X, y).weights_
    model = DeepLinearRegressor(3, 16, **RUN, **alone | {"init": start})
    net = NeuralNetRegressor(
        Linear,
        module__weights=start,
        optimizer=torch.optim.SGD,
        batch_size=-1,
        max_epochs=RUN["max_iter"],
        train_split=None,
        verbose=0,
    )
    few = GRID["weight_decay"][::SKORCH_SHARE]
    # Their penalty is weight_decay / 2 times the squared norm.
    theirs = {"optimizer__weight_decay": 2 * few, "lr": GRID["step_size"]}
    searches = {
        "at once": (BatchedGridSearchCV, model, GRID, y),
        "one by one": (GridSearchCV, model, GRID, y),
        "skorch": (GridSearchCV, net, theirs, y[:, None]),
    }
    seconds, scores = {}, {}
    for way, (kind, estimator, grid, targets) in searches.items():
        own = []
        for _ in range(2 if way == "skorch" else REPEATS + 1):
            begin = time.process_time()
            found = kind(estimator, grid, cv=3, refit=False).fit(X, targets)
            own.append(time.process_time() - begin)
        # The first one of each loads what the others find.
        seconds[way], scores[way] = own[1:], found.cv_results_["mean_test_score"]
    shared = np.reshape(scores["at once"], (len(GRID["step_size"]), -1))[:, ::SKORCH_SHARE].ravel()
    differences = [
        np.abs(scores["at once"] - scores["one by one"]).max(),
        np.abs(shared - scores["skorch"]).max(),
    ]
    seconds["skorch"] = [SKORCH_SHARE * own for own in seconds["skorch"]]
    return row(
        "linear, 10-16-16-1, from given weights, beside skorch",
        Timings(seconds, scores),
        [("one by one", "at once"), ("skorch", "at once")],
        agreement=float(max(differences)),
        compiled_steps=True,
        why=WHY,
    )


def main():
    quick = parser(__doc__, "one repeat, without skorch").parse_args().quick
    warnings.simplefilter("ignore")
    X, y = map(scale, load_diabetes(return_X_y=True))
    find, results = _compiled_steps.find_spec, []
    for compiled in (True, False):
        _compiled_steps.find_spec = find if compiled else lambda name: None
        for name, model in CASES.items():
            if compiled or "linear," in name:
                results.append(measure(name, model, X, y, 1 if quick else REPEATS, compiled))
                show(results[-1])
    _compiled_steps.find_spec = find
    if not quick:
        results.append(beside_skorch(X, y))
        show(results[-1])
    write_results("bench_search", results, quick=quick)


if __name__ == "__main__":
    main()
