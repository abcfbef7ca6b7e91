"""What else runs record on request."""

import numpy as np
import pytest

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPRegressor, MultiPathwayRegressor
from sklearn_deeplinear.dynamics.runs._spectrum import effective_rank


def make_data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((30, 4))
    return X, X @ rng.standard_normal((4, 3)) + 0.1 * rng.standard_normal((30, 3))


@pytest.mark.parametrize("Model", [DeepLinearRegressor, MultiPathwayRegressor])
def test_a_flag_and_a_name_record_the_same(Model):
    X, y = make_data()
    model = Model(2, 5, max_iter=6, tol=0, random_state=0)
    named = model.set_params(record=["sharpness", "sharpness"]).fit(X, y).trajectory_.sharpness
    flagged = model.set_params(record=(), record_sharpness=True).fit(X, y).trajectory_.sharpness
    np.testing.assert_array_equal(named, flagged)
    assert len(named) == 7


@pytest.mark.parametrize("Model", [DeepLinearRegressor, MultiPathwayRegressor])
def test_what_is_not_known_is_named(Model):
    with pytest.raises(ValueError, match="record must hold names among .*sharpness.*sharpnes'"):
        Model(record=["sharpnes"]).fit(*make_data())


def test_what_was_not_asked_for_is_not_there():
    run = HomogeneousMLPRegressor(max_iter=2, tol=0).fit(*make_data()).trajectory_
    assert run.sharpness is None
    with pytest.raises(AttributeError, match="no attribute 'nuclear_norm'"):
        run.nuclear_norm  # noqa: B018


@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(3, 5, init="normal"),
        DeepLinearRegressor(2, 90, init="normal"),  # trained in fewer dimensions
        DeepLinearRegressor(2, 5, noise=0.3),
        MultiPathwayRegressor((1, 3), 5),
        HomogeneousMLPRegressor(2, 5, activation="identity", fit_bias=False),
    ],
    ids=["plain", "compressed", "noisy", "pathways", "perceptron"],
)
def test_spectrum_is_that_of_the_recorded_weights(model):
    names = ["nuclear_norm", "effective_rank"]
    options = {"max_iter": 8, "tol": 0, "random_state": 0, "record_weights": True}
    run = model.set_params(record=names, **options).fit(*make_data()).trajectory_
    for record, weights in enumerate(run.weights):
        paths = weights if isinstance(weights[0], list) else [weights]
        M = 0
        for path in paths:
            product = np.eye(4)
            for W in path:
                product = W @ product
            M = M + product
        sigma = np.linalg.svd(M, compute_uv=False)
        shares = sigma / sigma.sum()
        assert run.nuclear_norm[record] == pytest.approx(sigma.sum(), rel=1e-12)
        entropy = -sum(p * np.log(p) for p in shares if p > 0)
        assert run.effective_rank[record] == pytest.approx(np.exp(entropy), rel=1e-10)
    assert {"nuclear_norm", "effective_rank"} <= set(run.to_frame().columns)


def test_effective_rank_of_known_spectra():
    """That of k equal singular values is k; the zero map has none."""
    sigma = np.array([[2.0, 2.0, 0.0], [1e-200, 0, 0], [0, 0, 0], [3e100, 3e100, 3e100]])
    np.testing.assert_allclose(effective_rank(sigma), [2, 1, 0, 3], rtol=1e-14)


def test_networks_without_a_map_have_no_spectrum():
    for model in (HomogeneousMLPRegressor(), MultiPathwayRegressor(activation="tanh")):
        with pytest.raises(ValueError, match='"nuclear_norm" for linear networks only'):
            model.set_params(record=["nuclear_norm"]).fit(*make_data())
