"""scikit-learn estimators, and their weights for other tools."""

from sklearn_deeplinear.estimators._deep_linear import DeepLinearRegressor
from sklearn_deeplinear.estimators._deep_linear_classifier import DeepLinearClassifier
from sklearn_deeplinear.estimators._mlp_classifier import HomogeneousMLPClassifier
from sklearn_deeplinear.estimators._mlp_regressor import HomogeneousMLPRegressor
from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor
from sklearn_deeplinear.estimators._weight_files import (
    SavedWeights,
    load_weights,
    save_weights,
    to_module,
)

__all__ = [
    "DeepLinearClassifier",
    "DeepLinearRegressor",
    "HomogeneousMLPClassifier",
    "HomogeneousMLPRegressor",
    "MultiPathwayRegressor",
    "SavedWeights",
    "load_weights",
    "save_weights",
    "to_module",
]
