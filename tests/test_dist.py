"""What `make dist` objects to; and the recipes say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmarks import check_dist

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PACKAGE = {"sklearn_deeplinear/__init__.py", "sklearn_deeplinear/py.typed"}
LICENSE = f"sklearn_deeplinear-{PROJECT['version']}.dist-info/licenses/LICENSE"


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        (PACKAGE | {LICENSE}, []),
        (PACKAGE, ["lacks LICENSE"]),
        (
            PACKAGE - {"sklearn_deeplinear/py.typed"} | {LICENSE},
            ["lacks sklearn_deeplinear/py.typed"],
        ),
        (PACKAGE | {LICENSE, "tests/data/api.txt"}, ["has tests/data/api.txt"]),
    ],
    ids=["whole", "licence", "typed", "tests"],
)
def test_wheels_hold_the_package_alone(names, problems):
    assert check_dist.problems_of_wheel(names, PACKAGE) == problems


def test_source_archives_can_be_tested_and_hold_nothing_that_was_built():
    names = {*check_dist.IN_SOURCE, "docs/_build/html/index.html"} - {"LICENSE"}
    assert check_dist.problems_of_source(names) == [
        "lacks LICENSE",
        "has docs/_build/html/index.html",
    ]


def test_the_conda_recipe_is_that_of_the_package():
    recipe = yaml.safe_load((ROOT / "conda-recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert recipe["about"]["license"] == PROJECT["license"]
    python, *runs = recipe["requirements"]["run"]
    assert python == f"python {PROJECT['requires-python']}"
    conda = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    expected = [re.fullmatch(r"([\w-]+)(>=.*)", line).groups() for line in PROJECT["dependencies"]]
    assert runs == [f"{conda.get(name, name)} {bound}" for name, bound in expected]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_whole_and_call_targets_that_exist(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    # YAML reads the key `on` as a truth.
    assert workflow["name"] and workflow[True] and workflow["permissions"] is not None
    assert all(job["runs-on"] and job["steps"] for job in workflow["jobs"].values())
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([\w-]+)", text)) <= targets
    assert "://" not in text


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} == {"tests", "nightly", "docs", "release"}
