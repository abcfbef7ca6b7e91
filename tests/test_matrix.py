"""The versions that `make test-matrix` tests are those that users are told."""

import json
import re
import tomllib
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from benchmarks import check_matrix

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name):
    """Versions that a row asks for, by package."""
    lines = [line for line in check_matrix.pinned(check_matrix.ROWS[name]) if "==" in line]
    packages = dict(line.split("==") for line in lines)
    assert len(packages) == len(lines), "a package is pinned twice"
    return packages


def numbers(version):
    """(1, 6) of "1.6.0": zeros at the end say nothing."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", version).split("."))


def test_the_oldest_row_has_the_lowest_versions_that_are_allowed():
    oldest = pins("oldest")
    for requirement in PYPROJECT["dependencies"]:
        name, lowest = requirement.split(">=")
        # No older build of torch without CUDA is at hand: the pages say so.
        if name != "torch":
            assert numbers(oldest[name]) == numbers(lowest), name


@pytest.mark.parametrize("name", check_matrix.ROWS)
def test_all_rows_are_within_what_is_allowed(name):
    row = pins(name)
    for requirement in PYPROJECT["dependencies"]:
        package, lowest = requirement.split(">=")
        assert numbers(row[package]) >= numbers(lowest)
    python = check_matrix.ROWS[name].python
    assert numbers(python) >= numbers(PYPROJECT["requires-python"].removeprefix(">="))


def test_a_row_replaces_pins_of_whole_names():
    row = check_matrix.Row(instead={"scikit-learn": "1.7.2"})
    kept = set(check_matrix.pinned(check_matrix.Row())) - set(check_matrix.pinned(row))
    assert [line.split("==")[0] for line in kept] == ["scikit-learn"]


def test_there_is_a_row_for_each_minor_release_of_scikit_learn():
    found = {numbers(pins(name)["scikit-learn"])[:2] for name in check_matrix.ROWS}
    newest = max(found)
    assert found == {(1, minor) for minor in range(6, newest[1] + 1)}


def test_what_is_recorded_ran_on_the_versions_of_its_row():
    recorded = json.loads(check_matrix.RESULTS.read_text(encoding="utf-8"))
    for name, row in recorded.items():
        versions = {package: v.split("+")[0] for package, v in row["versions"].items()}
        assert versions.pop("python").startswith(check_matrix.ROWS[name].python + ".")
        assert versions == {package: pins(name)[package] for package in check_matrix.RECORDED}
        assert row["failed"] == len(row["failures"]) == 0 < row["passed"]
        assert sum(row["reasons"].values()) == row["skipped"]
        assert not row["commit"].endswith("+")


def test_a_report_is_counted(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="6" failures="1" errors="1" skipped="3">'
        '<testcase classname="a" name="good"/><testcase classname="a" name="left out">'
        '<skipped message="no cupy"/></testcase><testcase classname="a" name="too">'
        '<skipped message="no cupy"/></testcase><testcase name="a whole file">'
        "<skipped message=\"collection skipped\">('a.py', 3, 'Skipped: is of 1.9')</skipped>"
        '</testcase><testcase classname="a" name="wrong"><failure/></testcase>'
        '<testcase classname="b" name="broken"><error/></testcase></testsuite></testsuites>'
    )
    assert check_matrix.outcome(report) == {
        "passed": 1,
        "failed": 2,
        "skipped": 3,
        "reasons": {"no cupy": 2, "is of 1.9": 1},
        "failures": ["a::wrong", "b::broken"],
    }


def test_a_row_that_cannot_be_tested_does_not_keep_others_from_it(monkeypatch, tmp_path, capsys):
    def environment(name, row, base):
        if name == "oldest":
            raise CalledProcessError(1, "pip")
        return name

    result = {"passed": 3, "failed": 0, "skipped": 1, "minutes": 0.1}
    results = {"sklearn-1.7": None, "sklearn-1.8": result}
    monkeypatch.setattr(check_matrix, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(check_matrix, "RESULTS", tmp_path / "matrix.json")
    monkeypatch.setattr(check_matrix, "interpreter", lambda version: "python")
    monkeypatch.setattr(check_matrix, "environment", environment)
    monkeypatch.setattr(check_matrix, "run", lambda name, python, arguments: results[name])
    with pytest.raises(SystemExit) as ended:
        check_matrix.main(["oldest", *results], [])
    assert ended.value.code == 1
    told = capsys.readouterr().out
    assert "oldest: not installed" in told and "1.7: pytest ended without a report" in told
    assert json.loads((tmp_path / "matrix.json").read_text()) == {"sklearn-1.8": result}
    with pytest.raises(SystemExit) as ended:
        check_matrix.main(["sklearn-1.8"], [])
    assert ended.value.code == 0


def test_an_unknown_row_is_told():
    with pytest.raises(SystemExit, match="no row latest; there are oldest, "):
        check_matrix.main(["latest"], [])
