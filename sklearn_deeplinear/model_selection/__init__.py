"""Estimators that choose their hyperparameters by cross-validation."""

from sklearn_deeplinear.model_selection._deep_linear_cv import DeepLinearRegressorCV

__all__ = ["DeepLinearRegressorCV"]
