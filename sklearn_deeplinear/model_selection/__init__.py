"""Estimators that choose their hyperparameters by cross-validation."""

from sklearn_deeplinear.model_selection._batched_search import (
    BatchedGridSearchCV,
    BatchedRandomizedSearchCV,
)
from sklearn_deeplinear.model_selection._deep_linear_cv import DeepLinearRegressorCV
from sklearn_deeplinear.model_selection._stopping import StoppingPath

__all__ = [
    "BatchedGridSearchCV",
    "BatchedRandomizedSearchCV",
    "DeepLinearRegressorCV",
    "StoppingPath",
]
