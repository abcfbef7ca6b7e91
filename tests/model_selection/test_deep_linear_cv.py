"""Scores and choices of DeepLinearRegressorCV against searches that refit for every number."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.model_selection._candidates import largest_useful_decay
from sklearn_deeplinear.model_selection._fold_moments import all_but_one, fold_moments
from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay, global_minimum

DECAYS = [1e-4, 1e-2, 0.3]

# Minima of one output are known to about 1e-12; those of several are certified to 1e-8 of J,
# which leaves the map, and so the score, an error of the order of the square root.
EXACT, CERTIFIED = 1e-9, 1e-4


def data(m=None, n=50, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, 4)) * [2, 1, 0.5, 0.1] + 3
    Y = X @ rng.standard_normal((4, m or 1)) + rng.standard_normal((n, m or 1)) - 2
    return X, Y if m else Y[:, 0]


def searched(X, y, depth, cv, scoring="neg_mean_squared_error", sample_weight=None, **options):
    estimator = DeepLinearRegressor(depth=depth, solver="analytic", **options)
    grid = {"weight_decay": DECAYS}
    search = GridSearchCV(estimator, grid, cv=cv, scoring=scoring)
    return search.fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize(
    "cv",
    [
        5,
        KFold(4, shuffle=True, random_state=0),
        ShuffleSplit(3, random_state=0),
        TimeSeriesSplit(3),
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        [(np.arange(30), np.arange(25, 50)), (np.arange(10, 50), np.arange(10))],
    ],
    ids=lambda cv: type(cv).__name__,
)
@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_absolute_error"])
def test_every_score_is_that_of_a_grid_search(cv, scoring):
    X, y = data()
    model = DeepLinearRegressorCV(DECAYS, [1, 2, 3], cv=cv, scoring=scoring).fit(X, y)
    for i, depth in enumerate([1, 2, 3]):
        search = searched(X, y, depth, cv, scoring or "neg_mean_squared_error")
        rows = slice(3 * i, 3 * i + 3)
        for name, expected in search.cv_results_.items():
            if "test_score" in name and "rank" not in name:
                assert_allclose(model.cv_results_[name][rows], expected, rtol=EXACT)
    assert model.best_score_ == model.cv_results_["mean_test_score"].max()
    assert model.n_splits_ == len(model.cv_results_) - len(
        [name for name in model.cv_results_ if not name.startswith("split")]
    )


@pytest.mark.parametrize("scoring", [None, "r2"])
@pytest.mark.parametrize("per_target", [True, False])
def test_several_outputs(scoring, per_target):
    X, Y = data(3)
    model = DeepLinearRegressorCV(DECAYS, [1, 2], cv=3, scoring=scoring, per_target=per_target)
    model.fit(X, Y)
    name = scoring or "neg_mean_squared_error"
    for i, depth in enumerate([1, 2]):
        if per_target:
            found = [searched(X, y, depth, KFold(3), name) for y in Y.T]
            expected = np.mean([s.cv_results_["mean_test_score"] for s in found], axis=0)
        else:
            expected = searched(X, Y, depth, KFold(3), name).cv_results_["mean_test_score"]
        got = model.cv_results_["mean_test_score"][3 * i : 3 * i + 3]
        assert_allclose(got, expected, rtol=EXACT if per_target else CERTIFIED)
    assert model.coef_.shape == (3, 4) and model.intercept_.shape == (3,)


@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("per_target", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
def test_leave_one_out_is_that_of_the_splitter(m, per_target, intercept):
    """In closed form, by refits to merged moments, and by scikit-learn's LeaveOneOut."""
    X, Y = data(m, n=20)
    options = {"fit_intercept": intercept, "per_target": per_target}
    model = DeepLinearRegressorCV(DECAYS, [1, 2], **options).fit(X, Y)
    split = DeepLinearRegressorCV(DECAYS, [1, 2], cv=LeaveOneOut(), **options).fit(X, Y)
    rtol = EXACT if per_target or m is None else CERTIFIED
    for name in ("mean_test_score", "std_test_score"):
        assert_allclose(model.cv_results_[name], split.cv_results_[name], rtol=rtol)
    assert model.best_params_ == split.best_params_
    assert_allclose(model.coef_, split.coef_)
    assert_allclose(model.predict_interval(X), split.predict_interval(X), rtol=rtol)
    errors = np.mean(model.loo_residuals_.reshape(20, -1) ** 2)
    assert errors == pytest.approx(-model.best_score_)
    assert model.loo_residuals_.shape == Y.shape and not hasattr(split, "loo_residuals_")


def test_ridge_is_the_special_case_of_one_layer():
    for X, y in (load_diabetes(return_X_y=True), load_linnerud(return_X_y=True)):
        # Its penalty is a sum over samples, ours a mean: equal where one of n is left out.
        n, decays = len(X), np.geomspace(1e-6, 1, 13)
        search = RidgeCV((n - 1) * decays).fit(X, y)
        model = DeepLinearRegressorCV(decays, [1]).fit(X, y)
        gamma = model.best_params_["weight_decay"]
        assert gamma == pytest.approx(search.alpha_ / (n - 1))
        assert model.best_score_ == pytest.approx(search.best_score_, rel=1e-9)
        ridge = Ridge(n * gamma).fit(X, y)
        assert_allclose(model.coef_, ridge.coef_, rtol=1e-8, atol=1e-10)
        assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-10)


@pytest.mark.parametrize("cv", [None, 4])
def test_sample_weights_count_in_fits_and_in_scores(cv):
    X, y = data()
    weight = np.random.RandomState(1).exponential(size=50)
    weight[::7] = 0.0
    model = DeepLinearRegressorCV([0.02], [3], cv=cv).fit(X, y, sample_weight=weight)
    errors, scores = np.empty(50), []
    for train, test in (LeaveOneOut() if cv is None else KFold(cv)).split(X):
        fit = DeepLinearRegressor(depth=3, weight_decay=0.02, solver="analytic")
        errors[test] = y[test] - fit.fit(X[train], y[train], weight[train]).predict(X[test])
        if cv is not None:
            scores.append(-np.average(errors[test] ** 2, weights=weight[test]))
    if cv is None:
        scores = -np.average(errors**2, weights=weight)
        assert_allclose(model.loo_residuals_, errors, rtol=1e-8)
    assert model.best_score_ == pytest.approx(np.mean(scores), rel=1e-9)
    scaled = DeepLinearRegressorCV([0.02], [3], cv=cv).fit(X, y, sample_weight=1e5 * weight)
    assert scaled.best_score_ == pytest.approx(model.best_score_, rel=1e-12)


def test_a_scorer_gets_the_weights_too():
    """Of the left-out samples, as RidgeCV gives them, and of those of each fold."""
    X, y = data()
    weight = np.random.RandomState(1).exponential(size=50)
    for cv in (None, 4):
        options = {"cv": cv, "scoring": "neg_mean_squared_error"}
        scored = DeepLinearRegressorCV(DECAYS, [2], **options).fit(X, y, sample_weight=weight)
        plain = DeepLinearRegressorCV(DECAYS, [2], cv=cv).fit(X, y, sample_weight=weight)
        for name in ("mean_test_score", "rank_test_score"):
            assert_allclose(scored.cv_results_[name], plain.cv_results_[name], rtol=1e-9)


def test_several_outputs_with_weights_are_left_out_by_refits():
    X, Y = data(2, n=15)
    weight = np.random.RandomState(1).exponential(size=15)
    weight[[2, 9]] = 0.0
    model = DeepLinearRegressorCV([0.1], [2]).fit(X, Y, sample_weight=weight)
    for i in range(15):
        keep = np.arange(15) != i
        fit = DeepLinearRegressor(weight_decay=0.1, solver="analytic")
        fit.fit(X[keep], Y[keep], weight[keep])
        assert_allclose(model.loo_residuals_[i], Y[i] - fit.predict(X[[i]])[0], atol=1e-5)
    expected = -np.average(np.mean(model.loo_residuals_**2, axis=1), weights=weight)
    assert model.best_score_ == pytest.approx(expected, rel=1e-9)


def test_a_scorer_gets_all_left_out_predictions():
    X, y = data()
    model = DeepLinearRegressorCV(DECAYS, [1, 2], scoring="r2").fit(X, y)
    assert model.best_score_ == pytest.approx(r2_score(y, y - model.loo_residuals_))
    by_callable = DeepLinearRegressorCV(
        DECAYS, [1, 2], scoring=lambda fit, X, y: r2_score(y, fit.predict(X))
    )
    assert_allclose(
        by_callable.fit(X, y).cv_results_["mean_test_score"], model.cv_results_["mean_test_score"]
    )
    assert np.isnan(model.cv_results_["std_test_score"]).all()


SCORES = {
    "all nan": lambda size: np.nan,
    "all infinite": lambda size: -np.inf,
    "small ones nan": lambda size: np.nan if size < 0.6 else -size,
    "large ones nan": lambda size: np.nan if size > 0.6 else -size,
    "small ones infinite": lambda size: -np.inf if size < 0.6 else -size,
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_that_are_no_numbers_are_ranked_and_told_as_in_a_grid_search(name):
    X, y = data()

    def scoring(fit, X, y):
        return SCORES[name](fit.predict(X).std())

    with pytest.warns(UserWarning, match="One or more of the test scores are non-finite") as told:
        model = DeepLinearRegressorCV(DECAYS, [1], cv=3, scoring=scoring).fit(X, y)
    assert len(told) == 1
    with (
        np.errstate(invalid="ignore"),
        pytest.warns(UserWarning, match="One or more of the test scores are non-finite"),
    ):
        search = searched(X, y, 1, 3, scoring)
    for column in ("mean_test_score", "rank_test_score"):
        assert_allclose(model.cv_results_[column], search.cv_results_[column], rtol=EXACT)
    assert model.best_index_ == search.best_index_


@pytest.mark.parametrize("per_target", [False, True, "setting"])
def test_no_score_of_left_out_predictions_is_told_once(per_target):
    X, Y = data(m=2)
    options = {"scoring": lambda fit, X, y: np.nan, "per_target": per_target}
    with pytest.warns(UserWarning, match="One or more of the test scores") as told:
        DeepLinearRegressorCV(DECAYS, [1], **options).fit(X, Y)
    assert len(told) == 1


def test_networks_with_noise_and_bottlenecks():
    X, y = data()
    grid = {"widths": [2, (3, 5)], "noises": [0.1, (0.2, 0.0)]}
    model = DeepLinearRegressorCV([0.01], [3], **grid, cv=3).fit(X, y)
    assert len(model.cv_results_["params"]) == 4
    for params, score in zip(
        model.cv_results_["params"], model.cv_results_["mean_test_score"], strict=True
    ):
        search = searched(X, y, 3, 3, width=params["width"], noise=params["noise"])
        assert score == pytest.approx(search.cv_results_["mean_test_score"][1], rel=EXACT)
    X, Y = data(3)
    narrow = DeepLinearRegressorCV([0.01], [1, 2], widths=[1], cv=3).fit(X, Y)
    assert np.linalg.matrix_rank(narrow.coef_) == (3 if narrow.best_params_["depth"] == 1 else 1)
    # A single layer has no hidden units, and is tried once.
    both = DeepLinearRegressorCV([0.1], [1, 2], widths=[2, 3], noises=[0.0, 0.1], cv=3).fit(X, Y)
    assert [p["depth"] for p in both.cv_results_["params"]] == [1, 2, 2, 2, 2]


def test_the_fit_is_the_minimum_on_all_data():
    X, Y = data(2)
    model = DeepLinearRegressorCV(DECAYS, [2], cv=3).fit(X, Y)
    moments = SecondMoments.from_data(X, Y)
    minimum = global_minimum(moments, **model.best_params_)
    assert_allclose(model.coef_, minimum.coef, atol=1e-6)
    assert model.global_minimum_.objective == pytest.approx(minimum.objective)
    separate = DeepLinearRegressorCV(DECAYS, [2], per_target=True).fit(X, Y)
    for j, minimum in enumerate(separate.global_minimum_):
        alone = DeepLinearRegressorCV([separate.best_params_["weight_decay"]], [2]).fit(X, Y[:, j])
        assert_allclose(separate.coef_[j], alone.coef_, atol=1e-10)
        assert_allclose(minimum.coef[0], alone.coef_, atol=1e-10)


@pytest.mark.parametrize("units", [1.0, 1e-8, 1e8])
def test_the_grid_spans_the_collapse_in_the_units_of_the_data(units):
    X, y = data()
    model = DeepLinearRegressorCV(depths=[1, 2, 3, 4], cv=2).fit(X, units * y)
    moments = SecondMoments.from_data(X, units * y)
    decays = np.array([p["weight_decay"] for p in model.cv_results_["params"]]).reshape(4, -1)
    assert_allclose(decays[:, 0], 1e-6 * decays[:, -1])
    assert decays[0, -1] == pytest.approx(100 * np.linalg.norm(moments.input_moment, 2))
    for depth, row in zip([2, 3, 4], decays[1:], strict=True):
        assert row[-1] == pytest.approx(critical_weight_decay(moments, depth=depth).collapse)
        scores = model.cv_results_["mean_test_score"].reshape(4, -1)[depth - 1] / units**2
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_several_outputs_collapse_within_the_grid(noise):
    X, Y = data(3)
    moments = SecondMoments.from_data(X, Y)
    network = {"depth": 3, "width": 4 if noise else None, "noise": noise}
    top = largest_useful_decay(moments, **network)
    assert global_minimum(moments, weight_decay=1.001 * top, **network).is_zero


def test_it_says_where_the_best_decay_is():
    X, y = data()
    assert DeepLinearRegressorCV(depths=[2]).fit(X, y).message_ == ""
    assert "smallest" in DeepLinearRegressorCV([1.0, 100.0], [1]).fit(X, y).message_
    assert (
        "largest"
        in DeepLinearRegressorCV([1e-9, 1e-5], [2])
        .fit(X, np.random.RandomState(0).randn(50))
        .message_
    )
    assert DeepLinearRegressorCV([1.0], [1]).fit(X, y).message_ == ""
    exact = X @ np.arange(1.0, 1 + X.shape[1])
    unpenalised = DeepLinearRegressorCV([0.0, 1.0], [1]).fit(X, exact)
    assert unpenalised.best_params_["weight_decay"] == 0
    assert unpenalised.message_ == ""  # no decay is smaller


def test_nothing_to_learn():
    X, y = np.ones((10, 2)), np.arange(10.0)
    for targets in (y, np.zeros(10)):
        for cv in (None, 2):
            model = DeepLinearRegressorCV(cv=cv).fit(X, targets)
            assert not model.coef_.any()
            assert_allclose(model.predict(X), targets.mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decays": [-1.0]}, "weight_decays must be finite and at least 0"),
        ({"weight_decays": [[0.1, 0.2]]}, 'weight_decays must be "auto" or a list'),
        ({"weight_decays": []}, 'weight_decays must be "auto" or a list'),
        ({"weight_decays": "largest"}, "'weight_decays' parameter"),
        ({"depths": []}, "depths must hold at least one value"),
        ({"depths": [0]}, r"depths\[0\] must be at least 1, got 0"),
        ({"depths": 2}, "'depths' parameter"),
        ({"widths": [0]}, "widths must be at least 1, got 0"),
        ({"widths": [(2, 3)], "depths": [2]}, "widths must be an int or have depth - 1"),
        ({"noises": [0.1]}, "noises must be zero where widths hold None"),
        ({"noises": [-0.1]}, "noises must be finite and at least 0"),
        ({"scoring": "worst"}, "'scoring' parameter"),
        ({"scoring": lambda *_: None}, "scoring must suit"),
        ({"scoring": lambda *_: [1.0, 2.0], "cv": 2}, "scoring must suit"),
        ({"cv": [(np.arange(50), np.arange(0))]}, "sets without samples"),
        ({"cv": [(np.arange(50) >= 0, np.arange(50) < 0)]}, "sets without samples"),
        ({"cv": [(np.arange(50), [99])]}, "cv must be .* pairs of arrays of the indices"),
        ({"cv": [(np.ones(9, dtype=bool), [1])]}, "cv must be .* pairs of arrays of the indices"),
        ({"cv": [1, 2]}, "cv must split the data into pairs"),
        ({"cv": [("ab", "cd")]}, "cv must be .* pairs of arrays of the indices"),
    ],
)
def test_errors_name_the_parameter(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DeepLinearRegressorCV(**options).fit(*data())


def test_folds_without_weight_are_an_error():
    X, y = data()
    weight = np.repeat([0.0, 1.0], 25)
    with pytest.raises(ValueError, match="samples of positive"):
        DeepLinearRegressorCV(cv=2).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_merged_moments_are_those_of_the_rows(offset):
    """Also where the means are so large that differences of products would have no digits."""
    X, y = data(n=60)
    X = X + offset
    splits = list(KFold(6).split(X))
    for (train, test), (rows, _) in zip(
        fold_moments(X, y, None, splits, True), splits, strict=True
    ):
        expected = SecondMoments.from_data(X[rows], y[rows])
        assert train.n_samples == 50 and test.n_samples == 10
        assert_allclose(train.input_moment, expected.input_moment, rtol=1e-10, atol=1e-12)
        assert_allclose(train.cross_moment, expected.cross_moment, rtol=1e-10, atol=1e-12)
    assert list(all_but_one([1, 10, 100])) == [110, 101, 11]
