"""Fits that are interrupted, run out of memory or whose callbacks fail leave what can be used.

``benchmarks/check_faults.py`` fails at each line of the package that is passed.
"""

import random
from contextlib import contextmanager, suppress

import pytest
from sklearn.base import clone

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics.runs import _checkpoint
from sklearn_deeplinear.estimators import load_weights, save_weights
from tests.fault_cases import CASES, Faults, X, Y, quiet
from tests.faults import assert_same, fail_at, fitted, lines_of, positions_of


@pytest.mark.parametrize("name", CASES)
def test_a_fault_at_any_line_spoils_nothing(name):
    faults, rng = Faults(name), random.Random(0)
    for refit, error in [
        (False, KeyboardInterrupt),
        (True, MemoryError),
        (True, KeyboardInterrupt),
    ]:
        for position in rng.sample(positions_of(faults.lines[refit]), 2):
            faults.check(position, refit, error)
    # Amid the last records, where most is half done.
    late = [p for p in positions_of(faults.lines[True]) if p > 0.8 * len(faults.lines[True])]
    for position in rng.sample(late, 2):
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
