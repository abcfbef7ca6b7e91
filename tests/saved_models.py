"""Small fits of every estimator, and the files of them that were saved once and must load.

``python -m tests.saved_models`` writes the files that are not there yet, to ``tests/data/saved``;
those that are there stay as they were written, by whichever version.
"""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.model_selection import BatchedGridSearchCV

FOLDER = Path(__file__).parent / "data" / "saved"

RNG = np.random.RandomState(0)
X = RNG.standard_normal((20, 3))
Y = X @ RNG.standard_normal((3, 2)) + 0.3 * RNG.standard_normal((20, 2)) + 1
CLASSES, TWO_CLASSES = np.repeat(["a", "b", "c"], [7, 6, 7]), np.repeat([0, 1], 10)
# Few steps, so that the files are small.
RUN = {"width": 3, "max_iter": 4, "record_every": 2, "random_state": 0, "batch_size": 8}

FITS = {
    "linear": (DeepLinearRegressor(depth=3, weight_decay=0.01, record_weights=True, **RUN), Y),
    "linear_one_output": (DeepLinearRegressor(weight_decay=0.1, **RUN), Y[:, 0]),
    "linear_noise": (DeepLinearRegressor(noise=0.1, **RUN), Y),
    "linear_analytic": (DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic"), Y),
    "linear_sgd": (DeepLinearRegressor(solver="sgd", **RUN), Y),
    "linear_classifier": (DeepLinearClassifier(weight_decay=0.1, **RUN), CLASSES),
    "linear_classifier_two": (DeepLinearClassifier(weight_decay=0.1, **RUN), TWO_CLASSES),
    "pathways": (MultiPathwayRegressor(depth=(1, 2), weight_decay=0.1, **RUN), Y),
    "pathways_relu": (MultiPathwayRegressor(activation="relu", **RUN), Y),
    "pathways_adam": (MultiPathwayRegressor(activation="tanh", solver="adam", **RUN), Y[:, 0]),
    "mlp": (HomogeneousMLPRegressor(**RUN), Y),
    "mlp_adam": (HomogeneousMLPRegressor(solver="adam", **RUN), Y[:, 0]),
    "mlp_classifier": (HomogeneousMLPClassifier(fit_bias=False, **RUN), CLASSES),
    "cv": (DeepLinearRegressorCV([0.01, 0.1], depths=[1, 2]), Y[:, 0]),
    "cv_trained": (DeepLinearRegressorCV([0.0], cv=2, solver="gd", max_iter=4), Y[:, 0]),
    "search": (
        BatchedGridSearchCV(DeepLinearRegressor(**RUN), {"weight_decay": [0.0, 0.1]}, cv=2),
        Y,
    ),
    "pipeline": (make_pipeline(StandardScaler(), DeepLinearRegressor(**RUN)), Y),
}


def fitted(name):
    """The fit of that name, which did not go on until it converged."""
    model, y = FITS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def numbers(model):
    """What a file must give back: predictions, and the minimum where one is known."""
    last = model[-1] if hasattr(model, "steps") else getattr(model, "best_estimator_", model)
    found = {"predictions": model.predict(X)}
    if hasattr(model, "predict_proba"):
        found["probabilities"] = model.predict_proba(X)
    if hasattr(last, "trajectory_"):
        found["objective"] = last.trajectory_.objective
    if hasattr(last, "global_minimum_"):
        found["minimum"] = np.array(last.global_minimum_.objective)
    return found


def write():
    """Write the files that are missing."""
    FOLDER.mkdir(exist_ok=True)
    for name in FITS:
        file = FOLDER / f"{name}.skops"
        if not file.exists():
            model = fitted(name)
            options = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 9}
            skops.io.dump(model, file, **options)
            np.savez_compressed(file.with_suffix(".npz"), **numbers(model))


if __name__ == "__main__":
    write()
