"""Sphinx configuration. ``make docs`` needs no network, nor do the pages; warnings are errors."""

import importlib
import inspect
import json
import pkgutil
import re
from importlib.metadata import version as installed_version
from pathlib import Path

import sklearn_deeplinear

HERE = Path(__file__).parent

project = "sklearn-deeplinear"
author = "The sklearn-deeplinear developers"
copyright = author
version = release = installed_version(project)

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "_api_tables.rst", "_cost_curves.rst", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "sklearn-deeplinear"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
}
html_show_sourcelink = False
# Pages without pages below them need no navigation at their side.
leaves = ("index", "install", "tutorial", "faq", "notation", "reproducibility", "benchmarks")
leaves += ("contributing", "changes", "auto_examples/*")
    "index",
    "install",
    "tutorial",
    "faq",
    "notation",
    "contributing",
    "changes",
    "auto_examples/*",
)
html_sidebars = dict.fromkeys(leaves, [])

autodoc_typehints = "none"
numpydoc_show_class_members = False
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "ignore_pattern": r"^(?!plot_)",
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 20,
}


def api_tables():
    """Return one autosummary table per package, read off its ``__all__``."""
    shown, text = set(), []
    packages = [
        importlib.import_module(f"sklearn_deeplinear.{module.name}")
        for module in pkgutil.iter_modules(sklearn_deeplinear.__path__)
        if module.ispkg
    ]
    for package in [sklearn_deeplinear, *packages]:
        exported = {name: getattr(package, name) for name in getattr(package, "__all__", [])}
        names = [name for name, obj in exported.items() if callable(obj) and obj not in shown]
        shown.update(exported[name] for name in names)
        if names:
            summary = (inspect.getdoc(package) or "").split("\n\n")[0]
            text += [package.__name__, "-" * len(package.__name__), "", summary, ""]
            text += [f".. currentmodule:: {package.__name__}", "", ".. autosummary::"]
            text += ["   :toctree: generated", "", *(f"   {name}" for name in names), ""]
    return "\n".join(text)


# autosummary reads the tables from a file of their own, which docs/api.rst includes.
(HERE / "_api_tables.rst").write_text(api_tables(), encoding="utf-8")
autosummary_generate = ["_api_tables.rst"]


def cost_curves():
    """The table of exponents that docs/scale.rst includes, from what was measured."""
    measured = json.loads((HERE.parent / "benchmarks/results/bench_scaling.json").read_text())
    table = [".. list-table::", "   :header-rows: 1", "   :widths: 34 26 20 20", ""]
    cells = [("what grows", "sizes", "time", "memory")]
    for row in measured["results"]:
        sizes = f"{row['sizes'][0]:,} to {row['sizes'][-1]:,}"
        exponents = (
            (row[f"exponent_of_{kind}"], row[f"predicted_for_{kind}"])
            for kind in ("time", "memory")
        )
        cells.append((row["sweep"], sizes, *(_exponent(*pair) for pair in exponents)))
    for first, *others in cells:
        table += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join(table) + "\n"


def _exponent(found, predicted):
    if found is None:
        return "none to be seen"
    return f"{found:.2f}" + ("" if predicted is None else f" ({predicted} predicted)")


(HERE / "_cost_curves.rst").write_text(cost_curves(), encoding="utf-8")


def skip_unwritten(app, what, name, obj, skip, options):
    """Leave out what scikit-learn writes into estimators, and Python into named tuples."""
    routing = re.fullmatch(r"set_\w+_request|get_metadata_routing", name)
    alias = (inspect.getdoc(obj) or "").startswith("Alias for field number")
    return True if routing or alias else skip


def setup(app):
    """Connect what Sphinx cannot be told by options."""
    app.connect("autodoc-skip-member", skip_unwritten)
