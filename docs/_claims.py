"""The table of claims, from ``claims.toml``: what pages say, and what checks it.

Figures are read from benchmarks/results. In the words and figures of a claim

    {bench_path:results/*/ratios/RidgeCV over sweep:.1f:min}

is the least of what ``results/bench_path.json`` holds at that place, with one decimal. A star
stands for all entries, ``data=linnerud`` for those with that value, ``ours over theirs`` for what
has this name or else a quotient, and ``*1000`` behind the reduction multiplies.
``tests/test_claims.py`` finds the words on the pages.

    python docs/_claims.py    # puts the figures of new results into the words of the pages
"""

import re
import tomllib
from pathlib import Path
from statistics import median

from _generated_tables import list_table, results_of

HERE = Path(__file__).parent

FIGURE = re.compile(r"\{([\w/]+):([^:{}]+):([^:{}]*)(?::([^:{}]*))?\}")
NUMBER = r"([-+]?\d[\d,.]*(?:e-?\d+)?)"
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


def renewed(text, words):
    """The text of a page with the figures that results hold now, where it has these words."""
    literals = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in _around(words)]
    figures = [_figure(match) for match in FIGURE.finditer(words)]

    def put(match):
        found, begin = "", match.start()
        for number, figure in enumerate(figures, 1):
            found += text[begin : match.start(number)] + figure
            begin = match.end(number)
        return found + text[begin : match.end()]

    return re.sub(NUMBER.join(literals), put, text)


def _around(words):
    """The text before, between and behind the figures."""
    return FIGURE.sub("\0", words).split("\0")


def renew():
    """Write the pages whose words hold figures that have changed."""
    for claim in (claim for rows in claims().values() for claim in rows):
        for page in claim["pages"] if FIGURE.search(claim["words"]) else []:
            path = (HERE.parent if page == "README.md" else HERE) / page
            before = path.read_text(encoding="utf-8")
            after = renewed(before, claim["words"])
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"wrote {path}")


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
        for item in value.values() if isinstance(value, dict) else value:
            yield from _found(item, rest)
    elif " over " in part and part not in value:
        above, below = part.split(" over ")
        if above in value and below in value:  # else a ratio that this row does not have
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


if __name__ == "__main__":
    renew()
