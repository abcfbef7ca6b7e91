"""Parameters and attributes of the same name mean the same, in the same words and order."""

import inspect
import itertools
from collections import defaultdict

import pytest
from numpydoc.docscrape import ClassDoc

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)

ESTIMATORS = (
    DeepLinearRegressor,
    DeepLinearClassifier,
    MultiPathwayRegressor,
    HomogeneousMLPRegressor,
    HomogeneousMLPClassifier,
)
PATHWAYS = [(MultiPathwayRegressor,)]
CLASSIFIER = [(DeepLinearClassifier,)]
LINEAR = [(DeepLinearRegressor, DeepLinearClassifier)]
PERCEPTRONS = [(HomogeneousMLPRegressor, HomogeneousMLPClassifier)]

# Who has a text of their own, and why: one text for each group, one for all the others.
PER_PATHWAY = "one for all pathways or one for each"
ANALYTIC = "perceptrons have no minimum that is known"
IF_LINEAR = "only linear pathways have it"
EXCEPTIONS = {
    "depth": (PATHWAYS, PER_PATHWAY),
    "width": (PATHWAYS, PER_PATHWAY),
    "weight_decay": (PATHWAYS, PER_PATHWAY),
    "init_scale": (PATHWAYS, PER_PATHWAY + ", and small enough for a race"),
    "weights_": (PATHWAYS, PER_PATHWAY),
    "balance_history_": (PATHWAYS, PER_PATHWAY),
    "activation": (PATHWAYS, "they need not be homogeneous"),
    "solver": (PERCEPTRONS, ANALYTIC),
    "n_iter_": (PERCEPTRONS, ANALYTIC),
    "step_size_": (PERCEPTRONS, ANALYTIC),
    "converged_": (PERCEPTRONS, ANALYTIC),
    "stop_reason_": (LINEAR, "linear networks have no kinks to stall at"),
    "coef_": (PATHWAYS + CLASSIFIER, IF_LINEAR + "; classes have rows"),
    "intercept_": (CLASSIFIER, "classes have entries"),
    "global_minimum_": (PATHWAYS + CLASSIFIER, IF_LINEAR + "; of classes on data"),
    "optimality_gap_": (PATHWAYS, IF_LINEAR),
    "optimality_certificate_": (PATHWAYS, IF_LINEAR),
    "moments_": (PATHWAYS, "they take no sparse X"),
    "net_": (PERCEPTRONS + CLASSIFIER, "what the outputs are less"),
    "loss": (CLASSIFIER, "linear classifiers have one loss"),
    "fit_intercept": (CLASSIFIER, "no centring finds it"),
    "init": (PATHWAYS + PERCEPTRONS + CLASSIFIER, "each kind of network has starts of its own"),
}
# Parameters by what they are about; constructors and docstrings follow this order.
GROUPS = {
    "model": "depth width n_pathways loss activation activate_output weight_decay noise "
    "class_weight fit_intercept fit_bias",
    "solver": "solver step_size momentum max_iter flow_time tol early_stopping "
    "validation_fraction n_iter_no_change batch_size callbacks compression",
    "start": "init init_scale warm_start random_state",
    "records": "record_every record record_weights record_sharpness",
    "other": "device dtype checkpoint verbose",
}
ORDER = " ".join(GROUPS.values()).split()


def entries(cls, section):
    """Documented parameters or attributes of a class: name to type line and text."""
    doc = ClassDoc(cls, config={"show_class_members": False})
    return {entry.name: (entry.type, " ".join(entry.desc).split()) for entry in doc[section]}


def without_default(text):
    """A type line without the default, which estimators choose for themselves."""
    return text[0].split(", default=")[0], text[1]


def texts(section, classes=ESTIMATORS):
    """Type lines and texts of each name, by class."""
    found = defaultdict(dict)
    for cls in classes:
        for name, text in entries(cls, section).items():
            found[name][cls] = without_default(text)
    return found


ALL = {**texts("Parameters"), **texts("Attributes")}
SHARED = {name: by_class for name, by_class in ALL.items() if len(by_class) > 1}


def assert_one_text(name, by_class):
    for one, other in itertools.pairwise(by_class):
        assert by_class[one] == by_class[other], f"{name}: {one.__name__}, {other.__name__}"


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared_is_said_in_the_same_words(name):
    by_class = dict(SHARED[name])
    for group in EXCEPTIONS.get(name, ([], ""))[0]:
        assert_one_text(name, {cls: by_class.pop(cls) for cls in group})
    assert_one_text(name, by_class)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_no_exception_is_without_need(name):
    with pytest.raises(AssertionError):
        assert_one_text(name, SHARED[name])


def test_another_text_is_seen():
    with pytest.raises(AssertionError, match="tol"):
        assert_one_text("tol", {int: ("float", ["Stop."]), float: ("float", ["Stop", "early."])})


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_parameters_come_in_groups(cls):
    names = list(inspect.signature(cls).parameters)
    assert names == [name for name in ORDER if name in names]
    assert names == list(entries(cls, "Parameters"))


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_defaults_are_what_the_text_says(cls):
    for name, (kind, _) in entries(cls, "Parameters").items():
        default = inspect.signature(cls).parameters[name].default
        written = kind.split("default=")[1]
        assert default == (None if written == "None" else eval(written)), name


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_only_depth_and_width_are_positional(cls):
    parameters = inspect.signature(cls).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["depth", "width"]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_has_a_constraint_and_no_other_has(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("callbacks", [(), [], None], ["early_stopping", {}]),
        ("batch_size", [1], [0, 1.5]),
        ("max_iter", [0], [-1, None]),
        ("tol", [0, 0.5], [-0.5, "small"]),
        ("step_size", ["auto", 0.1, lambda t: 0.1], [0, "fast"]),
        ("record_every", [None, 1], [0]),
        ("warm_start", [True], ["yes"]),
        ("early_stopping", [True], ["yes"]),
        ("validation_fraction", [0.5], [0, 1.0, 20]),
        ("n_iter_no_change", [1], [0, 1.5]),
    ],
)
def test_shared_parameters_take_the_same_values(cls, name, good, bad):
    for value in good:
        cls(**{name: value})._validate_params()
    for value in bad:
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            cls(**{name: value})._validate_params()
