"""The tables of what was measured, from benchmarks/results: for the README there and the docs.

    python benchmarks/table.py    # writes benchmarks/results/README.md, as `make bench` does

Rows of the shape that `_measure.row` makes head their columns themselves; other scripts have theirs
in `_other_results.py`. Nothing is typed by hand: a column that results do not fill is an error.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from _cells import at_path, keys, shown, time
from _other_results import COLUMNS, columns, rows_of, scored
from _plan import PLAN

HERE = Path(__file__).parent
RESULTS = HERE / "results"

# Scripts that check have tables, too.
CHECKS = ("check_certificates", "check_noise", "check_nist")


@dataclass(frozen=True)
class Table:
    """Rows of one part of a script, their first being the heading, and notes on some cases."""

    title: str
    rows: list[Sequence[str]]
    notes: list[str]


@dataclass(frozen=True)
class Section:
    """A script, its question, and for each file of results where and when it ran, and tables."""

    script: str
    question: str
    runs: list[tuple[str, list[Table]]]


def sections():
    """What all scripts with results have measured, in the order of the plan."""
    return [section(script) for script in scripts()]


def scripts():
    """Names of the scripts with results that have a table."""
    return [name for name in (*PLAN, *CHECKS) if files_of(name)]


def files_of(script):
    """Results of a script: of its name, or of that and what was run."""
    return [*RESULTS.glob(f"{script}.json"), *sorted(RESULTS.glob(f"{script}_*.json"))]


def section(script):
    """The section of one script."""
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in files_of(script)}
    runs = [(conditions(run), tables(path, run["results"])) for path, run in found.items()]
    return Section(script, question(script), runs)


def tables(path, results):
    """Tables of one file of results."""
    if path.stem == "bench_real_data":
        lines, note = scored(results)
        return [Table("", lines, [note])]
    if path.stem in COLUMNS:
        return [Table("", columns(path.name, rows_of(results), COLUMNS[path.stem]), [])]
    parts = groupby(results, key=lambda row: row.get("part", ""))
    return [measured(title, list(rows)) for title, rows in parts]


def question(script):
    """First line of what a script says of itself, without running it."""
    source = (HERE / f"{script}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)).split("\n")[0]


def conditions(found):
    """Date, versions and machine of a measurement in one line."""
    where = found["environment"]
    results = found["results"]
    card = results.get("device") if isinstance(results, dict) else None
    said = [found.get("date"), card, environment(found)]
    said += [f"load {where['load']:.1f}"] if "load" in where else []
    return "; ".join(filter(None, said))


def environment(found):
    """Versions and machine of a measurement."""
    where = found["environment"]
    versions = {"Python": where["python"], **where["packages"], **where.get("peers", {})}
    threads = where["torch_threads"]
    return (
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{where['machine']}, {where['cores']} cores, "
        f"{threads} thread{'s' * (threads > 1)} of torch"
    )


# Rows of the common shape


def measured(title, rows):
    """Table of rows as `_measure.row` makes them; columns that no row fills are left out.

    A row without a case says what all have in common.
    """
    said = [f"{key}: {value}." for row in rows if "case" not in row for key, value in row.items()]
    rows = [row for row in rows if "case" in row]
    of = "".join(f", {of}" for of in dict.fromkeys(row["of"] for row in rows if "of" in row))
    heads = {("case",): "case"}
    heads |= {("seconds", way): way + of for way in keys(rows, "seconds")}
    heads |= {("ratios", key): key.replace(" over ", " / ") for key in keys(rows, "ratios")}
    heads |= {("floor",): "times the floor", ("agreement",): "difference"}
    heads |= {("figures", key): key.replace(" over ", " / ") for key in keys(rows, "figures")}
    cells = {at: [cell(row, at) for row in rows] for at in heads}
    filled = [at for at, column in cells.items() if set(column) != {"--"}]
    lines = [[heads[at] for at in filled], *zip(*(cells[at] for at in filled), strict=True)]
    return Table(title, lines, said + notes(rows))


def notes(rows):
    """Reasons that rows give, once each behind the cases that have them."""
    cases = {}
    for row in rows:
        if "why" in row:
            cases.setdefault(row["why"], []).append(row["case"])
    said = [f"{'; '.join(names)}: {why}." for why, names in cases.items()]
    best = ["Times are the best of the repeats, not medians, and ratios are those of the best."]
    return said + best * any(row.get("best") for row in rows)


def cell(row, at):
    """One cell: of times, with their spread."""
    value = at_path(row, at)
    if value is None:
        return "--"
    if at[0] != "seconds":
        return shown(value)
    spread = (row.get("spread") or {}).get(at[1])
    return time(value) + ("" if spread is None else f" ({100 * spread:.0f} %)")


# The README of the results


def markdown():
    """All tables in Markdown."""
    text = [HEAD]
    for section in sections():
        text += [f"## {section.question}", f"`{section.script}.py`."]
        for where, tables in section.runs:
            text.append(f"{where}.")
            for table in tables:
                text += [f"**{table.title}**"] if table.title else []
                head, *rows = table.rows
                lines = [head, ["---"] * len(head), *rows]
                text.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
                text += table.notes
    return "\n\n".join(text) + "\n"


HEAD = """# What was measured

Written by `python benchmarks/table.py` from the files beside it: medians, in brackets the distance
between the quartiles in percent of them, where there were several turns. A ratio is that of the
medians, "times the floor" how much longer a step takes than the machine needs at least, and
"difference" the largest between what the contestants found."""


def write():
    """Write the tables beside the results."""
    (RESULTS / "README.md").write_text(markdown(), encoding="utf-8")
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    write()
