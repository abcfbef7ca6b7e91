"""Fits in threads are those made alone, and a process is as it was before a call.

``benchmarks/check_faults.py`` makes them in other processes, too, and lets these die.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from sklearn.base import clone

import sklearn_deeplinear
from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import compare_step_sizes, hessian_eigenvalues
from sklearn_deeplinear.inspection import (
    BalanceDisplay,
    LandscapeDisplay,
    OptimalityDisplay,
    PathwayDisplay,
    PhaseDiagramDisplay,
    RegularisationPathDisplay,
    StepSizeDisplay,
    StoppingDisplay,
    TrajectoryDisplay,
)
from tests.fault_cases import CASES, X, Y, quiet
from tests.faults import assert_same, fitted, process_state

pytestmark = pytest.mark.slow

DISPLAYS = {
    "balance": lambda ax: BalanceDisplay.from_estimator(trained("linear gd"), ax=ax),
    "landscape": lambda ax: LandscapeDisplay.from_estimator(trained("linear gd"), X, Y, ax=ax),
    "optimality": lambda ax: OptimalityDisplay.from_estimators([trained("linear gd")], ax=ax),
    "pathways": lambda ax: PathwayDisplay.from_estimator(trained("pathways gd"), ax=ax),
    "phases": lambda ax: PhaseDiagramDisplay.from_estimator(
        DeepLinearRegressor(2, 4, solver="analytic").fit(X, Y[:, 0]), ax=ax
    ),
    "path": lambda ax: RegularisationPathDisplay.from_data(
        X, Y[:, 0], weight_decays=[0.1, 1], ax=ax
    ),
    "steps": lambda ax: StepSizeDisplay.from_comparison(
        compare_step_sizes(trained("linear gd"), X, Y, step_size=0.01, divisors=[2], max_iter=3),
        ax=ax,
    ),
    "stopping": lambda ax: StoppingDisplay.from_estimator(trained("cv of stopping"), ax=ax),
    "trajectory": lambda ax: TrajectoryDisplay.from_estimator(trained("linear gd"), ax=ax),
}


def trained(name):
    """A case that has made its call after a former one."""
    with quiet():
        return CASES[name].call(CASES[name].start(refit=True))


@pytest.fixture(scope="module")
def alone():
    """All cases, fitted one after the other. Libraries are loaded now that set up filters."""
    return {name: trained(name) for name in CASES}


def test_calls_leave_the_process_as_it_is(alone):
    fits = dict(alone)
    before = process_state()
    for name in CASES:
        model, (X_, y) = trained(name), CASES[name].data()
        model.predict(X_)
        model.score(X_, y)
        for method in ("predict_proba", "predict_log_proba", "predict_interval"):
            if hasattr(model, method) and not name.startswith("cv of s") and "flows" not in name:
                getattr(model, method)(X_)
        for attribute in ("global_minimum_", "optimality_gap_", "optimality_certificate_"):
            getattr(model, attribute, None)
        repr(model), model._repr_html_()
        assert_same(process_state(), before, name)
    hessian_eigenvalues(fits["linear gd"], X, Y, k=2)
    assert_same(process_state(), before)


@pytest.mark.parametrize("name", DISPLAYS)
def test_displays_leave_the_process_and_other_figures_as_they_are(name):
    with quiet():
        DISPLAYS[name](plt.figure().subplots())  # matplotlib is set up
        other, (_, ax) = plt.figure(), plt.subplots()
        drawn = other.subplots()
        before = process_state()
        DISPLAYS[name](ax)
        assert_same(process_state(), before)
        assert not drawn.lines and not drawn.collections and other.axes == [drawn]
    plt.close("all")


def test_fits_in_threads_are_those_made_alone(alone):
    before = process_state()
    with quiet(), ThreadPoolExecutor(4) as pool:
        jobs = pool.map(lambda name: CASES[name].call(CASES[name].start(refit=True)), [*CASES] * 2)
        for name, model in zip([*CASES] * 2, jobs, strict=True):
            assert_same(fitted(model), fitted(alone[name]), name)
    # In Python before 3.14 warnings.catch_warnings, which check_array uses, is none of threads.
    after = process_state() | {"warning filters": before["warning filters"]}
    assert_same(after, before)


def test_the_package_itself_changes_no_filters():
    files = Path(sklearn_deeplinear.__file__).parent.rglob("*.py")
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    lines = [line for text in texts.values() for line in text.splitlines()]
    found = [
        line.strip() for line in lines if re.search(r"warnings\.(catch_|filterw|simplef)", line)
    ]
    assert all(line.startswith((">>>", "...")) for line in found), found


def test_one_estimator_is_read_by_many_threads(alone):
    model = clone(CASES["pathways gd"].estimator).fit(X, Y)

    def read(_):
        return model.predict(X), model.global_minimum_.objective, model.optimality_certificate_

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, range(8)))
    for one in found:
        assert_same(one, found[0])
    assert_same(model.predict(X), alone["pathways gd"].predict(X))
