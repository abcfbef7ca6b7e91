"""Whatever a user passes, networks are fitted or the error names what is wrong."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from tests.fuzzing import Case, Data, _named, cases, outcome

pytestmark = pytest.mark.slow

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
    "the least decay left out": Case(
        "DeepLinearRegressorCV", {"weight_decays": (0.0, 5e-324, 0.001)}, Data()
    ),
    "the least decay": Case(
        "MultiPathwayRegressor", {"weight_decay": 5e-324}, Data(change="zero X")
    ),
    "weights of zero held out": Case(
        "DeepLinearRegressor", {"early_stopping": True}, Data(n=10, weight="one")
    ),
    "a matrix as splits": Case("DeepLinearRegressorCV", {"cv": np.ones((2, 2))}, Data()),
    "a search over what is no list": search("DeepLinearRegressor", {"record": [0]}),
    "a list of lists as solver": Case("DeepLinearRegressor", {"solver": [[1.0]]}, Data()),
    "a set as solver": Case("DeepLinearClassifier", {"solver": {1}}, Data()),
    "fractions": Case(
        "HomogeneousMLPRegressor",
        {
            "solver": "momentum",
            **dict.fromkeys(["step_size", "momentum", "validation_fraction"], Fraction(1, 2)),
            **dict.fromkeys(["tol", "init_scale", "weight_decay"], Fraction(1, 8)),
            "early_stopping": True,
        },
        Data(),
    ),
    "a step size beyond floats": Case("DeepLinearRegressor", {"step_size": 10**400}, Data()),
    "memory as a fraction": search(
        "DeepLinearClassifier", {"depth": [2]}, batch_memory=Fraction(1, 2)
    ),
    "numbers as callbacks": Case(
        "DeepLinearRegressor", {"solver": "sgd", "callbacks": [1e-12]}, Data()
    ),
    "lists as callbacks": Case(
        "HomogeneousMLPClassifier", {"solver": "sgd", "callbacks": ([0.0, 0.0, 2.0],)}, Data()
    ),
    "a text as splits": Case("DeepLinearRegressorCV", {"cv": np.array(["a"])}, Data()),
    "a dict as decays": Case("DeepLinearRegressorCV", {"weight_decays": {0: 1.0}}, Data()),
    "squares of maps": Case("MultiPathwayRegressor", {}, Data(x_unit=1e-80, y_unit=1e150)),
    "squares of one small input": Case(
        "MultiPathwayRegressor", {}, Data(d=1, x_unit=1e-150, weight="uneven")
    ),
    "a tolerance of single precision": Case(
        "DeepLinearRegressor", {"tol": np.float32(1e-12)}, Data(y_unit=1e80)
    ),
    "squares of scores": Case("DeepLinearRegressorCV", {"cv": 5}, Data(y_unit=1e150)),
    "too long a step of a path": Case(
        "DeepLinearRegressorCV", {}, Data(n=6, d=7, m=2, seed=7, x_unit=1e-20)
    ),
    "a scorer of clusters": Case("DeepLinearRegressorCV", {"scoring": "mutual_info_score"}, Data()),
    "one sample of all weight": Case("DeepLinearRegressorCV", {}, Data(weight="one")),
    "no splits": Case("DeepLinearRegressorCV", {"cv": ()}, Data()),
    "turns without curvature": Case(
        "DeepLinearRegressorCV", {}, Data(n=20, d=7, m=4, seed=0, x_unit=1e-20)
    ),
    "squares of targets of little weight": Case(
        "DeepLinearRegressorCV", {}, Data(n=6, d=3, seed=0, weight="uneven", y_unit=1e-150)
    ),
    "a list among records": Case(
        "MultiPathwayRegressor", {"record": [[1.0]], "solver": "sgd"}, Data()
    ),
    "weights beyond single precision": Case(
        "DeepLinearRegressor",
        {"dtype": "float32"},
        Data(n=29, d=1, seed=83, change="integers", x_unit=1e-150, y_unit=1e20),
    ),
    "an array of no dimension as noises": Case(
        "DeepLinearRegressorCV", {"noises": np.array(3)}, Data()
    ),
    "noises without widths": Case("DeepLinearRegressorCV", {"noises": (0.5,)}, Data()),
    "folds without weight": search(
        "HomogeneousMLPRegressor", {"depth": [2, 3]}, Data(weight="one")
    ),
    "folds that leave no weight to hold out": search(
        "HomogeneousMLPRegressor", {"early_stopping": [True]}, Data(n=4, weight="one")
    ),
}


@pytest.mark.parametrize("name", ONCE_FOUND)
def test_what_was_found_once(name):
    verdict, text = outcome(ONCE_FOUND[name])
    assert verdict in ("fitted", "refused"), text


def test_a_start_that_overflows_is_put_down_to_units_too():
    case = Case("DeepLinearRegressor", {"init": "normal", "init_scale": 1e90}, Data(x_unit=1e80))
    verdict, text = outcome(case)
    assert verdict == "refused" and "X and y in units" in text


@pytest.mark.parametrize("cv", [None, 5])
def test_squared_errors_score_alike_in_all_units(cv):
    X, y, _ = Data(n=20).arrays(labels=False)
    model = DeepLinearRegressorCV(depths=(2,), cv=cv)
    plain, large = (clone(model).fit(X, y * unit) for unit in (1.0, 1e100))
    for name, power in (("mean_test_score", 2), ("std_test_score", 2)):
        assert_allclose(large.cv_results_[name] / 1e100**power, plain.cv_results_[name], rtol=1e-6)


def test_refusals_must_name_what_was_given():
    case = Case("DeepLinearRegressor", {"loss": 1, "weight_decay": -1.0}, Data())
    for text in ("loss must be", "the 'loss' parameter", "weight_decay is", "X must be"):
        assert _named(case, text)
    start = f"All the 2 fits failed.\n{'-' * 80}\n2 fits failed with the following error:\n"
    trace = start + "Traceback\n  fit(X, y)\nValueError: {}\n"
    caused = trace.format("nothing is left.\n\nThe above exception was the cause of another:\n")
    caused += "\nTraceback\n  fit(X, y)\nValueError: {}\n"
    for refusal in (trace, caused):
        assert _named(case, refusal.format("loss must be a str."))
        assert not _named(case, refusal.format("cannot unpack"))
    two = trace.format("loss must be a str.") + trace.format("cannot unpack")
    for text in ("the loss is not finite", "depth must be 2", two):
        assert not _named(case, text)


def test_searches_score_samples_by_their_weight_where_scikit_learn_does():
    X, y, _ = Data(n=30).arrays(labels=False)
    weight = 10.0 ** np.arange(30) ** 0.5
    grid, options = {"weight_decay": [0.01, 1.0]}, {"cv": 3}
    model = DeepLinearRegressor(2, 3, max_iter=5, tol=0)
    plain = GridSearchCV(model, grid, **options).fit(X, y, sample_weight=weight)
    batched = BatchedGridSearchCV(model, grid, **options).fit(X, y, sample_weight=weight)
    for column in ("mean_test_score", "std_test_score"):
        assert_allclose(batched.cv_results_[column], plain.cv_results_[column], rtol=1e-9)
