"""Would the tests notice if a line of theory were wrong?

Changes one operator, comparison, constant or statement of a module at a time and runs the tests
of that module, the quickest first, until one fails: a mutant that passes them all has survived.
Draws mutants at random and writes the counts and what survived to
``results/check_mutants.json``; the reason why a survivor changes nothing, written there by hand
as its ``why``, is kept, if it is of an earlier draw among the ``earlier`` ones.

Each mutant runs in a fork of a process that has imported everything but the package, so this
needs a system that forks.

    python benchmarks/check_mutants.py --mutants 200
    python benchmarks/check_mutants.py --quick              # five
    python benchmarks/check_mutants.py --only _balance      # of one module
    python benchmarks/check_mutants.py --survivors --longest 60  # those without a reason once more
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import importlib.machinery
import importlib.util
import json
import math
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "check_mutants.json"
THEORY = Path("sklearn_deeplinear") / "theory"
# Modules and the files of `tests` that are to notice; where no folder is named, of tests/theory.
TESTS = {
    "_balance": ["test_balance"],
    "_balanced_equation": ["test_flows", "test_two_layer_flow"],
    "_batches": ["test_moments", "test_moments_precision"],
    "_branch_and_bound": ["test_certificate", "test_schatten"],
    "_certificate": ["test_certificate"],
    "_certified_search": ["test_certificate", "test_schatten"],
    "_certify": ["test_certificate"],
    "_class_minimum": ["test_class_minimum"],
    "_curvature_bounds": ["test_curvature_bounds", "test_step_size_bound"],
    "_distributed": ["test_distributed"],
    "_decompositions": ["test_decompositions"],
    "_excluded": ["test_excluded", "test_krylov_space", "estimators/test_sparse_inputs"],
    "_factor": ["test_factor", "test_moments"],
    "_flows": ["test_flows"],
    "_generalised_minimum": ["test_generalised_minimum"],
    "_generalised_minimum_result": ["test_generalised_minimum"],
    "_glm_losses": ["test_generalised_minimum"],
    "_global_minimum": ["test_global_minimum", "test_path"],
    "_known_weights": ["estimators/test_minimum_beside_fit"],
    "_krylov_moments": ["estimators/test_sparse_inputs"],
    "_krylov_space": ["test_krylov_space", "estimators/test_sparse_inputs"],
    "_landscape": ["test_landscape"],
    "_layers": ["test_balance", "test_global_minimum"],
    "_lazy_solution": ["test_flows", "test_pathway_flow"],
    "_least_squares": ["test_exact_regressions", "test_global_minimum"],
    "_leave_one_out": ["test_leave_one_out", "test_left_out_shifts"],
    "_left_out_curves": ["test_leave_one_out", "test_left_out_shifts"],
    "_left_out_path": ["test_leave_one_out", "test_left_out_shifts"],
    "_left_out_problem": ["test_leave_one_out", "test_left_out_shifts"],
    "_left_out_rows": ["test_leave_one_out", "test_left_out_shifts"],
    "_left_out_shifts": ["test_leave_one_out", "test_left_out_shifts"],
    "_likely_minimum": ["test_mode_descent", "test_path"],
    "_local_minimum": ["test_mode_descent", "test_noisy_factors", "test_class_minimum"],
    "_location": ["test_moments", "test_moments_precision"],
    "_log_curve": ["test_log_curve", "test_scalar_family"],
    "_minimum_result": ["test_global_minimum"],
    "_mode_costs": ["test_certificate", "test_schatten"],
    "_mode_descent": ["test_mode_descent"],
    "_mode_flow": ["test_flows"],
    "_mode_relaxation": ["test_certificate", "test_schatten"],
    "_moments": ["test_moments", "test_moments_precision"],
    "_newton_steps": ["test_generalised_minimum"],
    "_noise": ["test_noise"],
    "_noise_relaxation": ["test_noise_relaxation"],
    "_noisy_factors": ["test_noisy_factors"],
    "_norm_search": ["test_generalised_minimum"],
    "_nuclear_norm": ["test_nuclear_norm"],
    "_one_output": ["model_selection/test_setting_per_target"],
    "_parabolas": ["test_certificate"],
    "_path": ["test_path"],
    "_pathway_flow": ["test_pathway_flow"],
    "_pathway_global_minimum": ["test_pathway_global_minimum"],
    "_pathway_local_minimum": ["test_pathway_global_minimum"],
    "_pathway_minimum_result": ["test_pathway_global_minimum"],
    "_pathway_parameters": ["test_pathway_parameters", "test_pathway_flow"],
    "_problem": ["test_global_minimum"],
    "_race_equation": ["test_pathway_flow"],
    "_ridge_path": ["test_generalised_minimum"],
    "_row_space": ["test_row_space"],
    "_scalar_family": ["test_scalar_family"],
    "_schatten": ["test_schatten"],
    "_separation": ["test_class_minimum"],
    "_singular_modes": ["test_balance", "test_global_minimum"],
    "_sparse_rows": ["test_sparse_moments"],
    "_step_size_bound": ["test_step_size_bound"],
    "_tally": ["test_moments", "test_distributed"],
    "_two_layer_flow": ["test_two_layer_flow"],
    "_unequal_columns": ["test_moments_precision", "test_exact_regressions"],
    "_verify": ["test_certificate", "test_noise_relaxation"],
    "_violation": ["test_certificate"],
    "_wide_factor": ["test_row_space"],
}
# A test that takes so many times what it takes without a mutant, and so many seconds beside,
# loops for ever: counted apart.
PATIENCE, ALLOWANCE = 5, 3
# Tests that take more seconds are left out at first, a third of all, with nine tenths of the time;
# ``--survivors --longest 60`` runs them on what the others leave.
LONGEST = 0.05
# Seconds for the imports and the collection; all are of processor time.
START = 60

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


def _places(tree):
    """Each node of `tree` that has a wrong version, and that version."""
    hidden = {  # annotations change nothing
        id(part)
        for node in ast.walk(tree)
        for name in ("annotation", "returns")
        if getattr(node, name, None) is not None
        for part in ast.walk(getattr(node, name))
    }
    for node in ast.walk(tree):
        new = None if id(node) in hidden else _changed(node)
        if new is not None:
            yield node, new


def mutants(source):
    """The line, what it was, and what it is, of each mutant of `source`."""
    return [
        (node.lineno, ast.unparse(node), ast.unparse(new))
        for node, new in _places(ast.parse(source))
    ]


def mutated(source, number):
    """The text of the mutant of `source` of this number."""
    tree = ast.parse(source)
    node, new = list(_places(tree))[number]
    node.__class__ = type(new)
    vars(node).clear()
    vars(node).update(vars(new))
    return ast.unparse(tree)


class Mutant(importlib.machinery.SourceFileLoader):
    """Loads `text` as the module `name` of theory, and finds no other module."""

    def __init__(self, name, text):
        super().__init__(f"sklearn_deeplinear.theory.{name}", str(ROOT / THEORY / f"{name}.py"))
        self.text = text

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname):
        return compile(self.text, self.path, "exec")


class Quickest:
    """Plugin of pytest that runs tests in the order of `seconds`, up to those that take `longest`.

    One that takes much more than it did is ended by a signal.
    """

    def __init__(self, seconds, longest=math.inf):
        self.seconds, self.longest, self.measured = seconds, longest, {}

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))
        items[:] = [item for item in items if self.seconds.get(item.nodeid, 0.0) <= self.longest]

    def pytest_runtest_setup(self, item):
        usual = self.seconds.get(item.nodeid, START)
        signal.setitimer(signal.ITIMER_PROF, PATIENCE * usual + ALLOWANCE)

        self.began = time.process_time()

    def pytest_runtest_logreport(self, report):
        self.measured[report.nodeid] = time.process_time() - self.began


def _source(name):
    return (ROOT / THEORY / f"{name}.py").read_text(encoding="utf-8")


def files_of(name):
    """The files of tests that are to notice mutants of module `name`."""
    tests = ROOT / "tests"
    return [tests / f"{test if '/' in test else f'theory/{test}'}.py" for test in TESTS[name]]


def _tests(paths, plugin):
    """The exit code of the tests in `paths`."""
    import pytest

    root = ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    # Hypothesis is imported before its plugin: its own assertions are not rewritten.
    root += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return int(pytest.main([*root, "-x", "-q", "-p", "no:cacheprovider", *paths], [plugin]))


def _forked(task):
    """What `task` returns in a fork of this process, and the signal that ended it, if any."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.close(readable)
        signal.setitimer(signal.ITIMER_PROF, START)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writable, "w") as pipe:
            json.dump(task(), pipe)
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        answer = pipe.read()
    ended = os.waitpid(child, 0)[1]
    return (json.loads(answer) if answer else None), (
        os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else None
    )


def seconds_of_tests(path):
    """Seconds that each test of the file `path` takes as it is; they have to pass."""

    def run():
        plugin = Quickest({})
        return _tests([str(path)], plugin), plugin.measured

    answer, _ = _forked(run)
    if answer is None or answer[0]:
        raise SystemExit(f"{path} fails as it is")
    return answer[1]


def outcome(name, text, seconds, longest):
    """What the tests of module `name` say of `text` in its place."""

    def run():
        sys.meta_path.insert(0, Mutant(name, text))
        return _tests([str(path) for path in files_of(name)], Quickest(seconds, longest))

    code, ended = _forked(run)
    if ended == signal.SIGPROF:
        return "timed out"
    return "survived" if code in (0, 5) else "noticed"  # 5: each test takes longer


def _key(row):
    """What tells one mutant from the others, in a row of results."""
    return tuple(row[name] for name in ("module", "number", "was", "now"))


def outcomes(drawn, longest):
    """Each mutant that is drawn, as a row of results, and what its tests say."""
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.utils.estimator_checks  # noqa: F401
    import torch  # noqa: F401

    # Forks that collect garbage would copy all that refers to nothing of theirs.
    gc.collect()
    gc.freeze()
    seconds, known = {}, set()
    for name, number, line, was, now in drawn:
        for path in files_of(name):
            if path not in known:
                seconds |= seconds_of_tests(path)
                known.add(path)
        row = {"module": name, "number": number, "line": line, "was": was, "now": now}
        yield row, outcome(name, mutated(_source(name), number), seconds, longest)


def main():
    """Draw mutants, run their tests, print and save the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="five, and nothing is saved")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TESTS, help="of one module, and nothing is saved")
    parser.add_argument("--survivors", action="store_true", help="those saved without a reason")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds of a test")
    arguments = parser.parse_args()
    saved = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known = [*saved.get("survivors", []), *saved.get("earlier", [])]
    before = {_key(row): row["why"] for row in known}
    drawn = [
        (module, number, *mutant)
        for module in ([arguments.only] if arguments.only else TESTS)
        for number, mutant in enumerate(mutants(_source(module)))
    ]
    possible = {(*row[:2], *row[3:]) for row in drawn}
    earlier = {_key(row): row for row in known if row["why"] and _key(row) in possible}
    result = {"possible": len(drawn), "seed": arguments.seed, "modules": {}, "survivors": []}
    if arguments.survivors:  # what is noticed by now moves from one count to the other
        drawn = [row for row in drawn if before.get((*row[:2], *row[3:])) == ""]
        result = saved | {"survivors": [row for row in saved["survivors"] if row["why"]]}
        for row in drawn:
            result["modules"][row[0]]["survived"] -= 1
    else:
        random.Random(arguments.seed).shuffle(drawn)
        drawn = drawn[: 5 if arguments.quick else arguments.mutants]
    for row, end in outcomes(drawn, arguments.longest):
        nothing = {"noticed": 0, "timed out": 0, "survived": 0}
        result["modules"].setdefault(row["module"], nothing)[end] += 1
        earlier.pop(_key(row), None)
        if end == "survived":
            result["survivors"].append(row | {"why": before.get(_key(row), "")})
            print("{module}.py:{line}: {was}  ->  {now}".format(**row), flush=True)
        if not (arguments.quick or arguments.only or arguments.survivors):
            # A run that is stopped leaves what it has found.
            _save(result | {"earlier": list(earlier.values())})
    print(json.dumps(result["modules"], indent=1))
    if arguments.survivors:
        _save(result)


def _save(result):
    result["modules"] = dict(sorted(result["modules"].items()))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # The forks must not start threads: set before numpy and torch load.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    sys.path.insert(0, str(ROOT))
    main()
