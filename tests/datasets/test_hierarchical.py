"""Generated data have the structure that they promise."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_deeplinear.datasets._hierarchical import make_hierarchical, make_linear_teacher

REFERENCE = Path(__file__).parents[1] / "data" / "shi2022_linear_depth2.npz"


def test_three_levels_are_the_task_of_shi_et_al():
    X, Y = make_hierarchical()
    with np.load(REFERENCE) as reference:
        assert_array_equal(X, reference["X"])
        assert_array_equal(Y, reference["Y"])
    s = [3.87298, 2.64575, 1.73205, 1.73205, 1, 1, 1, 1]
    assert_allclose(np.linalg.svd(Y, compute_uv=False), s, atol=1e-5)


@pytest.mark.parametrize("n_levels", [0, 1, 2, 5])
def test_items_share_the_features_of_their_common_ancestors(n_levels):
    X, Y = make_hierarchical(n_levels)
    assert_array_equal(X, np.eye(2**n_levels))
    assert Y.shape == (2**n_levels, 2 ** (n_levels + 1) - 1)
    items = np.arange(2**n_levels)
    first_split = np.array([[(i ^ j).bit_length() for j in items.tolist()] for i in items.tolist()])
    assert_array_equal(Y @ Y.T, n_levels + 1 - first_split)


def test_teacher_has_its_singular_values_and_is_recovered():
    X, Y, coef = make_linear_teacher(60, 5, 4, singular_values=[3, 1], random_state=0)
    assert_allclose(np.linalg.svd(coef, compute_uv=False), [3, 1, 0, 0], atol=1e-12)
    assert_allclose(np.linalg.lstsq(X, Y, rcond=None)[0].T, coef, atol=1e-12)


def test_whitened_inputs_are_white():
    X, y, coef = make_linear_teacher(30, 4, whiten=True, random_state=0)
    assert_allclose(X.T @ X / 30, np.eye(4), atol=1e-12)
    assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    assert y.shape == (30,) and coef.shape == (4,)
    assert np.linalg.norm(coef) == pytest.approx(1)


def test_noise_has_its_size_and_the_seed_decides():
    X, y, coef = make_linear_teacher(20_000, 2, noise=0.5, random_state=1)
    # The standard deviation of a standard deviation of n normal numbers is sigma / sqrt(2 n).
    assert np.std(y - X @ coef) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(40_000))
    again = make_linear_teacher(20_000, 2, noise=0.5, random_state=1)
    assert_array_equal(again[1], y)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_samples": 0}, "n_samples must be at least 1"),
        ({"noise": -1.0}, "noise must be finite"),
        ({"singular_values": [1, 1]}, "singular_values must hold at most"),
        ({"singular_values": ["strong"]}, "singular_values must hold at most"),
        ({"n_samples": 10, "whiten": True}, "n_samples must exceed n_features"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        make_linear_teacher(**parameters)


def test_levels_are_an_int():
    with pytest.raises(TypeError, match="n_levels must be an int"):
        make_hierarchical(2.5)
