"""Generators and loaders of data, and problems whose answers are known."""

from sklearn_deeplinear.datasets._ground_truth import GroundTruthProblem, ground_truth_problems
from sklearn_deeplinear.datasets._hierarchical import make_hierarchical, make_linear_teacher
from sklearn_deeplinear.datasets._mnist import load_mnist_subset

__all__ = [
    "GroundTruthProblem",
    "ground_truth_problems",
    "load_mnist_subset",
    "make_hierarchical",
    "make_linear_teacher",
]
