"""Runs that were stopped go on from their file, and end as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor
from sklearn_deeplinear.dynamics.runs import _checkpoint
from sklearn_deeplinear.dynamics.runs._checkpoint import Checkpoint
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from tests.test_crossing import CLASSES, MODELS, TWO_CLASSES, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RUN = {
    "width": 4,
    "init": "normal",
    "init_scale": 0.4,
    "weight_decay": 0.05,
    "step_size": 0.005,
    "tol": 0.0,
    "batch_size": 5,
    "record_weights": True,
    "random_state": 0,
}
# Enough for some chunks of records: they are measured together.
LENGTHS = {
    "gd": {"max_iter": 500, "record_every": 60},
    "momentum": {"max_iter": 500, "record_every": 60},
    "flow": {"max_iter": 450, "record_every": 1, "step_size": 0.001},
    "sgd": {"max_iter": 9, "record_every": 2},
    "adam": {"max_iter": 9, "record_every": 2},
}
NAMES = [
    "linear",
    "linear, float32",
    "noisy",
    "unequal pathways",
    "compressed pathways",
    "relu pathways",
    "perceptron",
    "linear classifier",
    "linear classifier of two classes",
    "classifier",
]
CASES = [
    (name, solver)
    for name in NAMES
    for solver in LENGTHS
    if not (name == "noisy" and solver in ("sgd", "adam"))
]


def model_of(name, solver, **others):
    given = {"width": 40} if "compressed" in name else {}
    if name in ("linear", "compressed pathways") and solver == "gd":  # fast steps, long chunks
        given |= {"max_iter": 5000, "record_every": 600}
    options = RUN | LENGTHS[solver] | given | others
    return clone(MODELS[name]).set_params(solver=solver, **options)


def data_of(name):
    if "classifier" not in name:
        return X, Y
    return X, TWO_CLASSES if "two classes" in name else CLASSES


def assert_same(first, second):
    """Equal bit for bit, in all that results hold."""
    if is_dataclass(first):
        for part in fields(first):
            assert_same(getattr(first, part.name), getattr(second, part.name))
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        assert_same(list(first.values()), list(second.values()))
    elif isinstance(first, (list, tuple)):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def assert_same_fit(first, second):
    kept = ("weights_", "trajectory_", "balance_history_", "loss_", "objective_", "n_iter_")
    for name in (*kept, "stop_reason_", "best_validation_loss_", "step_size_"):
        assert_same(getattr(first, name), getattr(second, name))
    assert_same(getattr(first, "biases_", None), getattr(second, "biases_", None))
    if hasattr(first, "net_"):
        losses = [[row["train_loss"] for row in fit.net_.history] for fit in (first, second)]
        assert losses[0] == losses[1]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture
def stop_after(monkeypatch):
    """A function that makes the user interrupt runs after so many places to go on from."""
    keep = Checkpoint.keep

    def stop(n_places):
        left = [n_places]

        def interrupted(self, *args):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            keep(self, *args)

        monkeypatch.setattr(Checkpoint, "keep", interrupted)

    yield stop
    monkeypatch.undo()


# Every second: all models, and all solvers with half of them.
@pytest.mark.parametrize("case", CASES[::2], ids=", ".join)
def test_an_interrupted_run_goes_on_bit_for_bit(case, path, stop_after, monkeypatch):
    name, solver = case
    data, whole = data_of(name), model_of(name, solver)
    whole.fit(*data)
    stop_after(1)
    stopped = model_of(name, solver, checkpoint=path).fit(*data)
    assert 1 < len(stopped.trajectory_) < len(whole.trajectory_)
    monkeypatch.undo()
    resumed = model_of(name, solver, checkpoint=path).fit(*data)
    assert_same_fit(resumed, whole)
    assert list(path.parent.iterdir()) == [path]
    # The file now holds the whole run.
    again = model_of(name, solver, checkpoint=path)
    stop_after(0)
    assert_same_fit(again.fit(*data), whole)


@pytest.mark.parametrize("solver", ["gd", "momentum", "adam"])
def test_an_interrupt_amid_a_chunk_costs_the_chunk(solver, path):
    at = 333 if solver != "adam" else 5
    calm = [False]

    def eta(t):
        if t == at and not calm[0]:
            raise KeyboardInterrupt
        return 0.005 / (1 + t / 100)

    options = {"step_size": eta, "checkpoint": path}
    with pytest.warns(UserWarning, match="interrupted"):
        model_of("linear", solver, **options).fit(X, Y)
    calm[0] = True
    resumed = model_of("linear", solver, **options).fit(X, Y)
    assert_same(resumed.weights_, model_of("linear", solver, step_size=eta).fit(X, Y).weights_)


@pytest.mark.parametrize("solver", ["gd", "momentum", "flow", "adam"])
@pytest.mark.parametrize("n_iter_no_change", [3, 10_000])
def test_validation_goes_on_too(solver, n_iter_no_change, path, stop_after, monkeypatch):
    options = {"early_stopping": True, "n_iter_no_change": n_iter_no_change, "step_size": 0.02}
    options["init_scale"] = 0.1
    whole = model_of("linear", solver, **options).fit(X, Y)
    stop_after(1)
    model_of("linear", solver, **options, checkpoint=path).fit(X, Y)
    monkeypatch.undo()
    assert_same_fit(model_of("linear", solver, **options, checkpoint=path).fit(X, Y), whole)


KILLED = """
import sys, time
from sklearn_deeplinear.dynamics.runs import _checkpoint
from tests.test_checkpoint import slow_model, X, Y
_checkpoint.SECONDS, _checkpoint.SPACING = 0.0, 0
slow_model(sys.argv[1], 0.002, sys.argv[2]).fit(X, Y)
"""


class Slow:
    """A step size that takes its time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, t):
        time.sleep(self.seconds)
        return 0.005 / (1 + t / 1000)


def slow_model(solver, seconds, checkpoint=None):
    lengths = {"momentum": (1500, 20), "adam": (200, 5)}
    max_iter, record_every = lengths[solver]
    options = {"max_iter": max_iter, "record_every": record_every, "checkpoint": checkpoint}
    options |= {"solver": solver, "step_size": Slow(seconds)}
    return HomogeneousMLPRegressor(**RUN | options)


@pytest.mark.parametrize("solver", ["momentum", "adam"])
def test_a_killed_process_loses_nothing(solver, path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, solver, str(path)]
    child = subprocess.Popen(command, cwd=os.getcwd())
    try:
        deadline, seen = time.monotonic() + 100, set()
        while len(seen) < 3:  # files that replaced each other
            assert child.poll() is None and time.monotonic() < deadline
            if path.exists():
                seen.add(path.stat().st_mtime_ns)
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL  # and not an end of its own
    resumed = slow_model(solver, 0.0, path)
    calls = []
    resumed.set_params(step_size=lambda t: calls.append(t) or Slow(0.0)(t))
    assert_same(resumed.fit(X, Y).trajectory_, slow_model(solver, 0.0).fit(X, Y).trajectory_)
    assert len(set(calls)) < resumed.max_iter  # the first steps were not made again


def test_files_are_written_now_and_then_only(path, monkeypatch):
    writes = []
    close = Checkpoint.close
    monkeypatch.setattr(Checkpoint, "close", lambda self: writes.append(1) or close(self))
    model_of("linear", "gd", checkpoint=path).fit(X, Y)
    assert len(writes) == 1 and path.exists()  # at the end


OTHER = {
    "max_iter": {"max_iter": 400},
    "weight_decay": {"weight_decay": 0.06},
    "step_size": {"step_size": 0.004},
    "momentum": {"momentum": 0.8},
    "record_every": {"record_every": 30},
    "dtype": {"dtype": "float32"},
    "solver": {"solver": "gd"},
    "width": {"width": 5},
    "random_state": {"random_state": 1},
    "init_scale": {"init_scale": 0.3},
    "noise": {"noise": 0.1},
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused(name, path):
    model_of("linear", "momentum", checkpoint=path).fit(X, Y)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint must name a file of this run.*{name}"):
        model_of("linear", "momentum", checkpoint=path).set_params(**OTHER[name]).fit(X, Y)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["linear", "perceptron", "relu pathways", "linear classifier"])
@pytest.mark.parametrize("solver", ["gd", "adam"])
def test_other_data_are_refused(name, solver, path):
    X, y = data_of(name)
    model = model_of(name, solver, checkpoint=path).fit(X, y)
    changed = X.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], np.inf)
    for data in [(changed, y), (X[:-1], y[:-1]), (X, y, np.arange(1.0, 15.0))]:
        with pytest.raises(ValueError, match="checkpoint must name a file of this run"):
            clone(model).fit(*data)
    if solver == "adam":  # whose batches depend on the order of the samples
        with pytest.raises(ValueError, match="checkpoint must name a file of this run"):
            clone(model).fit(X[::-1], y[::-1])


def test_random_weights_are_another_run(path):
    model = model_of("linear", "gd", checkpoint=path, random_state=None).fit(X, Y)
    with pytest.raises(ValueError, match="initial weights .give random_state a number"):
        model.fit(X, Y)
    # From the weights that were fitted: another run as well.
    path.unlink()
    model.set_params(random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="former"):
        model.set_params(warm_start=True).fit(X, Y)


@pytest.mark.parametrize("content", [b"", b"some text", "array", "archive", "half"])
def test_what_is_no_checkpoint_is_refused_and_left_alone(content, path):
    if content == "array":
        with path.open("wb") as file:
            np.save(file, X)
    elif content == "archive":
        np.savez(path, X=X)
    elif content == "half":
        model_of("linear", "gd", checkpoint=path).fit(X, Y)
        path.write_bytes(path.read_bytes()[:-2000])
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint must name a file of an earlier run"):
        model_of("linear", "gd", checkpoint=path).fit(X, Y)
    assert path.read_bytes() == before


def test_the_folder_must_exist(path):
    with pytest.raises(ValueError, match="checkpoint must name a file in a folder that exists"):
        model_of("linear", "gd", checkpoint=path.parent / "none" / "run").fit(X, Y)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_full_disk_stops_no_training(failing, path, stop_after, monkeypatch):
    stop_after(1)
    model_of("linear", "gd", checkpoint=path).fit(X, Y)
    monkeypatch.undo()
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    monkeypatch.setattr(_checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(_checkpoint, "SPACING", 0)
    with pytest.warns(UserWarning, match="checkpoint could not be written.*No space"):
        model = model_of("linear", "gd", checkpoint=path).fit(X, Y)
    assert_same_fit(model, model_of("linear", "gd").fit(X, Y))
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "options", "cause"),
    [
        ("linear", {"solver": "lbfgs"}, 'solver="lbfgs"'),
        ("linear", {"solver": "analytic"}, 'solver="analytic"'),
        ("pathways", {"solver": "gd", "compression": "krylov"}, 'compression="krylov"'),
        ("perceptron", {"solver": "sgd", "callbacks": [("x", None)]}, "callbacks"),
    ],
    ids=["lbfgs", "analytic", "krylov", "callbacks"],
)
def test_runs_that_cannot_go_on_say_so(name, options, cause, path):
    model = clone(MODELS[name]).set_params(**RUN | options, checkpoint=path)
    with pytest.raises(ValueError, match=f"checkpoint must be None with {cause}"):
        model.fit(X, Y)


def test_moments_and_runs_of_no_steps(path):
    model = model_of("linear", "gd", max_iter=0, checkpoint=str(path)).fit(X, Y)
    assert model.n_iter_ == 0 and not path.exists()
    fits = [model_of("linear", "gd", checkpoint=str(path)).fit(X, Y) for _ in range(2)]
    moments = fits[0].moments_
    path.unlink()
    fits += [clone(fits[0]).fit_moments(moments) for _ in range(2)]
    for fit in fits[1:]:
        assert_same_fit(fit, fits[0])


def test_searches_with_a_checkpoint_are_not_stacked(path):
    model = DeepLinearRegressor(width=2, max_iter=5, checkpoint=path, tol=0)
    search = BatchedGridSearchCV(model, {"weight_decay": [0.1]}, cv=2, error_score="raise")
    refused = pytest.raises(ValueError, match="checkpoint must name a file of this run")
    with pytest.warns(UserWarning, match="one by one: checkpoint"), refused:
        search.fit(X, Y)
