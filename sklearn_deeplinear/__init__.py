"""Deep linear networks and homogeneous MLPs in which theory and training meet."""

from importlib.metadata import version

from sklearn_deeplinear._warnings import TrainingWarning
from sklearn_deeplinear.estimators import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

__version__ = version("sklearn-deeplinear")

__all__ = [
    "DeepLinearRegressor",
    "HomogeneousMLPClassifier",
    "HomogeneousMLPRegressor",
    "MultiPathwayRegressor",
    "TrainingWarning",
    "__version__",
]
