"""DeepLinearRegressor as a scikit-learn estimator: its checks, and life among its tools."""

import pickle

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear import DeepLinearRegressor

# The checks fit small data for few steps: not converging is no fault there.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CONFIGURATIONS = [
    DeepLinearRegressor(max_iter=200),
    DeepLinearRegressor(depth=1, max_iter=200),
    DeepLinearRegressor(depth=3, width=[4, 2], weight_decay=1e-3, max_iter=100),
    DeepLinearRegressor(width=5, noise=0.1, max_iter=100),
    DeepLinearRegressor(solver="analytic"),
    DeepLinearRegressor(depth=3, weight_decay=0.1, solver="analytic"),
    DeepLinearRegressor(dtype="float32", max_iter=100),
    DeepLinearRegressor(init="normal", width=8, max_iter=100),
    DeepLinearRegressor(init="balanced", init_scale=0.1, max_iter=200),
    DeepLinearRegressor(depth=3, init="identity", fit_intercept=False, max_iter=50),
    DeepLinearRegressor(record_weights=True, record_every=7, tol=0, max_iter=50),
]


# Those of one kind each: default, deep with decay, noisy, solved and in single precision.
@parametrize_with_checks([CONFIGURATIONS[i] for i in (0, 2, 3, 5, 6)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 5))
    Y = X @ rng.standard_normal((5, 3)) + 0.5 * rng.standard_normal((40, 3)) + 2
    return X, Y, rng.randint(0, 4, size=40)


def same_fit(first, second, rtol=1e-9):
    assert_allclose(first.coef_, second.coef_, rtol=rtol, atol=rtol)
    assert_allclose(first.intercept_, second.intercept_, rtol=rtol, atol=rtol)
    for curve in ("loss", "objective", "gradient_norm"):
        assert_allclose(
            getattr(first.trajectory_, curve),
            getattr(second.trajectory_, curve),
            rtol=rtol,
            atol=1e-12,
        )


@pytest.mark.parametrize("model", CONFIGURATIONS[:5] + CONFIGURATIONS[7:], ids=str)
def test_weights_repeat_and_remove_samples(model, data):
    """A weight of k stands for k copies all along the run, and none for no sample."""
    X, Y, weight = data
    weighted = clone(model).set_params(random_state=0).fit(X, Y, sample_weight=weight)
    repeated = clone(model).set_params(random_state=0)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0))
    same_fit(weighted, repeated)
    same_fit(clone(weighted).fit(X, Y, sample_weight=7.5 * weight), weighted)


@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(depth=1, step_size=0.05, max_iter=50, tol=0, weight_decay=0.1),
        DeepLinearRegressor(depth=1, solver="analytic", weight_decay=0.1),
        DeepLinearRegressor(depth=3, solver="analytic"),
    ],
    ids=str,
)
def test_outputs_do_not_share_anything_without_shared_layers(model, data):
    X, Y, _ = data
    together = clone(model).fit(X, Y)
    for column, coef in zip(Y.T, together.coef_, strict=True):
        assert_allclose(clone(model).fit(X, column).coef_, coef, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("model", CONFIGURATIONS, ids=str)
def test_one_column_keeps_two_dimensions(model, data):
    X, Y, _ = data
    flat = clone(model).set_params(random_state=0).fit(X, Y[:, 0])
    column = clone(model).set_params(random_state=0).fit(X, Y[:, :1])
    assert flat.coef_.shape == (5,) and np.ndim(flat.intercept_) == 0
    assert column.coef_.shape == (1, 5) and np.shape(column.intercept_) == (1,)
    for y_flat, y_column in zip(
        flat.predict(X, return_std=True), column.predict(X, return_std=True), strict=True
    ):
        assert y_flat.shape == (40,) and y_column.shape == (40, 1)
        assert_allclose(y_flat, y_column[:, 0])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_goes_on_when_a_candidate_diverges(n_jobs):
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressor(max_iter=50))
    grid = {"deeplinearregressor__step_size": [1e3, "auto"]}
    search = GridSearchCV(pipeline, grid, n_jobs=n_jobs, cv=2).fit(X, y)
    assert search.best_params_["deeplinearregressor__step_size"] == "auto"
    assert search.best_score_ > 0.4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validation_scores_and_keeps_the_fits():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressor(max_iter=50))
    scores = cross_validate(pipeline, X, y, cv=3, return_estimator=True)
    assert (scores["test_score"] > 0.4).all()
    assert all(hasattr(fit[-1], "trajectory_") for fit in scores["estimator"])


def fitted_models(data):
    X, Y, weight = data
    yield DeepLinearRegressor(depth=3, width=4, weight_decay=0.1, record_weights=True).fit(X, Y)
    yield DeepLinearRegressor(noise=0.2, width=4).fit(X, Y[:, 0], sample_weight=weight)


def test_pickle_keeps_everything(data):
    for model in fitted_models(data):
        copy = pickle.loads(pickle.dumps(model))
        assert_array_equal(copy.predict(data[0]), model.predict(data[0]))
        assert copy.optimality_gap_ == model.optimality_gap_
        assert_array_equal(copy.trajectory_.loss, model.trajectory_.loss)


def test_skops_trusts_the_package_alone(data):
    """What has to be trusted is the package's own classes: no functions, no torch."""
    for model in fitted_models(data):
        model.optimality_gap_  # noqa: B018  computes what is cached
        dumped = skops.io.dumps(model)
        types = skops.io.get_untrusted_types(data=dumped)
        assert all(name.startswith("sklearn_deeplinear.") for name in types)
        copy = skops.io.loads(dumped, trusted=types)
        assert_array_equal(copy.predict(data[0]), model.predict(data[0]))
        assert copy.optimality_gap_ == model.optimality_gap_


def test_clone_keeps_given_weights_and_forgets_the_fit(data):
    X, Y, _ = data
    rng = np.random.RandomState(0)
    init = [rng.standard_normal((4, 5)), rng.standard_normal((3, 4))]
    model = DeepLinearRegressor(width=4, init=init, max_iter=3).fit(X, Y)
    copy = clone(model)
    assert not hasattr(copy, "weights_")
    same_fit(copy.fit(X, Y), model, rtol=1e-15)
    assert_array_equal(model.init[0], init[0])


def test_feature_names_are_kept(data):
    pandas = pytest.importorskip("pandas")
    X, Y, _ = data
    frame = pandas.DataFrame(X, columns=list("abcde"), index=np.arange(40)[::-1])
    model = DeepLinearRegressor(max_iter=20).fit(frame, pandas.DataFrame(Y, index=frame.index))
    assert list(model.feature_names_in_) == list("abcde")
    assert_allclose(model.coef_, DeepLinearRegressor(max_iter=20).fit(X, Y).coef_, rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("edcba")])


def test_a_read_only_memmap_is_as_good_as_an_array(data, tmp_path):
    X, Y, _ = data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = DeepLinearRegressor(max_iter=20)
    assert_array_equal(model.fit(mapped, Y).coef_, clone(model).fit(X, Y).coef_)
    assert_array_equal(np.load(tmp_path / "X.npy"), X)


def test_devices_agree(device, data):
    """In float32, to a hundred times its rounding; and the fitted attributes are numpy's."""
    X, Y, _ = data
    here = DeepLinearRegressor(device=device, dtype="float32", max_iter=100, tol=0).fit(X, Y)
    wanted = DeepLinearRegressor(device="cpu", max_iter=100, tol=0).fit(X, Y)
    assert_allclose(here.coef_, wanted.coef_, rtol=1e-5, atol=1e-5 * np.abs(wanted.coef_).max())
    assert_allclose(here.trajectory_.objective, wanted.trajectory_.objective, rtol=1e-5)
    assert all(isinstance(W, np.ndarray) and W.dtype == np.float32 for W in here.weights_)


def torch_settings():
    tiny = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        bool(tiny / 2 > 0),  # denormals are not flushed
    )


def test_global_state_is_left_alone(data):
    X, Y, _ = data
    np.random.seed(3)  # noqa: NPY002  the state that must not move
    torch.manual_seed(3)
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    before = torch_settings()
    for init in ("normal", "balanced", "orthogonal", "xavier_uniform"):
        DeepLinearRegressor(init=init, random_state=0, max_iter=5).fit(X, Y)
    DeepLinearRegressor(step_size=1e3, max_iter=50).fit(X, Y)  # diverges
    assert torch_settings() == before
    for old, new in zip(numpy_state, np.random.get_state(), strict=True):  # noqa: NPY002
        assert_array_equal(old, new)
    assert torch.equal(torch_state, torch.get_rng_state())


def test_random_state_makes_fits_repeatable(data):
    X, Y, _ = data
    model = DeepLinearRegressor(init="normal", random_state=0, max_iter=5)
    same_fit(clone(model).fit(X, Y), clone(model).fit(X, Y), rtol=1e-15)
    other = clone(model).set_params(random_state=1).fit(X, Y)
    assert np.abs(other.weights_[0] - model.fit(X, Y).weights_[0]).max() > 0.1


def test_warnings_point_at_the_line_that_called_fit(data):
    with pytest.warns(ConvergenceWarning) as caught:
        DeepLinearRegressor(max_iter=2).fit(*data[:2])
    assert caught[0].filename == __file__
