"""Which runs are worth a warning, and that its advice helps."""

import warnings

import numpy as np
import pytest
from sklearn import datasets
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler, scale

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
    TrainingWarning,
)

DATA = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True, scaled=False),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "linnerud": lambda: datasets.load_linnerud(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "friedman1": lambda: datasets.make_friedman1(100, noise=1, random_state=0),
    "friedman2": lambda: datasets.make_friedman2(100, noise=1, random_state=0),
    "regression": lambda: datasets.make_regression(100, 20, noise=5, random_state=0),
    "classification": lambda: datasets.make_classification(200, random_state=0),
}
LINEAR = [
    DeepLinearRegressor(),
    DeepLinearRegressor(depth=1),
    DeepLinearRegressor(depth=3, weight_decay=0.1),
    MultiPathwayRegressor(random_state=0),
    MultiPathwayRegressor(depth=[1, 2], weight_decay=0.01, random_state=0),
]


def warnings_of(model, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return [str(record.message) for record in caught]


@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "standardised"])
@pytest.mark.parametrize("name", DATA)
def test_default_linear_fits_warn_once_at_most_and_the_advice_helps(name, scaled):
    X, y = DATA[name]()
    X = scale(X) if scaled else X
    for model in LINEAR:
        found = warnings_of(model, X, y)
        assert len(found) == (0 if model.converged_ else 1)
        for text in found:
            if "StandardScaler" in text:
                assert not scaled
                assert warnings_of(clone(model), StandardScaler().fit_transform(X), y) == []
            if y.ndim == 1:  # else the exact minimum is a search
                assert 'solver="analytic"' in text
                exact = clone(model).set_params(solver="analytic")
                assert warnings_of(exact, X, y) == []
                assert exact.objective_ < model.objective_
            assert warnings_of(clone(model).set_params(tol=0), X, y) == []


def test_badly_scaled_wine_is_told_to_scale_and_then_converges():
    X, y = DATA["wine"]()
    model = DeepLinearRegressor()
    assert "StandardScaler" in warnings_of(model, X, y)[0]
    assert warnings_of(model, scale(X), y) == []
    assert model.converged_ and model.stop_reason_ == "max_iter"
    assert 0 <= model.optimality_gap_ <= 1e-8 * model.objective_
    norm = model.trajectory_.gradient_norm
    assert norm[-1] > 1e-6 * norm[0]  # by the gradient it is not done


def test_a_smaller_tol_asks_for_a_smaller_gap():
    X, y = DATA["wine"]()
    model = DeepLinearRegressor(tol=1e-9)
    assert len(warnings_of(model, scale(X), y)) == 1 and not model.converged_


def test_no_search_is_made_for_a_warning(monkeypatch):
    """Several outputs, two decayed layers: not even where the run is about to warn."""

    def forbidden(*args, **options):
        raise AssertionError("the global minimum was searched for")

    for module in ("_linear_problem.global_minimum", "_pathway_problem.pathway_global_minimum"):
        monkeypatch.setattr(f"sklearn_deeplinear.estimators.{module}", forbidden)
    X, y = DATA["linnerud"]()
    for model in (DeepLinearRegressor(weight_decay=0.1), MultiPathwayRegressor(weight_decay=0.1)):
        assert len(warnings_of(model, X, y)) == 1
    X, y = DATA["friedman1"]()
    # nor where the gradient has converged, or nobody asks
    assert warnings_of(DeepLinearRegressor(weight_decay=0.1, depth=1), X, y) == []
    assert warnings_of(DeepLinearRegressor(weight_decay=0.1, max_iter=5, tol=0), X, y) == []


def test_unattained_minima_are_not_advised():
    X, y = DATA["diabetes"]()
    text = warnings_of(DeepLinearRegressor(weight_decay=[0.1, 0.0]), X, y)[0]
    assert "analytic" not in text and "max_iter" in text


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("wine", lambda X, y: (X, y), "StandardScaler"),
        ("wine", lambda X, y: (scale(X), y), "on purpose"),
        ("friedman1", lambda X, y: (X, 1e-3 * y), "TransformedTargetRegressor"),
        ("friedman1", lambda X, y: (1e-3 * scale(X), y), "StandardScaler"),
    ],
)
def test_perceptrons_are_told_what_makes_them_slow(name, change, word):
    X, y = change(*DATA[name]())
    kind = HomogeneousMLPClassifier if name == "wine" else HomogeneousMLPRegressor
    model = kind(width=10, max_iter=20, random_state=0)
    (text,) = warnings_of(model, X, y)
    assert word in text and "tol=0" in text
    if word == "on purpose":
        assert "StandardScaler" not in text
    assert warnings_of(clone(model).set_params(tol=0), scale(X), y) == []


def test_classifiers_are_not_told_to_scale_targets():
    """However small the share of each of many classes is."""
    X, y = np.random.RandomState(0).standard_normal((256, 4)), np.arange(256) % 128
    for loss in ("cross_entropy", "squared_error"):
        model = HomogeneousMLPClassifier(width=10, loss=loss, max_iter=3, random_state=0)
        (text,) = warnings_of(model, X, y)
        assert "targets" not in text and "on purpose" in text


@pytest.mark.parametrize("solver", ["gd", "flow", "sgd", "adam", "analytic"])
@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(),
        MultiPathwayRegressor(),
        MultiPathwayRegressor(activation="relu"),
        HomogeneousMLPRegressor(width=5),
    ],
)
def test_no_steps_give_the_initial_weights_without_a_warning(model, solver):
    if solver == "analytic" and getattr(model, "activation", "identity") != "identity":
        pytest.skip("not for this network")
    X, y = DATA["friedman1"]()
    model = clone(model).set_params(solver=solver, max_iter=0)
    assert warnings_of(model, X, y) == []
    assert len(model.trajectory_) == 1


def test_runs_that_diverge_still_warn():
    X, y = DATA["friedman1"]()
    with pytest.warns(TrainingWarning, match="diverged"):
        DeepLinearRegressor(step_size=1e3).fit(X, y)
