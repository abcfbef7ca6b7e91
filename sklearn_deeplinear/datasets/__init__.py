"""Generators and loaders of data."""

from sklearn_deeplinear.datasets._hierarchical import make_hierarchical, make_linear_teacher
from sklearn_deeplinear.datasets._mnist import load_mnist_subset

__all__ = ["load_mnist_subset", "make_hierarchical", "make_linear_teacher"]
