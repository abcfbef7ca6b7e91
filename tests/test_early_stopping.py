"""Runs that end when the loss on validation data no longer falls, and keep the best weights."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.model_selection import train_test_split

from sklearn_deeplinear import (
    DeepLinearClassifier,
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.dynamics.runs._descent import descend
from sklearn_deeplinear.dynamics.runs._validation import EarlyStopping, ValidationData
from tests.dynamics.networks.every_batch import KINDS, Kind, Sweep, linear
from tests.test_crossing import CASES, MODELS, data_of, flat, histories, model_of

PATIENCE = 3


def validation_of(name):
    """Data that say the opposite after a while: noise, and few of them."""
    X, y = data_of(name)
    rng = np.random.RandomState(3)
    y_val = rng.choice(y, 6) if is_classifier(MODELS[name]) else rng.standard_normal((6, 2))
    return rng.standard_normal((6, 3)), y_val


def end_by_hand(losses, patience):
    """Index of the last record, and that of the best one."""
    best, waited = 0, 0
    for r in range(1, len(losses)):
        best, waited = (r, 0) if losses[r] < losses[best] else (best, waited + 1)
        if waited == patience:
            return r, best
    return len(losses) - 1, best


# Every second: all models, and all solvers with half of them.
@pytest.mark.parametrize(("name", "solver"), CASES[::2])
def test_the_run_ends_after_its_patience_and_keeps_the_best_record(name, solver):
    data, (X_val, y_val) = data_of(name), validation_of(name)
    model = model_of(name, solver).set_params(
        max_iter=40, step_size=0.05, record_sharpness=False, weight_decay=0.0
    )
    if solver == "flow":
        model.set_params(flow_time=0.2, max_iter=10)  # past kinks it takes many small steps
    if solver == "analytic" and is_classifier(model):
        model.set_params(weight_decay=0.05)  # else there is no minimum
    whole = clone(model).fit(*data, X_val=X_val, y_val=y_val)
    early = clone(model).set_params(early_stopping=True, n_iter_no_change=PATIENCE)
    early.fit(*data, X_val=X_val, y_val=y_val)
    last, best = end_by_hand(whole.trajectory_.validation_loss, PATIENCE)
    run, n = early.trajectory_, last + 1
    # The same run, cut off: all records are kept.
    for curve in ("iteration", "loss", "validation_loss", "objective"):
        assert_array_equal(getattr(run, curve), getattr(whole.trajectory_, curve)[:n])
    assert [len(history) for history in histories(early)] == [n] * len(histories(early))
    assert_array_equal(flat(early.weights_), flat(run.weights[best]))
    assert_array_equal(flat(early.weights_), flat(whole.trajectory_.weights[best]))
    single = flat(early.weights_).dtype == np.float32
    assert_allclose(early.loss_, run.loss[best], rtol=1e-5 if single else 0)
    assert_allclose(early.objective_, run.objective[best], rtol=1e-5 if single else 0)
    assert early.best_validation_loss_ == run.validation_loss[best] == run.validation_loss.min()
    if solver != "analytic":
        assert early.n_iter_ == run.iteration[best]
        stopped = last - best == PATIENCE
        if n < len(whole.trajectory_):
            assert early.stop_reason_ == "early_stopping" and stopped and not early.converged_
    if hasattr(early, "mode_strengths_"):
        assert_array_equal(early.mode_strengths_, run.mode_strengths[best])
    if hasattr(early, "net_"):
        found = [p.detach().numpy() for p in early.net_.module_.parameters()]
        assert_array_equal(np.sort(flat(found)), np.sort(flat([early.weights_, _biases(early)])))


def _biases(model):
    return getattr(model, "biases_", None) or []


def test_most_runs_above_do_stop_early():
    ends = {}
    for name, solver in CASES:
        if solver == "gd":
            model = model_of(name, solver).set_params(max_iter=300, step_size=0.05)
            model.set_params(early_stopping=True, record_sharpness=False)
            X_val, y_val = validation_of(name)
            ends[name] = model.fit(*data_of(name), X_val=X_val, y_val=y_val).stop_reason_
    assert sum(end == "early_stopping" for end in ends.values()) >= len(ends) // 2, ends


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name", ["linear", "relu pathways", "perceptron", "linear classifier", "classifier"]
)
def test_without_validation_data_a_part_is_held_out(name, weighted):
    X, y = data_of(name)
    X, y = np.tile(X, (4, 1)) + np.random.RandomState(0).standard_normal((56, 3)), np.tile(y.T, 4).T
    weight = np.random.RandomState(1).uniform(0.5, 2, 56) if weighted else None
    model = model_of(name, "gd").set_params(early_stopping=True, validation_fraction=0.25)
    model.fit(X, y, weight)
    weight = np.ones(56) if weight is None else weight
    X, X_val, y, y_val, w, w_val = train_test_split(
        X, y, weight, test_size=0.25, random_state=0, stratify=y if is_classifier(model) else None
    )
    given = clone(model).fit(X, y, w, X_val, y_val, w_val)
    assert_allclose(flat(model.weights_), flat(given.weights_), rtol=1e-12, atol=1e-15)
    assert_allclose(
        model.trajectory_.validation_loss, given.trajectory_.validation_loss, rtol=1e-12
    )
    assert len(model.predict(X)) == 42


def test_the_split_follows_the_random_state():
    X, y = np.random.RandomState(0).standard_normal((2, 40, 3))
    model = DeepLinearRegressor(early_stopping=True, max_iter=20, tol=0)
    fits = [clone(model).set_params(random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    losses = [fit.best_validation_loss_ for fit in fits]
    assert losses[0] == losses[1] != losses[2]
    assert fits[0].moments_.n_samples == 36


def test_a_split_of_no_seed_leaves_the_global_state_alone():
    X, y = np.random.RandomState(0).standard_normal((2, 40, 3))
    before = np.random.get_state()[1]  # noqa: NPY002
    model = DeepLinearRegressor(early_stopping=True, max_iter=20, tol=0)
    losses = {model.fit(X, y).best_validation_loss_ for _ in range(3)}
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert len(losses) > 1


def test_a_run_that_stops_early_does_not_warn_but_one_that_does_not_end_does():
    X, y = data_of("linear")
    options = {"early_stopping": True, "n_iter_no_change": 5, "step_size": 0.05}
    model = DeepLinearRegressor(3, max_iter=2000, **options)
    X_val, y_val = validation_of("linear")
    assert model.fit(X, y, X_val=X_val, y_val=y_val).stop_reason_ == "early_stopping"
    with pytest.warns(match="max_iter steps without reaching tol"):
        model.set_params(max_iter=3, tol=1e-9).fit(X, y, X_val=X, y_val=y)


def test_what_converged_has_converged_at_the_best_record():
    X, y = data_of("linear")
    model = DeepLinearRegressor(early_stopping=True, n_iter_no_change=10**6, max_iter=10_000)
    model.fit(X, y, X_val=X, y_val=y)
    assert model.stop_reason_ == "converged" and model.converged_
    assert model.best_validation_loss_ == model.trajectory_.validation_loss.min()


@pytest.mark.parametrize("solver", ["gd", "flow", "lbfgs", "adam"])
def test_runs_whose_loss_never_falls_keep_their_start(solver):
    X, y = data_of("linear")
    model = model_of("linear", solver).set_params(max_iter=50, early_stopping=True)
    model.set_params(n_iter_no_change=1, init_scale=0.01, step_size=0.05, record_sharpness=False)
    # What is learnt is wrong at once: the opposite.
    model.fit(X, y, X_val=X, y_val=-10 * y + 20 * y.mean(axis=0))
    assert model.n_iter_ == 0 and model.stop_reason_ == "early_stopping"
    assert len(model.trajectory_) == 2
    assert_array_equal(flat(model.weights_), flat(model.trajectory_.weights[0]))


def test_krylov_spaces_stop_early_too():
    options = {"max_iter": 200, "tol": 0, "record_every": 1, "random_state": 0}
    model = MultiPathwayRegressor(3, 200, compression="krylov", early_stopping=True, **options)
    X_val, y_val = validation_of("pathways")
    krylov = model.fit(*data_of("pathways"), X_val=X_val, y_val=y_val)
    full = clone(model).set_params(compression="exact")
    full.fit(*data_of("pathways"), X_val=X_val, y_val=y_val)
    assert krylov.n_iter_ == full.n_iter_ and krylov.stop_reason_ == full.stop_reason_
    assert_allclose(krylov.coef_, full.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "spacing"), [("linear", 1), ("relu perceptron", 7), ("linear classes", 1)]
)
def test_networks_of_a_batch_stop_one_by_one(kind, spacing):
    kind = Kind(linear) if kind == "linear" else KINDS[kind]
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((3, 8, kind.d)), rng.standard_normal((3, 8, kind.m))
    shares, iterations = np.full((3, 8), 1 / 8), np.arange(0, 100, spacing)
    loss = "squared_error"
    if kind.classes:
        loss, Y = "cross_entropy", np.eye(kind.m)[rng.randint(kind.m, size=(3, 8))]

    def train(network, folds):
        data = ValidationData(X[folds], Y[folds], shares[folds], loss)
        meters = [EarlyStopping(network, data, 4)]
        return descend(network, lambda t: 0.05, iterations, meters=meters)

    with torch.no_grad():
        sweep = Sweep(kind)
        runs = train(sweep.batch, slice(None))
        for index, network in sweep.networks.items():
            run, own = runs[index], train(network, index[-1])
            assert (run.stop_reason, run.n_iter) == (own.stop_reason, own.n_iter)
            assert_array_equal(run.trajectory.iteration, own.trajectory.iteration)
            assert_allclose(
                run.trajectory.validation_loss, own.trajectory.validation_loss, rtol=1e-10
            )
            torch.testing.assert_close(sweep.batch.state[index], network.state)
    ends = {(run.stop_reason, len(run.trajectory)) for run in runs.flat}
    assert len(ends) > 2  # they do differ


@pytest.mark.parametrize("cls", [DeepLinearRegressor, MultiPathwayRegressor])
def test_moments_hold_no_samples_to_hold_out(cls):
    moments = DeepLinearRegressor(max_iter=0).fit(*data_of("linear")).moments_
    with pytest.raises(ValueError, match="early_stopping must be False in fit_moments"):
        cls(early_stopping=True).fit_moments(moments)


@pytest.mark.parametrize("cls", [DeepLinearClassifier, HomogeneousMLPClassifier])
def test_the_parts_hold_every_class(cls):
    X, y = data_of("classifier")
    with pytest.raises(ValueError, match="validation_fraction must leave"):
        cls(early_stopping=True).fit(X, [*y[:-5], *"ddddf"])
    with pytest.raises(ValueError, match="validation_fraction must leave"):
        cls(early_stopping=True).fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="[Uu]nknown label type"):
        cls(early_stopping=True).fit(X, np.linspace(0, 1, 14))


@pytest.mark.parametrize("name", ["linear", "tanh pathways", "perceptron", "linear classifier"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_each_part_has_a_weight(name, part):
    X, y = data_of(name)
    model = model_of(name, "gd").set_params(early_stopping=True, validation_fraction=0.3)
    strata = y if is_classifier(model) else None
    rows = train_test_split(np.arange(14), test_size=0.3, random_state=0, stratify=strata)
    weight = np.ones(14)
    weight[rows[part == "validation"]] = 0.0
    with pytest.raises(ValueError, match="validation_fraction.*samples of one part.*weight zero"):
        model.fit(X, y, weight)
