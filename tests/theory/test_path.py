"""The sweep over decays agrees with the single minima, decay by decay."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

from sklearn_deeplinear.theory import SecondMoments, deep_linear_path, global_minimum
from tests.theory.scalar_scan import scanned_minimum

DECAYS = np.array([0.5, 1e-6, 0.0, 0.02, 3.0, 0.1, 1e3])  # in no order


def data(seed=0, m=None):
    random = np.random.RandomState(seed)
    X = random.randn(40, 5) * np.geomspace(2, 0.05, 5) + 1
    Y = X @ random.randn(5, m or 1) + 0.3 * random.randn(40, m or 1)
    return X, Y if m else Y[:, 0]


@pytest.mark.parametrize(
    ("m", "depth", "width", "noise"),
    [
        (None, 1, None, 0.0),
        (None, 2, None, 0.0),
        (None, 3, (3, 2), (0.1, 0.4)),
        (None, 6, None, 0.0),
        (3, 1, None, 0.0),
        (3, 1, (), 0.0),
        (3, 2, None, 0.0),
        (3, 2, 2, 0.0),
        (3, 3, None, 0.0),
    ],
)
def test_agrees_with_the_global_minimum_decay_by_decay(m, depth, width, noise):
    X, y = data(0, m)
    options = {"depth": depth, "width": width, "noise": noise}
    path = deep_linear_path(X, y, weight_decays=DECAYS, **options)
    assert path.coefs.shape == (len(DECAYS), m or 1, 5)
    assert path.intercepts.shape == (len(DECAYS), m or 1)
    moments = SecondMoments.from_data(X, y)
    for i, gamma in enumerate(DECAYS):
        minimum = global_minimum(moments, weight_decay=gamma, **options)
        assert path.objectives[i] == pytest.approx(minimum.objective, rel=1e-10)
        np.testing.assert_allclose(path.coefs[i], minimum.coef, atol=1e-7)
        np.testing.assert_allclose(path.intercepts[i], minimum.intercept, atol=1e-7)


def test_a_shared_decomposition_gives_the_same_and_weights_are_respected():
    X, y = load_diabetes(return_X_y=True)
    sample_weight = np.random.RandomState(0).rand(len(y))
    moments = SecondMoments.from_data(X, y, sample_weight)
    here = deep_linear_path(X, y, weight_decays=DECAYS, depth=3, sample_weight=sample_weight)
    shared = deep_linear_path(moments, weight_decays=DECAYS, depth=3)
    for a, b in zip(here, shared, strict=True):
        np.testing.assert_array_equal(a, b)
    ridge = Ridge(alpha=0.1 * sample_weight.sum()).fit(X, y, sample_weight)
    one = deep_linear_path(X, y, weight_decays=[0.1], depth=1, sample_weight=sample_weight)
    np.testing.assert_allclose(one.coefs[0, 0], ridge.coef_, rtol=1e-8)
    np.testing.assert_allclose(one.intercepts[0, 0], ridge.intercept_, rtol=1e-10)


def test_without_intercept_nothing_is_centred():
    X, y = data(1)
    path = deep_linear_path(X, y, weight_decays=[0.1], depth=1, fit_intercept=False)
    ridge = Ridge(alpha=0.1 * len(y), fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(path.coefs[0, 0], ridge.coef_, rtol=1e-10)
    assert not path.intercepts.any()


def test_one_row_of_decays_per_setting():
    X, y = data(2)
    rows = np.array([[0.1, 0.2, 0.05], [0.0, 0.1, 0.1], [0.02, 0.02, 0.02]])
    path = deep_linear_path(X, y, weight_decays=rows, depth=3)
    moments = SecondMoments.from_data(X, y)
    for row, objective in zip(rows, path.objectives, strict=True):
        expected = global_minimum(moments, depth=3, weight_decay=row).objective
        assert objective == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_objectives_rise_with_the_decay_up_to_that_of_zero(depth):
    X, y = data(3)
    path = deep_linear_path(X, y, weight_decays=np.geomspace(1e-8, 1e4, 200), depth=depth)
    # The minimum over maps of functions that rise with gamma, and never above zero's.
    assert (np.diff(path.objectives) >= -1e-13).all()
    assert (path.objectives <= np.var(y) * (1 + 1e-13)).all()
    size = np.linalg.norm(path.coefs[:, 0], axis=1)
    assert (np.diff(size) <= 1e-12).all()
    assert (size[-1] == 0) == (depth > 1)


def test_targets_without_any_explanation():
    path = deep_linear_path(np.ones((5, 2)), np.arange(5.0), weight_decays=[0.0, 0.1], depth=2)
    assert not path.coefs.any()
    np.testing.assert_allclose(path.intercepts, 2.0)
    np.testing.assert_allclose(path.objectives, 2.0)


@pytest.mark.parametrize("width", [None, 2])
@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("kind", ["random", "duplicated outputs", "shared directions"])
def test_unproven_minima_of_several_outputs_are_those_that_are_proven(kind, depth, width):
    rng = np.random.RandomState(depth)
    X = rng.standard_normal((40, 6)) * np.geomspace(1, 0.05, 6)
    Y = X @ rng.standard_normal((6, 4)) + 0.3 * rng.standard_normal((40, 4))
    if kind == "duplicated outputs":
        Y = Y[:, [0, 1, 0, 1]]
    elif kind == "shared directions":  # S has equal singular values
        X = np.linalg.qr(X - X.mean(0))[0]
        Y = X[:, :4].copy()
    # In no order: each setting must come back in its place.
    decays = np.geomspace(1e-4, 1, 12)[[3, 0, 11, 5, 1, 4, 2, 10, 6, 8, 7, 9]]
    moments = SecondMoments.from_data(X, Y)
    options = {"weight_decays": decays, "depth": depth, "width": width}
    proven = deep_linear_path(moments, **options)
    likely = deep_linear_path(moments, **options, prove=False)
    np.testing.assert_allclose(likely.objectives, proven.objectives, rtol=1e-8)
    pairs = zip(likely.coefs, decays, strict=True)
    penalties = [deep_penalty(M, gamma, depth) for M, gamma in pairs]
    losses = [moments.loss(M) for M in likely.coefs]
    np.testing.assert_allclose(np.add(losses, penalties), likely.objectives, rtol=1e-10)


def deep_penalty(M, gamma, depth):
    """Least penalty of a map over all its factorisations, L gamma ||M||_(2/L)^(2/L)."""
    s = np.linalg.svd(M, compute_uv=False)
    return depth * gamma * np.sum(s[s > 1e-9 * s.max(initial=0.0)] ** (2 / depth))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_decays": []}, "weight_decays must have shape"),
        ({"weight_decays": 0.1}, "weight_decays must have shape"),
        ({"weight_decays": [[0.1, 0.2]], "depth": 3}, "weight_decays must have shape"),
        ({"weight_decays": [0.1, -1.0]}, "weight_decays must be finite"),
        ({"weight_decays": [0.1], "noise": 0.1}, "width must be given"),
        ({"weight_decays": [0.1], "y": None}, "y must be given"),
    ],
)
def test_errors_name_the_parameter(arguments, message):
    X, y = data(0)
    with pytest.raises(ValueError, match=message):
        deep_linear_path(X, **{"y": y, **arguments})


def test_moments_take_no_further_data():
    X, y = data(0)
    moments = SecondMoments.from_data(X, y)
    for extra in ({"y": y}, {"sample_weight": np.ones(len(y))}, {"fit_intercept": False}):
        with pytest.raises(ValueError, match="must be left out when X is a SecondMoments"):
            deep_linear_path(moments, weight_decays=[0.1], **extra)


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
@pytest.mark.parametrize("a", [[1.0, 1.0, 1.0], [5.0, 5.0, 5.0], [3.0, 2.0, 1.0], [1, 1, 1e-6]])
def test_structured_moments_against_a_scan_at_every_decay(depth, a):
    S = np.sqrt(a) * [1.0, 4.0, 2.0]
    decays = np.linalg.norm(S) * np.geomspace(1e-4, 2, 9)
    moments = SecondMoments.from_moments(np.diag(a), [S], 22.0)
    path = deep_linear_path(moments, weight_decays=decays, depth=depth)
    expected = [scanned_minimum(np.diag(a), S, 22.0, depth, gamma) for gamma in decays]
    # The scan adds terms of the size of c, the refinement is right to rounding.
    np.testing.assert_allclose(path.objectives, expected, atol=1e-12 * 22.0, rtol=0)
