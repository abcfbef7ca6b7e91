"""Every example of the gallery runs, draws figures that can be read, and says what came out.

What the texts say is in ``data/example_figures.toml``. A number may differ by one unit of its last
digit, for runs on other processors round otherwise.
"""

import ast
import re
import runpy
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent / "examples").glob("plot_*.py"))
FIGURES = tomllib.loads((HERE / "data/example_figures.toml").read_text(encoding="utf-8"))

NUMBER = r"(?<![\w.])(-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)"
# What looks like a number of the text and is a formula, code or a name.
NO_FIGURES = r":math:`[^`]*`|``[^`]*``|\b2 / (?:L|sharpness)\b|\bdepth 1 is\b"


@pytest.fixture(autouse=True)
def _no_figures_are_left():
    yield
    plt.close("all")


def abscissa(ax):
    """The label of the horizontal axis, also where others show it for this one."""
    return "".join(shared.get_xlabel() for shared in ax.get_shared_x_axes().get_siblings(ax))


def text_of(path):
    """The words above and between the code."""
    source = path.read_text(encoding="utf-8")
    cells = re.findall(r"^# (?!%%)(.*)", source, flags=re.M)
    return " ".join([ast.get_docstring(ast.parse(source)), *cells]).replace("\n", " ")


def found(words, text):
    """The one place where the text has the words, with a group for each number."""
    literals = map(re.escape, re.split(r"\{(?:<=)?\}", words))
    matches = list(re.finditer(NUMBER.join(literals), text))
    assert len(matches) == 1, words
    return matches[0]


def unit(number):
    """One in the last digit of a number as it is written."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def is_true_of_the_run(words, numbers, value):
    """Whether the numbers between the words are the values, or the words alone are true."""
    if not numbers:
        return bool(value)
    kinds = re.findall(r"\{(.*?)\}", words)
    for kind, number, exact in zip(kinds, numbers, np.atleast_1d(value), strict=True):
        excess = exact - float(number.replace(",", ""))
        # A hair above one unit: 1.1 - 1.0 is more than 0.1 in binary digits.
        if excess > 0 if kind else abs(excess) > (1 + 1e-9) * unit(number):
            return False
    return True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_labels_its_axes_and_says_what_came_out(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    names = runpy.run_path(str(path))
    drawn = [ax for number in plt.get_fignums() for ax in plt.figure(number).axes]
    assert drawn
    assert all(ax.get_ylabel() and (abscissa(ax) or ax.get_xticklabels()) for ax in drawn)
    assert not list(tmp_path.iterdir())

    said = {words: found(words, text_of(path)).groups() for words in FIGURES[path.stem]}
    values = {words: eval(FIGURES[path.stem][words], {"np": np, **names}) for words in said}
    wrong = [w for w, numbers in said.items() if not is_true_of_the_run(w, numbers, values[w])]
    assert not wrong, [(words, said[words], values[words]) for words in wrong]


def test_texts_are_those_of_the_gallery():
    assert list(FIGURES) == [path.stem for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_number_of_the_text_is_compared(path):
    text = text_of(path)
    matches = [found(words, text) for words in FIGURES[path.stem]]
    compared = {m.start(group) for m in matches for group in range(1, len(m.groups()) + 1)}
    prose = re.sub(NO_FIGURES, lambda match: " " * len(match[0]), text)
    assert not [m[0] for m in re.finditer(NUMBER, prose) if m.start() not in compared]


@pytest.mark.parametrize(
    ("words", "numbers", "value", "true"),
    [
        ("at {}", ["1.21"], 1.2196, True),
        ("at {}", ["1.21"], 1.2201, False),
        ("at {}", ["2e-7"], 2.9e-7, True),
        ("at {}", ["2e-7"], 3.1e-7, False),
        ("of {} rows", ["1,647"], 1646, True),
        ("of {} rows", ["1,647"], 1645, False),
        ("to {<=}", ["1e-9"], 9e-10, True),
        ("to {<=}", ["1e-9"], 1.1e-9, False),
        ("{} and {<=}", ["-0.2", "0.5"], (-0.3, 0.1), True),
        ("{} and {<=}", ["-0.2", "0.5"], (0.2, 0.1), False),
        ("nothing is better", [], np.True_, True),
        ("nothing is better", [], False, False),
    ],
)
def test_numbers_agree_to_one_unit_of_their_last_digit(words, numbers, value, true):
    assert is_true_of_the_run(words, numbers, value) == true


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_says_what_was_learnt(path):
    last_cell = path.read_text(encoding="utf-8").split("# %%\n")[-1]
    assert last_cell.startswith("# **What was learnt.** ")
