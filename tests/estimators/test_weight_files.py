"""Weights leave for plain torch, and come back from whatever wrote them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from sklearn_deeplinear import (
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.estimators import load_weights, save_weights, to_module
from tests.test_crossing import MODELS, data_of, flat, model_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHIFT = 3.0  # so that means and intercepts count
CASES = {**MODELS, "of one output": DeepLinearRegressor(2), "no pathways": MultiPathwayRegressor(2)}


def fit_of(name):
    model = clone(CASES[name]) if name not in MODELS else model_of(name, "gd")
    model.set_params(width=40 if "compressed" in name else 4, max_iter=3, step_size=0.01)
    if name == "no pathways":
        model.set_params(n_pathways=1)
    X, y = data_of(name if name in MODELS else "linear")
    y = y[:, 0] if name == "of one output" else y
    y = y if y.dtype.kind == "U" else y + SHIFT
    return model.fit(X + SHIFT, y), X + SHIFT


def outputs_of(model, X):
    """What the estimator itself computes, (n, m)."""
    own = model._outputs if hasattr(model, "_outputs") else model.predict
    return own(X).reshape(len(X), -1)


def run(module, X):
    dtype = next(module.parameters()).dtype
    with torch.no_grad():
        return module(torch.from_numpy(X).to(dtype)).double().numpy()


def assert_same_outputs(module, model, X):
    single = next(module.parameters()).dtype == torch.float32
    wanted = outputs_of(model, X)
    tolerance = (1e-4 if single else 1e-12) * max(1.0, np.abs(wanted).max())
    assert_allclose(run(module, X), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_a_module_and_its_file_predict_as_the_estimator(name, tmp_path):
    model, X = fit_of(name)
    module, file = to_module(model), tmp_path / "weights"
    assert_same_outputs(module, model, X)
    save_weights(model, file)
    tensors = load_file(file)
    assert tensors.keys() == module.state_dict().keys()
    for p in module.parameters():
        torch.nn.init.zeros_(p)
    module.load_state_dict(tensors)
    assert_same_outputs(module, model, X)
    saved = load_weights(file)
    assert_array_equal(flat(saved.weights), flat(model.weights_))
    assert saved.metadata["estimator"] == type(model).__name__
    if hasattr(model, "classes_"):
        assert json.loads(saved.metadata["classes"]) == list(model.classes_)
    if getattr(model, "biases_", None) is not None:
        assert_array_equal(flat(saved.biases), flat(model.biases_))


@pytest.mark.parametrize("name", ["linear", "perceptron", "classifier", "linear classifier"])
def test_a_plain_sequential_loads_the_file(name, tmp_path):
    model, X = fit_of(name)
    save_weights(model, tmp_path / "weights")
    relu = [] if "linear" in name else [torch.nn.ReLU()]
    layers = [part for W in model.weights_ for part in (torch.nn.Linear(*W.shape[::-1]), *relu)]
    plain = torch.nn.Sequential(*(layers[:-1] if relu else layers)).double()
    plain.load_state_dict(load_file(tmp_path / "weights"))
    assert_same_outputs(plain, model, X)


@pytest.mark.parametrize("name", ["linear", "unequal pathways", "perceptron, no biases"])
def test_weights_from_a_file_are_a_start(name, tmp_path):
    model, X = fit_of(name)
    y = data_of(name)[1] + SHIFT
    save_weights(model, tmp_path / "weights")
    start = load_weights(tmp_path / "weights").weights
    again = clone(model).set_params(init=start, init_scale=None, max_iter=0).fit(X, y)
    assert_allclose(outputs_of(again, X), outputs_of(model, X), rtol=1e-12)


def test_files_of_other_networks(tmp_path):
    """Twelve layers: "10" comes after "9"."""
    net = torch.nn.Sequential(*(torch.nn.Linear(3 + k, 4 + k, bias=k % 2 > 0) for k in range(12)))
    save_file(net.state_dict(), tmp_path / "weights")
    saved = load_weights(tmp_path / "weights")
    assert saved.metadata == {} and saved.intercept is None
    for k, (W, b) in enumerate(zip(saved.weights, saved.biases, strict=True)):
        assert_array_equal(W, net[k].weight.detach())
        assert (b is None) if k % 2 == 0 else (b == net[k].bias.detach().numpy()).all()
    named = {"encoder.weight": torch.ones(2, 3).half(), "head.weight": torch.ones(1, 2).bfloat16()}
    save_file(named, tmp_path / "named")
    assert [W.dtype for W in load_weights(tmp_path / "named").weights] == [np.float64] * 2


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"0.weight": torch.ones(2, 3), "1.weight": torch.ones(2, 3)},
        {"0.weight": torch.ones(2, 3, 3, 3)},
        {"0.bias": torch.ones(2)},
        {"0.weight": torch.ones(2, 3), "1.running_mean": torch.ones(2)},
        {"0.weight": torch.ones(2, 3), "pathways.0.0.weight": torch.ones(2, 3)},
    ],
    ids=["nothing", "no chain", "convolution", "bias", "norm", "mixed"],
)
def test_other_files_are_refused(tensors, tmp_path):
    save_file(tensors, tmp_path / "weights")
    with pytest.raises(ValueError, match="path must name a file of"):
        load_weights(tmp_path / "weights")


def test_who_has_no_weights(tmp_path):
    X, Y = data_of("linear")
    for model in (Ridge(), DeepLinearRegressorCV()):
        with pytest.raises(TypeError, match="has no weights"):
            save_weights(model.fit(X, Y), tmp_path / "weights")
    with pytest.raises(NotFittedError):
        to_module(HomogeneousMLPRegressor())


def test_numbers_of_a_file_in_any_language(tmp_path):
    """The file by itself: names, shapes, and text."""
    model, _ = fit_of("relu pathways")
    save_weights(model, tmp_path / "weights")
    with safe_open(tmp_path / "weights", framework="np") as file:
        assert "pathways.1.2.weight" in file.keys() and "intercept" in file.keys()  # noqa: SIM118
        assert file.metadata() == {
            "format": "pt",
            "estimator": "MultiPathwayRegressor",
            "activation": "relu",
            "activate_output": "false",
        }


def test_the_package_needs_no_safetensors():
    code = "import sys; sys.modules['safetensors'] = None; import sklearn_deeplinear.estimators"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
