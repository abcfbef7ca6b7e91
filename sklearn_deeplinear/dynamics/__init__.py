"""Running the equations: gradient descent, gradient flow and curvature."""

from sklearn_deeplinear._results import BalanceHistory, Trajectory
from sklearn_deeplinear.dynamics._comparison import StepSizeComparison, compare_step_sizes
from sklearn_deeplinear.dynamics._gradient_descent import gradient_descent
from sklearn_deeplinear.dynamics._gradient_flow import gradient_flow
from sklearn_deeplinear.dynamics._hessian_eigenvalues import hessian_eigenvalues

__all__ = [
    "BalanceHistory",
    "StepSizeComparison",
    "Trajectory",
    "compare_step_sizes",
    "gradient_descent",
    "gradient_flow",
    "hessian_eigenvalues",
]
