"""What type checkers understand of a user's program; never run, see ``make lint`` and ``dist``."""

from typing import assert_type

import numpy as np

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.results import GlobalMinimum, Trajectory, Verification
from sklearn_deeplinear.theory import (
    CriticalWeightDecay,
    SecondMoments,
    certify,
    critical_weight_decay,
    global_minimum,
    verify,
)


def program(X: np.ndarray, y: np.ndarray) -> None:
    """Declares what a user expects to get."""
    # Fits can be chained.
    assert_type(DeepLinearRegressor(depth=3).fit(X, y), DeepLinearRegressor)
    assert_type(DeepLinearClassifier().fit(X, y), DeepLinearClassifier)
    assert_type(DeepLinearRegressorCV().fit(X, y), DeepLinearRegressorCV)
    assert_type(HomogeneousMLPRegressor().fit(X, y), HomogeneousMLPRegressor)
    assert_type(MultiPathwayRegressor().fit(X, y), MultiPathwayRegressor)

    # Theory tells what it returns.
    moments = SecondMoments.from_data(X, y)
    assert_type(moments, SecondMoments)
    minimum = global_minimum(moments, depth=2, weight_decay=0.1)
    assert_type(minimum, GlobalMinimum)
    assert_type(minimum.objective, float)
    assert_type(verify(minimum, moments), Verification)
    assert_type(certify(minimum.coef, moments, depth=2, weight_decay=0.1), float)
    assert_type(critical_weight_decay(moments, depth=3), CriticalWeightDecay)


def last_objective(trajectory: Trajectory) -> float:
    """Results can be annotated by their public names."""
    return float(trajectory.objective[-1])
