"""Every public object is documented, in numpydoc form, and the parameters match."""

import inspect
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import get_type_hints

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

from tests.api_listing import public_objects

# What a reader stumbles over; the codes are explained in numpydoc's manual.
ERRORS = {
    *("GL03", "GL05", "GL06", "GL07", "GL08"),  # blank lines, tabs, sections, no docstring
    *("SS01", "SS03", "SS04"),  # the summary: present, with a full stop
    *("PR01", "PR02", "PR03", "PR04", "PR07", "PR10"),  # parameters: all, in order, described
    *("RT01", "YD01"),  # what comes back
}


def public_members(cls):
    """Names of the methods and properties that `cls` itself defines for its users."""
    kinds = (type(lambda: None), classmethod, staticmethod, property, cached_property)
    return [
        name
        for name, member in vars(cls).items()
        if isinstance(member, kinds) and not name.startswith("_")
    ]


def field_names(cls):
    """Names of the fields of a dataclass or a named tuple, none for other classes."""
    return [f.name for f in fields(cls)] if is_dataclass(cls) else getattr(cls, "_fields", [])


# Each once, by its first name.
OBJECTS = {obj: name for name, obj in reversed(public_objects().items())}
OBJECTS = {name: obj for obj, name in OBJECTS.items()}
CLASSES = {name: obj for name, obj in OBJECTS.items() if inspect.isclass(obj)}
RECORDS = [name for name, cls in CLASSES.items() if field_names(cls)]
ESTIMATORS = [name for name, cls in CLASSES.items() if issubclass(cls, BaseEstimator)]
MEMBERS = [f"{name}.{member}" for name, cls in CLASSES.items() for member in public_members(cls)]


def complaints(name, ignore=frozenset()):
    """Errors that numpydoc finds in the docstring of the object called `name`."""
    chosen = ERRORS - ignore
    return [f"{code}: {text}" for code, text in validate(name)["errors"] if code in chosen]


@pytest.mark.parametrize("name", OBJECTS)
def test_object_is_documented(name):
    # The fields of a record are its attributes: they are held to account below.
    ignore = {"PR01"} if name in RECORDS else set()
    assert complaints(name, ignore) == []


@pytest.mark.parametrize("name", MEMBERS)
def test_member_is_documented(name):
    owner, _, member = name.rpartition(".")
    doc = inspect.getdoc(inspect.getattr_static(CLASSES[owner], member)) or ""
    # One line may say it all, except about what users of an estimator call.
    short = owner not in ESTIMATORS and "\n" not in doc
    assert complaints(name, {"PR01", "RT01"} if short else set()) == []


@pytest.mark.parametrize("name", [name for name in OBJECTS if name not in CLASSES])
def test_function_declares_what_it_returns(name):
    """For editors and type checkers; the names in the annotation exist."""
    assert get_type_hints(OBJECTS[name])["return"] is not None


@pytest.mark.parametrize("name", RECORDS)
def test_record_documents_its_fields_in_order(name):
    doc = ClassDoc(CLASSES[name], config={"show_class_members": False})
    documented = [entry.name for entry in doc["Parameters"] + doc["Attributes"]]
    public = [field for field in field_names(CLASSES[name]) if not field.startswith("_")]
    assert [entry for entry in documented if entry in public] == public


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimator_shows_examples_and_references(name):
    doc = ClassDoc(CLASSES[name], config={"show_class_members": False})
    assert doc["Examples"], "no Examples section"
    assert doc["References"], "no References section"


def undocumented(a, b):
    """Add two numbers

    Parameters
    ----------
    b : int
        The second.
    """
    return a + b


def test_a_bad_docstring_is_seen():
    codes = {text.split(":")[0] for text in complaints(f"{__name__}.{undocumented.__name__}")}
    assert codes == {"SS03", "PR01", "RT01"}
