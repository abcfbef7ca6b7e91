"""Tables of the documentation are read from results, and say so when these lack something."""

import importlib
import json
from pathlib import Path

import pytest

import sklearn_deeplinear

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def pages(monkeypatch):
    """What makes pages imports each other from its folder."""
    monkeypatch.syspath_prepend(DOCS)


@pytest.fixture
def tables(pages):
    return importlib.import_module("_generated_tables")


@pytest.fixture
def cards(pages):
    return importlib.import_module("_reproducibility_cards")


def test_cards_hold_the_numbers_of_the_results(cards):
    text = cards.cards()
    path = DOCS.parent / "benchmarks" / "results" / "shi2022" / "linear_7.json"
    last = json.loads(path.read_text())["mode_strengths"][-1]
    share = max(abs(last[0][0]), abs(last[1][0])) / (abs(last[0][0]) + abs(last[1][0]))
    assert f"depth 7: larger share of the strongest mode {share:.2f}" in text
    assert text.count("* - machine and versions") == 5
    # Linear networks end at zero from E[xy] on, of which the grid has no cell, ReLU ones from half.
    assert "least decay of them is 1.05 E[xy]" in text
    assert "least decay of them is 0.50 E[xy]" in text


def test_every_number_of_a_benchmark_is_in_its_table(tables):
    text = tables.benchmark_tables()
    for row in tables.results_of("bench_path")["results"]:
        assert f"     - {row['ratios']['RidgeCV over sweep']:.3g}\n" in text


def test_words_that_a_script_does_not_say_are_not_quoted(cards):
    with pytest.raises(ValueError, match="no longer says 'a day'"):
        cards._stated("du2018_balance", "a day")


def test_results_are_listed_where_they_are_documented(tables):
    """Else the reference would hold two pages for one class."""
    text = tables.api_tables()
    assert "   ~theory.GlobalMinimum\n" in text
    head, tail = text.split("sklearn_deeplinear.results\n")
    assert "toctree" in head and "toctree" not in tail


def test_the_version_of_the_package_can_be_chosen():
    versions = json.loads((DOCS / "_static" / "switcher.json").read_text())
    assert sklearn_deeplinear.__version__ in {entry["version"] for entry in versions}
    assert sum(entry.get("preferred", False) for entry in versions) == 1
