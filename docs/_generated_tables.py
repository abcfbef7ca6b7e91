"""Fragments of pages that are read off the package and off benchmarks/results, by ``conf.py``.

Nothing that was measured is typed by hand: a key that is missing, or words that a script no longer
says, stop the build.
"""

import ast
import importlib
import inspect
import json
import pkgutil
from math import log
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
            "steps": "steps",
            "fit_seconds": "fit, s",
            "bare_seconds": "torch loop, s",
            "ratio": "loop / fit",
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


# Reproducibility


# A map is zero that explains less of the targets, a network has collapsed whose loss is above so
# much of that of saying nothing, log 10: as in the scripts.
EXPLAINED, COLLAPSED = 0.01, 0.99


def cards():
    """One card per paper: what was run, on what, and what came out."""
    text = []
    for title, script, card in (_ziyin(), _ziyin_collapse(), _du(), _elkabetz(), _shi()):
        text += [title, "-" * len(title), ""]
        command = f"``python benchmarks/figures/{script}.py``"
        rows = [*card.items(), ("command", command)]
        text += [list_table(rows, (22, 78), "stub-columns"), ""]
    return "\n".join(text)


def _bullets(lines):
    """The lines as a list in a cell."""
    return "\n       ".join(f"- {line}" for line in lines)


def _stated(script, words):
    """The `words`, if the docstring of the script says so."""
    if words not in " ".join(docstring_of(f"figures/{script}").split()):
        raise ValueError(f"{script}.py no longer says {words!r}")
    return words[0].lower() + words[1:]


def _ziyin():
    script = "ziyin2022_figures"
    runs = {name: results_of(f"ziyin2022/trained_{name}_1") for name in ("linear", "relu")}
    rows = []
    for name, run in runs.items():
        ended = [
            (signal, decay)
            for decay, row in zip(run["decays"], run["explained"], strict=True)
            for signal, share in zip(run["signals"], row, strict=True)
            if share < EXPLAINED
        ]
        least = min(decay / signal for signal, decay in ended)
        cells = len(run["decays"]) * len(run["signals"])
        rows.append(
            f"{name}, one hidden layer: {len(ended)} of {cells} networks end at zero, the least "
            f"decay of them is {least:.2f} E[xy]"
        )
    card = {
        "question": "From which weight decay on does training end in zero?",
        "data": "one standard normal input, targets with a given E[xy]",
        "splits": "none",
        "seeds": str(runs["linear"]["seed"]),
        "set-up": f"networks of {_stated(script, 'width 32')}, "
        f"{_stated(script, 'with Adam, step size 0.01, batches of 100')}, over a grid of E[xy] "
        "and decays",
        "ours, where the paper does not say": _stated(
            script, "the grids, the start (Xavier), the 3,000 steps"
        ),
        "result": _bullets(rows),
        "time": _stated(script, "6 minutes"),
        "machine and versions": environment(runs["linear"]),
        "numbers": "``benchmarks/results/ziyin2022/*.json``",
    }
    return "Ziyin, Li and Meng (2022)", script, card


def _ziyin_collapse():
    script = "ziyin2022_collapse"
    rows = []
    for kind in ("perceptrons", "convolutional"):
        for depth in (2, 3, 4, 6):
            run = results_of(f"ziyin2022/collapse_{kind}_{depth}")
            gone = next(i for i, loss in enumerate(run["loss"]) if loss > COLLAPSED * log(10))
            below, above = run["decays"][gone - 1 : gone + 1]
            rows.append(
                f"{kind}, {depth} layers: learn at a decay of {below:.2g}, no longer at {above:.2g}"
            )
    card = {
        "question": "At which weight decay do networks for images collapse, and does depth matter?",
        "data": f"{_stated(script, '1,000 MNIST digits')}",
        "splits": _stated(script, "one fifth held out"),
        "seeds": str(run["seed"]),
        "set-up": "Adam"
        + _stated(script, "Adam with step size 0.003, batches of 100, 100 epochs")[4:],
        "ours, where the paper does not say": "all but the question; the paper's ResNet18 on "
        "CIFAR-10 is a script that has not been run, ``ziyin2022_resnet.py``",
        "result": _bullets(rows),
        "time": _stated(script, "6 minutes"),
        "machine and versions": environment(run),
        "numbers": "``benchmarks/results/ziyin2022/collapse_*.json``",
    }
    return "Ziyin, Li and Meng (2022), on digits", script, card


def _du():
    script = "du2018_balance"
    found = results_of(script)
    runs = found["results"]
    relu = runs["relu, balanced"]
    rows = []
    for name in ("relu, balanced", "relu, unbalanced"):
        first, last = (_differences(runs[name]["squared_norms"][i]) for i in (0, -1))
        rows.append(
            f"{name}: differences of squared norms of adjacent layers {first} at first, {last} "
            f"after {runs[name]['iteration'][-1]:,} steps, loss {runs[name]['loss'][-1]:.1e}"
        )
    for name in ("factorisation, decaying", "factorisation, regularised"):
        run = runs[name]
        share = run["squared_distance"][-1] / run["squared_norm_of_target"]
        rows.append(
            f"{name}: squared distance {share:.1e} of the target's squared norm, imbalance "
            f"{run['imbalance'][0]:.1e} at first, {run['imbalance'][-1]:.1e} at last"
        )
    card = {
        "question": "Do layers stay balanced under gradient descent with steps of a finite size?",
        "data": "random normal inputs and targets, drawn by the script",
        "splits": "none, all data are trained on",
        "seeds": "0",
        "set-up": f"{_stated(script, 'A 1000-100-100-10 ReLU network without biases')}, "
        f"{relu['iteration'][-1]:,} steps, {_stated(script, 'entry variances that balance the')} "
        f"layers {_stated(script, '(1e-4 / 100, 1e-4 / 10, 1e-4) and the same variance, 1e-4')}; "
        "asymmetric matrix factorisation",
        "ours, where the paper does not say": "seeds; the distribution of the data; the loss "
        "has no factor 1/2 and is a mean, so that the factorisation multiplies its steps",
        "result": _bullets(rows),
        "time": _stated(script, "about 5 minutes"),
        "machine and versions": environment(found),
        "numbers": "``benchmarks/results/du2018_balance.json``",
    }
    return "Du, Hu and Lee (2018)", script, card


def _differences(norms):
    return " and ".join(f"{a - b:.4f}" for a, b in zip(norms[:-1], norms[1:], strict=True))


def _elkabetz():
    script = "elkabetz2021_fig1"
    found = results_of(f"{script}_10000")
    rows = []
    for name in ("linear", "relu"):
        run = found[name]
        finest = max(run["distance"], key=int)
        rows.append(
            f"{name}: after {run['iteration'][-1]:,} steps {run['distance_from_init'][-1]:.2f} "
            f"from the start and {run['distance'][finest][-1]:.1e} from the run with a step "
            f"{finest} times smaller; losses {run['loss']['1'][-1]:.5f} and "
            f"{run['loss'][finest][-1]:.5f}"
        )
    card = {
        "question": "How far is gradient descent from gradient flow?",
        "data": f"1,000 digits: {found['environment']['digits']}",
        "splits": "none, all digits are trained on",
        "seeds": str(found["environment"]["seed"]),
        "set-up": f"full batches, {_stated(script, 'step size eta_0 = 0.001')}, divided by "
        + ", ".join(sorted(found["linear"]["distance"], key=int)),
        "ours, where the paper does not say": "the digits are "
        f"{_stated(script, 'every 50th of the MNIST training set')}, those of the paper, only "
        "where OpenML can be reached; the seed",
        "not run at this length": "convolutional networks, divisor 20",
        "result": _bullets(rows),
        "time": _stated(script, "half an hour for each fully connected network"),
        "machine and versions": environment(found),
        "numbers": "``benchmarks/results/elkabetz2021_fig1_10000.json``",
    }
    return "Elkabetz and Cohen (2021)", script, card


def _shi():
    script = "shi2022_figures"
    runs = {depth: results_of(f"shi2022/linear_{depth}") for depth in (2, 3, 4, 7)}
    shares = [
        f"linear pathways of depth {depth}: larger share of the strongest mode "
        f"{_larger_share(run):.2f} after {run['iteration'][-1]:,} steps"
        for depth, run in runs.items()
    ]
    widths, seeds = ({run[key] for run in runs.values()} for key in ("width", "seed"))
    card = {
        "question": "Do parallel pathways share a mode, or does one of them take it?",
        "data": "a binary tree of 8 items and 15 features, ``make_hierarchical``",
        "splits": "none, all items are trained on",
        "seeds": ", ".join(
            map(str, sorted(seeds | {results_of("shi2022/linear_7_seed_1")["seed"]}))
        ),
        "set-up": f"two pathways of width {', '.join(map(str, widths))}, "
        f"{_stated(script, 'Weights start as N(0, 0.01^2)')}, "
        f"{_stated(script, 'the summed squared error has rate 0.01')}",
        "ours, where the paper does not say": _stated(
            script, "The spreads of Figure 3 and the depths of Figures 7 and 8 are ours"
        ),
        "result": _bullets(shares),
        "time": _stated(script, "all, about an hour"),
        "machine and versions": environment(runs[2]),
        "numbers": "``benchmarks/results/shi2022/*.json``",
    }
    return "Shi, Shea-Brown and Buice (2022)", script, card


def _larger_share(run):
    strengths = [abs(pathway[0]) for pathway in run["mode_strengths"][-1]]
    return max(strengths) / sum(strengths)


FRAGMENTS = {
    "_api_tables.rst": api_tables,
    "_cost_curves.rst": cost_curves,
    "_benchmark_tables.rst": benchmark_tables,
    "_reproducibility_cards.rst": cards,
}


def write():
    """Write all fragments; pages include them by their names."""
    for name, fragment in FRAGMENTS.items():
        (HERE / name).write_text(fragment(), encoding="utf-8")
