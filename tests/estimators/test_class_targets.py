"""Class labels from one fit to the next."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearClassifier, HomogeneousMLPClassifier

# Fits end after a few steps, wherever they are.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
CODES = (X @ [1.0, -1.0, 0.5] + 0.3 * rng.standard_normal(40) > 0).astype(int)
SHARED = {"width": 4, "max_iter": 3, "tol": 0, "random_state": 0, "warm_start": True}
MODELS = {
    "linear": DeepLinearClassifier(**SHARED),
    "linear-adam": DeepLinearClassifier(solver="adam", **SHARED),
    "perceptron": HomogeneousMLPClassifier(**SHARED),
}
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
@pytest.mark.parametrize("labels", [[2, 3], [-1, 1], ["0", "1"], ["no", "yes"], [0, 1, 2]])
def test_a_warm_start_on_other_classes_is_refused_and_changes_nothing(name, labels):
    model = clone(MODELS[name]).fit(X, CODES)
    y = np.array(labels)[np.arange(40) % len(labels)]
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="y must hold the classes .* warm_start=True"):
        model.fit(X, y)
    assert_array_equal(model.classes_, [0, 1])
    assert_array_equal(model.predict_proba(X), before)
    assert_array_equal(model.set_params(warm_start=False).fit(X, y).classes_, np.unique(labels))


@each_model
@pytest.mark.parametrize("labels", [[0.0, 1.0], [False, True]])
def test_a_warm_start_goes_on_with_labels_that_are_equal(name, labels):
    """Whatever their type and the order in which they come."""
    y = np.asarray(labels)[CODES]
    order = np.argsort(CODES)[::-1]
    model, known = (clone(MODELS[name]).fit(X, CODES) for _ in range(2))
    model.fit(X[order], y[order])
    assert_array_equal(model.predict_proba(X), known.fit(X[order], CODES[order]).predict_proba(X))
    assert_array_equal(model.classes_, labels)
