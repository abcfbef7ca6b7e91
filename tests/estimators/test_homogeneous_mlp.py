"""The perceptrons as scikit-learn estimators: their checks, and life among its tools."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear.estimators._homogeneous_mlp import (
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
)

# The checks fit small data for few steps: not converging is no fault there.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CONFIGURATIONS = [
    HomogeneousMLPClassifier(width=10, max_iter=100),
    HomogeneousMLPClassifier(depth=1, loss="squared_error", max_iter=200),
    HomogeneousMLPClassifier(
        solver="adam", width=10, max_iter=50, batch_size=20, step_size=0.02, fit_bias=True
    ),
    HomogeneousMLPRegressor(width=10, max_iter=100),
    HomogeneousMLPRegressor(depth=2, width=5, activation="leaky_relu", solver="flow", max_iter=50),
    HomogeneousMLPRegressor(width=10, solver="sgd", max_iter=50, fit_bias=True),
    HomogeneousMLPRegressor(activation="identity", weight_decay=1e-3, dtype="float32", width=10),
]


@parametrize_with_checks(CONFIGURATIONS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
