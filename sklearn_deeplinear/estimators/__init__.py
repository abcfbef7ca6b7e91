"""scikit-learn estimators."""

from sklearn_deeplinear.estimators._deep_linear import DeepLinearRegressor

__all__ = ["DeepLinearRegressor"]
