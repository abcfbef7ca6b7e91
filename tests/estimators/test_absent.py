"""Attributes that are computed when they are asked for: there, or not there."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

MODELS = [
    DeepLinearClassifier(weight_decay=0.1),
    DeepLinearRegressor(weight_decay=0.1),
    DeepLinearRegressorCV(depths=[1]),
    HomogeneousMLPClassifier(width=4),
    HomogeneousMLPRegressor(width=4),
    MultiPathwayRegressor(weight_decay=0.1),
]
COMPUTED = [
    (model, name)
    for model in MODELS
    for name in dir(type(model))
    if name[0] != "_" == name[-1] and isinstance(getattr(type(model), name), property)
]
rng = np.random.RandomState(0)
X = rng.standard_normal((30, 3))
y = (X[:, 0] + 0.5 * rng.standard_normal(30) > 0).astype(int)


def test_they_are_those_of_the_linear_estimators():
    assert {name for _, name in COMPUTED} == {
        "global_minimum_",
        "optimality_gap_",
        "optimality_certificate_",
    }


class NothingKnown:
    """A problem in which nothing can be computed."""

    linear = True

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(f"X must be otherwise for {name}")


@pytest.mark.parametrize(("model", "name"), COMPUTED)
def test_hasattr_never_raises(model, name):
    model = clone(model)
    assert not hasattr(model, name)
    model.fit(X, y)
    assert hasattr(model, name)
    model._problem = NothingKnown()
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match="X must be otherwise") as caught:
        getattr(model, name)
    assert isinstance(caught.value.__cause__, ValueError)
    assert getattr(model, name, None) is None


@pytest.mark.parametrize("name", ["global_minimum_", "optimality_certificate_"])
def test_of_what_is_not_fitted_scikit_learn_says_so(name):
    with pytest.raises(NotFittedError):
        getattr(DeepLinearRegressor(), name)
