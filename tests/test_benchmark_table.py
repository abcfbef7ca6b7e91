"""The tables of what was measured are those of the committed results, and leave nothing out."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("table")


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("_measure")


def test_the_tables_are_those_of_the_results(table):
    """Otherwise: python benchmarks/table.py"""
    assert (FOLDER / "results" / "README.md").read_text(encoding="utf-8") == table.markdown()


def test_all_results_of_benchmarks_are_in_the_tables(table):
    told = {path for script in table.scripts() for path in table.files_of(script)}
    assert set((FOLDER / "results").glob("bench_*.json")) <= told


def test_results_say_where_and_how_they_were_measured(table):
    envelope = {"environment", "date", "quick", "seed", "repeats", "results"}
    common = set(table.scripts()) - {*table.COLUMNS, "bench_real_data"}
    for script in table.scripts():
        for path in table.files_of(script):
            found = json.loads(path.read_text(encoding="utf-8"))
            assert found.keys() == envelope and not found["quick"], path
            for row in found["results"] if script in common else []:
                ways = row.get("seconds", {}).keys()
                assert ways <= row.get("spread", row.get("seconds", {})).keys()


def test_a_row_is_told_with_its_spread_ratios_and_floor(table, measure):
    timings = measure.Timings({"ours": [1e-3, 2e-3, 3e-3], "peer": [0.5, 0.5, 0.5]}, {})
    others = {"figures": {"samples": 1000}, "of": "a step", "why": "it is small"}
    pairs = [("peer", "ours")]
    rows = [
        measure.row("a", timings.each(10), pairs, agreement=1e-12, floor=2.5, **others),
        measure.row("b", timings.named({"peer": "ours"}), why="it is small", unknown=None),
        measure.row("c", None, figures={"score": 0.5}),
    ]
    found = table.measured("", rows)
    assert found.rows == [
        (
            ["case", "ours, a step", "peer, a step", "peer / ours"]
            + ["times the floor", "difference", "samples", "score"]
        ),
        ("a", "200 us (50 %)", "50 ms (0 %)", "250", "2.5", "1e-12", "1,000", "--"),
        ("b", "500 ms (0 %)", *["--"] * 6),
        ("c", *["--"] * 6, "0.5"),
    ]
    assert found.notes == ["a; b: it is small."]
    assert rows[0]["repeats"] == 3 and "unknown" not in rows[1] and "seconds" not in rows[2]


def test_results_of_another_shape_that_lack_a_column_are_an_error(table):
    rows = table.rows_of({"ordinary": {"gap": {"0.5": 1e-9}}, "hard": {"gap": {}}})
    heads = {"case": "problems", "gap/0.5": "median gap"}
    lines = [["problems", "median gap"], ["ordinary", "1e-09"], ["hard", "--"]]
    assert table.columns("x.json", rows, heads) == lines
    with pytest.raises(KeyError, match="x.json has no 'no_such'"):
        table.columns("x.json", rows, {"no_such": "nothing"})


def test_scores_are_told_beside_the_best_ridge_regression(table):
    ridge = {"score": 0.5, "less_best_ridge": 0.0, "standard_error": 0.0, "seconds": 2e-3}
    other = {"score": 0.25, "less_best_ridge": -0.25, "standard_error": 0.125, "seconds": 2}
    row = {"data": "a", "shape": [20, 3, 1], "n_splits": 4}
    found, _ = table.scored([row | {"models": {"RidgeCV": ridge, "ours": other}}])
    assert found[0][2:] == ["R2 of RidgeCV", "RidgeCV", "ours"]
    assert found[1] == ["a", "20 x 3 x 1", "0.5", "0 +- 0 (2 ms)", "-0.25 +- 0.125 (2 s)"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(61.0, "61 s"), (0.9994, "999 ms"), (1e-3, "1 ms"), (2e-6, "2 us"), (2e-8, "0.02 us")],
)
def test_times_are_told_in_their_unit(table, seconds, told):
    assert table.time(seconds) == told
