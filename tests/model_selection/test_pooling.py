"""One setting for all outputs or one each, whichever predicts other samples better."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_linnerud

from sklearn_deeplinear import DeepLinearRegressorCV
from sklearn_deeplinear.model_selection._pooling import _N_HALVINGS, one_each_is_better


def slow(errors, share):
    """The gain of one each and its standard error, sample by sample; errors (m, S, n)."""
    m, _, n = errors.shape
    rng, gain = np.random.RandomState(0), np.zeros(n)
    for _ in range(_N_HALVINGS):
        places = rng.permutation(n)
        halves = [i for i in range(n) if places[i] < n / 2], None
        halves = halves[0], [i for i in range(n) if i not in halves[0]]
        for half, other in (halves, halves[::-1]):
            means = errors[:, :, half] @ share[half]
            one = means.sum(axis=0).argmin()
            for j in range(m):
                own = means[j].argmin()
                for i in other:
                    gain[i] += (errors[j, one, i] - errors[j, own, i]) / _N_HALVINGS
    mean = np.average(gain, weights=share)
    return mean, np.sqrt(np.sum(share**2 * (gain - mean) ** 2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("unit", [1e-160, 1.0, 1e160])
def test_the_gain_is_that_of_loops(weighted, unit):
    found = set()
    for seed in range(12):
        rng = np.random.RandomState(seed)
        m, S, n = 3, 4, 15 + seed % 2
        sizes = 1 + (seed % 4) * rng.uniform(size=(m, S, 1))
        residuals = sizes * rng.standard_normal((m, S, n))
        share = rng.exponential(size=n) if weighted else np.ones(n)
        share /= share.sum()
        mean, error = slow(residuals**2, share)
        parts = [list(unit * residuals[:, :2]), list(unit * residuals[:, 2:])]
        better = one_each_is_better(parts, share)
        assert better == (mean > error)
        found.add(better)
    assert found == {True, False}


def test_equal_or_perfect_settings_are_one():
    n = 8
    share = np.full(n, 1 / n)
    assert not one_each_is_better([[np.ones((3, n))] * 2], share)
    assert not one_each_is_better([[np.zeros((3, n))] * 2], share)
    assert not one_each_is_better([[np.ones((3, 2))] * 2], np.full(2, 0.5))


def several(seed, noises, n=150, d=10):
    """Targets of one signal each, with noise."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * np.geomspace(1, 0.2, d)
    return X, X @ rng.standard_normal((d, len(noises))) + noises * rng.standard_normal(
        (n, len(noises))
    )


def test_auto_is_the_better_one_of_two():
    """Unlike noise asks for a setting each, equal noise does not."""
    for noises, mode in (([0.01, 10.0] * 4, "setting"), ([1.0] * 8, True)):
        X, Y = several(0, np.array(noises))
        model = DeepLinearRegressorCV(depths=[1, 2], per_target="auto").fit(X, Y)
        assert model.per_target_ == mode
        same = DeepLinearRegressorCV(depths=[1, 2], per_target=mode).fit(X, Y)
        assert model.best_params_ == same.best_params_ and same.per_target_ == mode
        assert np.array_equal(model.coef_, same.coef_)
        assert np.array_equal(model.best_score_, same.best_score_)
        assert np.array_equal(model.loo_residuals_, same.loo_residuals_)
        assert len(model.global_minimum_) == 8


def test_few_samples_are_not_enough_for_a_setting_each():
    images = load_digits().data
    for X, Y in ((images[:60, :32], images[:60, 32:]), load_linnerud(return_X_y=True)):
        assert DeepLinearRegressorCV(depths=[1], per_target="auto").fit(X, Y).per_target_ is True


def test_one_output_has_no_choice():
    X, Y = several(0, np.ones(1))
    plain = DeepLinearRegressorCV(depths=[1, 2]).fit(X, Y[:, 0])
    model = DeepLinearRegressorCV(depths=[1, 2], per_target="auto").fit(X, Y[:, 0])
    assert model.per_target_ is True and model.best_params_ == plain.best_params_
    assert_allclose(model.coef_, plain.coef_)
    assert plain.per_target_ is False


@pytest.mark.parametrize("bad", [{"cv": 3}, {"scoring": "r2"}], ids=["cv", "scoring"])
def test_auto_is_of_single_samples_and_squared_errors(bad):
    X, Y = several(0, np.ones(2))
    with pytest.raises(ValueError, match=f'{next(iter(bad))} must be None with per_target="auto"'):
        DeepLinearRegressorCV(per_target="auto", **bad).fit(X, Y)
    search = DeepLinearRegressorCV(solver="gd", cv=2, stopping="cv").fit(X, Y)
    assert not hasattr(search, "per_target_")
