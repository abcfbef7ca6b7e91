"""Result objects: what they say of their shape, and that they cannot be changed."""

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, is_dataclass, replace
from inspect import isclass
from xml.etree import ElementTree

import numpy as np
import pytest

from sklearn_deeplinear import (
    DeepLinearRegressor,
    dynamics,
    estimators,
    model_selection,
    results,
    theory,
)
from sklearn_deeplinear.dynamics import BalanceHistory, Trajectory
from sklearn_deeplinear.theory import SecondMoments


def make_trajectory(**others):
    curve = np.array([3.0, 2.0, 1.5])
    return Trajectory(np.array([0, 5, 10]), curve / 10, curve, curve + 1, curve**2, **others)


def make_history(change):
    columns = np.zeros((3, 2))
    return BalanceHistory(np.arange(3), np.arange(3.0), columns, columns, None, change)


def test_a_frame_holds_the_curves_and_one_row_per_record():
    pytest.importorskip("pandas")
    frame = make_trajectory().to_frame()
    assert list(frame) == ["iteration", "time", "loss", "objective", "gradient_norm"]
    assert frame["loss"].tolist() == [3.0, 2.0, 1.5] and frame["iteration"].dtype.kind == "i"


def test_a_frame_leaves_out_what_is_not_a_curve():
    weights = [[np.ones((2, 2))]] * 3
    trajectory = make_trajectory(
        weights=weights, mode_strengths=np.ones((3, 2, 2)), sharpness=np.arange(3.0)
    )
    frame = trajectory.to_frame()
    assert list(frame)[-1] == "sharpness" and frame.shape == (3, 6)


@pytest.mark.parametrize("record_weights", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_fitted_trajectory_makes_a_frame(depth, record_weights):
    """Of ragged layers as of a single one."""
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    model = DeepLinearRegressor(depth, 4, max_iter=5, tol=0, record_weights=record_weights)
    frame = model.fit(X, y).trajectory_.to_frame()
    assert frame.shape == (6, 5) and frame["iteration"].tolist() == list(range(6))


def test_a_length_is_the_number_of_records():
    assert len(make_trajectory()) == 3
    assert len(make_history(np.zeros((3, 2)))) == 3


def test_drift_is_the_largest_change_of_each_pair():
    change = np.array([[0.0, 0.0], [2.0, 1.0], [1.0, 4.0]])
    assert make_history(change).drift.tolist() == [2.0, 4.0]
    assert make_history(np.zeros((3, 0))).drift.shape == (0,)


def test_results_are_frozen():
    with pytest.raises(FrozenInstanceError):
        make_trajectory().loss = None
    with pytest.raises(FrozenInstanceError):
        make_history(np.zeros((3, 2))).layer = None


def test_results_can_be_compared_and_kept_in_sets():
    """By identity, as arrays have no truth value."""
    trajectory, history = make_trajectory(), make_history(np.zeros((3, 2)))
    assert trajectory == trajectory and trajectory != replace(trajectory)
    assert history == history and history != replace(history)
    assert len({trajectory, history}) == 2


def all_results():
    """One of everything that the package returns, of data with ten inputs."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(50, 10), rng.randn(50)
    moments = SecondMoments.from_data(X, y)
    white = SecondMoments.from_moments(np.eye(10), 0.1 * rng.randn(2, 10), 9.0)
    model = DeepLinearRegressor(max_iter=100, tol=0, record_weights=True).fit(X, y)
    minimum = theory.global_minimum(moments, depth=3, weight_decay=0.01)
    flow = theory.two_layer_flow([np.eye(10), np.zeros((2, 10))], white)
    return [
        moments,
        moments.spectrum,
        minimum,
        *minimum.candidates,
        model.trajectory_,
        model.balance_history_,
        theory.balance(model.weights_),
        theory.critical_weight_decay(moments, depth=3),
        theory.zero_hessian(moments, depth=2, width=3),
        theory.deep_linear_path(moments, weight_decays=np.geomspace(1e-3, 1, 30)),
        theory.verify(minimum, moments),
        theory.generalised_minimum(X, y > 0, depth=3, weight_decay=0.01),
        theory.pathway_global_minimum(white, depths=(2, 3), weight_decay=0.01),
        theory.flow_step_size_bound([[[0.5]], np.eye(1)], first_moments(), time=1.0, eps=0.1),
        theory.end_to_end_flow(moments, y[:10], depth=3),
        theory.mode_flow(rng.rand(7, 7), 0.1, depth=3),
        theory.pathway_flow([3.0, 1.0], [[0.1, 0.1], [0.2, 0.2]], depths=(2, 3)),
        flow,
        flow(1.0),
        dynamics.compare_step_sizes(model, X, y, step_size=0.01, max_iter=20, divisors=(2,)),
    ]


def first_moments():
    return SecondMoments.from_moments([[1.0]], [[1.0]], 1.0)


def test_results_print_as_one_short_line():
    results = all_results()
    for result in results:
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(") and text.endswith(")")
        assert "\n" not in text and len(text) < 200, text
    exported = {
        value
        for package in (theory, dynamics)
        for value in (getattr(package, name) for name in package.__all__)
        if isinstance(value, type)
    }
    assert exported <= {type(result) for result in results}


def test_what_users_get_is_in_the_reference():
    """It lists what packages export: the types of all attributes that hold results."""
    names = {*theory.__all__, *dynamics.__all__}
    assert {
        "BalanceHistory",
        "GlobalMinimum",
        "PathwayMinimum",
        "StepSizeComparison",
        "Trajectory",
    } <= names


def test_a_line_names_further_curves_but_no_parameters():
    others = {"rank": np.array([3.0, 2.0, 1.0]), "maps": np.zeros((3, 2, 2))}
    parameters = {"weights": [[np.ones((2, 2))]] * 3, "biases": [[np.ones(2)]] * 3}
    trajectory = make_trajectory(others=others, **parameters)
    assert repr(trajectory) == (
        "Trajectory(3 records, objective 4 -> 2.5, rank 3 -> 1, maps (3, 2, 2))"
    )
    assert repr(make_trajectory(**parameters)) == repr(make_trajectory())
    assert list(trajectory.to_frame())[-1] == "rank" and trajectory.rank is others["rank"]
    assert repr(pickle.loads(pickle.dumps(trajectory))) == repr(trajectory)


def test_a_line_shows_numbers_and_shapes():
    assert repr(make_trajectory()) == "Trajectory(3 records, objective 4 -> 2.5)"
    watched = make_trajectory(validation_loss=np.array([3.0, np.nan, 1234567.0]))
    assert repr(watched).endswith("objective 4 -> 2.5, validation loss 3 -> 1.235e+06)")
    one = Trajectory(*np.ones((5, 1)))
    assert repr(one) == "Trajectory(1 record, objective 1)"
    history = make_history(np.array([[0.0, 0.0], [0.25, 1.0], [1 / 3, 4.0]]))
    assert repr(history) == "BalanceHistory(3 records, drift of adjacent layers 0.3333, 4)"
    deep = replace(history, change=np.zeros((3, 9)))
    assert repr(deep).endswith("layers 0, 0, 0, 0, 0, ...)")
    assert repr(replace(history, change=np.zeros((3, 0)))) == "BalanceHistory(3 records)"
    minimum = theory.global_minimum(first_moments(), depth=2, weight_decay=0.25)
    assert repr(minimum) == "GlobalMinimum(objective=0.4375, kind='exact', rank=1)"
    unproven = replace(minimum, kind="stationary", lower_bound=0.25)
    assert repr(unproven) == (
        "GlobalMinimum(objective=0.4375, kind='stationary', lower_bound=0.25, rank=1)"
    )
    path = theory.deep_linear_path(first_moments(), weight_decays=[0.25])
    assert repr(path) == "DeepLinearPath(coefs: (1, 1, 1), intercepts: (1, 1), objectives: 0.4375)"
    assert repr(theory.mode_flow(1.0, 0.5, depth=3)) == (
        "ModeFlow(depth=3, s=1, a_0=0.5, input_moment=1)"
    )


def test_all_records_of_the_package_are_in_one_module_too():
    """Frozen dataclasses and named tuples that some package exports, the same objects."""
    exported = {
        name: getattr(package, name)
        for package in (dynamics, estimators, model_selection, theory)
        for name in package.__all__
    }
    records = {
        name: obj
        for name, obj in exported.items()
        if is_dataclass(obj) or issubclass(obj if isclass(obj) else int, tuple)
    }
    assert set(results.__all__) == set(records)
    assert all(getattr(results, name) is obj for name, obj in records.items())
    assert set(results.__all__) <= set(dir(results))
    with pytest.raises(AttributeError, match="has no attribute 'Minima'"):
        results.Minima  # noqa: B018


def test_results_of_theory_load_no_torch():
    code = "from sklearn_deeplinear.results import GlobalMinimum, Trajectory\nimport sys\n"
    code += "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (4, 6), (200, 150)])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_minimum_tells_the_rank_of_its_map_where_that_is_quick(shape, rank):
    minimum = theory.global_minimum(first_moments(), depth=2, weight_decay=0.25)
    rng = np.random.RandomState(0)
    coef = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    told = f"rank={min(rank, *shape)})" if min(shape) <= 100 else f"shape={shape})"
    assert repr(replace(minimum, coef=coef)).endswith(told)


def cells(html):
    """Rows of the table, with all that is in it read by a parser of its own."""
    table = ElementTree.fromstring(html)
    assert table.tag == "table"
    return [[cell.text or "" for cell in row] for row in table.iter("tr")]


def test_notebooks_show_small_tables():
    watched = make_trajectory(others={"a<b> & c": np.array([1.0, 0.5, 2.0])})
    html = watched._repr_html_()
    rows = cells(html)
    assert ElementTree.fromstring(html).find("caption").text == "Trajectory, 3 records"
    assert rows[0] == ["", "first", "last", "least"]
    assert ["objective", "4", "2.5", "2.5"] in rows and ["iteration", "0", "10", "0"] in rows
    assert rows[-1] == ["a<b> & c", "1", "2", "0.5"] and "<b>" not in html
    minimum = theory.global_minimum(first_moments(), depth=2, weight_decay=0.25)
    assert cells(minimum._repr_html_()) == [
        ["objective", "0.4375"],
        ["loss", "0.0625"],
        ["penalty", "0.375"],
        ["lower bound", "0.4375"],
        ["kind", "exact"],
        ["rank", "1"],
    ]


def test_every_table_can_be_parsed():
    shown = [result for result in all_results() if hasattr(result, "_repr_html_")]
    names = {type(result).__name__ for result in shown}
    assert names == {"Trajectory", "GlobalMinimum", "PathwayMinimum", "GeneralisedMinimum"}
    for result in shown:
        assert len(cells(result._repr_html_())) >= 5
