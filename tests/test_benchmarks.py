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


def test_the_plan_has_every_benchmark_and_takes_less_than_half_an_hour(script):
    """So do the modes: what is short runs in full, and only then are tables made anew."""
    plan, run = script("_plan").PLAN, script("run")
    assert {path.stem for path in FOLDER.glob("bench_*.py")} | {"ground_truth"} == plan.keys()
    jobs = run.jobs([], None)
    assert jobs["gd_step"] and jobs["path"] and not jobs["large"] and not jobs["real_data"]
    assert run.total(jobs) < 30
    assert set(run.jobs([], "quick").values()) == {False} and run.jobs(["cv"], None) == {"cv": True}
    assert run.jobs(["check_nist"], "quick") == {"check_nist": False}


@pytest.mark.parametrize("status", [0, 3], ids=["ends well", "fails"])
@pytest.mark.parametrize("mode", ["--quick", "--full"])
def test_a_script_that_fails_does_not_stop_the_others(script, monkeypatch, capsys, status, mode):
    run, ran, written = script("run"), [], []

    def made(name, in_full):
        ran.append((name, in_full))
        took = {"seconds": 30.0, "processor_seconds": 20.0, "full": in_full}
        return {"script": name, "status": status if name == "cv" else 0, **took}

    monkeypatch.setattr(sys, "argv", ["run.py", "path", "cv", "moments", mode])
    monkeypatch.setattr(run, "run", made)
    monkeypatch.setattr(run, "write_results", lambda *args, **kwargs: None)
    monkeypatch.setattr(run, "write", lambda: written.append(True))
    with pytest.raises(SystemExit) as end:
        run.main()
    out, in_full = capsys.readouterr().out, mode == "--full"
    assert ran == [(name, in_full) for name in ("path", "cv", "moments")]
    assert end.value.code == (1 if status else 0) and bool(written) == in_full
    assert ("failed: cv" in out) == bool(status)
    assert "== 3 of 3: moments" in out and "1.0 minutes since the start" in out


def test_the_exit_status_of_a_script_is_told(script, monkeypatch, tmp_path):
    run = script("run")
    (tmp_path / "bench_bad.py").write_text("import sys; sys.exit(len(sys.argv) + 1)")
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "scripts", lambda: {"bad": "bench_bad"})
    quick, full = run.run("bad", False), run.run("bad", True)
    assert (quick["status"], quick["full"], full["status"], full["full"]) == (3, False, 2, True)


def test_an_unknown_name_is_an_error(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "no_such"])
    with pytest.raises(SystemExit):
        script("run").main()
    assert "no benchmark is called no_such" in capsys.readouterr().err
