"""Are the wheel and the source archive whole, and does the wheel work where it is alone?

Builds both into ``dist``, checks their metadata and contents, installs the wheel into an
environment of its own, runs the README's example there, and has mypy check a user's program.

    python benchmarks/check_dist.py             # needs build and twine: the extra `release`
    python benchmarks/check_dist.py --contents  # no environment: seconds
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What a user of the source archive needs to test and to document it.
IN_SOURCE = ["LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "constraints.txt"]
IN_SOURCE += ["tests/conftest.py", "docs/conf.py", "sklearn_deeplinear/py.typed"]


def run(*command, **options):
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], check=True, **options)


def problems_of_wheel(names, package):
    """What is wrong with the names of files in a wheel, given the files of the package."""
    info = f"sklearn_deeplinear-{PROJECT['version']}.dist-info/"
    inside = {name for name in names if not name.startswith(info)}
    problems = [f"lacks {name}" for name in sorted(package - inside)]
    problems += [f"has {name}" for name in sorted(inside - package)]
    if not any(name.startswith(info) and name.endswith("LICENSE") for name in names):
        problems.append("lacks LICENSE")
    return problems


def problems_of_source(names):
    """What is wrong with the names of files in a source archive, below its folder."""
    problems = [f"lacks {name}" for name in IN_SOURCE if name not in names]
    private = re.compile(r"(^|/)(\.venv|\.ci|__pycache__|docs/_build|docs/generated)")
    return problems + [f"has {name}" for name in sorted(names) if private.search(name)]


def build():
    """Build both; return the path of the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT, stdout=subprocess.DEVNULL)
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())
    (wheel,) = DIST.glob("*.whl")
    return wheel


def check_contents(wheel):
    """Exit if a file is missing or one too many."""
    listed = subprocess.run(
        ["git", "ls-files", "sklearn_deeplinear"], cwd=ROOT, capture_output=True, check=True
    )
    package = set(listed.stdout.decode().split())
    problems = problems_of_wheel(zipfile.ZipFile(wheel).namelist(), package)
    (archive,) = DIST.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        below = {name.partition("/")[2] for name in source.getnames()}
    problems += problems_of_source(below)
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"{len(package)} files in the wheel, {len(below)} in the source archive")


def check_installed(wheel):
    """Install the wheel alone, run the README's example, and check types against it."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        run(sys.executable, "-m", "venv", python.parents[1])
        pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
        run(*pip, wheel, "mypy")
        run(python, "-W", "error", "-c", example.group(1), cwd=folder)
        # Elsewhere, so that the package is found by its py.typed and not beside the program.
        program = shutil.copy(ROOT / "tests" / "typing" / "user_code.py", folder)
        run(python, "-m", "mypy", "--strict-equality", program, cwd=folder)


def main():
    """Build, check the contents and, unless told otherwise, the installed wheel."""
    wheel = build()
    check_contents(wheel)
    if "--contents" not in sys.argv[1:]:
        check_installed(wheel)


if __name__ == "__main__":
    main()
