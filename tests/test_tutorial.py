"""The notebook of the tutorial runs, and shows what the page shows."""

import ast
import contextlib
import doctest
import importlib
import io
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "tutorial.rst").read_text(encoding="utf-8")


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("_notebook")


def shown(source, names):
    """What a cell shows: what it prints, and its last value if that is not None."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(repr(value))
    return printed.getvalue()


def test_cells_show_what_the_page_shows(module):
    cells = [c for c in json.loads(module.tutorial())["cells"] if c["cell_type"] == "code"]
    names, outputs = {}, []
    for cell in cells:
        outputs.append(shown(cell["source"], names))
    plt.close("all")
    drawn = [output for output in outputs if "TrajectoryDisplay object" in output]
    examples = doctest.DocTestParser().get_examples(PAGE)
    assert len(drawn) == 1  # the page shows code that is no example
    assert "".join(o for o in outputs if o not in drawn) == "".join(e.want for e in examples)


def test_cells_hold_all_code_and_all_words_of_the_page(module):
    cells = json.loads(module.tutorial())["cells"]
    code = "\n".join(c["source"] for c in cells if c["cell_type"] == "code")
    for example in doctest.DocTestParser().get_examples(PAGE):
        assert example.source.strip() in code
    words = "\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    assert len(re.findall(r"^##? ", words, re.MULTILINE)) == len(
        re.findall(r"^[=-]{3,}$", PAGE, re.MULTILINE)
    )
    for paragraph in re.findall(r"^[A-Z].*$", PAGE, re.MULTILINE):
        first = re.sub(r"[`:].*", "", paragraph)
        assert first in words + code


def test_no_restructuredtext_is_left(module):
    book = json.loads(module.tutorial())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 4)
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            assert not re.search(r"``|:\w+:`|`_|::$|^[=-]{3,}$", cell["source"], re.MULTILINE)
        else:
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_blocks_links_and_examples_become_cells(module):
    page = "Title\n=====\n\nSee `x <https://x.y>`_::\n\n    a = 1\n\n    a\n\n"
    page += "Then ``b``:\n\n>>> b = 2\n>>> b\n2\n"
    cells = [(c["cell_type"], c["source"]) for c in json.loads(module.notebook(page))["cells"]]
    assert cells == [
        ("markdown", "# Title\n\nSee [x](https://x.y):"),
        ("code", "a = 1\n\na"),
        ("markdown", "Then `b`:"),
        ("code", "b = 2\nb"),
    ]
