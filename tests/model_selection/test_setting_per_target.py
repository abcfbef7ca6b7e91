"""A setting for each target: what a search over each target by itself chooses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from sklearn_deeplinear import DeepLinearRegressorCV
from sklearn_deeplinear.inspection import OptimalityDisplay
from sklearn_deeplinear.theory import SecondMoments
from sklearn_deeplinear.theory._one_output import each_output, one_output


def targets(n=30, d=4, seed=0):
    """One clear, one noisy in other units, one constant, and the first once more."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * np.geomspace(2, 0.1, d) + 3
    clear = X @ rng.standard_normal(d) + 0.1 * rng.standard_normal(n)
    noisy = 1e-6 * (X @ rng.standard_normal(d) + 3 * rng.standard_normal(n))
    return X, np.column_stack([clear, noisy, np.full(n, 2.0), clear])


WAYS = {
    "left out": {},
    "left out, a scorer": {"scoring": "neg_mean_absolute_error"},
    "no intercept": {"fit_intercept": False},
    "folds": {"cv": 3},
    "folds, a scorer": {"cv": KFold(3), "scoring": "r2"},
    "a test set in part": {"cv": ShuffleSplit(3, random_state=0)},
    "noise": {"widths": [2], "noises": [0.1], "cv": 4},
    "given decays": {"weight_decays": [1e-4, 1e-2, 1.0]},
}


@pytest.mark.parametrize("shape", [(30, 4), (12, 20)], ids=["tall", "wide"])
@pytest.mark.parametrize("way", WAYS)
def test_each_target_has_what_it_would_have_alone(way, shape):
    X, Y = targets(*shape)
    options = {"depths": [1, 2, 3], **WAYS[way]}
    together = DeepLinearRegressorCV(per_target="setting", **options).fit(X, Y)
    for j, y in enumerate(Y.T):
        alone = DeepLinearRegressorCV(**options).fit(X, y)
        size = np.abs(y).max()
        found = together.cv_results_[j]["mean_test_score"]
        unit = 1.0 if "r2" in str(options.get("scoring")) else np.ptp(y) ** 2 + 1e-9 * size**2
        assert_allclose(found, alone.cv_results_["mean_test_score"], rtol=1e-7, atol=1e-9 * unit)
        params = together.best_params_[j]
        assert set(params) == set(alone.best_params_)
        if np.ptp(y):  # else all settings are equal
            decay = alone.best_params_["weight_decay"]
            assert params == {**alone.best_params_, "weight_decay": pytest.approx(decay, rel=1e-9)}
            assert together.best_index_[j] == alone.best_index_
        assert together.best_score_[j] == found[together.best_index_[j]]
        assert_allclose(together.predict(X)[:, j], alone.predict(X), atol=1e-8 * size)
        assert_allclose(together.global_minimum_[j].coef[0], together.coef_[j])
        if together._held_out is not None:
            bounds = np.array(together.predict_interval(X[:3], 0.2))[:, :, j]
            assert_allclose(bounds, alone.predict_interval(X[:3], 0.2), atol=1e-7 * size)
        if alone.cv is None:
            assert_allclose(together.loo_residuals_[:, j], alone.loo_residuals_, atol=1e-7 * size)
    assert_allclose(together.coef_[0], together.coef_[3], rtol=1e-7)


def test_one_layer_is_ridge_with_a_penalty_an_output():
    X, Y = targets(40, 5)
    Y = Y[:, :2]
    decays = np.geomspace(1e-6, 10, 15)
    ridge = RidgeCV(39 * decays, alpha_per_target=True).fit(X, Y)
    model = DeepLinearRegressorCV(decays, [1], per_target="setting").fit(X, Y)
    chosen = [params["weight_decay"] for params in model.best_params_]
    assert_allclose(chosen, ridge.alpha_ / 39)
    assert len(set(chosen)) == 2
    assert_allclose(model.best_score_, ridge.best_score_, rtol=1e-9)


def test_a_vector_of_targets_has_one_setting():
    X, Y = targets()
    plain = DeepLinearRegressorCV().fit(X, Y[:, 0])
    alone = DeepLinearRegressorCV(per_target="setting").fit(X, Y[:, 0])
    assert alone.best_params_ == plain.best_params_ and alone.best_score_ == plain.best_score_
    assert np.array_equal(alone.coef_, plain.coef_) and alone.coef_.ndim == 1
    column = DeepLinearRegressorCV(per_target="setting").fit(X, Y[:, :1])
    assert column.best_params_ == [plain.best_params_] and column.coef_.shape == (1, 4)
    assert_allclose(column.loo_residuals_[:, 0], plain.loo_residuals_)


def test_groups_and_weights_reach_every_target():
    X, Y = targets()
    rng = np.random.RandomState(1)
    weight, groups = rng.exponential(size=30), rng.randint(0, 4, size=30)
    model = DeepLinearRegressorCV(depths=[2], per_target="setting", cv=GroupKFold(3))
    model.fit(X, Y, weight, groups=groups)
    for j in range(2):
        alone = DeepLinearRegressorCV(depths=[2], cv=GroupKFold(3))
        alone.fit(X, Y[:, j], weight, groups=groups)
        assert model.best_score_[j] == pytest.approx(alone.best_score_, rel=1e-7)


def test_targets_of_memory_maps_are_read_once(tmp_path):
    X, Y = targets(60)
    np.save(tmp_path / "X.npy", X)
    model = DeepLinearRegressorCV(depths=[1, 2], cv=3, per_target="setting")
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    coef, scores = model.fit(mapped, Y).coef_, model.best_score_
    model.fit(X, Y)
    assert_allclose(coef, model.coef_, rtol=1e-7, atol=1e-12)
    assert_allclose(scores, model.best_score_, rtol=1e-7, atol=1e-12)


def test_decays_at_an_end_are_told_of_once():
    X, Y = targets()
    model = DeepLinearRegressorCV([1e3, 1e4], [2], per_target="setting").fit(X, Y[:, :2])
    assert "for 2 of 2 outputs. Output 0: The best weight decay, 1e+03" in model.message_
    inside = DeepLinearRegressorCV(depths=[2], per_target="setting").fit(X, Y[:, :1])
    assert inside.message_ == ""


def test_displays_of_one_network_refuse():
    X, Y = targets()
    search = DeepLinearRegressorCV([0.1], [2], per_target="setting").fit(X, Y)
    with pytest.raises(ValueError, match="per_target=False"):
        OptimalityDisplay.from_search(search, param="weight_decay")


def test_training_has_one_setting():
    X, Y = targets()
    model = DeepLinearRegressorCV([0.1], [2], cv=2, solver="gd", per_target="setting")
    with pytest.raises(ValueError, match="per_target must be False .* got 'setting'"):
        model.fit(X, Y)


@pytest.mark.parametrize("units", [1e-100, 1.0, 1e100])
def test_outputs_share_the_decomposition_of_the_inputs(units):
    X, Y = targets()
    moments = SecondMoments.from_data(X, units * Y)
    for j, single in enumerate(each_output(moments)):
        alone = SecondMoments.from_data(X, units * Y[:, j : j + 1])
        assert single.spectrum.directions is moments.spectrum.directions
        assert_allclose(single.cross_moment, alone.cross_moment, atol=1e-14 * units)
        assert single.spectrum.residual == pytest.approx(
            alone.spectrum.residual, rel=1e-9, abs=1e-26 * units**2
        )
        assert one_output(moments, j).loss(np.ones((1, 4))) == pytest.approx(
            alone.loss(np.ones((1, 4))), rel=1e-9
        )
