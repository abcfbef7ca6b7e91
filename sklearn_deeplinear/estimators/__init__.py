"""scikit-learn estimators."""

from sklearn_deeplinear.estimators._deep_linear import DeepLinearRegressor
from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor

__all__ = ["DeepLinearRegressor", "MultiPathwayRegressor"]
