"""Would the tests notice if a line of theory were wrong?

Changes one operator, comparison, constant or statement of a module at a time, in a copy of the
tree, and runs the tests of that module: a mutant that passes them has survived. Draws mutants at
random and writes what survived to ``results/check_mutants.json``.

    python benchmarks/check_mutants.py --mutants 200
    python benchmarks/check_mutants.py --quick              # five
    python benchmarks/check_mutants.py --only _balance      # of one module
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "check_mutants.json"
THEORY = Path("sklearn_deeplinear") / "theory"
# Modules and the tests that are to notice, which take seconds.
TESTS = {
    "_balance": ["test_balance"],
    "_certify": ["test_certificate"],
    "_factor": ["test_factor", "test_moments"],
    "_flows": ["test_flows"],
    "_landscape": ["test_landscape"],
    "_mode_flow": ["test_flows"],
    "_moments": ["test_moments", "test_moments_precision"],
    "_noise": ["test_noise"],
    "_pathway_flow": ["test_pathway_flow"],
    "_scalar_family": ["test_scalar_family"],
    "_step_size_bound": ["test_step_size_bound"],
    "_two_layer_flow": ["test_two_layer_flow"],
}
# Tests that take so many times what they take without a mutant loop for ever: counted apart.
PATIENCE = 5

SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Add,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
}


def _changed(node):
    """A wrong version of `node`, or None where there is none."""
    new = copy.deepcopy(node)
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp) and type(node.op) in SWAPS:
        new.op = SWAPS[type(node.op)]()
        return new
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new.ops[0] = SWAPS[type(node.ops[0])]()
        return new
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        new.value = not node.value if node.value is True or node.value is False else node.value + 1
        return new
    # Calls and changes in place that stand alone; a name that is missing would be noticed at once.
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        return ast.Pass()
    return None


def mutants(source):
    """Each mutant of `source`: the line, what it was, what it is, and the text of the module."""
    tree = ast.parse(source)
    hidden = {  # annotations change nothing
        id(part)
        for node in ast.walk(tree)
        for name in ("annotation", "returns")
        if getattr(node, name, None) is not None
        for part in ast.walk(getattr(node, name))
    }
    for node in list(ast.walk(tree)):
        new = None if id(node) in hidden else _changed(node)
        if new is None:
            continue
        was, saved = ast.unparse(node), dict(vars(node))
        kind = type(node)
        node.__class__ = type(new)
        node.__dict__.clear()
        node.__dict__.update(vars(new))
        text = ast.unparse(ast.fix_missing_locations(tree))
        yield saved["lineno"], was, ast.unparse(node), text
        node.__class__ = kind
        node.__dict__.clear()
        node.__dict__.update(saved)


def outcome(tree, module, text, seconds=None):
    """What the tests of `module` say in the copy `tree` with `text` in its place."""
    path = tree / THEORY / f"{module}.py"
    original = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    tests = [f"tests/theory/{name}.py" for name in TESTS[module]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    alone = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=os.environ | alone, capture_output=True, timeout=seconds
        )
        return "noticed" if done.returncode else "survived"
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        path.write_text(original, encoding="utf-8")


def patience(tree, module):
    """Seconds that the tests of a mutant may take; without one they have to pass."""
    text, began = (tree / THEORY / f"{module}.py").read_text(encoding="utf-8"), time.perf_counter()
    if outcome(tree, module, text) != "survived":
        raise SystemExit(f"the tests of {module} fail as it is")
    return PATIENCE * (time.perf_counter() - began)


def main():
    """Draw mutants, run their tests, print and save the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="five, and nothing is saved")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TESTS)
    arguments = parser.parse_args()
    drawn = [
        (module, *mutant)
        for module in ([arguments.only] if arguments.only else TESTS)
        for mutant in mutants((ROOT / THEORY / f"{module}.py").read_text(encoding="utf-8"))
    ]
    total = len(drawn)
    random.Random(arguments.seed).shuffle(drawn)
    drawn = drawn[: 5 if arguments.quick else arguments.mutants]
    counts, survivors = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for part in ("sklearn_deeplinear", "tests"):
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "pyproject.toml", tree)
        allowed = {module: patience(tree, module) for module in sorted({row[0] for row in drawn})}
        for module, line, was, now, text in drawn:
            end = outcome(tree, module, text, allowed[module])
            counts[end] += 1
            if end == "survived":
                survivors.append({"module": module, "line": line, "was": was, "now": now})
                print(f"{module}.py:{line}: {was}  ->  {now}", flush=True)
    print(dict(counts))
    if not (arguments.quick or arguments.only):
        result = {"possible": total, "seed": arguments.seed, **counts, "survivors": survivors}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
