"""solver="lbfgs": it ends at stationary points, in any units, and is recorded like descent."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from sklearn.datasets import load_diabetes, load_iris, load_linnerud

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
    TrainingWarning,
)
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from sklearn_deeplinear.dynamics.runs import _quasi_newton
from tests.dynamics.networks.every_network import CASES

X, Y = load_diabetes(return_X_y=True)


@pytest.mark.parametrize("units", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_default_fits_of_raw_targets_are_at_the_minimum(depth, units):
    model = DeepLinearRegressor(depth, solver="lbfgs").fit(X, units * Y)  # warnings are errors
    assert model.stop_reason_ == "converged"
    assert model.n_iter_ < 100
    assert -1e-12 <= model.optimality_gap_ / model.objective_ < 1e-8
    assert model.step_size_ is None


@pytest.mark.parametrize("depth", [2, 3])
def test_decayed_fits_are_at_the_minimum(depth):
    model = DeepLinearRegressor(depth, solver="lbfgs", weight_decay=0.1).fit(X, Y)
    assert model.optimality_gap_ / model.objective_ < 1e-8


def test_several_outputs_and_noise_reach_the_minimum():
    inputs, outputs = load_linnerud(return_X_y=True)
    plain = DeepLinearRegressor(2, solver="lbfgs").fit(inputs, outputs)
    assert plain.optimality_gap_ / plain.objective_ < 1e-8
    noisy = DeepLinearRegressor(2, 8, solver="lbfgs", noise=0.5, weight_decay=0.1).fit(X, Y)
    assert noisy.optimality_gap_ / noisy.objective_ < 1e-8


def test_pathways_end_at_the_minimum():
    pathways = MultiPathwayRegressor(3, 10, solver="lbfgs", random_state=0).fit(X, Y)
    assert pathways.optimality_gap_ / pathways.objective_ < 1e-8


def test_a_network_with_kinks_goes_down():
    inputs, classes = load_iris(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    model = HomogeneousMLPClassifier(
        2, 5, solver="lbfgs", weight_decay=0.01, random_state=0, max_iter=200, tol=0
    ).fit(inputs, classes)
    objective = model.trajectory_.objective
    assert (np.diff(objective) <= 1e-12 * objective[0]).all()
    assert model.score(inputs, classes) > 0.95


def test_a_search_that_kinks_keep_does_not_say_that_it_has_converged():
    rng = np.random.RandomState(1)
    inputs, outputs = rng.standard_normal((30, 2)), rng.standard_normal(30)
    model = HomogeneousMLPRegressor(2, 5, solver="lbfgs", random_state=0)
    with pytest.warns(TrainingWarning, match="found no way down from a kink") as caught:
        model.fit(inputs, outputs)
    norms = model.trajectory_.gradient_norm
    assert (model.stop_reason_, model.converged_) == ("stalled", False)
    assert norms[-1] > 1e-2 * norms[0]
    assert caught[0].message.gradient_ratio == norms[-1] / norms[0]
    model.set_params(tol=0).fit(inputs, outputs)  # warnings are errors
    assert (model.stop_reason_, model.converged_) == ("stalled", False)


def test_a_smooth_perceptron_ends_where_no_direction_leads_down():
    network = HomogeneousMLPRegressor(
        2, 4, activation="identity", solver="lbfgs", weight_decay=0.05, random_state=0
    ).fit(X / X.std(), Y / Y.std())
    scaled = X / X.std(), Y / Y.std()
    assert network.stop_reason_ == "converged"
    least, largest = (hessian_eigenvalues(network, *scaled, which=end)[0] for end in ("SA", "LA"))
    assert least > -1e-4 * largest


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.full is None and not case.batch]
)
def test_the_search_sees_the_gradient_of_what_it_minimises(name):
    dynamics = CASES[name].make(torch.empty(0, dtype=torch.float64))
    log = _quasi_newton.Log(dynamics)
    log.add(dynamics.state[None].clone(), [0], [0.0])
    search = _quasi_newton._Search(dynamics, log, np.array([0, 5]), None)
    x = dynamics.state.numpy(force=True).astype(float) / search.size
    value, gradient = search._evaluate(x)
    assert_allclose(value, 1.0, rtol=1e-6)
    numeric = approx_fprime(x, lambda z: search._evaluate(z)[0], 1e-7)
    assert_allclose(gradient, numeric, atol=2e-5 * np.abs(gradient).max())


def test_records_are_those_that_were_asked_for():
    model = DeepLinearRegressor(
        3,
        solver="lbfgs",
        record_every=5,
        record=["nuclear_norm"],
        record_weights=True,
        tol=0,
        max_iter=12,
    ).fit(X, Y)
    curves = model.trajectory_
    assert curves.iteration.tolist() == [0, 5, 10, 12]
    assert curves.time.tolist() == [0, 5, 10, 12]
    assert len(curves.weights) == len(curves.nuclear_norm) == len(model.balance_history_.layer) == 4
    for W, last in zip(model.weights_, curves.weights[-1], strict=True):
        assert_allclose(W, last)


def test_a_search_that_is_cut_off_says_so():
    with pytest.warns(TrainingWarning, match="without reaching tol"):
        model = DeepLinearRegressor(4, solver="lbfgs", weight_decay=0.1, max_iter=3).fit(X, Y)
    assert (model.n_iter_, model.stop_reason_, model.converged_) == (3, "max_iter", False)


def test_no_tolerance_makes_all_iterations_that_lead_down():
    model = DeepLinearRegressor(2, solver="lbfgs", tol=0, max_iter=100).fit(X, Y)
    assert model.n_iter_ > 30  # beyond what the default tolerance asks for
    assert abs(model.optimality_gap_) <= 1e-12 * model.objective_


def test_a_start_at_rest_stays_there():
    zeros = [np.zeros((3, 10)), np.zeros((1, 3))]
    model = DeepLinearRegressor(2, 3, solver="lbfgs", init=zeros).fit(X, Y)
    assert model.n_iter_ == 0
    assert not model.coef_.any()


def test_single_precision_is_as_good_as_it_can_be():
    model = DeepLinearRegressor(2, solver="lbfgs", dtype="float32").fit(X, Y)
    assert model.optimality_gap_ / model.objective_ < 1e-4


@pytest.mark.parametrize("size", [1e-6, 1e-8, 1e-20, 1e-100])
@pytest.mark.parametrize("depth", [2, 3])
def test_small_starts_are_no_minima(depth, size):
    """Near the saddle at zero objectives are equal numbers, and only slopes lead away from it."""
    rng = np.random.RandomState(0)
    shapes = itertools.pairwise([10, *[5] * (depth - 1), 1])
    start = [size * rng.standard_normal((rows, columns)) for columns, rows in shapes]
    model = DeepLinearRegressor(depth, 5, solver="lbfgs", init=start).fit(X, Y)
    assert model.stop_reason_ == "converged"
    assert model.optimality_gap_ / model.objective_ < 1e-8


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_run_that_rounding_moves_has_converged(n_classes):
    """A gradient this small is out of reach: objectives near the minimum are equal numbers."""
    inputs, classes = load_iris(return_X_y=True)
    inputs, classes = inputs[classes < n_classes], classes[classes < n_classes]
    model = DeepLinearClassifier(weight_decay=0.02, tol=1e-15).fit(inputs, classes)
    assert model.stop_reason_ == "converged" and model.n_iter_ < 200
    assert model.optimality_gap_ < 1e-12
