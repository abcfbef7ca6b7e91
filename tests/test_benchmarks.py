"""Benchmarks measure in turn, agree before they tell times, and keep quick runs apart."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Return a function that imports a script by its name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_contestants_run_in_turn_by_the_clock_that_was_chosen(script):
    now, calls = [0.0], []

    def contestant(name, seconds):
        def call():
            calls.append(name)
            now[0] += next(seconds)
            return f"{name} {len(calls)}"

        return call

    ways = {"a": contestant("a", iter([9, 1, 2, 3])), "b": contestant("b", iter([9, 8, 4, 4]))}
    timings = script("_measure").in_turn(ways, 3, warm_up=1, clock=lambda: now[0])
    assert calls == list("abababab")
    assert timings.seconds == {"a": [1, 2, 3], "b": [8, 4, 4]}
    assert timings.medians() == {"a": 2, "b": 4} and timings.ratio("b", "a") == 2
    # Quartiles of 1, 2, 3 lie at 1.5 and 2.5, those of 4, 4, 8 at 4 and 6.
    assert timings.figures() == {"repeats": 3, "spread": {"a": 0.5, "b": 0.5}}
    assert timings.outcomes == {"a": "a 7", "b": "b 8"}


def test_a_call_before_the_clock_starts_is_not_timed(script):
    now = [0.0]

    def call():
        now[0] += 1

    timings = script("_measure").in_turn({"a": call}, 2, primed=True, clock=lambda: now[0])
    assert timings.seconds == {"a": [1, 1]} and now == [4]
    assert script("_measure").spread([1.0]) is None


@pytest.mark.parametrize("error", [2e-8, float("nan")], ids=["large", "nan"])
def test_times_of_different_work_are_not_told(script, error):
    with pytest.raises(AssertionError, match="case: results differ by"):
        script("_measure").agreed("case", error, 1e-8)


def test_quick_runs_leave_the_results_of_full_ones_alone(script, monkeypatch, tmp_path):
    environment = script("_environment")
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    monkeypatch.setattr(environment, "QUICK", tmp_path / "quick")
    environment.write_results("bench_this", [1], repeats=3)
    environment.write_results("bench_this", [2], quick=True)
    full = json.loads((tmp_path / "bench_this.json").read_text())
    quick = json.loads((tmp_path / "quick" / "bench_this.json").read_text())
    assert (full["results"], full["quick"], full["repeats"]) == ([1], False, 3)
    assert (quick["results"], quick["quick"], quick["seed"]) == ([2], True, 0)
    assert full["environment"]["packages"]["torch"]


def test_every_script_has_a_name_and_a_question(script):
    known = script("run").scripts()
    assert {"gd_step", "check_fits"} <= known.keys()
    assert all(script("run").question(path) for path in known.values())


def test_an_unknown_name_is_an_error(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "no_such"])
    with pytest.raises(SystemExit):
        script("run").main()
    assert "no benchmark is called no_such" in capsys.readouterr().err
