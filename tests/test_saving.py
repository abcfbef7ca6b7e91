"""Fits come back from pickles and from files, also from those that were written long ago."""

import io
import pickle
import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearClassifier, DeepLinearRegressor
from sklearn_deeplinear.theory import SecondMoments
from tests.saved_models import CLASSES, FITS, FOLDER, TWO_CLASSES, X, Y, fitted, numbers

GUIDE = Path(__file__).parents[1] / "docs" / "saving.rst"
OWN = "sklearn_deeplinear."
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def listed_types():
    """The types that the documentation lists."""
    return re.findall(r"^    (sklearn[\w.]+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def types_of_searches():
    """What skops asks for in searches of scikit-learn, more of it in some versions."""
    search = GridSearchCV(DummyRegressor(), {"constant": [0.0]}, cv=2).fit(X, Y)
    return set(skops.io.get_untrusted_types(data=skops.io.dumps(search)))


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file, compress=3)
    return joblib.load(io.BytesIO(file.getvalue()))


WAYS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)),
    "skops": lambda model: skops.io.loads(
        skops.io.dumps(model), trusted=[*listed_types(), *types_of_searches()]
    ),
}


def assert_same(first, second):
    """Equal in all they hold, whatever they are."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert_same(value, second[name])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, np.ma.MaskedArray):
        assert_same(first.filled().tolist(), second.filled().tolist())
    elif isinstance(first, (np.ndarray, np.generic, float)):
        assert_array_equal(first, second)
    elif is_dataclass(first):
        for part in fields(first):
            assert_same(getattr(first, part.name), getattr(second, part.name))
    elif isinstance(first, BaseEstimator):
        assert_same(public(first), public(second))
    elif not callable(first):
        assert first == second or re.sub("0x.*", "", repr(first)) == re.sub(
            "0x.*", "", repr(second)
        )


def public(model):
    """Parameters and fitted attributes, the names of skorch's net left out."""
    hidden = {"net_", "scorer_"}
    return {k: v for k, v in vars(model).items() if k not in hidden and not k.startswith("_")}


@pytest.fixture(scope="module", params=FITS)
def model(request):
    return fitted(request.param)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost(model, way):
    copy = WAYS[way](model)
    assert_same(public(model), public(copy))
    # What is computed on first access is computed after loading, too.
    assert_same(numbers(WAYS[way](model)), numbers(model))
    assert repr(copy) == repr(model)


def test_what_skops_has_to_trust_is_what_the_documentation_lists():
    needed = set()
    for name in FITS:
        fit = fitted(name)
        numbers(fit)  # which computes the minima, so that they are saved
        needed |= set(skops.io.get_untrusted_types(data=skops.io.dumps(fit)))
        needed |= set(skops.io.get_untrusted_types(file=FOLDER / f"{name}.skops"))
    listed = listed_types()
    assert listed == sorted(needed - (types_of_searches() - set(listed)))
    assert [name for name in listed if not name.startswith(OWN)] == [
        "sklearn.metrics._scorer._PassthroughScorer"
    ]


# Of the scaler in the pipeline, which is scikit-learn's.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("name", FITS)
def test_files_of_older_versions_load(name):
    file = FOLDER / f"{name}.skops"
    model = skops.io.load(file, trusted=listed_types())
    with np.load(file.with_suffix(".npz")) as saved:
        found = numbers(model)
        assert set(saved) <= found.keys()
        for key, value in saved.items():
            if value.dtype.kind == "U":
                assert_array_equal(found[key], value)
            else:  # other processors round otherwise
                assert_allclose(found[key], value, rtol=1e-9, atol=1e-12)
    # Parameters that came later have their defaults.
    assert repr(model) and model.get_params()


def test_the_files_stay_small():
    assert max(file.stat().st_size for file in FOLDER.iterdir()) < 50_000


def test_parameters_of_later_versions_get_their_defaults():
    state = {k: v for k, v in vars(DeepLinearRegressor(depth=3)).items() if k != "momentum"}
    model = DeepLinearRegressor.__new__(DeepLinearRegressor)
    model.__setstate__(state)
    assert model.get_params() == DeepLinearRegressor(depth=3).get_params()


def size(obj):
    return len(pickle.dumps(obj))


@pytest.mark.parametrize("name", [n for n in FITS if n not in ("cv", "cv_trained")])
def test_size_does_not_grow_with_the_data(name):
    model, y = FITS[name]
    many = model.fit(np.tile(X, (50, 1)), np.concatenate([y] * 50))
    numbers(many)  # the minimum, for which a classifier keeps its data until then
    few = fitted(name)
    numbers(few)
    # Counts of samples take a byte more, and paths of descent may have other numbers of minima.
    assert size(many) < 1.2 * size(few) + 500


def test_a_search_saves_the_best_fit_alone():
    search = fitted("search")
    assert size(search.scorer_) < size(search.best_estimator_) < size(search)
    search.set_params(param_grid={"weight_decay": list(np.linspace(0.0, 0.1, 20))})
    assert size(search.fit(X, Y).scorer_) < size(search.best_estimator_)
    assert search.scorer_(search.best_estimator_, X, Y) == search.best_estimator_.score(X, Y)


def test_moments_are_saved_without_what_follows_from_them():
    moments = SecondMoments.from_data(X, Y)
    before = size(moments)
    kept = [moments.spectrum.sigma, moments.input_moment, moments.cross_moment]
    assert size(moments) == before
    copy = pickle.loads(pickle.dumps(moments))
    assert_same([copy.spectrum.sigma, copy.input_moment, copy.cross_moment], kept)


@pytest.mark.parametrize("y", [CLASSES, TWO_CLASSES], ids=["three", "two"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_classifier_keeps_its_data_until_the_minimum_is_known(depth, y):
    model = DeepLinearClassifier(depth, 4, weight_decay=0.01, max_iter=5, random_state=0)
    model.fit(X, y)
    asked_later = pickle.loads(pickle.dumps(model))
    assert len(asked_later._problem.X) == len(X)
    gap = model.optimality_gap_
    saved = pickle.loads(pickle.dumps(model))
    assert len(saved._problem.X) == 0 and len(model._problem.X) == len(X)
    assert saved.optimality_gap_ == gap == asked_later.optimality_gap_
    assert_array_equal(saved.predict_proba(X), model.predict_proba(X))
    again = saved.set_params(warm_start=True).fit(X, y)
    assert again.objective_ <= model.objective_
