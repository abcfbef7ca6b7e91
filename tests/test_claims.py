"""The table of claims says what pages say, and names what is there."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Numbers with the unit of something that was measured.
MEASURED = re.compile(
    r"(?<![\w.^])\d[\d,.]* (?:to \d[\d,.]* )?"
    r"(?:times|%|MB|s|ms|microseconds?|seconds|minutes)(?!\w)"
    r"|(?<!\w)\de-\d+"
)
# Such numbers that are settings, arithmetic, or parts of examples that run.
SETTINGS = {
    "README.md": ["2e-03"],  # of the example
    "contributing.rst": ["95 % must be"],
    "guide/data.rst": ["with a tolerance of 1e-4"],
    "scale.rst": [
        "more than 80 MB",
        "make 2,600 s, half a minute on 100 cores",
        "each take 200 s",
        "that is 83 s beside",
        "(100 MB)",
    ],
}


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("_claims")


@pytest.fixture
def pages(monkeypatch):
    """Return a function from the name of a page to its words, with what it includes."""
    monkeypatch.syspath_prepend(DOCS)
    files = importlib.import_module("_generated").FILES

    @cache
    def words(name):
        text = ((ROOT if name.endswith(".md") else DOCS) / name).read_text(encoding="utf-8")
        text = re.sub(r"\.\. include:: (\S+)", lambda m: included(files, m[1]), text)
        return " ".join(text.split())

    return words


def included(files, name):
    return files[name]() if name in files else ""


def each(claims):
    return [claim for rows in claims.claims().values() for claim in rows]


def test_pages_say_what_is_claimed_with_the_figures_of_the_results(claims, pages):
    for claim in each(claims):
        for page in claim["pages"]:
            assert " ".join(claims.filled(claim["words"]).split()) in pages(page)


def test_every_figure_of_the_table_is_in_the_results(claims):
    table = claims.claim_tables()
    assert all(area in table for area in claims.claims())
    assert not claims.FIGURE.search(table)


def test_what_checks_a_claim_exists(claims):
    for claim in each(claims):
        file, _, name = claim["check"].partition("::")
        source = (ROOT / file).read_text(encoding="utf-8")
        if not name:
            assert file == "Makefile" or file.startswith(("benchmarks/", "docs/"))
            continue
        # In the test, in a constant or in what the tests of its file share.
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if getattr(node, "name", "").startswith("test_") and node.name != name:
                lines[node.lineno - 1 : node.end_lineno] = [""] * (
                    node.end_lineno - node.lineno + 1
                )
        rest = "\n".join(lines)
        assert f"def {name}(" in rest and claim.get("tolerance", "") in rest, claim["check"]


def test_every_benchmark_of_the_pages_is_in_the_table(claims):
    table = importlib.import_module("table")
    checks = {claim["check"] for claim in each(claims)}
    assert {f"benchmarks/{name}.py" for name in table.scripts()} <= checks


def test_measured_numbers_of_the_prose_are_in_the_table(claims):
    """So that none is typed by hand: in the table they are read from results."""
    found = {}
    for page in ["README.md", *(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.rst"))]:
        if page.startswith(("_", "generated", "auto_examples", "claims")):
            continue
        text = ((ROOT if page == "README.md" else DOCS) / page).read_text(encoding="utf-8")
        text = re.sub(r"^( *)\.\. math::.*\n(?:\1 +.*\n|\n)*", "", text, flags=re.M)
        text = re.sub(r"^( *(>>>|\.\.\.) .*\n)(\S.*\n)*", "", text, flags=re.M)  # examples
        prose = " ".join(re.sub(r":math:`[^`]*`", "", text).split())
        known = [claims.filled(c["words"]) for c in each(claims) if page in c["pages"]]
        for words in [*map(str.split, known), *map(str.split, SETTINGS.get(page, []))]:
            prose = prose.replace(re.sub(r":math:`[^`]*`", "", " ".join(words)), "")
        found[page] = MEASURED.findall(prose)
    assert not any(found.values()), found


def test_figures_are_found_reduced_and_formatted(claims, monkeypatch):
    results = {"rows": [{"name": "a", "x": 0.25}, {"name": "b", "x": 4e-10}, {"name": "c"}]}
    monkeypatch.setattr(claims, "results_of", {"some": results}.__getitem__)
    text = "{some:rows/name=a/x:.0f:*100} % and {some:rows/*/x:.0e:min}"
    assert claims.filled(text) == "25 % and 4e-10"
    with pytest.raises(ValueError, match="not enough values"):
        claims.filled("{some:rows/name=d/x:.1f}")
    with pytest.raises(KeyError):
        claims.filled("{other:rows:.1f}")


def test_ratios_are_those_that_stand_there_or_quotients(claims, monkeypatch):
    row = {"seconds": {"a": 6.0, "b": 3.0}, "ratios": {"a over b": 2.5, "c over b": 4.0}}
    monkeypatch.setattr(claims, "results_of", {"some": {"results": [row]}}.__getitem__)
    assert claims.filled("{some:results/*/seconds/a over b:.1f}") == "2.0"
    assert claims.filled("{some:results/*/ratios/a over b:.1f}") == "2.5"
    assert claims.filled("{some:results/*/ratios/*:.1f:max}") == "4.0"


def test_new_figures_are_put_into_the_words_of_a_page(claims, monkeypatch):
    rows = [{"s": 2.5, "mb": 1234.0}, {"s": 4e-10, "mb": 5.0}]
    monkeypatch.setattr(claims, "results_of", {"some": rows}.__getitem__)
    words = "took {some:*/s:.1f:max} s and {some:*/mb:,.0f:max} MB, {some:*/s:.0e:min}"
    page = "It took 1.52 s\n  and 905 MB, 3e-9. It took long, 1 s."
    new = "It took 2.5 s\n  and 1,234 MB, 4e-10. It took long, 1 s."
    assert claims.renewed(page, words) == claims.renewed(new, words) == new
    assert claims.renewed("took a while", words) == "took a while"


def test_figures_of_all_pages_are_renewed(claims, monkeypatch):
    """Others are put there, and the right ones back."""
    for claim in each(claims):
        for page in claim["pages"] if claims.FIGURE.search(claim["words"]) else []:
            text = ((ROOT if page == "README.md" else DOCS) / page).read_text(encoding="utf-8")
            with monkeypatch.context() as other:
                other.setattr(claims, "_figure", lambda match: "9.75e-7")
                wrong = claims.renewed(text, claim["words"])
            assert wrong != text and claims.renewed(wrong, claim["words"]) == text
