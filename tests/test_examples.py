"""Every example of the gallery runs, without warnings, and draws figures that can be read."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.fixture(autouse=True)
def _no_figures_are_left():
    yield
    plt.close("all")


def abscissa(ax):
    """The label of the horizontal axis, also where others show it for this one."""
    return "".join(shared.get_xlabel() for shared in ax.get_shared_x_axes().get_siblings(ax))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_labels_its_axes(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    runpy.run_path(str(path))
    drawn = [ax for number in plt.get_fignums() for ax in plt.figure(number).axes]
    assert drawn
    assert all(ax.get_ylabel() and (abscissa(ax) or ax.get_xticklabels()) for ax in drawn)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_says_what_was_learnt(path):
    last_cell = path.read_text(encoding="utf-8").split("# %%\n")[-1]
    assert last_cell.startswith("# **What was learnt.** ")
