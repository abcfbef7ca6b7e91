"""What else runs record on request."""

import numpy as np
import pytest

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor, MultiPathwayRegressor


def make_data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((30, 4))
    return X, X @ rng.standard_normal((4, 3)) + 0.1 * rng.standard_normal((30, 3))


@pytest.mark.parametrize("Model", [DeepLinearRegressor, MultiPathwayRegressor])
def test_a_flag_and_a_name_record_the_same(Model):
    X, y = make_data()
    model = Model(2, 5, max_iter=6, tol=0, random_state=0)
    named = model.set_params(record=["sharpness", "sharpness"]).fit(X, y).trajectory_.sharpness
    flagged = model.set_params(record=(), record_sharpness=True).fit(X, y).trajectory_.sharpness
    np.testing.assert_array_equal(named, flagged)
    assert len(named) == 7


@pytest.mark.parametrize("Model", [DeepLinearRegressor, MultiPathwayRegressor])
def test_what_is_not_known_is_named(Model):
    with pytest.raises(ValueError, match="record must hold names among .*sharpness.*sharpnes'"):
        Model(record=["sharpnes"]).fit(*make_data())


def test_what_was_not_asked_for_is_not_there():
    run = HomogeneousMLPRegressor(max_iter=2, tol=0).fit(*make_data()).trajectory_
    assert run.sharpness is None
    with pytest.raises(AttributeError, match="no attribute 'nuclear_norm'"):
        run.nuclear_norm  # noqa: B018
