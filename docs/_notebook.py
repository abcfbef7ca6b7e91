"""The tutorial as a notebook, made of its page: what is an example there is a cell here.

Only what the page uses of reStructuredText is known: titles, code in double backquotes, links,
roles, lists, indented blocks after two colons, and examples.
"""

import doctest
import json
import re
import textwrap
from itertools import cycle
from pathlib import Path

HERE = Path(__file__).parent

# Headings of Markdown, by the line below a title.
TITLES = {"=": "#", "-": "##"}
# What is replaced within a line, one after the other.
INLINE = (
    (r":\w+:`([^`<]+?)\s*<[^>]+>`", r"\1"),  # a role with words of its own
    (r":\w+:`([^`]+)`", r"*\1*"),
    (r"`([^`<]+?)\s*<(https?:[^>]+)>`_", r"[\1](\2)"),
    (r"``([^`]+)``", r"`\1`"),
)
# An indented block, after the colon that stays in the words before it.
BLOCK = r"(?<=:):\n\n((?:[ ]{4}.*\n|\n)+)"


def tutorial():
    """Text of the notebook of the tutorial."""
    return notebook((HERE / "tutorial.rst").read_text(encoding="utf-8"))


def notebook(page):
    """Text of the notebook of a page."""
    cells = [_cell(kind, source) for kind, source in _joined(_pieces(page))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _pieces(page):
    """Yield "markdown" or "code", a source, and whether a cell ends after it."""
    for part in doctest.DocTestParser().parse(page):
        if isinstance(part, doctest.Example):
            yield "code", part.source, bool(part.want)  # a cell shows its last value only
            continue
        for text, kind in zip(re.split(BLOCK, part), cycle(["markdown", "code"]), strict=False):
            if text.strip():
                source = _markdown(text) if kind == "markdown" else textwrap.dedent(text)
                yield kind, source, True


def _joined(pieces):
    """Yield kind and source of cells: examples without output go with the next."""
    waiting = ""
    for kind, source, ends in pieces:
        if kind == "markdown" and waiting:
            yield "code", waiting
            waiting = ""
        waiting += source
        if ends:
            yield kind, waiting
            waiting = ""
    if waiting:
        yield "code", waiting


def _markdown(text):
    for line, heading in TITLES.items():
        text = re.sub(rf"^(.+)\n{line}{{3,}}$", rf"{heading} \1", text, flags=re.MULTILINE)
    for pattern, new in INLINE:
        text = re.sub(pattern, new, text)
    return text


def _cell(kind, source):
    cell = {"cell_type": kind, "metadata": {}, "source": source.strip("\n")}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
