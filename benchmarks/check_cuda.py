"""Do fits on an accelerator agree with those on the CPU, from the same weights?

Every estimator with each of its solvers, what else the options ask for, searches, and runs and
curvature of torch modules, small and of few steps: in double precision on the device against
double precision on the CPU, and in single precision against the same, within what rounding
explains. Compared are curves, balance, sharpness, weights, predictions and scores. Then a
process that sees no accelerator loads what was fitted, and must predict the same.

    python benchmarks/check_cuda.py --jobs 8       # on CUDA, in eight processes
    python benchmarks/check_cuda.py --device cpu   # what single precision does, without one
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

# One thread on the CPU; read when numpy and torch load.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np  # noqa: E402
import scipy.sparse  # noqa: E402
import torch  # noqa: E402
from _environment import write_results  # noqa: E402
from sklearn import config_context  # noqa: E402
from sklearn.base import clone, is_classifier  # noqa: E402

# Behind what is installed, so that PYTHONPATH chooses the package to be checked.
sys.path.append(str(Path(__file__).parents[1]))

from sklearn_deeplinear import dynamics  # noqa: E402
from sklearn_deeplinear.model_selection import BatchedGridSearchCV  # noqa: E402
from tests.test_crossing import (  # noqa: E402
    CASES,
    KINKED,
    MODELS,
    X,
    Y,
    data_of,
    flat,
    histories,
    model_of,
)

# Largest difference, of the largest number of a curve or an array of the run on the CPU; that of
# a flow, which chooses its steps by what rounding changes, is its own tolerance.
AGREE, FLOW = {"float64": 1e-9, "float32": 1e-3}, 1e-6
RUN = {"max_iter": 20, "record_every": 10}
REGRESSORS = ("linear", "noisy", "pathways", "compressed pathways", "relu pathways", "perceptron")
CLASSIFIERS = ("linear classifier", "classifier")


def model_name(task):
    """That of the model of a task, which may hold a comma itself."""
    return max((name for name in MODELS if task.startswith(name)), key=len)


def told(model, X, y):
    """All that a fit reports, by name, as arrays."""
    run = model.trajectory_
    found = {name: getattr(run, name) for name in ("iteration", "time", "loss", "objective")}
    found["weights"] = flat(model.weights_)
    if model.solver != "analytic":  # where it is rounding
        found["gradient_norm"] = run.gradient_norm
    # Balance is a difference of squared weights, the size of which a last entry stands for.
    change = flat([history.change for history in histories(model)])
    found["balance"] = np.append(change, np.square(found["weights"]).max())
    for name in ("sharpness", "nuclear_norm", "effective_rank", "validation_loss"):
        if getattr(run, name, None) is not None:
            found[name] = flat(getattr(run, name))
    probable = is_classifier(model) and hasattr(model, "predict_proba")
    found["predictions"] = model.predict_proba(X) if probable else model.predict(X)
    found["score"] = np.atleast_1d(model.score(X, y))
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def fit(name, solver, options, device, dtype):
    """A model of the tests, and what it reports."""
    model = model_of(name, solver).set_params(**RUN, device=device, dtype=dtype)
    data = data_of(name)
    model.set_params(**options).fit(*data)
    return told(model, *data), model


def weighted(name, device, dtype):
    """Sample weights, and those of classes."""
    model = model_of(name, "gd").set_params(**RUN, device=device, dtype=dtype)
    X, y = data_of(name)
    if is_classifier(model):
        model.set_params(class_weight="balanced")
    return told(model.fit(X, y, sample_weight=np.arange(len(X))), X, y), model


def continued(name, solver, device, dtype):
    """Batches one after the other."""
    model = model_of(name, solver).set_params(**RUN, device=device, dtype=dtype)
    X, y = data_of(name)
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        extra = {"classes": np.unique(y)} if is_classifier(model) else {}
        model.partial_fit(X[rows], y[rows], **extra)
    return told(model, X, y), model


def warm(name, solver, device, dtype):
    """A second fit from where the first one ended."""
    model = model_of(name, solver).set_params(**RUN, device=device, dtype=dtype, warm_start=True)
    X, y = data_of(name)
    return told(model.fit(X, y).fit(X, y), X, y), model


def stopped(name, solver, device, dtype):
    """A run of twice the length, from its own checkpoint of the first half."""
    X, y = data_of(name)
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(name, solver).set_params(**RUN, device=device, dtype=dtype)
        model.set_params(checkpoint=Path(folder) / "run").fit(X, y)
        again = clone(model).fit(X, y)
    if not np.array_equal(flat(again.weights_), flat(model.weights_)):
        raise AssertionError("the checkpoint of a run that has ended gives other weights")
    return told(again, X, y), again


def sparse(name, device, dtype):
    """Inputs that are mostly zero."""
    model = model_of(name, "gd").set_params(**RUN, device=device, dtype=dtype)
    inputs = scipy.sparse.csr_array(np.where(np.abs(X) > 1, X, 0.0))
    y = data_of(name)[1]
    return told(model.fit(inputs, y), inputs, y), None


def tensors(name, solver, device, dtype):
    """Tensors on the device, which the predictions are as well."""
    model = model_of(name, solver).set_params(**RUN, device="auto", dtype=dtype)
    rows, y = data_of(name)
    codes = np.unique(y, return_inverse=True)[1] if is_classifier(model) else y
    there = [torch.asarray(part, device=device) for part in (rows, codes)]
    with config_context(array_api_dispatch=True):
        found = told_on_device(model.fit(*there), *there)
    return found, None


def told_on_device(model, X, y):
    """Predictions of tensors on the device, and curves."""
    predicted = model.predict(X)
    if predicted.device != X.device:
        raise AssertionError(f"predictions on {predicted.device} of inputs on {X.device}")
    run = model.trajectory_
    found = {"loss": run.loss, "objective": run.objective}
    if not is_classifier(model):  # of which scikit-learn averages what is right in float32
        found["score"] = np.atleast_1d(float(model.score(X, y)))
    return {**found, "predictions": predicted.cpu().numpy().astype(np.float64)}


def search(name, device, dtype):
    """Candidates on folds, all at once."""
    model = model_of(name, "gd").set_params(**RUN, device=device, dtype=dtype)
    model.set_params(record_sharpness=False, record_weights=False)
    grid = {"weight_decay": [0.01, 0.1], "step_size": [0.01, 0.02]}
    found = BatchedGridSearchCV(model, grid, cv=3).fit(*data_of(name))
    scores = {"scores": found.cv_results_["mean_test_score"]}
    return {**scores, **told(found.best_estimator_, *data_of(name))}, found.best_estimator_


def compared(name, device, dtype):
    """Steps of several sizes, and the flow."""
    model = model_of(name, "gd").set_params(device=device, dtype=dtype)
    options = {"step_size": 0.01, "max_iter": 6, "divisors": (2,), "record_every": 3}
    result = dynamics.compare_step_sizes(model, *data_of(name), **options)
    return comparison(result), None


def comparison(result):
    """Losses of a comparison; distances are near to rounding."""
    return {f"loss {r}": np.asarray(curve) for r, curve in result.loss.items()}


def module(kind, device, dtype):
    """Runs and curvature of a torch module, drawn on the CPU."""
    generator = torch.Generator().manual_seed(0)
    layers = [torch.nn.Linear(3, 6), activation(kind), torch.nn.Linear(6, 2)]
    net = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    net = net.to(getattr(torch, dtype)).to(device)
    inputs, targets = (torch.asarray(part).to(next(net.parameters())) for part in (X, Y))

    def loss(net):
        return torch.nn.functional.mse_loss(net(inputs), targets)

    options = {"weight_decay": 0.01, "record_weights": True}
    descent = dynamics.gradient_descent(net, loss, step_size=0.05, max_iter=20, **options)
    flow = dynamics.gradient_flow(net, loss, time=0.5, **options)
    moved = dynamics.compare_step_sizes(net, X, Y, step_size=0.02, max_iter=6, divisors=(2,))
    curvature = dynamics.hessian_eigenvalues(net, inputs, targets, k=3)
    found = {
        "eigenvalues": curvature,
        "state": flat([p.numpy(force=True) for p in net.parameters()]),
    }
    for name, run in (("descent", descent), ("flow", flow)):
        found |= {f"{name} loss": run.loss, f"{name} weights": flat(run.weights[-1])}
    return {**found, **comparison(moved)}, None


def activation(kind):
    """Of a module."""
    return {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[kind]()


def tasks():
    """What is compared, by name: functions of a device and a precision."""
    made = {f"{name}, {solver}": partial(fit, name, solver, {}) for name, solver in CASES}
    meters = {"record": ["nuclear_norm", "effective_rank"]}
    early = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3}
    krylov = {"compression": "krylov"}
    made["compressed pathways, krylov"] = partial(fit, "compressed pathways", "gd", krylov)
    made["linear, flow_time"] = partial(fit, "linear", "flow", {"flow_time": 0.2})
    for init in ("balanced", "orthogonal", "xavier_uniform", "spectral"):
        made[f"linear, init {init}"] = partial(fit, "linear", "gd", {"init": init})
    for name in (*REGRESSORS, *CLASSIFIERS):
        made[f"{name}, weights"] = partial(weighted, name)
        if name not in KINKED:  # others have no map from end to end
            made[f"{name}, meters"] = partial(fit, name, "gd", meters)
        made[f"{name}, early stopping"] = partial(fit, name, "gd", early)
        made[f"{name}, automatic step"] = partial(fit, name, "gd", {"step_size": "auto"})
        made[f"{name}, warm start"] = partial(warm, name, "gd")
        made[f"{name}, checkpoint"] = partial(stopped, name, "momentum")
        made[f"{name}, tensors"] = partial(tensors, name, "gd")
        made[f"{name}, steps compared"] = partial(compared, name)
        made[f"{name}, search"] = partial(search, name)
    for name in ("pathways", "relu pathways", "perceptron", "classifier"):
        made[f"{name}, adam, early stopping"] = partial(fit, name, "adam", early)
        made[f"{name}, adam, automatic step"] = partial(fit, name, "adam", {"step_size": "auto"})
        made[f"{name}, adam, partial_fit"] = partial(continued, name, "adam")
        made[f"{name}, adam, tensors"] = partial(tensors, name, "adam")
        made[f"{name}, adam, checkpoint"] = partial(stopped, name, "adam")
    made["linear, partial_fit"] = partial(continued, "linear", "gd")
    for name in ("linear", "linear classifier"):
        made[f"{name}, sparse"] = partial(sparse, name)
    return made | {f"module, {kind}": partial(module, kind) for kind in ("tanh", "relu")}


def differences(found, wanted, ends=False):
    """Largest difference of each quantity, of its largest number; `ends` of curves alone."""
    if found.keys() != wanted.keys():
        raise AssertionError(f"quantities differ: {found.keys() ^ wanted.keys()}")
    if ends:
        left = {"weights", "predictions", "score", "loss", "objective"}
        found, wanted = ({k: told[k] for k in left & told.keys()} for told in (found, wanted))
        for curve in {"loss", "objective"} & wanted.keys():
            found[curve], wanted[curve] = found[curve][-1:], wanted[curve][-1:]
    return {name: difference(found[name], wanted[name]) for name in wanted}


def ends_alone(name, dtype):
    """Whether rounding decides when a run ends, or which steps it makes."""
    flows = name.endswith(("flow", "flow_time"))
    return name.endswith("lbfgs") or (flows and dtype == "float32")


def allowed(name, dtype):
    """Largest difference of a task."""
    return max(AGREE[dtype], FLOW if name.endswith("flow") else 0.0)


def difference(found, wanted):
    """Of two arrays, relative to the largest number of the second; infinite if shapes differ."""
    if found.shape != wanted.shape:
        return np.inf
    apart, size = np.abs(found - wanted).max(initial=0.0), np.abs(wanted).max(initial=0.0)
    return float(apart / size if size > 0 else apart)


def check(device, name):
    """Differences of one task in both precisions, or what it raised, and models that it left."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    task, found, models = tasks()[name], {}, []
    for dtype in AGREE:
        try:
            wanted, _ = task("cpu", "float64")
            told, model = task(device, dtype)
            found[dtype] = differences(told, wanted, ends_alone(name, dtype))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            found[dtype] = {f"{type(error).__name__}: {error} ({where})": np.inf}
            continue
        if model is not None:
            models.append((name, pickle.dumps(model), told["predictions"]))
    return name, found, models


def load_without_device(models):
    """Load models where there is no accelerator; the names of those that predict otherwise."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        file.write(pickle.dumps(models))
        file.flush()
        here = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, "--load", file.name]
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else [done.stderr]


def load(path):
    """What :func:`load_without_device` runs."""
    for name, pickled, predictions in pickle.loads(Path(path).read_bytes()):
        model, (rows, _) = pickle.loads(pickled), data_of(model_name(name))
        probable = is_classifier(model) and hasattr(model, "predict_proba")
        found = model.predict_proba(rows) if probable else model.predict(rows)
        if difference(np.asarray(found, dtype=np.float64), predictions) > 0:
            print(name)


def main():
    """Compare, print what differs and the worst of each solver; exit with 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every tenth of what is compared")
    parser.add_argument("--device", help="default: CUDA, if there is one")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="part of the names of what is compared")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load)
        return
    device = arguments.device or ("cuda" if torch.cuda.is_available() else None)
    if device is None:
        print("no CUDA device: nothing to compare")
        return
    start, names = time.perf_counter(), [name for name in tasks() if arguments.only in name]
    names = names[:: 10 if arguments.quick else 1]
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        checked = list(pool.map(partial(check, device), names))
    rows, wrong, models = [], 0, []
    for name, found, left in checked:
        models += left
        for dtype, apart in found.items():
            worst = max(apart, key=apart.get)
            rows.append({"case": name, "dtype": dtype, "worst": worst, "difference": apart[worst]})
            if not apart[worst] <= allowed(name, dtype):
                wrong += 1
                print(f"{name}, {dtype}: {worst} differs by {apart[worst]:.1e}")
    others = load_without_device(models)
    print(*(f"loaded on the CPU: {line}" for line in others), sep="\n")
    for dtype in AGREE:
        apart = sorted((row["difference"], row["case"]) for row in rows if row["dtype"] == dtype)
        middle, (most, where) = apart[len(apart) // 2][0], apart[-1]
        print(f"{dtype}: {len(apart)} cases, median {middle:.0e}, largest {most:.0e} of {where}")
    print(f"{len(models)} models loaded on the CPU, {time.perf_counter() - start:.0f} s")
    if device.startswith("cuda") and not arguments.only:
        card = torch.cuda.get_device_name(device)
        found = {"device": card, "models_loaded": len(models), "cases": rows}
        write_results("check_cuda", found, quick=arguments.quick)
    sys.exit(wrong + len(others) > 0)


if __name__ == "__main__":
    main()
