"""Tables of pages that are read off the package and off benchmarks/results.

Nothing that was measured is typed by hand: a key that is missing, or words that a script no longer
says, stop the build.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

import sklearn_deeplinear
from sklearn_deeplinear import results

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import table  # noqa: E402

# Figures and ratios, and cases, of bench_out_of_core in the words of the page.
CPU, WALL = "processor time over bare pass", "fit over bare pass"
OUT_OF_CORE = {
    "moments": "moments",
    "fit": "``DeepLinearRegressor``, analytic",
    "CV, 5 folds": "``DeepLinearRegressorCV``, 5 folds, 93 settings",
    "predict": "``predict``, 80 MB of them the predictions",
    "score": "``score``",
}


def list_table(rows, widths=None, heading="header-rows"):
    """A list-table whose first row, or column ("stub-columns"), is the heading."""
    lines = [".. list-table::", f"   :{heading}: 1"]
    lines += [f"   :widths: {' '.join(map(str, widths))}"] if widths else []
    lines.append("")
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join(lines) + "\n"


def results_of(name):
    """What a script has left in benchmarks/results."""
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def docstring_of(script):
    """Docstring of a script in benchmarks, without running it."""
    source = (BENCHMARKS / f"{script}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source))


# The API reference


def api_tables():
    """One autosummary table per package, read off its ``__all__``."""
    homes, text = {}, []
    packages = [
        importlib.import_module(f"sklearn_deeplinear.{module.name}")
        for module in pkgutil.iter_modules(sklearn_deeplinear.__path__)
        if module.ispkg
    ]
    for package in [sklearn_deeplinear, *packages]:
        exported = {name: getattr(package, name) for name in getattr(package, "__all__", [])}
        names = [name for name, obj in exported.items() if callable(obj) and obj not in homes]
        homes |= {exported[name]: f"{package.__name__}.{name}" for name in names}
        if names:
            text += _heading(package)
            text += [f".. currentmodule:: {package.__name__}", "", ".. autosummary::"]
            text += ["   :toctree: generated", "", *(f"   {name}" for name in names), ""]
    # Their pages are those of the packages that make them.
    text += [*_heading(results), ".. currentmodule:: sklearn_deeplinear", "", ".. autosummary::"]
    pages = [homes[getattr(results, name)] for name in results.__all__]
    text += ["", *(f"   ~{page.removeprefix('sklearn_deeplinear.')}" for page in pages), ""]
    return "\n".join(text)


def _heading(module):
    summary = (inspect.getdoc(module) or "").split("\n\n")[0]
    return [module.__name__, "-" * len(module.__name__), "", summary, ""]


# Versions


def version_table():
    """What `make test-matrix` has run, a column for each set of versions, and what it left out."""
    rows = results_of("matrix")
    packages = {name: None for row in rows.values() for name in row["versions"]}
    counts = ("passed", "failed", "skipped", "commit", "date")
    cells = [("", *rows)]
    cells += [(name, *(row["versions"][name] for row in rows.values())) for name in packages]
    cells += [(key, *(row[key] for row in rows.values())) for key in counts]
    reasons = sorted({reason for row in rows.values() for reason in row["reasons"]})
    shown = [f"* {reason.replace('_', chr(92) + '_')}" for reason in reasons]
    return "\n".join([list_table(cells), "Why tests were skipped:", "", *shown, ""])


# Benchmarks


def cost_curves():
    """The exponents with which costs grow."""
    cells = [("what grows", "sizes", "time", "memory")]
    for row in results_of("bench_scaling")["results"]:
        sizes = f"{row['sizes'][0]:,} to {row['sizes'][-1]:,}"
        exponents = (
            (row[f"exponent_of_{kind}"], row[f"predicted_for_{kind}"])
            for kind in ("time", "memory")
        )
        cells.append((row["sweep"], sizes, *(_exponent(*pair) for pair in exponents)))
    return list_table(cells, (34, 26, 20, 20))


def out_of_core():
    """Memory and times of fits from a memory map, beside those of a bare pass."""
    measured = {
        row["case"].rpartition(", 10,000,000 x 50, ")[::2]: row | row["figures"]
        for row in results_of("bench_out_of_core")["results"]
    }
    kinds = ("float32", "float64")
    memory, times = ([f"{words}, {kind}" for kind in kinds] for words in ("memory", "times a pass"))
    cells = [("", *memory, *times)]
    for case, name in OUT_OF_CORE.items():
        rows = [measured[case, kind] for kind in kinds]
        cells.append(
            (
                name,
                *(f"{row['memory, MB']:.0f} MB" for row in rows),
                *(f"{row[CPU]:.2f} (wall {row['ratios'][WALL]:.2f})" for row in rows),
            )
        )
    return list_table(cells, (32, 17, 17, 17, 17))


def _exponent(found, predicted):
    if found is None:
        return "none to be seen"
    return f"{found:.2f}" + ("" if predicted is None else f" ({predicted} predicted)")


def benchmark_tables():
    """A section for each benchmark with results: its question, and where and what it measured."""
    text = []
    for section in table.sections():
        question = section.question.replace("`", "``")
        text += [question, "-" * len(question), "", f"``benchmarks/{section.script}.py``.", ""]
        for where, tables in section.runs:
            text += [f"{where}.", ""]
            for found in tables:
                text += [f"**{found.title}**", ""] if found.title else []
                text += [list_table(found.rows), "", *(f"{note}\n" for note in found.notes)]
    return "\n".join(text)
