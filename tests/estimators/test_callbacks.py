"""scikit-learn's callbacks on DeepLinearRegressor: one task a chunk of steps."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressor
from tests.estimators.recorder import Recorder

callbacks = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DATA = load_diabetes(return_X_y=True)


@pytest.fixture
def screen(monkeypatch, capsys):
    """What rich prints on a screen that is wide enough for its bars."""
    rich = pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(rich, "_console", None)  # the one of earlier tests keeps its width
    return lambda: capsys.readouterr().out


def model_and(callback, **parameters):
    defaults = {"width": 4, "step_size": 0.05, "max_iter": 1000, "tol": 0, "record_every": 10}
    return DeepLinearRegressor(**defaults | parameters).set_callbacks(callback)


@pytest.mark.parametrize(
    ("max_iter", "record_every", "n_tasks"),
    [
        (1000, 10, 5),  # a chunk is the records of about 200 steps
        (1000, 1000, 1),  # and never less than one record
        (1000, 250, 4),
        (1001, 10, 6),
        (20_000, None, 20_000 // (200 // 21 * 21) + 1),  # records every 21 steps
        (0, None, 0),
    ],
)
def test_a_task_is_a_chunk_of_steps(max_iter, record_every, n_tasks):
    recorder = Recorder()
    model_and(recorder, max_iter=max_iter, record_every=record_every).fit(*DATA)
    wanted = [("steps", i) for i in range(n_tasks)]
    assert recorder.tasks("begin") == [("fit", 0), *wanted]
    assert recorder.tasks("end") == [*wanted, ("fit", 0)]
    assert recorder.tasks("setup") == recorder.tasks("teardown") == [("fit", 0)]


def test_an_analytic_fit_is_a_task_without_subtasks():
    recorder = Recorder()
    model_and(recorder, solver="analytic").fit(*DATA)
    assert [hook for hook, _, _ in recorder.calls] == ["setup", "begin", "end", "teardown"]


def test_callbacks_change_nothing_and_see_the_partly_trained_model():
    """After k chunks the model predicts as if `max_iter` were 200 k."""
    recorder = Recorder()
    X, y = DATA
    model = model_and(recorder).fit(X, y)
    assert_allclose(model.coef_, model_and(Recorder()).set_callbacks().fit(X, y).coef_, rtol=1e-14)
    for k, partial in enumerate(recorder.fitted, start=1):
        whole = model_and(Recorder(), max_iter=200 * k).fit(X, y)
        assert_allclose(partial.predict(X), whole.predict(X), rtol=1e-12)
        assert partial.global_minimum_.objective == model.global_minimum_.objective


def test_callbacks_are_told_of_the_data():
    recorder = Recorder()
    X, y = DATA
    weight = np.linspace(1, 2, len(X))
    model_and(recorder).fit(X, y, sample_weight=weight)
    assert recorder.begin[0].shape == recorder.end.shape == X.shape
    assert_allclose(recorder.begin[2]["sample_weight"], weight)
    model_and(recorder).fit(X, y)
    assert not recorder.begin[2]


def test_a_callback_can_stop_the_fit():
    recorder = Recorder(stop_after=2)
    model = model_and(recorder).fit(*DATA)
    assert (model.stop_reason_, model.n_iter_, model.converged_) == ("callback", 400, False)
    assert len(recorder.tasks("begin")) == len(recorder.tasks("end")) == 3
    assert_allclose(model.coef_, model_and(Recorder(), max_iter=400).fit(*DATA).coef_, rtol=1e-12)


def test_convergence_ends_the_tasks_early():
    recorder = Recorder()
    model = model_and(recorder, depth=1, tol=1e-3, step_size="auto", weight_decay=1.0).fit(*DATA)
    assert model.stop_reason_ == "converged" and model.n_iter_ <= 200
    assert recorder.tasks("end") == [("steps", 0), ("fit", 0)]


@pytest.mark.parametrize("hook", ["setup", "begin", "end"])
def test_a_failing_callback_is_torn_down(hook):
    recorder = Recorder(fail_at=hook)
    model = model_and(recorder)
    with pytest.raises(RuntimeError, match=hook):
        model.fit(*DATA)
    assert recorder.tasks("teardown") == [("fit", 0)]
    model.set_callbacks().fit(*DATA)
    assert model.n_iter_ == 1000


def test_an_interrupted_fit_ends_its_tasks():
    def step_size(t):
        if t == 300:
            raise KeyboardInterrupt
        return 0.05

    recorder = Recorder()
    model = model_and(recorder, step_size=step_size).fit(*DATA)
    assert (model.stop_reason_, model.n_iter_) == ("interrupted", 300)
    assert sorted(recorder.tasks("begin")) == sorted(recorder.tasks("end"))
    assert recorder.calls[-1][0] == "teardown"


def test_a_monitored_score_is_that_of_the_partly_trained_model():
    monitor = callbacks.ScoringMonitor(scoring="r2")
    X, y = DATA
    weight = np.linspace(1, 2, len(X))
    model_and(monitor).fit(X, y, sample_weight=weight)
    log = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "steps"]
    wanted = [
        model_and(Recorder(), max_iter=200 * k)
        .fit(X, y, sample_weight=weight)
        .score(X, y, sample_weight=weight)
        for k in range(1, 6)
    ]
    assert_allclose(log, wanted, rtol=1e-10)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_monitors_and_progress_bars_follow_a_grid_search(n_jobs, screen):
    """Every fit of the search is monitored; the bars reach their ends."""
    monitor = callbacks.ScoringMonitor(scoring="r2")
    model = model_and(monitor, max_iter=400)
    search = GridSearchCV(model, {"step_size": [0.01, 0.05]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callbacks.ProgressBar(max_propagation_depth=None)).fit(*DATA)
    assert "100%" in screen()
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "steps"]
    assert len(rows) == 2 * (2 * 2 + 1)  # 2 chunks in 2 candidates x 2 folds and a refit
    assert all(np.isfinite(row["r2"]) for row in rows)


def test_a_monitored_run_may_diverge():
    """What callbacks are shown is the last good network, the one that fit keeps."""
    recorder, monitor = Recorder(), callbacks.ScoringMonitor(scoring="r2")
    model = model_and(recorder, step_size=100.0, record_every=1).fit(*DATA)
    assert model.stop_reason_ == "diverged"
    assert_allclose(recorder.fitted[-1].coef_, model.coef_, rtol=1e-14)
    assert model.set_callbacks(monitor).fit(*DATA).stop_reason_ == "diverged"
    assert np.isfinite(monitor.get_logs().data[-1]["r2"])


def test_the_last_chunk_shows_the_converged_network():
    recorder = Recorder()
    parameters = {"depth": 1, "tol": 1e-3, "step_size": "auto", "record_every": 1}
    model = model_and(recorder, weight_decay=1.0, **parameters).fit(*DATA)
    assert model.converged_
    assert_allclose(recorder.fitted[-1].coef_, model.coef_, rtol=1e-14)


def test_monitors_and_progress_bars_follow_a_pipeline(screen):
    monitor = callbacks.ScoringMonitor(scoring="r2")
    pipeline = make_pipeline(StandardScaler(), model_and(monitor, step_size="auto"))
    pipeline.set_callbacks(callbacks.ProgressBar(max_propagation_depth=None)).fit(*DATA)
    shown = screen()
    assert "DeepLinearRegressor" in shown and "100%" in shown
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "steps"]
    assert len(rows) == 5 and rows[-1]["r2"] > rows[0]["r2"] > 0.3


def test_a_progress_bar_follows_a_long_run(screen):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_and(callbacks.ProgressBar(), max_iter=20_000, record_every=None).fit(*DATA)
    assert model.n_iter_ == 20_000
    shown = screen()
    assert "DeepLinearRegressor" in shown and "100%" in shown
