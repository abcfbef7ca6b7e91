"""The three problems offer all that the solvers ask for."""

import inspect

import pytest

from sklearn_deeplinear.estimators._linear_problem import LinearProblem
from sklearn_deeplinear.estimators._pathway_problem import PathwayProblem
from sklearn_deeplinear.estimators._perceptron_problem import PerceptronProblem
from sklearn_deeplinear.estimators._problem import Problem

METHODS = [name for name, value in vars(Problem).items() if inspect.isfunction(value)]
METHODS = [name for name in METHODS if not name.startswith("_")]


@pytest.mark.parametrize("Case", [LinearProblem, PathwayProblem, PerceptronProblem])
@pytest.mark.parametrize("name", METHODS)
def test_a_problem_has_the_methods_of_the_protocol(Case, name):
    """By name and parameters; a perceptron has no minimum to start from."""
    if Case is PerceptronProblem and name == "optimum":
        assert not hasattr(Case, name)
        return
    expected = list(inspect.signature(getattr(Problem, name)).parameters)
    assert list(inspect.signature(getattr(Case, name)).parameters) == expected


@pytest.mark.parametrize("Case", [LinearProblem, PathwayProblem, PerceptronProblem])
def test_a_problem_has_the_attributes_of_the_protocol(Case):
    for name in inspect.get_annotations(Problem):
        assert hasattr(Case, name) or name in inspect.get_annotations(Case)
