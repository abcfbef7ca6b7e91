"""Every script that draws figures of papers runs, and goes on where it was stopped."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "figures"


@pytest.fixture
def script(monkeypatch):
    """Return a function that imports a script by its name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folder in which the pathway scripts have computed and plotted all in quick mode."""
    folder = tmp_path_factory.mktemp("shi2022")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        for name in PATHWAY_SCRIPTS:
            main = importlib.import_module(name).main
            main(["compute", "--quick", "--folder", str(folder)])
    return folder


PATHWAY_SCRIPTS = ["shi2022_figures", "pathway_unequal_depths", "pathway_edge_of_stability"]


@pytest.mark.parametrize("name", PATHWAY_SCRIPTS)
def test_every_experiment_has_a_result(name, script, results):
    for figure in script(name).FIGURES.values():
        assert all((results / f"{experiment}.json").exists() for experiment in figure.experiments)
    assert not list(results.glob("*.part*"))


# Figures 5, 7 and 8 are drawn by the function that draws Figure 6.
@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("shi2022_figures", "figure_3"),
        ("shi2022_figures", "figure_4"),
        ("shi2022_figures", "figure_6"),
        ("pathway_unequal_depths", "unequal_depths"),
        ("pathway_edge_of_stability", "edge_of_stability"),
    ],
)
def test_pathway_figures_are_drawn(name, figure, script, results):
    script(name).main(["plot", figure, "--folder", str(results)])
    assert (results / f"{figure}.png").stat().st_size > 10_000


def test_gaussian_pathways_learn_every_mode(results):
    """400 steps fit the tree to depth 3, and the pathways add up to the target."""
    for name in ("linear_2", "linear_3", "tanh_2"):
        result = read(results, name)
        assert result["iteration"][-1] == 400
        assert result["loss"][-1] < 1e-5
    total = np.sum(read(results, "linear_3")["mode_strengths"][-1], axis=0)
    np.testing.assert_allclose(total, read(results, "task")["singular_values"], atol=1e-2)


def test_unequal_depths_end_as_the_flow_predicts(results):
    # The steps are a fiftieth of the largest stable one, and so is the relative error.
    assert all(
        race["largest_difference"] < 0.02 for race in read(results, "unequal_shares")["races"]
    )
    strengths = np.array(read(results, "unequal_3_5")["mode_strengths"])
    assert np.all(strengths[-1, 0] > 100 * np.abs(strengths[-1, 1]))


def test_sharpness_at_minima_obeys_the_formula(results):
    assert read(results, "edge_sharpness")["largest_relative_difference"] < 1e-12


def test_runs_at_rest_share_enough_to_be_stable(results):
    for run in read(results, "edge_step_sizes")["runs"]:
        assert run["at_rest_up_to"] >= 1
        assert run["largest_excess_over_limit"] < 1e-3


def test_results_are_not_computed_twice(script, results, capsys):
    before = (results / "linear_2.json").read_text()
    script("shi2022_figures").main(["compute", "figure_5", "--quick", "--folder", str(results)])
    assert capsys.readouterr().out.count("there already") == 4
    assert (results / "linear_2.json").read_text() == before


def test_a_stopped_run_ends_like_one_that_was_not(script, monkeypatch, tmp_path):
    training = script("pathway_training")
    options = {"depth": (2, 3), "steps": 60, "width": 30}
    whole = training.train(tmp_path / "whole.json", **options)
    keep, calls = training._keep, []

    def keep_twice(*arguments):
        keep(*arguments)
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_keep", keep_twice)
    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path / "stopped.json", **options)
    stopped = training.train(tmp_path / "stopped.json", **options)
    assert len(calls) > 3
    assert stopped == whole


def test_figures_without_results_are_left_out(script, tmp_path, capsys):
    script("shi2022_figures").main(["plot", "figure_4", "--folder", str(tmp_path)])
    assert "figure_4: task not computed yet" in capsys.readouterr().out


def test_balance_of_du_is_drawn(script, monkeypatch, tmp_path):
    module = script("du2018_balance")
    shorter = {part: (run, name, steps // 16) for part, (run, name, steps) in module.PARTS.items()}
    monkeypatch.setattr(module, "PARTS", shorter)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["du2018_balance.py", "--quick"])
    module.main()
    assert (tmp_path / "du2018_balance_quick.png").stat().st_size > 10_000
    part = read(tmp_path, "du2018_balance_quick")["results"]["relu, unbalanced"]
    difference = np.diff(part["squared_norms"], axis=1)
    growth = np.diff(np.array(part["squared_norms"])[[0, -1]], axis=0)
    assert np.abs(difference[-1] - difference[0]).max() < 0.01 * growth.max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_descent_and_flow_of_elkabetz_are_drawn(script, monkeypatch, tmp_path, dtype):
    """All four networks, in a few steps on a few images."""
    module = script("elkabetz2021_fig1")
    name = {"float64": "4", "float32": "4_float32"}[dtype]
    folder = tmp_path / "runs" / name
    monkeypatch.setattr(module, "HERE", tmp_path / "runs")
    folder.mkdir(parents=True)
    rng = np.random.RandomState(0)
    digits = {"X": rng.standard_normal((20, 784)), "y": np.arange(20) % 10, "source": "none"}
    np.savez(folder / "digits.npz", **digits)
    for action in ("compute", "plot"):
        monkeypatch.setattr("sys.argv", ["", action, "--steps", "4", "--dtype", dtype])
        module.main()
    assert (tmp_path / f"runs_{name}.png").stat().st_size > 10_000
    result = read(tmp_path, f"runs_{name}")
    assert result["environment"]["dtype"] == dtype
    for name in module.NETS:
        curves = result[name]
        apart = [curves["distance"][r][-1] for r in ("2", "5", "10", "20")]
        assert np.all(np.diff(apart) > 0)
        assert apart[-1] < 0.1 * curves["distance_from_init"][-1]


def read(folder, name):
    """Return a result."""
    return json.loads((folder / f"{name}.json").read_text())
