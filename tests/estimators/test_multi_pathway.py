"""What MultiPathwayRegressor learns: published runs, the theory's race and its minimum."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.datasets._hierarchical import make_hierarchical, make_linear_teacher
from sklearn_deeplinear.dynamics import compare_step_sizes
from sklearn_deeplinear.estimators._multi_pathway import MultiPathwayRegressor
from sklearn_deeplinear.theory import balance, balanced_factors
from sklearn_deeplinear.theory._pathway_flow import pathway_flow

DATA = Path(__file__).parents[1] / "data"

# Runs are cut short where the claim is about every iterate, not about the last.
quick = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit_reference(name, **parameters):
    """Our run on the settings of a published one, and the latter."""
    with np.load(DATA / f"shi2022_{name}.npz") as file:
        reference = dict(file)
    depth = int(name[-1])
    init = [[reference[f"init_{p}_{layer}"] for layer in range(depth)] for p in (0, 1)]
    model = MultiPathwayRegressor(
        depth,
        len(init[0][0]),
        init=init,
        step_size=float(reference["lr_sum_loss"]) * len(reference["X"]),
        max_iter=int(reference["steps"]),
        record_every=int(reference["every"]),
        record_weights=True,
        fit_intercept=False,
        tol=0,
        **parameters,
    ).fit(reference["X"], reference["Y"])
    return model, reference


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("linear_depth2", {}),
        ("linear_depth3", {}),
        ("relu_depth3", {"activation": "relu", "activate_output": True}),
    ],
)
def test_public_code_of_shi_et_al_is_reproduced(name, parameters):
    """The same weights after 600 or 1,500 steps: what differs is the order of rounding."""
    model, reference = fit_reference(name, **parameters)
    for p, weights in enumerate(model.weights_):
        for layer, W in enumerate(weights):
            assert_allclose(W, reference[f"final_{p}_{layer}"], atol=1e-12)
    losses = reference["loss_sum"] / len(reference["X"])
    assert_allclose(model.trajectory_.loss[:-1], losses, atol=1e-12)
    if "omega_0" in reference:
        for record, weights in enumerate(model.trajectory_.weights[:-1]):
            for p, path in enumerate(weights):
                omega = reference[f"omega_{p}"][record]
                assert_allclose(np.linalg.multi_dot(path[::-1]), omega, atol=1e-12)


def test_strengths_are_those_of_the_modes_of_the_task():
    model, reference = fit_reference("linear_depth3")
    U, _, Vt = np.linalg.svd(reference["Y"].T @ reference["X"], full_matrices=False)
    for p in (0, 1):
        expected = [np.diag(U.T @ omega @ Vt.T) for omega in reference[f"omega_{p}"]]
        # Modes of equal singular values may be turned into each other, by rounding.
        apart = [0, 1]
        strengths = model.trajectory_.mode_strengths[:-1, p]
        assert_allclose(strengths[:, apart], np.array(expected)[:, apart], atol=1e-10)
    assert_allclose(sum(model.pathway_coefs_), model.coef_, atol=1e-12)
    assert_allclose(model.mode_strengths_.sum(axis=0)[:2], [3.87298, 2.64575], atol=1e-4)
    assert_allclose(model.predict(reference["X"]), reference["X"] @ model.coef_.T)


def test_strengths_of_non_linear_pathways_on_one_hot_inputs_are_their_outputs():
    model, reference = fit_reference("relu_depth3", activation="relu", activate_output=True)
    U, _, Vt = np.linalg.svd(reference["Y"].T, full_matrices=False)
    strengths = []
    for W_1, W_2, W_3 in model.weights_:
        H = np.maximum(np.maximum(reference["X"] @ W_1.T, 0) @ W_2.T, 0)
        strengths.append(np.diag(U.T @ np.maximum(H @ W_3.T, 0).T @ Vt.T))
    assert_allclose(model.mode_strengths_[:, :2], np.array(strengths)[:, :2], atol=1e-10)


@quick
def test_one_pathway_is_a_deep_linear_network():
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    parameters = {"width": 6, "weight_decay": 0.01, "max_iter": 100, "step_size": 0.05, "tol": 0}
    parameters["record_every"] = 10
    deep = DeepLinearRegressor(3, init="normal", random_state=0, **parameters).fit(X, Y)
    init = [
        DeepLinearRegressor(3, init="normal", random_state=0, width=6, max_iter=0)
        .fit(X, Y)
        .weights_
    ]
    path = MultiPathwayRegressor(3, n_pathways=1, init=init, **parameters).fit(X, Y)
    assert_allclose(path.coef_, deep.coef_, rtol=1e-12)
    assert_allclose(path.trajectory_.objective, deep.trajectory_.objective, rtol=1e-12)
    assert_allclose(path.trajectory_.gradient_norm, deep.trajectory_.gradient_norm, rtol=1e-10)
    assert_allclose(path.balance_history_[0].matrix, deep.balance_history_.matrix, rtol=1e-8)
    assert path.objective_ - path.optimality_gap_ == pytest.approx(
        deep.global_minimum_.objective, rel=1e-9
    )


@quick
def test_equal_pathways_are_one_network_with_blocks():
    """Two pathways of width h move like one network of width 2 h that starts in blocks."""
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    paths = MultiPathwayRegressor(3, 5, random_state=0, max_iter=0).fit(X, Y).weights_
    blocks = [
        np.vstack([paths[0][0], paths[1][0]]),
        block_diag(paths[0][1], paths[1][1]),
        np.hstack([paths[0][2], paths[1][2]]),
    ]
    eta = {"step_size": 0.02, "max_iter": 1, "tol": 0}
    model = MultiPathwayRegressor(3, 5, init=paths, **eta).fit(X, Y)
    single = DeepLinearRegressor(3, 10, init=blocks, **eta).fit(X, Y)
    assert_allclose(np.vstack([W[0] for W in model.weights_]), single.weights_[0], rtol=1e-12)
    assert_allclose(np.hstack([W[2] for W in model.weights_]), single.weights_[2], rtol=1e-12)


@pytest.mark.parametrize("solver", ["gd", "flow"])
def test_balanced_pathways_run_the_race_of_the_theory(solver):
    """Aligned balanced pathways on white inputs follow da/dt = 2 L a^(2-2/L) (s - sum a)."""
    X, Y, coef = make_linear_teacher(40, 4, 3, singular_values=[3, 1], whiten=True, random_state=0)
    U, s, Vt = np.linalg.svd(coef, full_matrices=False)
    a_0, depths = np.array([[0.2, 0.1], [0.1, 0.3]]), (3, 2)
    init = [
        balanced_factors((U[:, :2] * a) @ Vt[:2], 4, depth=L)
        for a, L in zip(a_0, depths, strict=True)
    ]
    model = MultiPathwayRegressor(
        depths,
        [[4, 4], [4]],
        init=init,
        solver=solver,
        step_size=1e-3,
        max_iter=800,
        record_every=100,
        tol=0,
    ).fit(X, Y)
    flow = pathway_flow(s[:2], a_0, depths=depths)(model.trajectory_.time)
    # Descent is off the flow by O(eta); the solver keeps each step's error below 1e-8.
    atol = 5e-3 if solver == "gd" else 1e-6
    assert_allclose(model.trajectory_.mode_strengths, flow, atol=atol)
    assert model.dominant_pathway_.tolist() == [0, 1]


@quick
def test_flow_conserves_balance_and_descent_drifts_with_its_step():
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    common = {"width": 6, "random_state": 0, "init_scale": 0.3, "tol": 0}
    drifts = []
    for step_size, steps in [(0.02, 50), (0.01, 100)]:
        fit = MultiPathwayRegressor(3, step_size=step_size, max_iter=steps, **common).fit(X, Y)
        drifts.append(np.array([history.drift for history in fit.balance_history_]))
    assert_allclose(drifts[0] / drifts[1], 2, rtol=0.2)
    flow = MultiPathwayRegressor(
        3, solver="flow", flow_time=1.0, step_size=0.02, max_iter=50, **common
    ).fit(X, Y)
    assert flow.trajectory_.time[-1] == pytest.approx(1.0)
    for p, history in enumerate(flow.balance_history_):
        assert history.drift.max() < 1e-5 < drifts[1].min()
        now = balance(flow.weights_[p])
        assert_allclose(history.matrix[-1], now.matrix, rtol=1e-9)
        assert_allclose(history.neuron[-1], now.neuron, rtol=1e-9)
        assert_allclose(history.layer[-1], now.layer, rtol=1e-9)


def test_flow_is_the_flow_of_the_same_run():
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    gd = MultiPathwayRegressor(2, 6, random_state=0, max_iter=300, tol=0).fit(X, Y)
    flow = MultiPathwayRegressor(2, 6, random_state=0, max_iter=300, tol=0, solver="flow").fit(X, Y)
    assert_allclose(flow.trajectory_.time, gd.trajectory_.time, rtol=1e-12)
    assert_allclose(flow.coef_, gd.coef_, atol=0.1 * np.abs(gd.coef_).max())


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_converged_fit_meets_its_minimum(m, fit_intercept):
    X, Y, _ = make_linear_teacher(50, 4, m, noise=0.2, random_state=0)
    model = MultiPathwayRegressor(
        2,
        8,
        weight_decay=0.05,
        random_state=0,
        max_iter=20_000,
        tol=1e-7,
        fit_intercept=fit_intercept,
    ).fit(X, Y)
    assert model.stop_reason_ == "converged"
    assert model.global_minimum_.kind in ("exact", "certified")
    assert -1e-12 < model.optimality_gap_ / model.objective_ < 1e-9
    assert_allclose(
        model.coef_, np.reshape(model.global_minimum_.coef, model.coef_.shape), atol=1e-5
    )


def test_analytic_weights_attain_the_minimum():
    X, Y, _ = make_linear_teacher(
        50, 4, 3, singular_values=[3, 1, 0.5], noise=0.2, whiten=True, random_state=0
    )
    model = MultiPathwayRegressor(
        [2, 3], [[5], [5, 6]], weight_decay=[[0.3] * 2, [0.2] * 3], solver="analytic"
    ).fit(X, Y)
    assert model.converged_ and model.step_size_ is None
    assert abs(model.optimality_gap_) < 1e-10
    # The gradient is that of J at weights up to rounding.
    assert model.trajectory_.gradient_norm[-1] < 1e-6
    penalty = sum(
        g * np.sum(W**2) for g, path in zip((0.3, 0.2), model.weights_, strict=True) for W in path
    )
    assert model.objective_ == pytest.approx(model.loss_ + penalty, rel=1e-12)


@pytest.mark.parametrize(
    ("activation", "activate_output"),
    [("relu", False), ("leaky_relu", True), ("tanh", True), ("gelu", False)],
)
def test_non_linear_fit_predicts_what_it_was_trained_on(activation, activate_output):
    rng = np.random.RandomState(0)
    X, weight = rng.standard_normal((50, 3)) + 2, rng.uniform(0.5, 2, 50)
    Y = np.column_stack([np.abs(X[:, 0] - 2), X[:, 1]]) + 7
    model = MultiPathwayRegressor(
        [2, 3],
        [[20], [20, 10]],
        activation=activation,
        activate_output=activate_output,
        random_state=0,
        max_iter=1500,
        tol=0,
    ).fit(X, Y, sample_weight=weight)
    residual = Y - model.predict(X)
    mean_square = np.average((residual**2).sum(axis=1), weights=weight)
    assert model.loss_ == pytest.approx(mean_square, rel=1e-10)
    assert_allclose(np.average(residual, axis=0, weights=weight), 0, atol=1e-10)
    assert model.loss_ < 0.5 * model.trajectory_.loss[0]
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "global_minimum_")


@quick
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_default_fit_follows_the_units(depth, unit):
    X, Y, _ = make_linear_teacher(50, 4, 2, noise=0.2, random_state=0)
    model = MultiPathwayRegressor(depth, random_state=0).fit(X, unit * Y)
    assert 0 <= model.optimality_gap_ < 0.02 * model.moments_.output_moment
    other = MultiPathwayRegressor(depth, random_state=0).fit(3 * X, Y)
    assert 0 <= other.optimality_gap_ < 0.02 * other.moments_.output_moment


@quick
def test_deeper_pathways_share_less():
    """On the task of Shi et al. the race is decided the more clearly, the deeper it is."""
    X, Y = make_hierarchical()
    shares = [
        MultiPathwayRegressor(
            depth, 20, fit_intercept=False, init="balanced", random_state=1, max_iter=3000
        )
        .fit(X, Y)
        .dominant_share_[0]
        for depth in (2, 4)
    ]
    assert shares[1] > shares[0]


def test_warm_start_continues():
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    common = {"step_size": 0.01, "tol": 0, "random_state": 0, "width": 5}
    whole = MultiPathwayRegressor(max_iter=60, **common).fit(X, Y)
    parts = MultiPathwayRegressor(max_iter=30, warm_start=True, **common).fit(X, Y).fit(X, Y)
    assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)


def test_a_refit_forgets_what_the_former_fit_was():
    X, Y, _ = make_linear_teacher(30, 4, 3, random_state=0)
    model = MultiPathwayRegressor(width=4, max_iter=5, tol=0, random_state=0).fit(X, Y)
    model.set_params(activation="relu").fit(X, -Y)
    assert not hasattr(model, "coef_") and not hasattr(model, "pathway_coefs_")
    with pytest.raises(ValueError, match="warm_start=False, or keep the depth"):
        model.set_params(warm_start=True, depth=3).fit(X, Y)


def test_divergence_keeps_the_last_good_record():
    X, Y, _ = make_linear_teacher(30, 4, 3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model = MultiPathwayRegressor(step_size=50.0, random_state=0).fit(X, Y)
    assert model.stop_reason_ == "diverged"
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"depth": [2, 2, 2]}, "depth must have one entry per pathway, n_pathways=2"),
        ({"depth": 3, "width": [4]}, "width must be an int or have depth - 1 = 2"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"solver": "newton"}, "'solver' parameter .* a str among"),
        (
            {"solver": "sgd", "compression": "krylov"},
            'compression must be "exact" with solver="sgd"',
        ),
        ({"solver": "flow", "compression": "krylov"}, 'must be "exact" with solver="flow"'),
        ({"activation": "relu", "compression": "krylov"}, 'and activation="relu"'),
        ({"solver": "adam", "batch_size": 0}, "batch_size"),
        ({"activation": "relu", "solver": "analytic"}, 'needs activation="identity"'),
        ({"activation": "relu", "init": "spectral"}, 'init="spectral" is for'),
        ({"init": [None, None]}, r"init\[0\] must be a list of arrays"),
        ({"init": [[np.ones((4, 4))]]}, "init must hold a list of weights per pathway, 2"),
        ({"init": [[np.ones((4, 4))] * 2] * 2, "width": 4}, r"init\[0\] must hold W_2 of shape"),
        ({"solver": "analytic", "weight_decay": [0.1, 0.0]}, "weight_decay must be positive"),
        ({"solver": "flow", "flow_time": -1.0}, "flow_time"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    X, Y, _ = make_linear_teacher(30, 4, 3, random_state=0)
    with pytest.raises((ValueError, TypeError), match=match):
        MultiPathwayRegressor(**parameters).fit(X, Y)


@quick
@pytest.mark.parametrize("activation", ["identity", "tanh", "gelu"])
def test_step_sizes_can_be_compared(activation):
    """Smaller steps follow the flow more closely: the distance is proportional to the step."""
    X, Y, _ = make_linear_teacher(30, 4, 3, noise=0.1, random_state=0)
    model = MultiPathwayRegressor(2, 20, activation=activation, random_state=0, max_iter=50)
    comparison = compare_step_sizes(model, X, Y, step_size=0.02, divisors=(2, 4))
    ratio = comparison.distance["flow"][-1] / comparison.distance[2][-1]
    assert ratio == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("depth", [2, 3])
def test_wide_fit_in_krylov_space_is_the_wide_fit(depth):
    X, Y = make_hierarchical()
    common = {
        "fit_intercept": False,
        "init_scale": 0.02,
        "step_size": 0.08,
        "max_iter": 300,
        "tol": 0,
        "random_state": 0,
        "record_every": 30,
    }
    exact = MultiPathwayRegressor(depth, 200, **common).fit(X, Y)
    krylov = MultiPathwayRegressor(depth, 200, compression="krylov", **common).fit(X, Y)
    assert exact.compression_error_ == 0.0
    assert krylov.compression_error_ < 1e-3
    difference = np.abs(krylov.trajectory_.mode_strengths - exact.trajectory_.mode_strengths).max()
    assert difference <= max(krylov.compression_error_, 1e-10) * np.abs(exact.mode_strengths_).max()
    assert_allclose(krylov.coef_, exact.coef_, atol=1e-4)
