"""Linear estimators fitted to moments are those fitted to data that have them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.theory import SecondMoments, global_minimum
from tests.estimators.recorder import Recorder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Compression and step sizes are chosen from the moments, so nothing but rounding differs;
# some hundred steps magnify it.
RTOL = 1e-9


def data(m, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(60, 4) * [1.0, 3.0, 0.5, 1.0] + 2
    y = X @ rng.randn(4, m) + rng.randn(60, m) - 1
    return X, y[:, 0] if m == 1 else y, rng.uniform(0.5, 2.0, 60)


def same_fit(one, other, X):
    for name in ("coef_", "intercept_", "loss_", "objective_"):
        value, wanted = getattr(one, name), getattr(other, name)
        assert np.shape(value) == np.shape(wanted) and type(value) is type(wanted)
        assert_allclose(value, wanted, rtol=RTOL, atol=RTOL * np.abs(wanted).max())
    assert_allclose(one.predict(X), other.predict(X), rtol=RTOL, atol=RTOL)
    assert_allclose(one.trajectory_.objective, other.trajectory_.objective, rtol=RTOL)
    assert_allclose(one.global_minimum_.objective, other.global_minimum_.objective, rtol=RTOL)
    assert (one.n_iter_, one.stop_reason_) == (other.n_iter_, other.stop_reason_)
    assert one.n_features_in_ == other.n_features_in_


MODELS = {
    "deep": DeepLinearRegressor(3, 6, weight_decay=0.02, max_iter=200),
    "noisy": DeepLinearRegressor(2, 5, noise=0.3, weight_decay=0.02, max_iter=200),
    "no intercept": DeepLinearRegressor(2, 5, max_iter=200, fit_intercept=False),
    "pathways": MultiPathwayRegressor((2, 3), 5, weight_decay=0.02, random_state=0, max_iter=200),
}


@pytest.mark.parametrize("solver", ["gd", "flow", "analytic"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("m", [1, 2])
def test_moments_are_as_good_as_the_data(name, solver, m):
    X, y, weight = data(m)
    model = MODELS[name].set_params(solver=solver)
    options = model.get_params()
    moments = SecondMoments.from_data(X, y, weight, center=model.fit_intercept)
    wanted = type(model)(**options).fit(X, y, sample_weight=weight)
    same_fit(type(model)(**options).fit_moments(moments), wanted, X)


def test_batches_that_never_meet_in_memory():
    X, y, weight = data(2)
    parts = [(X[i : i + 7], y[i : i + 7], weight[i : i + 7]) for i in range(0, 60, 7)]
    model = DeepLinearRegressor(solver="analytic", weight_decay=0.1)
    batches = SecondMoments.from_batches(parts)
    same_fit(
        model.fit_moments(batches), DeepLinearRegressor(**model.get_params()).fit(X, y, weight), X
    )


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_population_has_means_of_zero(fit_intercept):
    A, S, c = np.diag([2.0, 1.0, 0.5]), np.array([[1.0, 0.2, 0.0]]), 3.0
    moments = SecondMoments.from_moments(A, S, c)
    model = DeepLinearRegressor(
        depth=3, weight_decay=0.01, solver="analytic", fit_intercept=fit_intercept
    ).fit_moments(moments)
    minimum = global_minimum(moments, depth=3, weight_decay=0.01)
    assert model.objective_ == pytest.approx(minimum.objective, rel=1e-12)
    assert model.coef_.shape == (1, 3) and model.intercept_ == [0.0]
    assert model.predict(np.eye(3)).shape == (3, 1)
    assert abs(model.optimality_gap_) < 1e-12


def test_a_former_fit_leaves_nothing_behind():
    pandas = pytest.importorskip("pandas")
    X, y, _ = data(1)
    model = DeepLinearRegressor(solver="sgd", max_iter=2, step_size=1e-3, random_state=0, tol=0)
    model.fit(pandas.DataFrame(X, columns=list("abcd")), y)
    model.set_params(solver="gd", max_iter=5).fit_moments(SecondMoments.from_data(X[:, :3], y))
    assert model.n_features_in_ == 3
    assert not hasattr(model, "feature_names_in_") and not hasattr(model, "net_")


def test_a_fit_may_go_on_from_moments():
    X, y, _ = data(1)
    moments = SecondMoments.from_data(X, y)
    whole = DeepLinearRegressor(step_size=0.01, max_iter=40, tol=0).fit(X, y)
    model = DeepLinearRegressor(step_size=0.01, max_iter=20, tol=0, warm_start=True).fit(X, y)
    model.fit_moments(moments)
    assert_allclose(model.coef_, whole.coef_, rtol=RTOL)


def test_callbacks_follow_a_fit_to_moments():
    pytest.importorskip("sklearn.callback")
    X, y, _ = data(1)
    model = DeepLinearRegressor(2, 4, step_size=0.01, max_iter=400, tol=0, record_every=10)
    recorder = Recorder()
    model.set_callbacks(recorder).fit_moments(SecondMoments.from_data(X, y))
    assert recorder.begin == (None, None, None)
    assert recorder.tasks("end") == [("steps", 0), ("steps", 1), ("fit", 0)]
    assert recorder.fitted[0].predict(X).shape == y.shape


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("cls", [DeepLinearRegressor, MultiPathwayRegressor])
def test_mini_batches_need_samples(cls, solver):
    X, y, _ = data(1)
    with pytest.raises(ValueError, match=f'solver must not be "{solver}" in fit_moments'):
        cls(solver=solver).fit_moments(SecondMoments.from_data(X, y))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_pathways_that_are_not_linear_need_samples(activation):
    X, y, _ = data(1)
    with pytest.raises(ValueError, match="activation"):
        MultiPathwayRegressor(activation=activation).fit_moments(SecondMoments.from_data(X, y))


@pytest.mark.parametrize("cls", [DeepLinearRegressor, MultiPathwayRegressor])
def test_what_does_not_fit_is_named(cls):
    X, y, _ = data(1)
    for wrong in (X, (X, y), None):
        with pytest.raises(TypeError, match="moments must be a SecondMoments"):
            cls().fit_moments(wrong)
    with pytest.raises(ValueError, match="fit_intercept must be False"):
        cls().fit_moments(SecondMoments.from_data(X, y, center=False))
    with pytest.raises(ValueError, match="fit_intercept must be True"):
        cls(fit_intercept=False).fit_moments(SecondMoments.from_data(X, y))
    with pytest.raises(ValueError, match="depth"):
        cls(depth=0).fit_moments(SecondMoments.from_data(X, y))
