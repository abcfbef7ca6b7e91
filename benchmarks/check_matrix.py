"""Do the tests pass on the versions that pyproject.toml allows?

Each row has an environment of its own, ``.venv-matrix/ROW``, with what its pins say. Runs the
tests in each, and records commit, versions and outcome in ``results/matrix.json``; a row whose
interpreter is missing is left out and told, and one that cannot be installed or run does not keep
others from running. Exits with 1 if a test or a row fails.

    python benchmarks/check_matrix.py                        # all rows
    python benchmarks/check_matrix.py oldest sklearn-1.7     # these
    python benchmarks/check_matrix.py newest -- tests/nn     # what pytest gets; records nothing
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
ENVIRONMENTS = ROOT / ".venv-matrix"
RECORDED = ["numpy", "scipy", "scikit-learn", "torch", "skorch", "matplotlib", "numba", "pandas"]


@dataclass(frozen=True)
class Row:
    """Versions to test: a file of pins, those that replace some of them, and the interpreter."""

    pins: str = "constraints.txt"
    instead: dict[str, str] = field(default_factory=dict)
    python: str = "3.11"


# The checks of estimators of scikit-learn up to 1.8 are parametrised by a generator, of which
# pytest warns from 9.1 on.
_BEFORE_1_9 = {"pytest": "8.4.2"}
_AT_1_7 = {"scikit-learn": "1.7.2", "numpy": "2.2.6", "scipy": "1.15.3", "mlxtend": "0.23.4"}
_AT_1_8 = {"scikit-learn": "1.8.0", "numpy": "2.3.5", "scipy": "1.16.3"}
ROWS = {
    "oldest": Row("constraints-oldest.txt"),
    "sklearn-1.7": Row(instead=_AT_1_7 | _BEFORE_1_9),
    "sklearn-1.8": Row(instead=_AT_1_8 | _BEFORE_1_9),
    "newest": Row(),
    "python-3.12": Row(python="3.12"),
    "python-3.13": Row(python="3.13"),
}


def pinned(row):
    """Lines of the constraints of `row`."""
    lines = (ROOT / row.pins).read_text(encoding="utf-8").splitlines()
    names = "|".join(map(re.escape, row.instead))
    kept = [line for line in lines if not (names and re.match(rf"({names})==", line))]
    return kept + [f"{name}=={version}" for name, version in row.instead.items()]


def interpreter(version):
    """Path of Python `version`, or None: the running one, or one that the shell would find."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    path = shutil.which(f"python{version}")
    # A manager of versions may list a name behind which there is nothing.
    works = path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
    return path if works else None


def environment(name, row, base):
    """Make the environment of a row, or bring it up to date; return its interpreter."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        subprocess.run([base, "-m", "venv", ENVIRONMENTS / name], check=True)
    pins = ENVIRONMENTS / f"{name}.txt"
    pins.write_text("\n".join(pinned(row)) + "\n", encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-c", pins, "-e", f"{ROOT}[test]"], check=True)
    return python


def versions(python):
    """Versions in the environment of `python`, its own among them."""
    code = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version()}"
        " | {name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([python, "-c", code, *RECORDED], capture_output=True, check=True)
    return json.loads(done.stdout)


def commit():
    """The commit that is tested, with a "+" if there are changes beside those of results."""
    git = ["git", "-C", ROOT]
    head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    changes = [*git, "status", "--porcelain", "--", ".", ":!benchmarks/results"]
    changed = subprocess.run(changes, capture_output=True, text=True).stdout
    return head.stdout.strip() + "+" * bool(changed)


def reason(skipped):
    """Why a test was left out; of a whole file pytest tells it in the text, behind the place."""
    if skipped.get("message") != "collection skipped":
        return skipped.get("message")
    return ast.literal_eval(skipped.text)[-1].removeprefix("Skipped: ")


def outcome(report):
    """Counts of a report that pytest wrote in the form of JUnit."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    total, *others = (int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {
        "passed": total - sum(others),
        "failed": others[0] + others[1],
        "skipped": others[2],
        "reasons": dict(Counter(map(reason, suite.iter("skipped"))).most_common()),
        "failures": failed,
    }


def run(name, python, arguments):
    """Run the tests of a row; return what is recorded of it, or None if pytest did not get far."""
    report = ENVIRONMENTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    tested = {"date": date.today().isoformat(), "commit": commit(), "versions": versions(python)}
    began = time.perf_counter()
    pytest = [python, "-m", "pytest", "-q", f"--junitxml={report}"]
    subprocess.run([*pytest, *(arguments or ["-n", "2", "--dist", "loadfile"])], cwd=ROOT)
    if not report.exists():
        return None
    minutes = round((time.perf_counter() - began) / 60, 1)
    return {**tested, **outcome(report), "minutes": minutes}


def record(name, result):
    """Replace the row `name` of the results."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows[name] = result
    rows = {name: rows[name] for name in ROWS if name in rows}
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def passes(name, arguments):
    """Test a row and record it; whether all tests pass, or None if it has no interpreter."""
    row = ROWS[name]
    base = interpreter(row.python)
    if base is None:
        print(f"== {name}: left out, there is no python{row.python}", flush=True)
        return None
    print(f"== {name}", flush=True)
    try:
        result = run(name, environment(name, row, base), arguments)
    except subprocess.CalledProcessError as error:
        print(f"== {name}: not installed, {error}", flush=True)
        return False
    if result is None:
        print(f"== {name}: pytest ended without a report", flush=True)
        return False
    if not arguments:
        record(name, result)
    counts = ", ".join(f"{result[key]} {key}" for key in ("passed", "failed", "skipped"))
    print(f"== {name}: {counts} in {result['minutes']} minutes", flush=True)
    return result["failed"] == 0 < result["passed"]


def main(names, arguments):
    """Test the rows called `names`; exit with 1 if one fails or there was nothing to test."""
    unknown = set(names) - set(ROWS)
    if unknown:
        raise SystemExit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    ENVIRONMENTS.mkdir(exist_ok=True)
    outcomes = [passes(name, arguments) for name in names or ROWS]
    tested = [green for green in outcomes if green is not None]
    raise SystemExit(0 if tested and all(tested) else 1)


if __name__ == "__main__":
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    main(words[:end], words[end + 1 :])
