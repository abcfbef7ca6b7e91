"""The minimum beside a fit: never above the weights that are known, never computed unasked."""

import inspect
import pickle
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear._warnings import ContradictedMinimumWarning
from sklearn_deeplinear.estimators import _linear_problem, _pathway_problem
from sklearn_deeplinear.theory import SecondMoments, global_minimum
from sklearn_deeplinear.theory._known_weights import minimum_beside

# Fits end after a fixed number of steps, wherever they are.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = [
    (_linear_problem, "global_minimum"),
    (_pathway_problem, "pathway_global_minimum"),
]


def data(m=3):
    random = np.random.RandomState(0)
    X = random.randn(60, 5) * np.geomspace(2, 0.3, 5)
    return X, X @ random.randn(5, m) + 0.2 * random.randn(60, m)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_what_the_search_missed_is_found_from_weights_in_any_units(unit):
    X, Y = data()
    moments = SecondMoments.from_data(X, unit * Y)
    options = {"depth": 2, "weight_decay": 0.05 * unit}
    true = global_minimum(moments, **options)
    missed = replace(true, objective=1.5 * true.objective, lower_bound=0.0, kind="stationary")
    missed = replace(missed, coef=0 * true.coef)
    found = minimum_beside(missed, moments, true.weights(), 1.01 * true.objective)
    np.testing.assert_allclose(found.objective, true.objective, rtol=1e-7)
    np.testing.assert_allclose(found.coef, true.coef, atol=1e-3 * np.abs(true.coef).max())


MODELS = {
    "depth 3": DeepLinearRegressor(3, 4, weight_decay=0.03),
    "bottleneck": DeepLinearRegressor(2, 2, weight_decay=(0.02, 0.05)),
    "certified": DeepLinearRegressor(2, 6, weight_decay=0.05),
    "noise": DeepLinearRegressor(2, 7, weight_decay=(0.02, 0.05), noise=0.7),
    "noise, no decay": DeepLinearRegressor(3, 4, noise=0.7),
    "noise, no decay in one layer": DeepLinearRegressor(2, 4, weight_decay=(0, 0.1), noise=0.7),
    "ridge": DeepLinearRegressor(1, weight_decay=0.1),
    "least squares": DeepLinearRegressor(2, 4),
    "two pathways": MultiPathwayRegressor((2, 3), 5, weight_decay=0.03, random_state=0),
    "a shallow pathway": MultiPathwayRegressor((1, 3), 5, weight_decay=0.03, random_state=0),
    "narrow pathways": MultiPathwayRegressor((2, 3), 2, weight_decay=0.03, random_state=0),
    "equal pathways": MultiPathwayRegressor(3, 5, weight_decay=0.03, random_state=0),
    "free pathways": MultiPathwayRegressor((2, 3), 5, random_state=0),
}


def fitted(name, **parameters):
    model = clone(MODELS[name]).set_params(max_iter=2000, **parameters).fit(*data())
    # A fit that has not converged looks at a minimum that is cheap; here it is asked for anew.
    vars(model._problem).pop("global_minimum", None)
    return model


def change(monkeypatch, changed):
    """Make both solvers return ``changed(minimum)``."""
    for module, name in SOLVERS:
        true = getattr(module, name)
        wrong = partial(lambda true, *args, **kwargs: changed(true(*args, **kwargs)), true)
        monkeypatch.setattr(module, name, wrong)


def spoil(monkeypatch, **changes):
    """Make both solvers return minima that are too high, with `changes`."""
    change(monkeypatch, lambda found: replace(found, objective=3 * found.objective + 1, **changes))


@pytest.mark.parametrize("name", MODELS)
def test_a_stationary_minimum_above_the_fit_is_improved_from_there(name, monkeypatch):
    spoil(monkeypatch, kind="stationary", lower_bound=0.0)
    model = fitted(name)
    minimum = model.global_minimum_
    assert minimum.kind == "stationary"
    assert 0 <= model.optimality_gap_ == model.objective_ - minimum.objective
    assert minimum.loss + minimum.penalty == pytest.approx(minimum.objective, rel=1e-12)
    if name != "noise, no decay in one layer":
        value = model._problem.evaluate(minimum.weights(MODELS[name].width))[1]
        assert value == pytest.approx(minimum.objective, rel=1e-9)
    assert model.global_minimum_ is minimum  # kept


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "certified") for name in list(MODELS)[::2]),
        *((name, kind) for name in ("depth 3", "two pathways") for kind in ("exact", "stationary")),
    ],
)
def test_a_contradicted_bound_warns_and_is_given_up(name, kind, monkeypatch):
    model, true = fitted(name), fitted(name).global_minimum_
    spoil(monkeypatch, kind=kind, lower_bound=3 * true.objective + 1)
    with pytest.warns(ContradictedMinimumWarning, match="This is a bug in") as caught:
        minimum = model.global_minimum_
    assert minimum.kind == "stationary" and model.optimality_gap_ >= 0
    assert minimum.lower_bound <= true.objective * (1 + 1e-12)
    warning = caught[0].message
    assert warning.objective == model.objective_
    assert warning.weights is model.weights_ and warning.problem is model.moments_
    assert warning.minimum.objective > model.objective_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.global_minimum_ is minimum  # one warning a fit


@pytest.mark.parametrize("name", MODELS)
def test_rounding_is_no_contradiction(name, monkeypatch):
    model = fitted(name)

    def a_little_high(found):
        high = max(found.objective, model.objective_) * (1 + 1e-10)
        return replace(found, objective=high, lower_bound=high)

    change(monkeypatch, a_little_high)
    assert model.optimality_gap_ == 0
    assert model.global_minimum_.lower_bound <= model.objective_


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in MODELS), ("depth 3", "float32"), ("two pathways", "float32")],
)
def test_no_fit_lies_below_its_minimum(name, dtype):
    model = fitted(name, dtype=dtype)
    assert 0 <= model.optimality_gap_ == model.objective_ - model.global_minimum_.objective
    assert model._problem.evaluate(model.weights_)[1] == pytest.approx(model.objective_, rel=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam", "flow"])
def test_a_perfect_fit_is_not_below_its_minimum(solver):
    X, Y = data()
    Y = X @ np.linalg.lstsq(X, Y, rcond=None)[0]
    model = DeepLinearRegressor(2, 6, solver=solver, max_iter=200, tol=0).fit(X, Y)
    assert model.optimality_gap_ >= 0


def unsolvable(*args, **kwargs):
    raise AssertionError("the minimum was computed")


@pytest.mark.parametrize("name", ["noise", "depth 3", "two pathways"])
def test_looking_at_a_model_solves_nothing(name, monkeypatch):
    for module, function in SOLVERS:
        monkeypatch.setattr(module, function, unsolvable)
    for model in (clone(MODELS[name]), fitted(name)):
        names = dir(model)
        assert "fit" in names and not {"global_minimum_", "optimality_gap_"} & set(names)
        assert "optimality_certificate_" not in names
        assert repr(model) and model._repr_html_() and model._repr_mimebundle_()
        inspect.getmembers(model)
        assert not hasattr(model, "transform") and hasattr(model, "predict")
        clone(model)
        assert set(names) <= set(dir(pickle.loads(pickle.dumps(model))))


@pytest.mark.parametrize("name", ["noise", "two pathways"])
def test_what_has_been_computed_is_listed(name):
    model = fitted(name)
    before = set(dir(model))
    assert {"coef_", "weights_", "objective_"} <= before
    gap = model.optimality_gap_
    assert set(dir(model)) - before == {"global_minimum_", "optimality_gap_"}
    if hasattr(model, "_get_fitted_attr_html"):  # newer versions of scikit-learn
        assert "optimality_gap_" in model._repr_html_()
    assert model.optimality_gap_ == gap


def test_certificates_are_computed_once_and_only_when_asked_for(monkeypatch):
    calls, prove = [], _linear_problem.proven_bound
    monkeypatch.setattr(
        _linear_problem, "proven_bound", lambda *args: calls.append(1) or prove(*args)
    )
    model = fitted("depth 3")
    assert model.optimality_gap_ is not None
    assert "optimality_certificate_" not in dir(model)
    assert model._repr_html_() and not calls
    bound = model.optimality_certificate_
    assert "optimality_certificate_" in dir(model)
    assert (model.optimality_certificate_, len(calls)) == (bound, 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_certifies_itself_without_solving_anything(name, monkeypatch):
    model = fitted(name)
    least = model.global_minimum_
    for module, function in SOLVERS:
        monkeypatch.setattr(module, function, unsolvable)
    vars(model._problem).pop("global_minimum")
    bound = model.optimality_certificate_
    assert bound <= least.objective * (1 + 1e-14)
    # What noise adds to the objective of several outputs is left out, and the pathways' steps
    # have not brought them near enough.
    if "noise" not in name and (name == "free pathways" or "pathway" not in name):
        assert bound >= least.objective * (1 - 1e-6)


PATHWAYS = {
    "of depths 2 and 3": {"depth": (2, 3)},
    "of depths 1 and 3": {"depth": (1, 3)},
    "one of them narrow": {"depth": (2, 3), "width": ((1,), (4, 4))},
    "of depth 1 only": {"depth": (1, 1)},
    "without decay": {"depth": (2, 3), "weight_decay": 0.0},
    "one without decay": {"depth": (2, 3), "weight_decay": [[0.0, 0.0], [0.1] * 3]},
    "equal ones": {"depth": (3, 3)},
    "depth 1 without decay": {"depth": (1, 2), "weight_decay": [[0.0], [0.1, 0.1]]},
}


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("name", PATHWAYS)
def test_no_pathways_lie_below_what_others_certify(name, white, m):
    """Whatever their weights, and the minimum's own maps prove it where nothing is narrow."""
    X, Y = data(m)
    if white:
        X = np.linalg.qr(X - X.mean(axis=0))[0] * 60**0.5
    options = {"width": 4, "weight_decay": 0.05} | PATHWAYS[name]
    model = MultiPathwayRegressor(solver="analytic", **options)
    model.fit(X, Y)
    least = model.global_minimum_
    bounds, random = [model.optimality_certificate_], np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0):
        weights = [
            [W + size * random.normal(size=W.shape) for W in path] for path in model.weights_
        ]
        problem = replace(model._problem)
        bounds.append(problem.certify(weights))
        assert problem.evaluate(weights)[1] >= max(bounds) * (1 - 1e-14)
    assert max(bounds) <= least.objective * (1 + 1e-14)
    if "narrow" not in name:
        assert bounds[0] >= least.objective * (1 - 1e-8)


def test_pathways_that_are_not_linear_certify_nothing():
    model = MultiPathwayRegressor(2, activation="relu", max_iter=3).fit(*data())
    assert "optimality_certificate_" not in dir(model)
    with pytest.raises(AttributeError, match="optimality_certificate_ needs"):
        model.optimality_certificate_  # noqa: B018
