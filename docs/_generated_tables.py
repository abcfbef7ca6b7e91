"""Tables of pages that are read off the package and off benchmarks/results.

Nothing that was measured is typed by hand: a key that is missing, or words that a script no longer
says, stop the build.
"""

import ast
import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import sklearn_deeplinear
from sklearn_deeplinear import results

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"

# Benchmark: the part of its results, and its columns, key in the JSON and heading. A slash goes
# one level down.
TABLES = {
    "bench_gd_step": (
        "",
        {
            "case": "case",
            "n": "samples",
            "d": "inputs",
            "h": "width",
            "depth": "depth",
            "ratio": "torch loop / fit",
            "over_fit/skorch": "skorch / fit",
            "over_fit/mlp": "MLPRegressor / fit",
            "step_us": "step, us",
            "over_floor": "step / floor",
        },
    ),
    "bench_path": (
        "",
        {
            "data": "data",
            "sweep_seconds": "sweep, s",
            "ridge_cv_seconds": "RidgeCV, s",
            "ridge_cv_over_sweep": "RidgeCV / sweep",
        },
    ),
    "bench_cv": (
        "",
        {
            "data": "data",
            "n_settings": "settings",
            "ours_seconds": "ours, s",
            "ridge_cv_seconds": "RidgeCV, s",
            "ours_over_ridge_cv": "ours / RidgeCV",
        },
    ),
    "bench_search": (
        "",
        {
            "case": "case",
            "seconds/batched": "at once, s",
            "seconds/one_by_one": "one by one, s",
            "one_by_one_over_batched": "one by one / at once",
            "largest_difference_of_scores": "difference of scores",
        },
    ),
    "bench_minibatch": (
        "",
        {
            "case": "case",
            "solver": "solver",
            "ours_seconds_per_epoch": "ours, s an epoch",
            "bare_seconds_per_epoch": "torch loop, s an epoch",
            "ours_over_bare": "ours / loop",
            "skorch_over_ours": "skorch / ours",
        },
    ),
    "bench_pathways": (
        "",
        {
            "case": "case",
            "init": "init",
            "compression": "compression",
            "loop_ms_per_step": "torch loop, ms a step",
            "our_ms_per_step": "ours, ms a step",
            "ratio": "loop / ours",
        },
    ),
    "bench_large": (
        "",
        {
            "data": "data",
            "way": "way",
            "seconds": "s",
            "memory_mb": "memory, MB",
            "score": "score",
            "over_first": "times the first",
        },
    ),
    "bench_moments": (
        "",
        {
            "case": "case",
            "seconds": "s",
            "products": "matrix products, s",
            "ratio": "moments / products",
        },
    ),
    "bench_out_of_core": (
        "",
        {
            "case": "case",
            "memory_mb": "memory, MB",
            "processor_ratio": "processor time / bare pass",
            "ratio": "wall time / bare pass",
            "load": "load",
        },
    ),
    "bench_dask": (
        "",
        {
            "case": "case",
            "one_process_seconds": "one process, s",
            "workers_seconds": "two workers, s",
            "speed_up": "times as fast",
            "load": "load",
        },
    ),
    "bench_minima": (
        "two_layers",
        {
            "data": "data",
            "path_seconds": "60 decays, s",
            "ridge_cv_seconds": "RidgeCV, s",
            "path_over_ridge_cv": "ours / RidgeCV",
            "share_certified": "share certified",
            "largest_gap": "largest gap",
        },
    ),
    "bench_penalties": (
        "",
        {
            "case": "case",
            "penalty": "of skglm",
            "seconds/ours": "ours, s",
            "seconds/skglm": "skglm, s",
            "ours_over_skglm": "ours / skglm",
            "difference": "difference of strengths",
        },
    ),
    "bench_curvature": (
        "",
        {
            "case": "case",
            "n_weights": "weights",
            "seconds/ours": "estimator, s",
            "over_ours/module": "torch module / it",
            "over_ours/curvlinops": "curvlinops / it",
            "over_ours/dense": "dense Hessian / it",
        },
    ),
    "bench_classifier": (
        "",
        {
            "data": "data",
            "seconds/logistic_cv": "LogisticRegressionCV, s",
            "over_logistic_cv/analytic, depth 1": "exact, depth 1 / it",
            "over_logistic_cv/analytic, depth 2": "depth 2 / it",
            "over_logistic_cv/analytic, depth 3": "depth 3 / it",
        },
    ),
    "bench_real_data": (
        "",
        {
            "data": "data",
            "shape": "samples, inputs, targets",
            "models/RidgeCV/score": "R2 of RidgeCV",
            "models/DeepLinearRegressorCV/score": "R2 of DeepLinearRegressorCV",
            "models/DeepLinearRegressorCV/less_best_ridge": "less the best ridge",
            "models/DeepLinearRegressorCV/standard_error": "standard error",
        },
    ),
    "check_nist": (
        "",
        {
            "set": "set",
            "exact": "exact",
            "lstsq": "lstsq",
            "lstsq_equal_columns": "lstsq, equal columns",
            "global_minimum": "global_minimum",
            "DeepLinearRegressor": "DeepLinearRegressor",
            "DeepLinearRegressorCV": "DeepLinearRegressorCV",
        },
    ),
}

# Cases of bench_out_of_core in the words of the page.
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


def environment(found):
    """Versions and machine of a measurement in one line."""
    where = found["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    threads = where["torch_threads"]
    return (
        f"Python {where['python']}, {versions}; {where['machine']}, {where['cores']} cores, "
        f"{threads} thread{'s' * (threads > 1)} of torch"
    )


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
        row["case"].rpartition(", 10,000,000 x 50, ")[::2]: row
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
                *(f"{row['memory_mb']:.0f} MB" for row in rows),
                *(f"{row['processor_ratio']:.2f} (wall {row['ratio']:.2f})" for row in rows),
            )
        )
    return list_table(cells, (32, 17, 17, 17, 17))


def _exponent(found, predicted):
    if found is None:
        return "none to be seen"
    return f"{found:.2f}" + ("" if predicted is None else f" ({predicted} predicted)")


def benchmark_tables():
    """A section for each benchmark of ``TABLES``: its question, its environment, its numbers."""
    text = []
    for name, (part, columns) in TABLES.items():
        found = results_of(name)
        rows = found["results"][part] if part else found["results"]
        question = docstring_of(name).split("\n")[0].replace("`", "``")
        cells = [[_value(row, key) for key in columns] for row in rows]
        for key, column in zip(columns, zip(*cells, strict=True), strict=True):
            if all(value is None for value in column):
                raise KeyError(f"{name}.json has no {key!r}")
        text += [question, "-" * len(question), ""]
        text += [f"``benchmarks/{name}.py``. {environment(found)}.", ""]
        shown = [[_shown(value) for value in row] for row in cells]
        text += [list_table([tuple(columns.values()), *shown]), ""]
    return "\n".join(text)


def _value(row, key):
    for part in key.split("/"):
        row = row.get(part) if row else None
    return row


def _shown(value):
    if value is None:
        return "--"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " x ".join(map(_shown, value))
    return f"{value:,}" if type(value) is int else str(value)
