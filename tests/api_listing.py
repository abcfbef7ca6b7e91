"""Every public name with its signature, and its attributes and methods below it.

    python tests/api_listing.py > tests/data/api.txt

renews the listing that ``tests/test_api.py`` holds the package to.
"""

import importlib
import inspect
import pkgutil
import re
from dataclasses import fields, is_dataclass
from functools import cached_property
from inspect import Parameter
from typing import get_type_hints

from numpydoc.docscrape import ClassDoc

import sklearn_deeplinear

_PACKAGE = "sklearn_deeplinear"
# What instances can do without a method's name.
_OPERATORS = {"__add__", "__call__"}
# Longer signatures stand in one line per parameter: a diff shows which one changed.
_LINE = 100


def public_objects():
    """Map the dotted name of each public object to it, through every ``__all__``."""
    names = sorted(module.name for module in pkgutil.iter_modules(sklearn_deeplinear.__path__))
    # `results` repeats what the packages export: their names come first.
    names = [name for name in names if not name.startswith("_") and name != "results"]
    modules = [importlib.import_module(f"{_PACKAGE}.{name}") for name in [*names, "results"]]
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in [sklearn_deeplinear, *modules]
        for name in getattr(module, "__all__", [])
        if not name.startswith("__") and not inspect.ismodule(getattr(module, name))
    }


def signature_of(callable_):
    """Names, kinds and defaults of parameters, without types: those may become wider."""
    parameters = [
        parameter.replace(annotation=Parameter.empty)
        for parameter in inspect.signature(callable_).parameters.values()
        if parameter.name != "self"
    ]
    line = str(inspect.Signature(parameters))
    if len(line) <= _LINE:
        return line
    keyword_only = [parameter.kind == Parameter.KEYWORD_ONLY for parameter in parameters]
    texts = [str(parameter) for parameter in parameters]
    if any(keyword_only):
        texts.insert(keyword_only.index(True), "*")
    return "(\n" + "".join(f"        {text},\n" for text in texts) + ")"


def _members(cls):
    """Public members from the classes of this package, not from those that it derives from."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith(_PACKAGE)]
    names = {name for base in ours for name in vars(base)}
    names = {name for name in names if not name.startswith("_") or name in _OPERATORS}
    # scikit-learn makes these from the parameters of the methods that they are named after.
    names = {name for name in names if not re.fullmatch("set_.*_request", name)}
    return {name: inspect.getattr_static(cls, name) for name in sorted(names)}


def _attributes(cls, members):
    """Fields, properties, and what the docstring says an instance has."""
    entries = ClassDoc(cls, config={"show_class_members": False})["Attributes"]
    documented = [name.strip() for entry in entries for name in entry.name.split(",")]
    record = [f.name for f in fields(cls)] if is_dataclass(cls) else getattr(cls, "_fields", [])
    properties = [n for n, m in members.items() if isinstance(m, property | cached_property)]
    names = {*record, *properties, *documented} - {"..."}
    return sorted(name for name in names if not name.startswith("_"))


def _class_lines(name, cls):
    members = _members(cls)
    # Records are made by what returns them, and may get fields: constructors are private.
    record = is_dataclass(cls) or issubclass(cls, tuple)
    yield f"{name}{'' if record else signature_of(cls)}"
    attributes = _attributes(cls, members)
    yield from (f"    .{attribute}" for attribute in attributes)
    for member in members:
        # scikit-learn's methods that only some estimators have are no functions until asked for.
        if member not in attributes and callable(getattr(cls, member)):
            yield f"    .{member}{signature_of(getattr(cls, member))}"


def _unnamed_result(function, named):
    """The class of this package that `function` returns if it has no public name, else None."""
    returned = get_type_hints(function)["return"]
    ours = inspect.isclass(returned) and returned.__module__.startswith(_PACKAGE)
    return returned if ours and returned not in named else None


def listing():
    """The lines of the listing; a second name of an object points to the first."""
    objects, first = public_objects(), {}
    for name, obj in objects.items():
        if obj in first:
            yield f"{name} = {first[obj]}"
            continue
        first[obj] = name
        if inspect.isclass(obj):
            yield from _class_lines(name, obj)
            continue
        yield f"{name}{signature_of(obj)}"
        result = _unnamed_result(obj, objects.values())
        if result is not None:
            # Its constructor is as private as its name.
            _, *lines = _class_lines("", result)
            yield f"    -> {result.__name__}"
            yield from (f"    {line}" for line in lines)


if __name__ == "__main__":
    print("\n".join(listing()))
