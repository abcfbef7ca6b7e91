"""Result objects: what they say of their shape, and that they cannot be changed."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear._results import BalanceHistory, Trajectory


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
