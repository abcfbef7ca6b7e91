"""Whatever a user passes, networks are fitted or the error names what is wrong."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from tests.fuzzing import Case, Data, cases, outcome

# `benchmarks/check_fuzz.py` draws 20,000.
SETS = 200


@settings(max_examples=SETS, suppress_health_check=list(HealthCheck))
@given(cases())
def test_networks_are_fitted_or_the_error_names_why(case):
    verdict, text = outcome(case)
    assert verdict in ("fitted", "refused"), f"{case}: {text}"


def search(name, grid, data=None, **options):
    params = {"estimator": name, "inner": {}, "param_grid": grid, "cv": 2, **options}
    return Case("BatchedGridSearchCV", params, data or Data())


ONCE_FOUND = {
    "integers of numpy": Case(
        "DeepLinearRegressor", {"solver": "adam", "batch_size": np.int32(5)}, Data()
    ),
    "a folder as checkpoint": Case("DeepLinearRegressor", {"checkpoint": ""}, Data()),
    "a flow in large units": Case("DeepLinearRegressor", {"solver": "flow"}, Data(x_unit=1e150)),
    "squares of small inputs": Case(
        "MultiPathwayRegressor",
        {"activation": "tanh"},
        Data(n=7, d=8, x_unit=1e-150, weight="uneven"),
    ),
    "fourth powers of targets": Case("DeepLinearRegressorCV", {}, Data(y_unit=1e80)),
    "scores of probabilities": Case(
        "DeepLinearRegressorCV", {"scoring": "neg_brier_score"}, Data()
    ),
    "the least decay": Case(
        "MultiPathwayRegressor", {"weight_decay": 5e-324}, Data(change="zero X")
    ),
    "a matrix as splits": Case("DeepLinearRegressorCV", {"cv": np.ones((2, 2))}, Data()),
    "a search over what is no list": search("DeepLinearRegressor", {"record": [0]}),
}


@pytest.mark.parametrize("name", ONCE_FOUND)
def test_what_was_found_once(name):
    verdict, text = outcome(ONCE_FOUND[name])
    assert verdict in ("fitted", "refused"), text


def test_a_start_that_overflows_is_put_down_to_units_too():
    case = Case("DeepLinearRegressor", {"init": "normal", "init_scale": 1e90}, Data(x_unit=1e80))
    verdict, text = outcome(case)
    assert verdict == "refused" and "X and y in units" in text


def test_single_samples_score_alike_in_all_units():
    X, y, _ = Data(n=20).arrays(labels=False)
    plain, large = (DeepLinearRegressorCV(depths=(2,)).fit(X, y * unit) for unit in (1.0, 1e100))
    for name, power in (("mean_test_score", 2), ("std_test_score", 2)):
        assert_allclose(large.cv_results_[name] / 1e100**power, plain.cv_results_[name], rtol=1e-6)


def test_searches_score_samples_by_their_weight_where_scikit_learn_does():
    X, y, _ = Data(n=30).arrays(labels=False)
    weight = 10.0 ** np.arange(30) ** 0.5
    grid, options = {"weight_decay": [0.01, 1.0]}, {"cv": 3}
    model = DeepLinearRegressor(2, 3, max_iter=5, tol=0)
    plain = GridSearchCV(model, grid, **options).fit(X, y, sample_weight=weight)
    batched = BatchedGridSearchCV(model, grid, **options).fit(X, y, sample_weight=weight)
    for column in ("mean_test_score", "std_test_score"):
        assert_allclose(batched.cv_results_[column], plain.cv_results_[column], rtol=1e-9)
