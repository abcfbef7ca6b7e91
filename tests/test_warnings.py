"""Warnings of training: what they hold, where they point, and how often they are shown."""

import pickle
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_deeplinear import DeepLinearRegressor, TrainingWarning, _warnings


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 4)) * [1, 2, 4, 8]
    return X, X @ rng.standard_normal(4) + rng.standard_normal(40)


@pytest.fixture
def unfiltered(monkeypatch):
    """Python's own filters, as in a fresh session, and nothing shown so far."""
    monkeypatch.setattr(_warnings, "_shown", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", message="another text")  # as numpy has some
        yield caught


def test_the_text_is_constant_and_the_numbers_are_attributes(data):
    with pytest.warns(TrainingWarning) as caught:
        models = [DeepLinearRegressor(max_iter=n).fit(*data) for n in (3, 7)]
    messages = [record.message for record in caught]
    assert len({str(message) for message in messages}) == 1
    assert not any(character.isdigit() for character in str(messages[0]).replace("tol=0", ""))
    assert [message.n_iter for message in messages] == [3, 7]
    for message, model in zip(messages, models, strict=True):
        norm = model.trajectory_.gradient_norm
        assert message.gradient_ratio == norm[-1] / norm[0]
    assert isinstance(messages[0], ConvergenceWarning)


def test_the_warning_survives_the_way_between_processes():
    warning = pickle.loads(pickle.dumps(TrainingWarning("text", n_iter=3, gradient_ratio=0.5)))
    assert (str(warning), warning.n_iter, warning.gradient_ratio) == ("text", 3, 0.5)
    assert type(warning) is TrainingWarning


def search(n_jobs=None):
    grid = {"depth": [1, 2, 3], "step_size": [1e-4, 1e-3]}
    return GridSearchCV(DeepLinearRegressor(max_iter=3), grid, cv=2, n_jobs=n_jobs)


def test_a_search_warns_once_and_points_at_its_line(unfiltered, data):
    search().fit(*data)
    assert [record.filename for record in unfiltered] == [__file__]


def test_direct_fits_warn_as_python_does(unfiltered, data):
    model = DeepLinearRegressor(max_iter=3)
    search().fit(*data)
    model.fit(*data)
    model.fit(*data)
    assert len(unfiltered) == 3


def test_filters_have_their_say(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        search().fit(*data)
    assert len(caught) == 13  # six settings on two folds, and the best of them again
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        with pytest.raises(TrainingWarning):
            DeepLinearRegressor(max_iter=3).fit(*data)


def fit_in_a_thread(X, y):
    thread = threading.Thread(target=DeepLinearRegressor(max_iter=3).fit, args=(X, y))
    thread.start()
    thread.join()


def test_a_thread_without_a_line_of_the_users_warns_from_the_package(data):
    with pytest.warns(TrainingWarning) as caught:
        fit_in_a_thread(*data)
    assert caught[0].filename.endswith("_all_or_nothing.py")  # around fit


def test_workers_warn_once_each(tmp_path):
    """In a process of its own: a script as users write it."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np
        from sklearn.model_selection import GridSearchCV
        from sklearn_deeplinear import DeepLinearRegressor

        X = np.random.RandomState(0).standard_normal((40, 4)) * [1, 2, 4, 8]
        y = X @ [1.0, 2.0, 3.0, 4.0] + np.sin(X[:, 0])
        grid = {"depth": [1, 2, 3], "step_size": [1e-4, 1e-3]}
        search = GridSearchCV(DeepLinearRegressor(max_iter=3), grid, cv=2, n_jobs=2)
        search.fit(X, y)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=300
    )
    lines = [line for line in done.stderr.splitlines() if "TrainingWarning" in line]
    assert 1 < len(lines) <= 3  # two workers at most, and the fit of the best
    assert all("_all_or_nothing.py" in line or "script.py:10" in line for line in lines)
