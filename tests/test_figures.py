"""Every script that draws figures of papers runs, and goes on where it was stopped."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def ziyin(tmp_path_factory):
    """The script of Ziyin et al.'s figures, and a folder with its results in quick mode."""
    folder = tmp_path_factory.mktemp("ziyin2022")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        module = importlib.import_module("ziyin2022_figures")
        module.main(["compute", "--quick", "--folder", str(folder)])
    return module, folder


@pytest.mark.parametrize("figure", ["phase_diagram", "landscape", "trained"])
def test_ziyin_figures_are_drawn(ziyin, figure):
    module, folder = ziyin
    module.main(["plot", figure, "--folder", str(folder)])
    assert (folder / f"{figure}.png").stat().st_size > 10_000


def test_phases_of_zero_agree_with_the_critical_decays(ziyin):
    """The phases are those of minima and of the Hessian at zero, cell by cell."""
    diagrams = read(ziyin[1], "phases")["diagrams"]
    assert [diagram["disagreements"] for diagram in diagrams] == [0, 0, 0]
    assert [np.unique(diagram["phase"]).tolist() for diagram in diagrams] == [
        [0, 2],
        [1, 2],
        [1, 2],
    ]


def test_landscape_of_the_linear_network_touches_its_minimum(ziyin):
    """41 points of b come within 2 % of it; with decay zero is stationary for tanh, too."""
    for panel in read(ziyin[1], "landscapes")["panels"]:
        curve, tanh = (np.array(panel["curves"][name]) for name in ("linear", "tanh"))
        assert panel["least"] - 1e-6 <= curve.min() < 1.02 * panel["least"]
        middle = len(curve) // 2
        np.testing.assert_allclose(curve[[middle]], tanh[[middle]])
        assert abs(curve[middle + 1] - curve[middle - 1]) < 1e-6


def test_networks_trained_in_a_stack_are_those_trained_alone(script):
    training = script("ziyin2022_training")
    signals, decays = np.array([0.5, 2.0]), np.array([0.01, 1.0])
    stack = training.train("tanh", 2, signals, decays, epochs=5)
    alone = training.train("tanh", 2, signals[1:], decays[:1], epochs=5)
    np.testing.assert_allclose(np.array(stack)[:, 0, 1], np.array(alone)[:, 0, 0], rtol=1e-4)


def test_linear_networks_train_to_the_minimum_that_is_left(script):
    """Past the spinodal, 0.472 for a signal of 1, that is zero; before, Adam stays near its own."""
    training, module = script("ziyin2022_training"), script("ziyin2022_figures")
    signals, decays = [1.0], [0.3, 0.6]
    loss, _ = training.train("linear", 2, signals, decays, epochs=100)
    assert module.predicted_zero(signals, decays, 2).ravel().tolist() == [False, True]
    expected = [
        module.global_minimum(module.scalar_moments(1.0), depth=3, weight_decay=decay).loss
        for decay in decays
    ]
    # Steps of 0.01 keep the map 2 % from its place, where the loss has slope 2 (1 - 0.66).
    np.testing.assert_allclose(loss[:, 0], expected, atol=0.03)


@pytest.mark.parametrize("figure", ["perceptrons", "convolutional"])
def test_collapse_on_digits_is_drawn(script, figure, monkeypatch, tmp_path):
    """Two epochs on fifty digits."""
    module = script("ziyin2022_collapse")
    images, digits = np.random.RandomState(0).standard_normal((50, 784)), np.arange(50) % 10
    monkeypatch.setattr(module, "load_mnist_subset", lambda: (images, digits))
    module.digits.cache_clear()
    for arguments in (["compute", figure, "--quick"], ["plot", figure]):
        module.main([*arguments, "--folder", str(tmp_path)])
    module.digits.cache_clear()
    assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
    for depth in module.DEPTHS:
        result = read(tmp_path, f"collapse_{figure}_{depth}")
        assert np.all(np.isfinite(result["loss"]))
        assert len(result["accuracy"]) == 3


def test_convolutional_nets_have_the_depth_they_are_asked_for(script):
    module = script("ziyin2022_collapse")
    for depth in module.DEPTHS:
        assert len(list(module.convolutional_net(depth).parameters())) == depth


@pytest.mark.parametrize(
    ("at_zero", "bracket"),
    [
        ([False, False, True, True], (2, 3)),
        ([False, True, False, True], (3, 4)),
        ([False] * 4, (4, 4)),
        ([True] * 4, (1, 1)),
    ],
)
def test_collapse_is_where_all_larger_decays_end_at_zero(script, at_zero, bracket):
    assert script("ziyin2022_collapse").critical({"decays": [1, 2, 3, 4]}, at_zero) == bracket


def test_resnet_says_what_is_missing(script, monkeypatch, tmp_path):
    module = script("ziyin2022_resnet")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torchvision .*; a CUDA device; the images, "):
        module.main(["compute", "--images", str(tmp_path)])


def test_sweep_of_the_resnet_goes_on_and_is_drawn(script, monkeypatch, tmp_path):
    """A linear layer in its place, on random images."""
    module, path = script("ziyin2022_resnet"), tmp_path / "ziyin2022" / "resnet_1.json"
    torch = module.torch
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(20, 3, 32, 32, generator=generator)
    data = dict.fromkeys(("train", "test"), (X, torch.arange(20) % 10))

    def net():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))

    module.sweep(net, data, 1, path, {})
    whole = read(path.parent, "resnet_1")["runs"]
    assert [run["weight_decay"] for run in whole] == list(module.DECAYS)
    path.write_text(json.dumps({"runs": whole[:4]}))
    module.sweep(net, data, 1, path, {})
    assert read(path.parent, "resnet_1")["runs"] == whole
    module.main(["plot", "--epochs", "1"])
    assert path.with_suffix(".png").stat().st_size > 5000


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


def test_descent_and_flow_of_elkabetz_are_drawn(script, monkeypatch, tmp_path):
    """All four networks, in a few steps on a few images, in single precision."""
    module = script("elkabetz2021_fig1")
    name = "4_float32"
    folder = tmp_path / "runs" / name
    monkeypatch.setattr(module, "HERE", tmp_path / "runs")
    folder.mkdir(parents=True)
    rng = np.random.RandomState(0)
    digits = {"X": rng.standard_normal((20, 784)), "y": np.arange(20) % 10, "source": "none"}
    np.savez(folder / "digits.npz", **digits)
    for action in ("compute", "plot"):
        monkeypatch.setattr("sys.argv", ["", action, "--steps", "4", "--dtype", "float32"])
        module.main()
    assert (tmp_path / f"runs_{name}.png").stat().st_size > 10_000
    result = read(tmp_path, f"runs_{name}")
    assert result["relu"]["environment"]["dtype"] == "float32"
    for name in module.NETS:
        curves = result[name]
        apart = [curves["distance"][r][-1] for r in ("2", "5", "10", "20")]
        assert np.all(np.diff(apart) > 0)
        assert apart[-1] < 0.1 * curves["distance_from_init"][-1]


@pytest.mark.parametrize("name", ["conv_strided", "conv_max_pool"])
def test_products_of_patches_are_the_convolutions_of_elkabetz(script, name):
    """Loss and gradient, to rounding; what runs on a CUDA device."""
    module = script("elkabetz2021_fig1")
    torch = module.torch
    X = torch.from_numpy(np.random.RandomState(0).standard_normal((20, 1, 28, 28)))
    y, found = torch.arange(20) % 10, []
    net = module.make_net(name, "float64")
    for layers in (net, module.by_patches(module.make_net(name, "float64"))):
        loss = torch.nn.functional.cross_entropy(layers(X), y)
        slopes = torch.autograd.grad(loss, list(layers.parameters()))
        found.append([loss.detach().numpy(), *(slope.numpy() for slope in slopes)])
    assert len(found[0]) == 1 + len(list(net.parameters()))
    for by_convolution, by_patches in zip(*found, strict=True):
        atol = 1e-13 * np.abs(by_convolution).max()
        np.testing.assert_allclose(by_patches, by_convolution, rtol=0, atol=atol)


def test_networks_of_elkabetz_without_runs_keep_their_curves(script, monkeypatch, tmp_path):
    module = script("elkabetz2021_fig1")
    monkeypatch.setattr(module, "HERE", tmp_path / "runs")
    line = [2.0, 1.0]
    curves = {"iteration": [0, 4], "loss": {"1": line, "2": line}, "environment": {"device": "x"}}
    curves |= {"distance_from_init": [0.0, 1.0], "distance": {"2": [0.0, 0.1]}}
    (tmp_path / "runs_4.json").write_text(json.dumps({"linear": curves}))
    monkeypatch.setattr("sys.argv", ["", "plot", "--steps", "4"])
    module.main()
    assert read(tmp_path, "runs_4") == {"linear": curves}
    assert (tmp_path / "runs_4.png").stat().st_size > 10_000


def test_a_stopped_run_of_elkabetz_goes_on(script, monkeypatch, tmp_path):
    module = script("elkabetz2021_fig1")
    X = module.torch.from_numpy(np.random.RandomState(0).standard_normal((20, 1, 28, 28)))
    y = module.torch.arange(20) % 10

    def run(name):
        path = tmp_path / f"{name}.npz"
        module.run_once(module.make_net("relu", "float64"), 2, 20, X, y, path)
        return np.load(path)

    whole, descent, calls = run("whole"), module.gradient_descent, []

    def stopped(*args, **kwargs):
        calls.append(args)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return descent(*args, **kwargs)

    monkeypatch.setattr(module, "gradient_descent", stopped)
    with pytest.raises(KeyboardInterrupt):
        run("stopped")
    assert not (tmp_path / "stopped.npz").exists()
    resumed = run("stopped")
    assert len(calls) == 8 + 14  # six of the twenty had been kept
    for key in ("iteration", "loss", "states"):
        np.testing.assert_array_equal(resumed[key], whole[key])
    assert len(list(tmp_path.iterdir())) == 2


def read(folder, name):
    """Return a result."""
    return json.loads((folder / f"{name}.json").read_text())
