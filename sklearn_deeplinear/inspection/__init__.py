"""Displays: figures of what the estimators recorded."""

from sklearn_deeplinear.inspection._balance import BalanceDisplay
from sklearn_deeplinear.inspection._landscape import LandscapeDisplay
from sklearn_deeplinear.inspection._optimality import OptimalityDisplay
from sklearn_deeplinear.inspection._pathways import PathwayDisplay
from sklearn_deeplinear.inspection._phase_diagram import PhaseDiagramDisplay
from sklearn_deeplinear.inspection._regularisation_path import RegularisationPathDisplay
from sklearn_deeplinear.inspection._step_sizes import StepSizeDisplay
from sklearn_deeplinear.inspection._stopping import StoppingDisplay
from sklearn_deeplinear.inspection._trajectory import TrajectoryDisplay

__all__ = [
    "BalanceDisplay",
    "LandscapeDisplay",
    "OptimalityDisplay",
    "PathwayDisplay",
    "PhaseDiagramDisplay",
    "RegularisationPathDisplay",
    "StepSizeDisplay",
    "StoppingDisplay",
    "TrajectoryDisplay",
]
