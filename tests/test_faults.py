"""Fits that are interrupted, run out of memory or whose callbacks fail leave what can be used.

``benchmarks/check_faults.py`` fails at each line of the package that is passed.
"""

import gc
import random
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics.runs import _checkpoint
from sklearn_deeplinear.dynamics.runs._log import Log
from sklearn_deeplinear.dynamics.runs._resident_net import ResidentNet
from sklearn_deeplinear.estimators import load_weights, save_weights
from sklearn_deeplinear.model_selection import BatchedGridSearchCV
from sklearn_deeplinear.theory import SecondMoments
from tests.fault_cases import CASES, Faults, X, Y, assert_untouched, quiet
from tests.faults import assert_same, fail_at, fitted, lines_of, positions_of, process_state

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", CASES)
def test_a_fault_at_any_line_spoils_nothing(name):
    faults, rng = Faults(name), random.Random(0)
    for refit, error in [
        (False, KeyboardInterrupt),
        (True, MemoryError),
        (True, KeyboardInterrupt),
    ]:
        for position in rng.sample(positions_of(faults.lines[refit]), 1):
            faults.check(position, refit, error)
    # Amid the last records, where most is half done.
    late = [p for p in positions_of(faults.lines[True]) if p > 0.8 * len(faults.lines[True])]
    for position in rng.sample(late, 1):
        faults.check(position, True)


@contextmanager
def full_disk():
    """No file can be longer than 4,096 bytes."""
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_weights_that_were_saved(tmp_path):
    pytest.importorskip("safetensors")
    models = [DeepLinearRegressor(2, width, max_iter=3, tol=0).fit(X, Y) for width in (2, 300)]
    path = tmp_path / "model.safetensors"
    save_weights(models[0], path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(Exception, match="too large"):
        save_weights(models[1], path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    save_weights(models[1], path)
    assert load_weights(path).weights[0].shape == (300, 3)


def test_a_full_disk_stops_no_run_and_leaves_its_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    model = clone(CASES["linear gd"].estimator).set_params(width=30)
    whole = clone(model).fit(X, Y)
    model.set_params(checkpoint=path)
    with full_disk(), pytest.warns(UserWarning, match="checkpoint could not be written.*too large"):
        model.fit(X, Y)
    gc.collect()  # what was left open would say that its file is closed
    assert_same(fitted(model), fitted(whole))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_for_which_there_is_no_memory_stops_no_run(tmp_path, monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(_checkpoint, "_write", fail)
    model = clone(CASES["linear gd"].estimator).set_params(checkpoint=tmp_path / "run.npz")
    with pytest.warns(UserWarning, match="checkpoint could not be written.*not enough memory"):
        model.fit(X, Y)
    assert_same(fitted(model), fitted(clone(model).set_params(checkpoint=None).fit(X, Y)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["linear gd", "linear flow", "linear adam"])
def test_an_interrupt_at_any_line_leaves_a_checkpoint_to_go_on_from(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "SECONDS", 0.0)  # after each chunk
    monkeypatch.setattr(_checkpoint, "SPACING", 0)
    path, model = tmp_path / "run.npz", clone(CASES[name].estimator)
    whole = clone(model).fit(X, Y)
    model.set_params(checkpoint=path)
    lines = lines_of(lambda: clone(model).fit(X, Y))
    path.unlink()
    places = [
        p
        for p in positions_of(lines)
        if lines[p][0].endswith(("_checkpoint.py", "_whole_files.py", "_partial_fit.py"))
    ]
    for position in random.Random(0).sample(places, 8):
        with quiet(), suppress(KeyboardInterrupt):
            fail_at(lambda: clone(model).fit(X, Y), position)
        assert list(tmp_path.iterdir()) in ([], [path])
        assert_same(fitted(clone(model).fit(X, Y)), fitted(whole))
        path.unlink()


class Failing:
    """Rows of X, of which the later ones cannot be read."""

    def __init__(self, X, error):
        self.X, self.shape, self.dtype, self.error = X, X.shape, X.dtype, error

    def __getitem__(self, rows):
        if rows.start > 0:
            raise self.error
        return self.X[rows]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, OSError])
def test_data_that_cannot_be_read_to_their_end_are_as_if_never_given(method, error):
    big = np.random.RandomState(1).standard_normal((300_000, 3))
    model = DeepLinearRegressor(2, 4, max_iter=3, tol=0, random_state=0).fit(X, Y[:, 0])
    before = dict(vars(model))
    with pytest.raises(error):
        getattr(model, method)(Failing(big, error), big[:, 0])
    assert_untouched(model, before)
    fresh = clone(model)
    with pytest.raises(error):
        getattr(fresh, method)(Failing(big, error), big[:, 0])
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_moments_say_what_memory_they_lack():
    wide = np.broadcast_to(0.0, (1000, 20_000_000))
    with pytest.raises(MemoryError, match=r"149\. GiB for an array with shape \(1000, 20000001\)"):
        SecondMoments.from_data(wide, np.zeros(1000))


class FailingCallback(Callback):
    """Of skorch: fails after two epochs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("mine")


def test_a_callback_of_skorch_that_fails_leaves_the_former_fit():
    model = clone(CASES["linear adam"].estimator).fit(X, Y)
    model.set_params(callbacks=[FailingCallback()])
    before, state = dict(vars(model)), process_state()
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y)
    assert_untouched(model, before)
    assert_same(process_state(), state)


class FailingListener:
    """Of scikit-learn: fails after a chunk of steps."""

    def __init__(self):
        self.torn_down = False

    def setup(self, estimator, context):
        """Nothing to be done."""

    def teardown(self, estimator, context):
        self.torn_down = True

    def on_fit_task_begin(self, *args, **kwargs):
        """Nothing to be done."""

    def on_fit_task_end(self, *args, **kwargs):
        raise RuntimeError("mine")


def test_a_callback_of_scikit_learn_that_fails_is_torn_down_and_leaves_the_former_fit():
    pytest.importorskip("sklearn.callback")
    model, listener = clone(CASES["linear gd"].estimator).fit(X, Y), FailingListener()
    model.set_callbacks(listener)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y)
    assert_untouched(model, before)
    assert listener.torn_down


def interrupted_at(iteration):
    """A step size that a user interrupts."""

    def eta(t):
        if t == iteration:
            raise KeyboardInterrupt
        return 0.01

    return eta


@pytest.mark.parametrize("solver", ["gd", "momentum"])
def test_an_interrupt_ends_a_search_and_ranks_nothing(solver):
    """In stacks, and one by one: candidates that are trained halfway are not compared."""
    model = DeepLinearRegressor(2, 3, solver=solver, max_iter=9, tol=0)
    search = BatchedGridSearchCV(model, {"step_size": [0.01, interrupted_at(4)]}, cv=2)
    with quiet(), pytest.raises(KeyboardInterrupt):
        search.fit(X, Y)
    assert not hasattr(search, "cv_results_")


@pytest.mark.parametrize("epoch", [1, 4])
def test_an_interrupt_while_an_epoch_is_recorded_is_called_so(epoch, monkeypatch):
    model = clone(CASES["linear sgd"].estimator)
    left, add = [epoch], Log.add  # the start is recorded, too

    def interrupted(self, *args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return add(self, *args)

    monkeypatch.setattr(Log, "add", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, Y)
    assert (model.stop_reason_, model.n_iter_) == ("interrupted", epoch - 1)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_an_interrupt_before_the_first_epoch_is_called_so(solver, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ResidentNet, "get_iterator", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = clone(CASES[f"linear {solver}"].estimator).fit(X, Y)
    assert (model.stop_reason_, model.n_iter_) == ("interrupted", 0)


@pytest.mark.parametrize("name", ["linear gd", "linear adam", "linear flow"])
def test_an_interrupt_of_partial_fit_takes_no_batch(name, monkeypatch):
    model = clone(CASES[name].estimator).partial_fit(X, Y)
    before, moments = dict(vars(model)), model.moments_
    model.step_size = interrupted_at(1 if name == "linear adam" else 2)
    before["step_size"] = model.step_size
    with quiet(), pytest.raises(KeyboardInterrupt):
        model.partial_fit(X + 1, Y)
    assert_untouched(model, before)
    assert model.moments_ is moments
