"""The run of DeepLinearRegressor: its steps, records, balance, units and endings."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import balance
from tests.estimators.references import descent, gradients
from tests.theory.brute_force import objective_and_gradient

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_data(n=30, d=4, m=2, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) + 1
    Y = X @ rng.standard_normal((d, m)) + rng.standard_normal((n, m))
    return X, Y, rng.randint(0, 4, size=n)


def recorded(depth=3, width=5, **parameters):
    """A model that records everything, from random weights, and makes all its steps."""
    defaults = {"init": "normal", "random_state": 0, "max_iter": 30, "tol": 0}
    return DeepLinearRegressor(
        depth, width, record_every=1, record_weights=True, **defaults | parameters
    )


def assert_same_path(path, wanted, tolerance=1e-10):
    """Compare lists of lists of layers, relative to the largest weight."""
    assert len(path) == len(wanted)
    for layers, references in zip(path, wanted, strict=True):
        for W, reference in zip(layers, references, strict=True):
            assert_allclose(W, reference, rtol=0, atol=tolerance * np.abs(reference).max())


@pytest.mark.parametrize("step_size", [0.004, lambda t: 0.01 / (t + 1)], ids=["float", "callable"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n", "d", "m"), [(30, 4, 1), (30, 4, 3), (30, 2, 5), (5, 12, 2), (3, 9, 11)]
)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_steps_are_those_of_automatic_differentiation(depth, n, d, m, weighted, step_size):
    """The loop a torch user would write, over the data and with unequal decays."""
    X, Y, weight = make_data(n, d, m)
    weight = weight + 0.5 if weighted else None
    gammas = np.linspace(0, 0.2, depth)
    model = recorded(depth, range(3, 2 + depth), weight_decay=gammas, step_size=step_size)
    model.fit(X, Y, sample_weight=weight)
    steps = [step_size(t) if callable(step_size) else step_size for t in range(30)]
    wanted = descent(
        model.trajectory_.weights[0], steps, lambda W: gradients(W, X, Y, gammas, weight)
    )
    assert_same_path(model.trajectory_.weights, wanted)
    curves = [gradients(weights, X, Y, gammas, weight) for weights in wanted]
    assert_allclose(model.trajectory_.objective, [J for J, _ in curves], rtol=1e-10)
    norms = [np.sqrt(sum(np.sum(g**2) for g in slopes)) for _, slopes in curves]
    assert_allclose(model.trajectory_.gradient_norm, norms, rtol=1e-8)
    assert_allclose(model.trajectory_.time, np.append(0, np.cumsum(steps)), rtol=1e-14)


@pytest.mark.parametrize("m", [1, 3])
def test_noisy_steps_descend_the_expected_objective(m):
    X, Y, _ = make_data(m=m)
    gammas, noise = [0.0, 0.1, 0.2], [0.5, 0.2]
    model = recorded(3, [4, 3], weight_decay=gammas, noise=noise, step_size=0.01).fit(X, Y)
    wanted = descent(
        model.trajectory_.weights[0],
        [0.01] * 30,
        lambda W: objective_and_gradient(W, model.moments_, gammas, noise),
    )
    assert_same_path(model.trajectory_.weights, wanted)


@pytest.mark.parametrize("init", ["spectral", "normal", "balanced", "orthogonal"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_automatic_step_never_raises_the_objective(depth, noise, init):
    X, Y, _ = make_data()
    model = recorded(depth, 6, weight_decay=0.05, noise=noise, init=init, max_iter=200).fit(X, Y)
    J = model.trajectory_.objective
    assert model.stop_reason_ == "max_iter"
    assert np.diff(J).max() <= 1e-14 * J[0]


@pytest.mark.parametrize("x_unit", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("y_unit", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_units_of_the_data_do_not_matter(depth, y_unit, x_unit):
    """With X in units a and y in units b, the same run: M in units b/a, J in units b^2.

    A layer is in units (b/a)^(1/L), so the decay is in units b^2 (b/a)^(-2/L).
    """
    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), y / y.std()
    decay_unit = y_unit**2 * (y_unit / x_unit) ** (-2 / depth)
    for gamma in (0.0, 0.05):
        model = DeepLinearRegressor(depth, 10, weight_decay=gamma, tol=0, max_iter=500)
        plain = clone(model).fit(X, y)
        scaled = clone(model).set_params(weight_decay=gamma * decay_unit)
        scaled.fit(X * x_unit, y * y_unit)
        assert_allclose(scaled.coef_ * x_unit / y_unit, plain.coef_, atol=1e-9)
        assert_allclose(
            scaled.trajectory_.objective / y_unit**2, plain.trajectory_.objective, rtol=1e-9
        )
        gap = scaled.trajectory_.objective - scaled.global_minimum_.objective
        assert gap[-1] < gap[0] / (50 if depth < 3 else 20)


def test_the_first_order_of_the_drift_vanishes():
    """One step changes D_l by exactly eta^2 (g_l g_l^T - g_{l+1}^T g_{l+1})."""
    X, Y, _ = make_data()
    eta = 0.1
    model = recorded(4, [5, 3, 6], step_size=eta, max_iter=1).fit(X, Y)
    start, end = model.trajectory_.weights
    g = gradients(start, X, Y)[1]
    before, after = balance(start).differences, balance(end).differences
    for layer in range(3):
        change = eta**2 * (g[layer] @ g[layer].T - g[layer + 1].T @ g[layer + 1])
        assert_allclose(after[layer] - before[layer], change, atol=1e-12)
        assert_allclose(model.balance_history_.change[1, layer], np.linalg.norm(change), rtol=1e-9)


def test_the_drift_halves_with_the_step():
    X, Y, _ = make_data()
    drifts = [
        recorded(3, step_size=0.02 / k, max_iter=50 * k).fit(X, Y).balance_history_.drift
        for k in (1, 2, 4)
    ]
    assert_allclose(drifts[0] / drifts[1], 2, rtol=0.1)
    assert_allclose(drifts[1] / drifts[2], 2, rtol=0.05)


@pytest.mark.parametrize("width", [3, 40])
def test_balance_history_is_the_balance_of_the_recorded_weights(width):
    X, Y, _ = make_data()
    model = recorded(3, width, weight_decay=0.1).fit(X, Y)
    history = model.balance_history_
    balances = [balance(weights) for weights in model.trajectory_.weights]
    start, scale = balances[0].differences, np.abs([b.matrix for b in balances]).max()
    for name in ("layer", "neuron", "matrix"):
        wanted = [getattr(b, name) for b in balances]
        assert_allclose(getattr(history, name), wanted, atol=1e-12 * scale)
    change = [
        [np.linalg.norm(D - D0) for D, D0 in zip(b.differences, start, strict=True)]
        for b in balances
    ]
    assert_allclose(history.change, change, atol=1e-7 * scale)
    assert_array_equal(history.iteration, model.trajectory_.iteration)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_warm_start_goes_on(depth):
    X, Y, _ = make_data()
    whole = recorded(depth, step_size=0.01, max_iter=100).fit(X, Y)
    halves = recorded(depth, step_size=0.01, max_iter=50, warm_start=True).fit(X, Y).fit(X, Y)
    assert_same_path([halves.weights_], [whole.weights_], 1e-12)
    cold = halves.set_params(warm_start=False).fit(X, Y)
    assert np.abs(cold.weights_[0] - whole.weights_[0]).max() > 1e-3


@pytest.mark.parametrize("start", ["warm_start", "init"])
def test_a_run_that_starts_at_the_minimum_has_converged(start):
    """There the gradient is rounding error, which no step can make a million times smaller."""
    X, Y, _ = make_data()
    done = DeepLinearRegressor(weight_decay=0.1, width=4, max_iter=20_000, tol=1e-12).fit(X, Y)
    model = done.set_params(tol=1e-6, max_iter=1000)
    model.set_params(**({"warm_start": True} if start == "warm_start" else {"init": done.weights_}))
    assert model.fit(X, Y).stop_reason_ == "converged"


@pytest.mark.parametrize("max_iter", [0, 1, 7, 999, 1000, 1001, 2500])
def test_default_records_are_few_and_hold_both_ends(max_iter):
    X, Y, _ = make_data()
    model = DeepLinearRegressor(width=3, max_iter=max_iter, tol=0).fit(X, Y)
    iterations = model.trajectory_.iteration
    assert (iterations[0], iterations[-1]) == (0, max_iter) and len(iterations) <= 1000
    assert model.n_iter_ == max_iter
    assert len(set(np.diff(iterations)[:-1])) <= 1


@pytest.mark.parametrize(
    ("every", "wanted"), [(1, range(11)), (4, [0, 4, 8, 10]), (10, [0, 10]), (99, [0, 10])]
)
def test_records_come_where_they_were_asked_for(every, wanted):
    X, Y, _ = make_data()
    model = recorded(3, [5, 6], max_iter=10).set_params(record_every=every).fit(X, Y)
    assert_array_equal(model.trajectory_.iteration, wanted)
    weights = model.trajectory_.weights
    assert len(weights) == len(model.trajectory_) == len(model.balance_history_)
    assert all([W.shape for W in layers] == [(5, 4), (6, 5), (2, 6)] for layers in weights)
    assert_same_path([weights[-1]], [model.weights_], 1e-15)


def test_weights_are_recorded_only_on_demand():
    assert DeepLinearRegressor(max_iter=3).fit(*make_data()[:2]).trajectory_.weights is None


def test_no_steps_leave_the_initial_weights():
    X, Y, _ = make_data()
    rng = np.random.RandomState(0)
    init = [rng.standard_normal((3, 4)), rng.standard_normal((2, 3))]
    model = DeepLinearRegressor(width=3, init=init, max_iter=0, tol=0).fit(X, Y)
    assert_array_equal(model.weights_[0], init[0])
    assert (model.n_iter_, model.stop_reason_, len(model.trajectory_)) == (0, "max_iter", 1)


def test_a_converged_run_stops_early_and_only_then():
    X, Y, _ = make_data()
    model = DeepLinearRegressor(width=4, weight_decay=0.1, max_iter=5000, tol=1e-4, record_every=1)
    norm = model.fit(X, Y).trajectory_.gradient_norm
    assert model.converged_ and model.stop_reason_ == "converged" and model.n_iter_ < 5000
    assert norm[-1] <= 1e-4 * norm[0] < norm[-2]


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_all_steps_on_purpose_are_no_reason_to_warn():
    model = DeepLinearRegressor(width=4, max_iter=20, tol=0).fit(*make_data()[:2])
    assert (model.n_iter_, model.stop_reason_, model.converged_) == (20, "max_iter", False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_keeps_the_last_finite_record(dtype):
    X, Y, _ = make_data()
    model = recorded(3, step_size=5.0, max_iter=100, dtype=dtype)
    with pytest.warns(ConvergenceWarning, match="step_size"):
        model.fit(X, Y)
    assert (model.stop_reason_, model.converged_) == ("diverged", False)
    assert 0 < model.n_iter_ < 100 and len(model.trajectory_) == model.n_iter_ + 1
    assert all(np.isfinite(W).all() for W in model.weights_)
    assert np.isfinite(model.trajectory_.objective).all() and np.isfinite(model.coef_).all()
    assert_same_path([model.trajectory_.weights[-1]], [model.weights_], 1e-15)


@pytest.mark.parametrize("iteration", [0, 1, 10, 333])
def test_an_interrupt_keeps_the_last_record(iteration):
    """Control-C ends training, not the session, and the network of the last record stays."""
    X, Y, _ = make_data()

    def step_size(t):
        if t == iteration:
            raise KeyboardInterrupt
        return 0.01

    model = recorded(2, step_size=step_size, max_iter=500)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X, Y)
    assert model.stop_reason_ == "interrupted" and model.n_iter_ == iteration
    plain = recorded(2, step_size=0.01, max_iter=iteration).fit(X, Y)
    assert_same_path([model.weights_], [plain.weights_], 1e-14)
    tiny = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    assert tiny / 2 > 0  # denormals live again


def test_verbose_prints_about_ten_lines(capsys):
    X, Y, _ = make_data()
    DeepLinearRegressor(width=3, max_iter=5000, tol=0, verbose=1).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert 8 <= len(lines) <= 12
    assert "5000" in lines[-1] and "objective" in lines[-1]
    DeepLinearRegressor(width=3, max_iter=5000, tol=0).fit(X, Y)
    assert capsys.readouterr().out == ""
