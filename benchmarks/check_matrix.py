"""Do the tests pass on the versions that pyproject.toml allows?

Each row has an environment of its own, ``.venv-matrix/ROW``, with what its pins say. Runs the
tests in each, and records versions and outcome in ``results/matrix.json``; a row whose interpreter
is missing is left out and told. Exits with 1 if a test fails.

    python benchmarks/check_matrix.py                        # all rows, eight minutes each
    python benchmarks/check_matrix.py oldest sklearn-1.7     # these
    python benchmarks/check_matrix.py newest -- tests/nn     # what pytest gets; records nothing
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
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
        "failures": failed,
    }


def run(name, python, arguments):
    """Run the tests of a row; return what is recorded of it."""
    report = ENVIRONMENTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    began = time.perf_counter()
    pytest = [python, "-m", "pytest", "-q", f"--junitxml={report}"]
    subprocess.run([*pytest, *(arguments or ["-n", "2", "--dist", "loadfile"])], cwd=ROOT)
    if not report.exists():
        raise SystemExit(f"{name}: pytest ended without a report")
    minutes = round((time.perf_counter() - began) / 60, 1)
    return {"versions": versions(python), **outcome(report), "minutes": minutes}


def record(name, result):
    """Replace the row `name` of the results."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows[name] = result
    rows = {name: rows[name] for name in ROWS if name in rows}
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main(names, arguments):
    """Test the rows called `names`; exit with 1 if a test fails or there was nothing to test."""
    unknown = set(names) - set(ROWS)
    if unknown:
        raise SystemExit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    ENVIRONMENTS.mkdir(exist_ok=True)
    green = []
    for name in names or ROWS:
        base = interpreter(ROWS[name].python)
        if base is None:
            print(f"== {name}: left out, there is no python{ROWS[name].python}", flush=True)
            continue
        print(f"== {name}", flush=True)
        result = run(name, environment(name, ROWS[name], base), arguments)
        if not arguments:
            record(name, result)
        print(f"== {name}: {result['passed']} passed, {result['failed']} failed", flush=True)
        green.append(result["failed"] == 0 < result["passed"])
    raise SystemExit(0 if green and all(green) else 1)


if __name__ == "__main__":
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    main(words[:end], words[end + 1 :])
