"""Where the page of an estimator is: what the question mark in its HTML representation opens."""

from __future__ import annotations

import os
from importlib import import_module
from itertools import takewhile
from pathlib import Path

_PACKAGE = "sklearn_deeplinear"

# Where the pages are to be found, an address or a folder, relative ones included.
_VARIABLE = "SKLEARN_DEEPLINEAR_DOCS"

# Where ``make docs`` leaves them in a checkout.
_BUILT = Path(__file__).parents[1] / "docs" / "_build" / "html"


class Documented:
    """Mixin of estimators whose HTML representations link to the pages of this package.

    These are below ``$SKLEARN_DEEPLINEAR_DOCS`` or, where that is not set, what ``make docs`` has
    built in the checkout. If there is neither there is no link.
    """

    _doc_link_module = _PACKAGE
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self):
        return {"address": address(type(self))}


def address(cls):
    """Address of the page of the class `cls`, "" if it is not known where the pages are."""
    page = f"generated/{_public_module(cls)}.{cls.__name__}.html"
    if base := os.environ.get(_VARIABLE):
        return f"{base.rstrip('/')}/{page}"
    return (_BUILT / page).as_uri() if (_BUILT / page).exists() else ""


def _public_module(cls):
    """The package itself for what it exports, else the subpackage that does."""
    path = list(takewhile(lambda part: not part.startswith("_"), cls.__module__.split(".")))
    return _PACKAGE if cls.__name__ in import_module(_PACKAGE).__all__ else ".".join(path)
