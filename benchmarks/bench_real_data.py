"""How well do cross-validated deep linear networks predict real data, beside their peers?

Ten random splits of each data set into training and test samples. All contestants choose their
settings on the training samples alone, by the squared error of all outputs together unless they
have a penalty an output: `RidgeCV` by leave-one-out, with one penalty and with one an output, and
by five folds, as `MultiTaskLassoCV` (`LassoCV` for one output, none for more than 100, where a fit
takes minutes), `PLSRegression` in a grid search over the number of components, and
`DeepLinearRegressorCV` over depths and decays, by five folds (but for 300 images of MNIST, where a
fit takes minutes) and by leaving out single samples, of several outputs with a network for each and
one setting for all or one each, as it finds better. The score is the share of the variance of all
outputs together that is explained on the test samples; the best ridge regression is the one of the
best mean. Inputs are scaled to unit variance, pixels are not. Times are those of the processor, one
fit with all its validation.

    python benchmarks/bench_real_data.py                    # a quarter of an hour
    python benchmarks/bench_real_data.py --quick            # linnerud and diabetes, three splits
    python benchmarks/bench_real_data.py --only "MNIST, 100"     # replaces this row alone
"""

from __future__ import annotations

import json
import time
import warnings

import numpy as np
from _environment import RESULTS, write_results
from _measure import parser
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_diabetes, load_digits, load_linnerud
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, MultiTaskLassoCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressorCV
from sklearn_deeplinear.datasets import load_mnist_subset

N_SPLITS, N_FOLDS, N_PENALTIES = 10, 5, 31

# The lasso of several outputs takes minutes a fit of more than so many.
MOST_OUTPUTS_OF_LASSO = 100

# So do five folds of networks with so many outputs from 300 samples, in the row of this name.
WITHOUT_FOLDS = "MNIST, 300"

# What settings are chosen by, as leaving out single samples does: R2 averaged over outputs would
# heed little but the pixels that hardly vary.
SCORING = "neg_mean_squared_error"


def halves(images):
    """The upper halves of flat square images, and the lower ones."""
    middle = images.shape[1] // 2
    return images[:, :middle], images[:, middle:]


# Data, training samples, whether inputs are scaled, and depths.
CASES = {
    "linnerud": (lambda: load_linnerud(return_X_y=True), 15, True, (1, 2, 3)),
    "diabetes, 50": (lambda: load_diabetes(return_X_y=True), 50, True, (1, 2, 3)),
    "diabetes, 330": (lambda: load_diabetes(return_X_y=True), 330, True, (1, 2, 3)),
    "digits, 60": (lambda: halves(load_digits().data), 60, False, (1, 2, 3)),
    "digits, 200": (lambda: halves(load_digits().data), 200, False, (1, 2, 3)),
    "digits, 1300": (lambda: halves(load_digits().data), 1300, False, (1, 2, 3)),
    "MNIST, 100": (lambda: halves(load_mnist_subset()[0]), 100, False, (1, 2)),
    "MNIST, 300": (lambda: halves(load_mnist_subset()[0]), 300, False, (1, 2)),
}


def contestants(X, y, depths):
    """Estimators by name, for training data of this size."""
    # Those that networks of one layer try by default, and ten smaller ones.
    top = np.linalg.norm(X - X.mean(0), 2) ** 2
    alphas = 100 * top * np.logspace(-8, 0, 41)
    lasso = LassoCV if y.ndim == 1 else MultiTaskLassoCV
    sparse = {lasso.__name__: lasso(alphas=N_PENALTIES, cv=N_FOLDS)}
    if y.ndim > 1 and y.shape[1] > MOST_OUTPUTS_OF_LASSO:
        sparse = {}
    most = min(X.shape[1], 32, len(X) * (N_FOLDS - 1) // N_FOLDS - 1)
    components = np.unique(np.geomspace(1, most, 12).astype(int))
    each, left_out = {}, {"DeepLinearRegressorCV, left out": DeepLinearRegressorCV(depths=depths)}
    if y.ndim > 1:
        each = {"RidgeCV, by target": RidgeCV(alphas, alpha_per_target=True)}
        alone = DeepLinearRegressorCV(depths=depths, per_target="auto")
        left_out = {"DeepLinearRegressorCV, left out by target": alone}
    return {
        "RidgeCV": RidgeCV(alphas),
        "RidgeCV, 5 folds": RidgeCV(alphas, cv=N_FOLDS, scoring=SCORING),
        **each,
        **sparse,
        "PLSRegression": GridSearchCV(
            PLSRegression(scale=False, max_iter=2000),
            {"n_components": components},
            cv=N_FOLDS,
            scoring=SCORING,
        ),
        "DeepLinearRegressorCV": DeepLinearRegressorCV(depths=depths, cv=N_FOLDS),
        **left_out,
    }


def fitted(model, X, y):
    """Fit a model; return it and the processor seconds."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return model, time.process_time() - start


def bench(name, n_splits):
    """Scores and times of all contestants on one data set; a dict."""
    load, n_train, scaled, depths = CASES[name]
    X, y = load()
    scores, seconds, chosen, ways_chosen = {}, {}, [], []
    for split in range(n_splits):
        parts = train_test_split(X, y, train_size=n_train, random_state=split)
        X_train, X_test, y_train, y_test = parts
        models = contestants(X_train, y_train, depths)
        if name == WITHOUT_FOLDS:
            del models["DeepLinearRegressorCV"]
        deep_way = next(way for way in models if "left out" in way)
        for way, model in models.items():
            model = make_pipeline(StandardScaler(), model) if scaled else model
            model, time_taken = fitted(model, X_train, y_train)
            score = r2_score(y_test, model.predict(X_test), multioutput="variance_weighted")
            scores.setdefault(way, []).append(float(score))
            seconds.setdefault(way, []).append(time_taken)
            if way == deep_way:
                deep = model[-1] if scaled else model
                params = deep.best_params_
                params = params if isinstance(params, list) else [params]
                chosen.append([p["depth"] for p in params])
                ways_chosen.append(deep.per_target_ == "setting")
        print(f"    split {split + 1} of {n_splits}", flush=True)
    return {
        "data": name,
        "shape": [n_train, X.shape[1], 1 if y.ndim == 1 else y.shape[1]],
        "n_splits": n_splits,
        "depths_chosen": _counts(chosen),
        "splits_with_a_setting_each": sum(ways_chosen),
        "models": {way: _summary(way, scores, seconds) for way in scores},
    }


def _counts(chosen):
    """How many outputs of all splits have which depth, by depth."""
    depths, counts = np.unique(np.concatenate(chosen), return_counts=True)
    return dict(zip(map(str, depths), map(int, counts), strict=True))


def _summary(way, scores, seconds):
    """Mean score, its difference from the best ridge regression by split, and median time."""
    ridges = [np.mean(s) for w, s in scores.items() if w.startswith("RidgeCV")]
    best = [s for w, s in scores.items() if w.startswith("RidgeCV")][int(np.argmax(ridges))]
    difference = np.subtract(scores[way], best)
    return {
        "score": float(np.mean(scores[way])),
        "less_best_ridge": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        "standard_error_of_score": float(np.std(scores[way], ddof=1) / np.sqrt(len(difference))),
        "seconds": float(np.median(seconds[way])),
    }


def merged(rows):
    """Rows that were written before, but for those that are new, in the order of the cases."""
    path = RESULTS / "bench_real_data.json"
    known = json.loads(path.read_text())["results"] if path.exists() else []
    by_name = {row["data"]: row for row in [*known, *rows]}
    return [by_name[name] for name in CASES if name in by_name]


def main():
    """Compare on all data sets, print one table and write the results."""
    line = parser(__doc__, "two data sets, three splits")
    line.add_argument("--only", choices=CASES, help="one data set; the others keep their rows")
    line.add_argument("--splits", type=int, help=f"random splits; {N_SPLITS} unless quick")
    arguments = line.parse_args()
    names = [arguments.only] if arguments.only else list(CASES)[: 2 if arguments.quick else None]
    rows, n_splits = [], arguments.splits or (3 if arguments.quick else N_SPLITS)
    for name in names:
        row = bench(name, n_splits)
        rows.append(row)
        print(f"{name}, {' x '.join(map(str, row['shape']))}, depths {row['depths_chosen']}")
        for way, result in row["models"].items():
            print(
                f"    {way:42}{result['score']:8.4f}{result['less_best_ridge']:+9.4f}"
                f" +- {result['standard_error']:.4f}{result['seconds']:9.3f} s",
                flush=True,
            )
        results = rows if arguments.quick else merged(rows)
        write_results("bench_real_data", results, quick=arguments.quick, repeats=n_splits)


if __name__ == "__main__":
    main()
