"""The table of claims, from ``claims.toml``: what pages say, and what checks it.

Figures are read from benchmarks/results. In the words and figures of a claim

    {bench_path:results/*/ridge_cv_over_sweep:.1f:min}

is the least of what ``results/bench_path.json`` holds at that place, with one decimal. A star
stands for all entries, ``data=linnerud`` for those with that value, ``ours over theirs`` for a
quotient, and ``*1000`` behind the reduction multiplies. ``tests/test_claims.py`` finds the words
on the pages.
"""

import re
import tomllib
from pathlib import Path
from statistics import median

from _generated_tables import list_table, results_of

HERE = Path(__file__).parent

FIGURE = re.compile(r"\{([\w/]+):([^:{}]+):([^:{}]*)(?::([^:{}]*))?\}")
REDUCE = {
    "": lambda values: _only(values),
    "min": min,
    "max": max,
    "median": median,
    "len": len,
    "sum": sum,
}


def claims():
    """Claims by area, as they stand in the file."""
    return tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))


def claim_tables():
    """A section and a table for each area."""
    text = []
    for area, rows in claims().items():
        cells = [("claim", "checked by", "against", "result"), *map(_cells, rows)]
        text += [area, "-" * len(area), "", list_table(cells, (34, 26, 22, 18)), ""]
    return "\n".join(text)


def _cells(claim):
    words = filled(claim.get("claim", claim["words"]))
    if "claim" not in claim and claim["pages"] == ["README.md"]:
        words = re.sub(r"`([^`]+)`", r"``\1``", words)  # Markdown's code is a role here
    result = [filled(claim["figure"])] if "figure" in claim else []
    result += [f"``{claim['tolerance']}``"] if "tolerance" in claim else []
    where = ", ".join(map(_page, claim["pages"]))
    return f"{words} ({where})", _check(claim["check"]), filled(claim["against"]), "; ".join(result)


def _page(name):
    return "README" if name == "README.md" else f":doc:`{name.removesuffix('.rst')}`"


def _check(node):
    """Folder, file and name, a test in words: these wrap."""
    file, _, name = node.partition("::")
    if not name:
        return file.replace("/", " › ")
    folder = (
        file.removeprefix("tests/").removesuffix(".py").replace("test_", "").replace("/", " › ")
    )
    return f"{folder.replace('_', ' ')}: *{name.removeprefix('test_').replace('_', ' ')}*"


def filled(text):
    """The text with its figures."""
    return FIGURE.sub(_figure, text)


def _figure(match):
    name, path, form, how = match.groups(default="")
    reduction, _, factor = how.partition("*")
    number = REDUCE[reduction](list(_found(results_of(name), path.split("/"))))
    shown = format(number * float(factor or 1), form)
    return re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].strip('+')}{m[2]}", shown)


def _found(value, path):
    """Yield all that lies at the end of a path."""
    if not path:
        yield value
        return
    part, *rest = path
    if part == "@share":  # of the strongest pathway in each mode, at the end
        last = value["mode_strengths"][-1]
        modes = [[abs(strength) for strength in mode] for mode in zip(*last, strict=True)]
        yield from _found([max(mode) / sum(mode) for mode in modes], rest)
    elif part == "*":
        for item in value:
            yield from _found(item, rest)
    elif " over " in part:
        above, below = part.split(" over ")
        yield value[above] / value[below]
    elif "=" in part:
        key, _, wanted = part.partition("=")
        for item in value:
            if str(item.get(key)) == wanted:
                yield from _found(item, rest)
    elif isinstance(value, list) or part in value:
        yield from _found(value[int(part) if isinstance(value, list) else part], rest)


def _only(values):
    [value] = values
    return value
