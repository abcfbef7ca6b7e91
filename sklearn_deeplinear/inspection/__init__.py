"""Displays: figures of what the estimators recorded."""

from sklearn_deeplinear.inspection._balance import BalanceDisplay
from sklearn_deeplinear.inspection._trajectory import TrajectoryDisplay

__all__ = ["BalanceDisplay", "TrajectoryDisplay"]
