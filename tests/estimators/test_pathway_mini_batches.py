"""solver="sgd" and "adam" on parallel pathways: mini-batches through skorch."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback

from sklearn_deeplinear import DeepLinearRegressor, MultiPathwayRegressor
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.dynamics.runs._resident_data import ResidentBatches, ResidentData
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways
from sklearn_deeplinear.theory import SecondMoments

# Runs are cut short where the claim is about every epoch, not about the last.
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CASES = [
    {"weight_decay": [[0.05, 0.01], [0.1, 0.0, 0.02]]},
    {"fit_intercept": False},
    {"activation": "relu", "weight_decay": 0.05},
    {"activation": "relu", "activate_output": True, "fit_intercept": False},
    {"activation": "leaky_relu", "activate_output": True},
    {"activation": "tanh", "weight_decay": [[0.05, 0.01], [0.1, 0.0, 0.02]]},
]


def regression(n=120, d=5, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) + 2
    return X, X @ rng.standard_normal((d, 2)) + 0.3 * rng.standard_normal((n, 2)) + 5


def flat(weights):
    return np.concatenate([W.ravel() for path in weights for W in path])


@pytest.fixture
def model():
    return MultiPathwayRegressor(
        [2, 3], [[6], [4, 5]], init="xavier_normal", max_iter=20, tol=0, random_state=0
    )


@quick
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_epoch_of_one_batch_is_a_step_of_gradient_descent(model, case, weighted):
    """Step after step, for the intercept is the best one at the start of each epoch."""
    X, y = regression()
    weight = np.random.RandomState(1).randint(0, 4, len(X)) if weighted else None
    model.set_params(step_size=0.003, record_every=1, record_weights=True, **case)
    descent = clone(model).fit(X, y, weight)
    batch = clone(model).set_params(solver="sgd", batch_size=1000).fit(X, y, weight)
    paths = [[flat(weights) for weights in fit.trajectory_.weights] for fit in (batch, descent)]
    assert_allclose(*paths, rtol=1e-12, atol=1e-12)
    assert (np.abs(np.diff(paths[1], axis=0)).max(axis=1) > 1e-4).all()
    assert_allclose(batch.predict(X), descent.predict(X), rtol=1e-11)
    for curve in ("loss", "objective", "gradient_norm", "mode_strengths"):
        pair = [getattr(fit.trajectory_, curve) for fit in (batch, descent)]
        assert_allclose(*pair, rtol=1e-9, atol=1e-11)
    for history, other in zip(batch.balance_history_, descent.balance_history_, strict=True):
        assert_allclose(history.neuron, other.neuron, atol=1e-12)


def minimum(X, y, decay):
    """Least squares with a nuclear-norm penalty 2 decay ||M||_*, by proximal gradient steps.

    That is the minimum of two-layer pathways of equal decay; see `theory`.
    """
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    A, S = X.T @ X / len(X), y.T @ X / len(X)
    M, eta = np.zeros_like(S), 0.5 / np.linalg.eigvalsh(A)[-1]
    for _ in range(5000):
        U, s, Vt = np.linalg.svd(M - 2 * eta * (M @ A - S), full_matrices=False)
        M = U * np.maximum(s - 2 * eta * decay, 0) @ Vt
    s = np.linalg.svd(M, compute_uv=False)
    return np.sum((X @ M.T - y) ** 2) / len(X) + 2 * decay * s.sum()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_linear_pathways_come_near_the_exact_minimum(solver, decay):
    X, y = regression()
    model = MultiPathwayRegressor(2, 10, weight_decay=decay, solver=solver, batch_size=30)
    model.set_params(max_iter=100, tol=0, random_state=0).fit(X, y)
    assert 0 <= model.optimality_gap_ < 0.01 * model.objective_
    assert model.objective_ - model.optimality_gap_ == pytest.approx(minimum(X, y, decay), rel=1e-8)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(("depth", "unit"), [(1, 1e-6), (2, 1e-8), (3, 1e6)])
def test_automatic_steps_follow_the_units(solver, depth, unit):
    X, y = regression()
    model = MultiPathwayRegressor(depth, 10, solver=solver, batch_size=30, max_iter=200, tol=0)
    model.set_params(random_state=0).fit(X, unit * y)
    assert 0 <= model.optimality_gap_ < 0.05 * model.global_minimum_.objective


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_non_linear_pathways_learn_with_the_best_intercept(activation, solver):
    """No line fits them well; the mean of the residuals is zero at the best intercept."""
    rng = np.random.RandomState(0)
    X, weight = rng.standard_normal((200, 3)), rng.uniform(0, 2, 200)
    y = (np.abs if activation == "relu" else np.sign)(X[:, 0]) + 7
    model = MultiPathwayRegressor(2, 20, activation=activation, solver=solver, batch_size=20)
    model.set_params(max_iter=100, tol=0, random_state=0).fit(X, y, weight)
    residual = y - model.predict(X)
    assert abs(np.average(residual, weights=weight)) < 1e-12
    assert model.loss_ == pytest.approx(np.average(residual**2, weights=weight), rel=1e-10)
    line = LinearRegression().fit(X, y, weight).predict(X)
    assert model.loss_ < 0.9 * np.average((y - line) ** 2, weights=weight)
    # The net is the network, intercept included, on centred data.
    inputs = torch.tensor(X - model.moments_.mean_x)
    assert_allclose(model.net_.predict(inputs)[:, 0] + model.moments_.mean_y, model.predict(X))


@pytest.mark.parametrize("n_rest", [1, 2, 40])
def test_samples_left_over_do_not_make_a_tiny_batch(n_rest):
    """Steps that suit a batch of 100 diverge on a single sample, in many dimensions."""
    X, y = regression(200 + n_rest, d=50)
    sizes = ResidentBatches(ResidentData(torch.tensor(X), torch.tensor(y)), 100).sizes
    assert sum(sizes) == len(X) and len(sizes) == 3 and max(sizes) - min(sizes) <= 1
    for estimator in (MultiPathwayRegressor, DeepLinearRegressor):
        model = estimator(2, 10, solver="sgd", batch_size=100, max_iter=100, random_state=0)
        assert model.fit(X, y).score(X, y) > 0.99


def test_larger_rests_are_batches_of_their_own():
    for n, sizes in [(250, [100, 100, 50]), (200, [100, 100]), (70, [70])]:
        data = ResidentData(torch.zeros(n, 1), torch.zeros(n, 1))
        batches = ResidentBatches(data, 100)
        assert batches.sizes == [len(X) for X, _ in batches] == sizes


class Counter(Callback):
    def __init__(self, stop_after=None):
        self.epochs, self.stop_after = 0, stop_after

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        if self.epochs == self.stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_skorch_callbacks_are_called_and_can_stop(model, activation):
    X, y = regression()
    model.set_params(solver="sgd", activation=activation, batch_size=50)
    counter = Counter()
    model.set_params(callbacks=[("counter", counter)]).fit(X, y)
    assert counter.epochs == model.n_iter_ == len(model.net_.history) == 20
    losses = model.net_.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    model.set_params(callbacks=[Counter(stop_after=7)]).fit(X, y)
    assert (model.stop_reason_, model.n_iter_) == ("callback", 7)
    # The weights kept have the intercept that is best for them.
    assert_allclose((y - model.predict(X)).mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_seed_reproduces_the_run_and_global_state_is_left_alone(model, solver):
    X, y = regression()
    model.set_params(solver=solver, batch_size=16, activation="relu")
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first, second = clone(model).fit(X, y), clone(model).fit(X, y)
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert_array_equal(flat(first.weights_), flat(second.weights_))
    assert not np.array_equal(flat(first.weights_), flat(other.weights_))
    assert torch.equal(torch.get_rng_state(), before)
    assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_the_seed_orders_the_batches_of_given_weights(model):
    X, y = regression()
    init = clone(model).set_params(max_iter=0).fit(X, y).weights_
    model.set_params(solver="sgd", init=init, batch_size=16)
    first, other = (clone(model).set_params(random_state=seed).fit(X, y) for seed in (0, 1))
    assert not np.array_equal(flat(first.weights_), flat(other.weights_))


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_a_pickle_predicts_and_another_fit_forgets_the_net(model, activation):
    X, y = regression()
    model.set_params(solver="sgd", activation=activation).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict(X), model.predict(X))
    inputs = torch.tensor(X)
    assert_array_equal(copy.net_.predict(inputs), model.net_.predict(inputs))
    model.set_params(solver="gd", tol=1e9).fit(X, y)
    assert not hasattr(model, "net_")


def test_step_sizes_may_change_with_the_epoch_and_warm_starts_continue(model):
    X, y = regression()
    model.set_params(
        solver="sgd", batch_size=1000, record_every=1, step_size=lambda t: 0.01 / (t + 1)
    )
    model.fit(X, y)
    assert_allclose(np.diff(model.trajectory_.time), [0.01 / (t + 1) for t in range(20)])
    model.set_params(step_size=0.003, init=model.weights_)
    whole = clone(model).set_params(max_iter=40).fit(X, y)
    parts = clone(model).set_params(warm_start=True).fit(X, y).fit(X, y)
    assert_allclose(flat(parts.weights_), flat(whole.weights_), rtol=1e-10)


@quick
@parametrize_with_checks(
    [
        MultiPathwayRegressor(width=8, activation="relu", solver="adam", max_iter=100),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_module_has_the_parameters_of_the_dynamics_in_their_order(dtype):
    shapes = [[(4, 3), (2, 4)], [(5, 3), (6, 5), (2, 6)]]
    rng = np.random.RandomState(0)
    pathways = [
        [torch.tensor(rng.standard_normal(shape), dtype=dtype) for shape in path] for path in shapes
    ]
    moments = SecondMoments.from_data(rng.standard_normal((9, 3)), rng.standard_normal((9, 2)))
    rule = LinearPathways.from_moments(moments, pathways[0][0])
    dynamics = PathwayDynamics(pathways, rule, [[0.0] * 2, [0.0] * 3])
    module = ParallelPathways(shapes, dtype=dtype).fill(pathways)
    state = torch.nn.utils.parameters_to_vector(module.parameters())
    assert torch.equal(state, dynamics.state)
    assert {p.dtype for p in module.state_dict().values()} == {dtype}
