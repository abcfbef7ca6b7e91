"""DeepLinearRegressorCV as a scikit-learn estimator: its checks, routing, names and pickles."""

import pickle

import numpy as np
import pytest
import sklearn
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear import DeepLinearRegressorCV

CONFIGURATIONS = [
    DeepLinearRegressorCV(),
    DeepLinearRegressorCV([1e-3, 0.1], cv=3),
    DeepLinearRegressorCV([1e-3, 0.1], [2], per_target=True, fit_intercept=False),
    DeepLinearRegressorCV([0.01], [1, 3], widths=[2], noises=[0.1], cv=2, scoring="r2"),
    DeepLinearRegressorCV([1e-3, 0.1], [1, 2], per_target="setting"),
]


@parametrize_with_checks([CONFIGURATIONS[i] for i in (0, 2, 3, 4)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 4))
    y = X @ [1, -1, 0.5, 0] + 0.5 * rng.standard_normal(40)
    return X, y, rng.randint(0, 5, size=40), rng.exponential(size=40)


def test_groups_reach_the_splitter_as_in_a_grid_search(data):
    X, y, groups, _ = data
    model = DeepLinearRegressorCV([0.1], [1], cv=GroupKFold(5)).fit(X, y, groups=groups)
    splits = list(GroupKFold(5).split(X, y, groups))
    same = DeepLinearRegressorCV([0.1], [1], cv=splits).fit(X, y)
    assert model.n_splits_ == 5 and model.best_score_ == same.best_score_
    with pytest.raises(ValueError, match="extra keyword arguments"):
        model.fit(X, y, other=groups)
    with pytest.raises(ValueError, match="groups must come with a splitter"):
        DeepLinearRegressorCV().fit(X, y, groups=groups)


def test_routed_metadata(data):
    X, y, groups, weight = data
    name = "neg_mean_absolute_error"
    with sklearn.config_context(enable_metadata_routing=True):
        scorers = [get_scorer(name).set_score_request(sample_weight=w) for w in (True, False)]
        weighted, plain = (
            DeepLinearRegressorCV([0.1], [2], cv=GroupKFold(3), scoring=s).fit(
                X, y, sample_weight=weight, groups=groups
            )
            for s in scorers
        )
        alone = DeepLinearRegressorCV([0.1], [2], scoring=scorers[0])
        alone.fit(X, y, sample_weight=weight)
    errors = np.abs(alone.loo_residuals_)
    assert alone.best_score_ == pytest.approx(-np.average(errors, weights=weight))
    for model, by_weight in ((weighted, True), (plain, False)):
        scores = []
        for train, test in GroupKFold(3).split(X, y, groups):
            fit = DeepLinearRegressorCV([0.1], [2]).fit(X[train], y[train], weight[train])
            shares = weight[test] if by_weight else None
            scores.append(-np.average(np.abs(y[test] - fit.predict(X[test])), weights=shares))
        assert model.best_score_ == pytest.approx(np.mean(scores))


def test_lives_among_other_tools(data):
    X, y, *_ = data
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressorCV())
    assert (cross_val_score(pipeline, X, y, cv=3) > 0.3).all()
    search = GridSearchCV(DeepLinearRegressorCV(), {"depths": [[1], [2]]}, cv=2).fit(X, y)
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize("cv", [None, 3])
def test_pickle_and_skops_keep_everything(data, cv):
    X, y, *_ = data
    model = DeepLinearRegressorCV(cv=cv).fit(X, y)
    dumped = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("sklearn_deeplinear.") for name in types)
    for copy in (
        pickle.loads(pickle.dumps(model)),
        skops.io.loads(dumped, trusted=types),
        clone(model).fit(X, y),
    ):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert_array_equal(copy.predict_interval(X), model.predict_interval(X))


def test_results_are_a_table_and_names_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = DeepLinearRegressorCV(cv=3, widths=[None, 3]).fit(X, y)
    frame = pandas.DataFrame(model.cv_results_)
    assert len(frame) == 31 * (1 + 2 * 2)
    best = frame.sort_values("rank_test_score").iloc[0]
    assert best["params"] == model.best_params_ and best["rank_test_score"] == 1
    assert best["mean_test_score"] == model.best_score_
    splits = frame[[f"split{i}_test_score" for i in range(3)]]
    assert_allclose(splits.mean(axis=1), frame["mean_test_score"])
    assert_allclose(splits.std(axis=1, ddof=0), frame["std_test_score"])
    assert list(model.feature_names_in_) == list(X.columns)
