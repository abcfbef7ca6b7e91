"""Torch tensors and other arrays in, results of their library and on their device out."""

import inspect
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.utils import _array_api, estimator_checks

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    DeepLinearRegressorCV,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics import compare_step_sizes, hessian_eigenvalues
from sklearn_deeplinear.estimators import _tensor_moments, to_module
from sklearn_deeplinear.estimators._options import check_device
from sklearn_deeplinear.theory import SecondMoments

pytest.importorskip("scipy", minversion="1.14", reason="older ones do not dispatch")
strict = pytest.importorskip("array_api_strict")

# The checks fit small data for few steps: not converging is no fault there.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# In double precision on every device, where they are to agree.
OPTIONS = {"dtype": "float64", "random_state": 0, "max_iter": 30}
PATHWAYS = partial(MultiPathwayRegressor, width=5, **OPTIONS)
PERCEPTRON = partial(HomogeneousMLPRegressor, width=8, **OPTIONS)
# Wide enough to learn all labels of the checks: scikit-learn takes the share of right labels of
# tensors in single precision, which holds 1.
CLASSIFIER = partial(HomogeneousMLPClassifier, width=60, **OPTIONS | {"max_iter": 300})
ESTIMATORS = {
    "linear": DeepLinearRegressor(weight_decay=0.1, **OPTIONS),
    "noisy": DeepLinearRegressor(width=5, noise=0.1, **OPTIONS),
    "analytic": DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic", **OPTIONS),
    "linear-adam": DeepLinearRegressor(solver="adam", width=5, init="normal", **OPTIONS),
    "pathways": PATHWAYS(),
    "active": PATHWAYS(activation="relu"),
    "active-sgd": PATHWAYS(activation="tanh", solver="sgd", step_size=1e-3),
    "perceptron": PERCEPTRON(),
    "perceptron-sgd": PERCEPTRON(solver="sgd", step_size=1e-3, early_stopping=True),
    "classifier": CLASSIFIER(),
    "squared-classifier": CLASSIFIER(loss="squared_error"),
    "linear-classifier": DeepLinearClassifier(weight_decay=0.01, **OPTIONS),
    "cv": DeepLinearRegressorCV(depths=[1, 2], cv=3),
    "loo": DeepLinearRegressorCV(depths=[2]),
}
METHODS = ("predict", "decision_function", "predict_proba", "predict_log_proba")
dispatched = partial(config_context, array_api_dispatch=True)


@pytest.fixture(autouse=True)
def _enabled(monkeypatch):
    """What scikit-learn asks for; it is read where something is dispatched."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def checks():
    """scikit-learn's checks for the libraries and devices that are here, by a name."""
    check_values = estimator_checks.check_array_api_input_and_values
    parameters = inspect.signature(check_values).parameters
    device_name = "device_name" if "device_name" in parameters else "device"  # before 1.9
    options = {"check_sample_weight": True} if "check_sample_weight" in parameters else {}
    present = {"torch": ("cpu", "cuda"), "numpy": (None,), "array_api_strict": ()}
    found = {}
    for xp, device, dtype in _array_api.yield_namespace_device_dtype_combinations():
        here = xp in present and (xp != "torch" or device in present[xp])
        if not here or (device == "cuda" and not torch.cuda.is_available()):
            continue
        found[f"values-{xp}-{device}-{dtype}"] = partial(
            check_values,
            array_namespace=xp,
            dtype_name=dtype or "float64",
            **{device_name: device},
            **options,
        )
    if hasattr(estimator_checks, "check_array_api_same_namespace"):  # from 1.9 on
        X, other = (
            _array_api.NamespaceAndDevice("torch", "cpu"),
            _array_api.NamespaceAndDevice("array_api_strict", "device1"),
        )
        found["mixed"] = partial(
            estimator_checks.check_array_api_mixed_inputs,
            X_ns_and_device=X,
            other_ns_and_device=other,
        )
        found["elsewhere"] = partial(
            estimator_checks.check_array_api_same_namespace, array_namespace="array_api_strict"
        )
    return found


@pytest.mark.parametrize("check", list(checks().values()), ids=list(checks()))
@pytest.mark.parametrize("name", ["linear", "active", "classifier", "linear-classifier", "cv"])
def test_scikit_learn_checks(name, check):
    check(type(ESTIMATORS[name]).__name__, ESTIMATORS[name])


def drawn(estimator, n_outputs=2):
    """Weighted data, of three classes or of some outputs."""
    rng = np.random.RandomState(0)
    X, weight = rng.standard_normal((40, 5)), rng.randint(0, 3, size=40).astype(float)
    if is_classifier(estimator):
        return X, X[:, :3].argmax(axis=1), weight
    Y = X @ rng.standard_normal((5, n_outputs)) + 0.5 * rng.standard_normal((40, n_outputs)) + 2
    return X, Y if n_outputs > 1 else Y[:, 0], weight


def on_torch(device):
    return partial(torch.asarray, device=device)


PLACES = {
    "torch": lambda device: on_torch(device),
    "strict": lambda device: partial(strict.asarray, device=strict.Device("CPU_DEVICE")),
}


@pytest.fixture(params=PLACES)
def place(request, device):
    """A function that moves arrays elsewhere."""
    if device == "mps" or (request.param == "strict" and device != "cpu"):
        pytest.skip("has no double precision, or has been tested")
    return PLACES[request.param](device)


def numbers(array):
    return array.numpy(force=True) if torch.is_tensor(array) else np.asarray(array)


def compare(found, wanted, type_of):
    """Arrays in lists of any depth are equal up to rounding, and of the type that is wanted."""
    if isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, type_of)
        return
    assert type(found) is type_of
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    assert_allclose(numbers(found), wanted, rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_results_are_those_of_numpy(name, n_outputs, place):
    """Weights, maps and predictions, to rounding; scores, gaps and records are numbers."""
    estimator = ESTIMATORS[name]
    if n_outputs == 2 and (name == "loo" or is_classifier(estimator)):
        pytest.skip("takes a refit for each sample, or has classes")
    X, y, weight = drawn(estimator, n_outputs)
    plain = clone(estimator).fit(X, y, weight)
    with dispatched():
        there = clone(estimator).fit(place(X), place(y), place(weight))
        type_of = type(place(X))
        for name, value in vars(plain).items():
            if isinstance(value, np.ndarray) or name in ("weights_", "biases_", "pathway_coefs_"):
                compare(getattr(there, name), value, type_of)
        for name in METHODS:
            if hasattr(plain, name):
                compare(getattr(there, name)(place(X)), getattr(plain, name)(X), type_of)
        score = there.score(place(X), place(y), place(weight))
    assert_allclose(score, plain.score(X, y, weight), rtol=1e-6)
    if hasattr(plain, "trajectory_"):
        assert_allclose(there.trajectory_.loss, plain.trajectory_.loss, rtol=1e-10)
    if hasattr(plain, "optimality_gap_"):
        assert_allclose(there.global_minimum_.objective, plain.global_minimum_.objective)


@pytest.mark.parametrize("name", ["linear", "active", "perceptron", "classifier"])
def test_validation_data_and_curvature(name, place):
    model = clone(ESTIMATORS[name]).set_params(width=5, max_iter=20)
    X, y, weight = drawn(model)
    plain = clone(model).fit(X, y, X_val=X[:9], y_val=y[:9], sample_weight_val=1 + weight[:9])
    moved = {"X_val": place(X[:9]), "y_val": place(y[:9]), "sample_weight_val": 1 + weight[:9]}
    with dispatched():
        there = clone(model).fit(place(X), place(y), **moved)
        found = hessian_eigenvalues(there, place(X), place(y))
        compared = compare_step_sizes(there, place(X), place(y), step_size=1e-3, divisors=(2,))
    losses = plain.trajectory_.validation_loss
    assert_allclose(there.trajectory_.validation_loss, losses, rtol=1e-10)
    assert_allclose(found, hessian_eigenvalues(plain, X, y), rtol=1e-8)
    wanted = compare_step_sizes(plain, X, y, step_size=1e-3, divisors=(2,))
    assert_allclose(compared.distance["flow"], wanted.distance["flow"], atol=1e-8)


def test_deviations_and_intervals(place):
    X, y, _ = drawn(ESTIMATORS["noisy"])
    noisy, cv = clone(ESTIMATORS["noisy"]), clone(ESTIMATORS["cv"])
    wanted = (
        list(noisy.fit(X, y).predict(X, return_std=True)),
        list(cv.fit(X, y).predict_interval(X)),
    )
    with dispatched():
        found = (
            list(noisy.fit(place(X), place(y)).predict(place(X), return_std=True)),
            list(cv.fit(place(X), place(y)).predict_interval(place(X))),
        )
    compare(list(found), list(wanted), type(place(X)))


class HostCopies(torch.overrides.TorchFunctionMode):
    """Remember the largest tensor that is read by NumPy or moved to the CPU."""

    largest = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function.__name__ in ("numpy", "cpu", "tolist", "__array__"):
            self.largest = max(self.largest, args[0].numel())
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("solver", ["gd", "lbfgs", "adam"])
@pytest.mark.parametrize("name", ["linear", "active", "perceptron", "classifier"])
def test_samples_stay_on_their_device(name, solver, device, monkeypatch):
    """As on an accelerator, also where this is the CPU, whose tensors NumPy may read in place."""
    monkeypatch.setattr(_tensor_moments, "_READ_BY_NUMPY", {"mps"})
    options = {"solver": solver, "width": 3, "step_size": 1e-3, "dtype": "float32", "max_iter": 20}
    model = clone(ESTIMATORS[name]).set_params(init="balanced", **options)
    X, y, _ = drawn(model)
    X, y = np.tile(X, (10, 1)), np.tile(y, (10,) + (1,) * (y.ndim - 1))
    here = on_torch(device)
    with dispatched(), HostCopies() as copies:
        model.fit(here(X), here(y))
    assert 0 < copies.largest <= 400  # a number for each of the 400 samples, as labels are
    wanted = clone(model).set_params(device="cpu").fit(X, y).trajectory_.loss
    # Steps of L-BFGS magnify rounding, by which 20 of them lead to 7e-6 of the first loss on CUDA.
    atol = 3e-5 * wanted[0] if solver == "lbfgs" else 0
    assert_allclose(model.trajectory_.loss, wanted, rtol=1e-4, atol=atol)


def moments_cases():
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((300, 4)), rng.standard_normal((300, 2))
    weight = rng.randint(0, 3, size=300) * rng.uniform(size=300)
    yield "plain", X, y, None
    yield "weighted", X, y, weight
    yield "one target", X, y[:, 0], weight
    yield "first block without weight", X, y, np.where(np.arange(300) < 260, 0.0, 1.0)
    yield "far from zero", X + 1e7, y - 1e9, weight
    yield "a constant column", np.hstack([X, np.full((300, 1), 0.1)]), y, weight
    yield "wide", rng.standard_normal((5, 30)), y[:5], None
    yield "a single row", X[:1], y[:1], None
    yield "units", 1e-120 * X, 1e120 * y, 1e300 * weight
    yield "rank one", np.outer(X[:, 0], np.ones(4)), y, weight
    yield "single precision", X.astype(np.float32), y, weight
    yield "integers", rng.randint(-9, 9, size=(300, 4)), y, weight


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("case", list(moments_cases()), ids=lambda case: case[0])
def test_moments_on_the_device(case, center, device):
    """Those of NumPy, to rounding in the standard deviations; the blocks are of 240 rows or so."""
    _, X, y, weight = case
    wanted = SecondMoments.from_data(X, y, weight, center=center)
    here = on_torch(device)
    found = _tensor_moments.on_device(here(X), here(y), weight, center, block_bytes=1)
    size = np.sqrt(np.sum(wanted.factor**2, axis=0))
    error = found.factor.T @ found.factor - wanted.factor.T @ wanted.factor
    assert (np.abs(error) <= 1e-13 * np.outer(size, size)).all()
    means, wanted_means = (np.append(one.mean_x, one.mean_y) for one in (found, wanted))
    assert (np.abs(means - wanted_means) <= 1e-14 * size + 1e-15 * np.abs(wanted_means)).all()
    assert_allclose(found.sum_weight, wanted.sum_weight, rtol=1e-14)
    for name in ("n_samples", "centered", "single_target", "n_inputs"):
        assert getattr(found, name) == getattr(wanted, name)
    assert_array_equal(found._whereabouts.constant, wanted._whereabouts.constant)
    assert len(found.spectrum.sigma) == len(wanted.spectrum.sigma)


def test_moments_on_the_device_refuse_what_those_of_numpy_refuse(device):
    X = torch.ones(3, 2, dtype=torch.float64, device=device)
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        _tensor_moments.on_device(X, X, np.array([1.0, -1.0, 1.0]), True)
    with pytest.raises(ValueError, match="overflow"):
        _tensor_moments.on_device(1e200 * X.cumsum(dim=0), X, None, True)


def test_the_device_of_tensors_is_that_of_training():
    there = torch.device("meta")
    assert check_device("auto", there) == there
    assert check_device("cpu", there).type == "cpu"
    assert check_device("auto", None).type in ("cpu", "cuda")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["linear", "perceptron", "linear-classifier", "cv"])
def test_low_precision_is_refused(name, dtype):
    model = clone(ESTIMATORS[name])
    X, y, weight = map(torch.asarray, drawn(model))
    with dispatched():
        with pytest.raises(ValueError, match="X must be of float32, float64 or integers, got"):
            model.fit(X.to(dtype), y)
        with pytest.raises(ValueError, match="y must be of float32"):
            model.fit(X, y.to(dtype))
        with pytest.raises(ValueError, match="sample_weight must be of float32"):
            model.fit(X, y, weight.to(dtype))
        model.fit(X, y)
        with pytest.raises(ValueError, match="X must be of float32"):
            model.predict(X.to(dtype))


def test_no_autocast_behind_the_back_of_dtype():
    model = clone(ESTIMATORS["perceptron"])
    X, y, _ = drawn(model)
    wanted = model.fit(X, y).loss_
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.fit(X, y).loss_ == wanted  # which leaves double precision alone
        with pytest.raises(ValueError, match=r"torch\.autocast must be off"):
            model.set_params(dtype="float32").fit(X, y)


def test_precisions_of_inputs_may_differ():
    """As with NumPy, predictions have the higher one of the weights and the inputs."""
    model = clone(ESTIMATORS["linear"])
    X, y, _ = map(torch.asarray, drawn(model))
    with dispatched():
        model.fit(X.float(), y)
        assert model.predict(X.float()).dtype == model.predict(X).dtype == torch.float64
        model.set_params(dtype="float32").fit(X, y.int())
        assert model.coef_.dtype == torch.float32
        assert model.predict(X.int()).dtype == torch.float64


def test_labels_may_be_text():
    """Which no other library has: predictions are NumPy's then."""
    model = clone(ESTIMATORS["classifier"])
    X, y, _ = drawn(model)
    y = np.array(["ape", "bee", "cat"])[y]
    wanted = clone(model).fit(X, y)
    with dispatched():
        model.fit(torch.asarray(X), y)
        assert_array_equal(model.predict(torch.asarray(X)), wanted.predict(X))
        assert torch.is_tensor(model.predict_proba(torch.asarray(X)))


def test_without_dispatch_tensors_are_read_by_numpy():
    model = clone(ESTIMATORS["perceptron"])
    X, y, weight = drawn(model)
    wanted = clone(model).fit(X, y, weight)
    found = clone(model).fit(*map(torch.asarray, (X, y, weight)))
    compare(found.weights_, wanted.weights_, np.ndarray)
    compare(found.predict(torch.asarray(X)), wanted.predict(X), np.ndarray)


def test_predictions_elsewhere_are_refused():
    model = clone(ESTIMATORS["linear"])
    X, y, _ = drawn(model)
    with dispatched():
        with pytest.raises(ValueError, match="same device as those passed to fit.*: NumPy, got"):
            clone(model).fit(X, y).predict(torch.asarray(X))
        model.fit(torch.asarray(X), torch.asarray(y))
        with pytest.raises(ValueError, match='torch on device "cpu", got NumPy'):
            model.predict(X)
    with pytest.raises(ValueError, match="of type Tensor: enable array_api_dispatch"):
        model.predict(X)


@pytest.mark.parametrize("name", ["linear", "active", "perceptron", "linear-classifier"])
def test_life_after_the_fit(name):
    """Copies and warm starts, in and outside of dispatch."""
    model = clone(ESTIMATORS[name]).set_params(warm_start=True)
    X, y, _ = drawn(model)
    there = torch.asarray(X), torch.asarray(y)
    with dispatched():
        model.fit(*there)
        wanted = model.predict(there[0])
        assert torch.equal(pickle.loads(pickle.dumps(model)).predict(there[0]), wanted)
    twice = clone(model).fit(X, y).fit(X, y)
    compare(model.fit(X, y).weights_, twice.weights_, np.ndarray)
    if hasattr(model, "global_minimum_") and hasattr(model, "optimality_certificate_"):
        assert model.optimality_certificate_ <= model.objective_


@pytest.mark.skipif(not hasattr(_array_api, "move_estimator_to"), reason="is of 1.9")
@pytest.mark.parametrize("name", ["linear", "active", "perceptron", "classifier", "cv"])
def test_fits_move_as_those_of_scikit_learn(name):
    model = clone(ESTIMATORS[name])
    X, y, _ = drawn(model)
    with dispatched():
        model.fit(torch.asarray(X), torch.asarray(y))
        moved = _array_api.move_estimator_to(model, np, "cpu")
        compare(moved.predict(X), numbers(model.predict(torch.asarray(X))), np.ndarray)


@pytest.mark.parametrize(
    "name", ["linear", "linear-adam", "active-sgd", "perceptron-sgd", "classifier-sgd"]
)
def test_batches_of_tensors(name, place):
    """Batch by batch, the second one after a batch without weight."""
    model = clone(ESTIMATORS[name.replace("classifier-sgd", "classifier")])
    model.set_params(early_stopping=False, solver=name.partition("-")[2] or model.solver)
    X, y, weight = drawn(model)
    classes = {"classes": np.unique(y)} if is_classifier(model) else {}
    plain, there = clone(model), clone(model)
    halves = [slice(0, 20), slice(20, 40)]
    for rows in halves:
        plain.partial_fit(X[rows], y[rows], sample_weight=1 + weight[rows], **classes)
    with dispatched():
        for rows in halves:
            batch = place(X[rows]), place(y[rows])
            moved = {key: place(value) for key, value in classes.items()}
            there.partial_fit(*batch, sample_weight=place(1 + weight[rows]), **moved)
            there.partial_fit(*batch, sample_weight=place(0 * weight[rows]), **moved)
        compare(there.weights_, plain.weights_, type(place(X)))
        compare(there.predict(place(X)), plain.predict(X), type(place(X)))


@pytest.mark.parametrize(
    "name", ["linear", "pathways", "active", "perceptron", "linear-classifier"]
)
def test_modules_of_fits_to_tensors(name):
    model = clone(ESTIMATORS[name])
    X, y, _ = drawn(model)
    with dispatched():
        module = to_module(model.fit(torch.asarray(X), torch.asarray(y)))
    wanted = to_module(clone(model).fit(X, y))
    with torch.no_grad():
        assert_allclose(module(torch.asarray(X)), wanted(torch.asarray(X)), rtol=1e-10, atol=1e-10)


def test_gradients_flow_through_predictions_and_not_through_fits():
    model = clone(ESTIMATORS["linear"])
    X, y, _ = map(torch.asarray, drawn(model, 1))
    with dispatched():
        model.fit(X, y)
        x = X[:1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model.predict(x).sum(), x)
        assert torch.equal(slope[0], model.coef_)
        assert not clone(model).fit(X.requires_grad_(), y).coef_.requires_grad
