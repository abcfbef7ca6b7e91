"""skorch callbacks that record what scikit-learn users see, on any skorch net."""

from sklearn_deeplinear.callbacks._recorders import BalanceRecorder, TrajectoryRecorder

__all__ = ["BalanceRecorder", "TrajectoryRecorder"]
