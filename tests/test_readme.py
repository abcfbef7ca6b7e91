"""The README's example prints what the README says, and its commands exist."""

import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_prints_what_stands_below_it():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    output = re.search(r"```\n(.*?)```", README[code.end() :], re.DOTALL).group(1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.group(1), {})
    assert printed.getvalue() == output


def test_the_commands_are_make_targets_and_ci_runs_them():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", README)) <= targets
    assert {"lint", "test"} <= set(re.findall(r"\w+", (ROOT / ".ci" / "run").read_text()))
