"""Sphinx configuration. ``make docs`` needs no network, nor do the pages; warnings are errors."""

import inspect
import os
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _generated  # noqa: E402

# Estimators on pages of the gallery link to their pages, from one folder to the other.
os.environ["SKLEARN_DEEPLINEAR_DOCS"] = ".."

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
exclude_patterns = ["_build", *_generated.FILES, "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "sklearn-deeplinear"
html_static_path = ["_static"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    # The list has an entry for each version that is published beside this one.
    "switcher": {"json_url": "_static/switcher.json", "version_match": release},
    "footer_end": ["versions"],
}
html_show_sourcelink = False
# Pages without pages below them need no navigation at their side.
leaves = ("index", "install", "tutorial", "faq", "scale", "arrays", "saving", "notation")
leaves += ("reproducibility", "benchmarks", "claims", "contributing", "changes", "auto_examples/*")
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
    "image_scrapers": ("_gallery.animations", "matplotlib"),
    "within_subsection_order": "_gallery.Lessons",
}


# Pages include these fragments, and autosummary reads the tables of the reference from one.
_generated.write()
autosummary_generate = ["_api_tables.rst"]


def skip_unwritten(app, what, name, obj, skip, options):
    """Leave out what scikit-learn writes into estimators, and Python into named tuples."""
    routing = re.fullmatch(r"set_\w+_request|get_metadata_routing", name)
    alias = (inspect.getdoc(obj) or "").startswith("Alias for field number")
    return True if routing or alias else skip


def setup(app):
    """Connect what Sphinx cannot be told by options."""
    app.connect("autodoc-skip-member", skip_unwritten)
