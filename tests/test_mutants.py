"""Mutants differ from the module in one place, and annotations and texts are left alone."""

import ast
from pathlib import Path

from benchmarks.check_mutants import TESTS, THEORY, files_of, mutants, mutated

ROOT = Path(__file__).parent.parent
SOURCE = '''def f(x: int = 2, *, deep=True) -> "list[3]":
    """Text 1."""
    x += 1
    if x < 3 and deep:
        print(x)
    return -x @ x
'''


def test_one_place_at_a_time():
    assert set(mutants(SOURCE)) == {
        (1, "2", "3"),
        (1, "True", "False"),
        (3, "x += 1", "pass"),
        (3, "1", "2"),
        (4, "x < 3 and deep", "x < 3 or deep"),
        (4, "x < 3", "x <= 3"),
        (4, "3", "4"),
        (5, "print(x)", "pass"),
        (6, "-x @ x", "-x + x"),
        (6, "-x", "+x"),
    }


def test_mutants_are_modules_and_differ_in_one_line():
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    for number, (_, was, now) in enumerate(mutants(SOURCE)):
        lines = ast.unparse(ast.parse(mutated(SOURCE, number))).splitlines()
        ((before, after),) = {(a, b) for a, b in zip(original, lines, strict=True) if a != b}
        assert was in before and now in after


def test_all_modules_of_theory_have_tests_that_exist():
    assert set(TESTS) == {path.stem for path in (ROOT / THEORY).glob("_[a-z]*.py")}
    assert all(path.exists() for name in TESTS for path in files_of(name))
