"""MultiPathwayRegressor as a scikit-learn estimator."""

import pickle

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor

# The checks fit small data for few steps: not converging is no fault there.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CONFIGURATIONS = [
    MultiPathwayRegressor(width=10, max_iter=200),
    MultiPathwayRegressor(depth=[1, 3], width=[[], [4, 4]], weight_decay=1e-3, max_iter=100),
    MultiPathwayRegressor(width=8, activation="relu", max_iter=200),
    MultiPathwayRegressor(depth=3, width=8, activation="tanh", activate_output=True, max_iter=500),
    MultiPathwayRegressor(width=5, solver="flow", max_iter=50),
    MultiPathwayRegressor(n_pathways=3, width=4, solver="analytic"),
    MultiPathwayRegressor(width=4, dtype="float32", init="balanced", max_iter=50),
]


# Those of one kind each: linear, non-linear and solved.
@parametrize_with_checks([CONFIGURATIONS[i] for i in (1, 2, 5)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 5)) + 1
    Y = X @ rng.standard_normal((5, 3)) + 0.5 * rng.standard_normal((40, 3)) + 2
    return X, Y, rng.randint(0, 4, size=40)


@pytest.mark.parametrize("model", CONFIGURATIONS[:6], ids=str)
def test_weights_repeat_and_remove_samples(model, data):
    X, Y, weight = data
    model = clone(model).set_params(random_state=0)
    weighted = clone(model).fit(X, Y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0))
    # The steps of the adaptive flow differ by more than rounding.
    rtol = 1e-5 if model.solver == "flow" else 1e-8
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=rtol)
    assert_allclose(weighted.trajectory_.loss, repeated.trajectory_.loss, rtol=rtol)


@pytest.mark.parametrize("model", CONFIGURATIONS, ids=str)
def test_one_column_keeps_two_dimensions(model, data):
    X, Y, _ = data
    flat = clone(model).set_params(random_state=0).fit(X, Y[:, 0])
    column = clone(model).set_params(random_state=0).fit(X, Y[:, :1])
    assert np.ndim(flat.intercept_) == 0 and np.shape(column.intercept_) == (1,)
    assert flat.predict(X).shape == (40,) and column.predict(X).shape == (40, 1)
    assert_allclose(flat.predict(X), column.predict(X)[:, 0])


def test_works_in_a_grid_search():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), MultiPathwayRegressor(width=10, max_iter=100))
    grid = {"multipathwayregressor__n_pathways": [1, 2]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2).fit(X, y)
    assert search.best_score_ > 0.4


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_pickle_and_skops_keep_the_fit(activation, data):
    X, Y, _ = data
    model = MultiPathwayRegressor(width=4, activation=activation, max_iter=20).fit(X, Y)
    dumped = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("sklearn_deeplinear.") for name in types)
    for copy in (pickle.loads(pickle.dumps(model)), skops.io.loads(dumped, trusted=types)):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert hasattr(copy, "global_minimum_") == (activation == "identity")


def test_callbacks_follow_the_run(data, capsys):
    callbacks = pytest.importorskip("sklearn.callback")
    X, Y, _ = data
    model = MultiPathwayRegressor(width=4, activation="relu", max_iter=20, verbose=1)
    model.set_callbacks(callbacks.ProgressBar()).fit(X, Y)
    assert "MultiPathwayRegressor" in capsys.readouterr().out


def test_global_state_is_left_alone(data):
    X, Y, _ = data
    torch.manual_seed(3)
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    for model in CONFIGURATIONS[:5]:
        clone(model).fit(X, Y)
    after = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_devices_agree(device, data):
    X, Y, _ = data
    for activation in ("identity", "tanh"):
        settings = {"activation": activation, "max_iter": 50, "tol": 0, "random_state": 0}
        here = MultiPathwayRegressor(device=device, dtype="float32", **settings).fit(X, Y)
        wanted = MultiPathwayRegressor(device="cpu", **settings).fit(X, Y)
        assert_allclose(here.predict(X), wanted.predict(X), rtol=1e-3, atol=1e-3)
