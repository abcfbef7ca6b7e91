"""What keeps a fit out of a stack is told in words that a user of a search can act on."""

import pytest
from sklearn import config_context
from sklearn.linear_model import Ridge

from sklearn_deeplinear import DeepLinearClassifier, DeepLinearRegressor
from sklearn_deeplinear.estimators._fit_together import why_alone


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (DeepLinearRegressor(), None),
        (Ridge(), "Ridge is not trained by descent"),
        (DeepLinearClassifier(), "networks of DeepLinearClassifier have no batch axis"),
        (DeepLinearRegressor(solver="flow"), "solver='flow'"),
        (DeepLinearRegressor(record=("weights",)), "record= asks for more than stacks keep"),
        (DeepLinearRegressor(callbacks=[print]), "callbacks follow each fit"),
    ],
    ids=["together", "ridge", "classifier", "solver", "record", "callbacks"],
)
def test_the_reason_is_told(estimator, reason):
    assert why_alone(estimator) == reason


def test_arrays_of_other_libraries_are_fitted_alone(monkeypatch):
    pytest.importorskip("scipy", minversion="1.14", reason="older ones do not dispatch")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn asks for it
    with config_context(array_api_dispatch=True):
        assert why_alone(DeepLinearRegressor()) == "arrays of other libraries are dispatched"
