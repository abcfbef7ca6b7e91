"""Fits depend on the ratios of sample weights alone, up to the largest float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FEW = {"max_iter": 5, "random_state": 0, "batch_size": 10}
MODELS = {
    "deep": DeepLinearRegressor(2, 3, **FEW),
    "mini-batches": DeepLinearRegressor(2, 3, solver="sgd", step_size=0.01, **FEW),
    "linear pathways": MultiPathwayRegressor(2, 3, **FEW),
    "other pathways": MultiPathwayRegressor(2, 3, activation="relu", **FEW),
    "perceptron": HomogeneousMLPRegressor(2, 3, **FEW),
    "classifier": HomogeneousMLPClassifier(2, 3, **FEW),
    "linear classifier": DeepLinearClassifier(2, 3, **FEW),
}


@pytest.mark.parametrize("exponent", [1023, -1022])
@pytest.mark.parametrize("name", MODELS)
def test_only_ratios_of_sample_weights_matter(name, exponent):
    rng = np.random.RandomState(0)
    X, weight = rng.randn(30, 3), rng.uniform(1.0, 2.0, 30)
    y = X[:, 0] > 0 if "classifier" in name else X[:, 0]
    plain = clone(MODELS[name]).fit(X, y, sample_weight=weight)
    # By a power of two, which is exact; the sum of the large ones is none that exists.
    scaled = clone(MODELS[name]).fit(X, y, sample_weight=np.ldexp(weight, exponent))
    assert_allclose(scaled.objective_, plain.objective_, rtol=1e-13)
    assert_allclose(scaled.predict(X), plain.predict(X), rtol=1e-12)


@pytest.mark.parametrize("solver", [None, "sgd"])
@pytest.mark.parametrize("name", MODELS)
def test_samples_of_weight_zero_are_as_if_left_out(name, solver):
    """Whatever numbers they hold, and although automatic steps follow the longest inputs."""
    rng = np.random.RandomState(0)
    X, weight = rng.randn(60, 3), rng.choice([0.0, 1.0, 2.0], 60)
    y = X[:, 0] > 0 if "classifier" in name else X[:, 0]
    used, spoilt = weight > 0, X.copy()
    spoilt[~used] *= rng.choice([1.0, 1e200], (np.sum(~used), 1))
    model = clone(MODELS[name]).set_params(early_stopping=True, n_iter_no_change=3)
    model.set_params(solver=solver or model.solver)
    left_out = clone(model).fit(X[used], y[used], weight[used], X[used], y[used], weight[used])
    model.fit(spoilt, y, weight, spoilt, y, weight)
    assert_allclose(model.objective_, left_out.objective_, rtol=1e-12)
    assert_allclose(model.best_validation_loss_, left_out.best_validation_loss_, rtol=1e-12)
    assert_allclose(model.predict(X), left_out.predict(X), rtol=1e-9)


@pytest.mark.parametrize("solver", ["analytic", "gd", "lbfgs"])
def test_classes_whose_weight_is_rounding_are_said_to_have_none(solver):
    rng = np.random.RandomState(0)
    X, weight = rng.randn(30, 3), np.ones(30)
    weight[0] = 1e30
    model = DeepLinearClassifier(2, 3, solver=solver, weight_decay=1e-3)
    with pytest.raises(ValueError, match="sample_weight and class_weight must leave every class"):
        model.fit(X, X[:, 0] > 0, sample_weight=weight)


def test_mini_batches_of_samples_whose_shares_vanish():
    """Weights from 1e-300 to 1e300 leave fewer samples than have a weight."""
    rng = np.random.RandomState(0)
    X, weight = rng.randn(30, 3), np.geomspace(1e-300, 1e300, 30)
    model = MultiPathwayRegressor(2, 3, solver="sgd", max_iter=5, random_state=0)
    model.fit(X, X[:, 0], sample_weight=weight)
    assert np.isfinite(model.objective_)
