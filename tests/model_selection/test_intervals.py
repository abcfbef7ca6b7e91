"""Jackknife+ and CV+ intervals against their definition, and how often they hold the target."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV


def data(n=40, m=None, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, 5))
    Y = X @ rng.standard_normal((5, m or 1)) + rng.standard_normal((n, m or 1))
    return X, Y if m else Y[:, 0]


def defined(X, y, X_new, alpha, params, splitter):
    """Equation (3) of Barber et al. (2021), one refit a split."""
    n = len(y)
    low, high = [], []
    for train, test in splitter.split(X):
        fit = DeepLinearRegressor(solver="analytic", **params).fit(X[train], y[train])
        for i in test:
            reach = abs(y[i] - fit.predict(X[[i]])[0])
            low.append(fit.predict(X_new) - reach)
            high.append(fit.predict(X_new) + reach)
    low, high = np.sort(low, axis=0), np.sort(high, axis=0)
    first, last = int(np.floor(alpha * (n + 1))), int(np.ceil((1 - alpha) * (n + 1)))
    return low[first - 1], high[last - 1]


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5])
@pytest.mark.parametrize(("depth", "gamma"), [(1, 0.1), (2, 0.5), (3, 0.3), (3, 50.0), (2, 0.0)])
def test_intervals_are_those_of_the_definition(depth, gamma, alpha):
    X, y = data(39)
    X_new = data(10, seed=1)[0]
    params = {"depth": depth, "weight_decay": gamma}
    for cv, splitter in ((None, LeaveOneOut()), (3, KFold(3))):
        model = DeepLinearRegressorCV([gamma], [depth], cv=cv).fit(X, y)
        expected = defined(X, y, X_new, alpha, params, splitter)
        assert_allclose(model.predict_interval(X_new, alpha), expected, atol=1e-8)


@pytest.mark.parametrize("way", ["masks", "from the end"])
def test_splits_may_be_masks_or_count_from_the_end(way):
    X, y = data(39)
    rows = np.arange(39)
    given = {
        "masks": [(rows % 3 != k, rows % 3 == k) for k in range(3)],
        "from the end": [(rows[rows % 3 != k] - 39, rows[rows % 3 == k]) for k in range(3)],
    }
    splits = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    intervals = [
        DeepLinearRegressorCV([0.1], [2], cv=cv).fit(X, y).predict_interval(X)
        for cv in (given[way], splits)
    ]
    assert_array_equal(*intervals)


def test_diabetes():
    X, y = load_diabetes(return_X_y=True)
    model = DeepLinearRegressorCV(depths=[3]).fit(X[:200], y[:200])
    params = {"depth": 3, "weight_decay": model.best_params_["weight_decay"]}
    expected = defined(X[:200], y[:200], X[200:], 0.1, params, LeaveOneOut())
    assert_allclose(model.predict_interval(X[200:]), expected, rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize("cv", [None, 5])
def test_new_targets_are_held_as_often_as_promised(cv):
    """At least 1 - 2 alpha is proven for a given setting, about 1 - alpha is usual.

    Means of 100 data sets with 20 new targets each: their standard error is at most
    sqrt(.2 * .8 / 100) = .04, as targets of one data set are not independent.
    """
    hits = {0.1: [], 0.3: []}
    for seed in range(100):
        X, y = data(50, seed=seed)
        model = DeepLinearRegressorCV([0.01, 0.1, 1.0], [1, 2], cv=cv).fit(X[:30], y[:30])
        for alpha, found in hits.items():
            lower, upper = model.predict_interval(X[30:], alpha)
            found.append(np.mean((lower <= y[30:]) & (y[30:] <= upper)))
    for alpha, found in hits.items():
        assert 1 - alpha - 0.12 < np.mean(found) <= 1
        assert np.mean(found) > 1 - 2 * alpha
    assert np.mean(hits[0.3]) < np.mean(hits[0.1])


def test_several_outputs_have_intervals_of_their_own():
    X, Y = data(25, m=2)
    model = DeepLinearRegressorCV([0.1], [2], per_target=True).fit(X, Y)
    lower, upper = model.predict_interval(X[:4])
    assert lower.shape == upper.shape == (4, 2) and (lower < upper).all()
    for j in range(2):
        alone = DeepLinearRegressorCV([0.1], [2]).fit(X, Y[:, j])
        assert_allclose((lower[:, j], upper[:, j]), alone.predict_interval(X[:4]), rtol=1e-9)


def test_noise_shrinks_the_left_out_models_too():
    X, y = data(25)
    grid = {"widths": [3], "noises": [0.5]}
    model = DeepLinearRegressorCV([0.05], [3], **grid).fit(X, y)
    split = DeepLinearRegressorCV([0.05], [3], **grid, cv=LeaveOneOut()).fit(X, y)
    assert_allclose(model.predict_interval(X), split.predict_interval(X), rtol=1e-9, atol=1e-9)


def test_too_few_samples_for_alpha_make_infinite_bounds():
    X, y = data(19)
    model = DeepLinearRegressorCV([0.1], [2]).fit(X, y)
    lower, upper = model.predict_interval(X, 0.049)
    assert_array_equal(lower, -np.inf)
    assert_array_equal(upper, np.inf)
    # alpha (n + 1) = 1 exactly: the bounds are the extremes.
    assert np.isfinite(model.predict_interval(X, 0.05)).all()


def test_what_cannot_be_had_is_an_error():
    X, y = data()
    model = DeepLinearRegressorCV([0.1], [1], cv=ShuffleSplit(3, random_state=0)).fit(X, y)
    with pytest.raises(ValueError, match="cv to test each sample once"):
        model.predict_interval(X)
    model = DeepLinearRegressorCV([0.1], [1]).fit(X, y)
    for alpha in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="alpha must be"):
            model.predict_interval(X, alpha)


def test_samples_without_weight_do_not_widen_the_interval():
    X, y = data()
    weight = np.ones(40)
    weight[:5], y[:5] = 0.0, 1e3
    for cv in (None, [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]):
        model = DeepLinearRegressorCV([0.1], [2], cv=cv).fit(X, y, sample_weight=weight)
        lower, upper = model.predict_interval(X, 0.1)
        assert (upper - lower < 20).all()
