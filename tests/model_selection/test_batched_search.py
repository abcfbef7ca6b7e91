"""BatchedGridSearchCV against GridSearchCV over the same estimators."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.estimators._fit_together import stacks
from sklearn_deeplinear.model_selection import BatchedGridSearchCV, BatchedRandomizedSearchCV
from sklearn_deeplinear.model_selection._own_scores import r2_scores

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X = RNG.standard_normal((60, 5)) * [1, 2, 0.5, 1, 3] + 1
Y = X @ RNG.standard_normal((5, 2)) + RNG.standard_normal((60, 2))
LABELS = np.array(["a", "b", "c"])[np.digitize(Y[:, 0], np.quantile(Y[:, 0], [0.3, 0.6]))]
RUN = {"max_iter": 40, "random_state": 0}
DECAYS = {"weight_decay": [0.0, 0.02, 0.5]}
CASES = {
    "linear": (DeepLinearRegressor(3, 6, **RUN), {**DECAYS, "depth": [1, 2, 3]}, Y),
    "one output": (DeepLinearRegressor(2, 6, **RUN), {**DECAYS, "init": ["normal"]}, Y[:, 0]),
    "noisy": (DeepLinearRegressor(2, 6, **RUN), {**DECAYS, "noise": [0.0, 0.1, 0.5]}, Y),
    "steps": (DeepLinearRegressor(2, 6, tol=0, **RUN), {"step_size": [0.01, 0.001, "auto"]}, Y),
    "ends": (DeepLinearRegressor(2, 6, max_iter=3000), {"tol": [1e-2, 1e-4, 0.3]}, Y),
    "through zero": (DeepLinearRegressor(2, 6, fit_intercept=False, **RUN), DECAYS, Y),
    "single precision": (DeepLinearRegressor(2, 6, dtype="float32", **RUN), DECAYS, Y),
    "pathways": (MultiPathwayRegressor((1, 3), 4, **RUN), DECAYS, Y),
    "tanh pathways": (MultiPathwayRegressor(2, 4, activation="tanh", **RUN), DECAYS, Y),
    "relu pathways": (MultiPathwayRegressor(2, 4, activation="relu", **RUN), DECAYS, Y),
    "perceptrons": (HomogeneousMLPRegressor(3, 4, **RUN), DECAYS, Y),
    "no biases": (HomogeneousMLPRegressor(2, 4, fit_bias=False, **RUN), DECAYS, Y[:, 0]),
    "classifiers": (HomogeneousMLPClassifier(2, 4, **RUN), DECAYS, LABELS),
    "weighted classes": (
        HomogeneousMLPClassifier(2, 4, **RUN),
        {"class_weight": [None, "balanced"], **DECAYS},
        LABELS,
    ),
}


def both(estimator, grid, X, y, fit_params=None, **options):
    """The batched search, which must not warn of single fits, and that of scikit-learn."""
    options = {"cv": 3, **options}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Candidates are fitted one by one")
        batched = BatchedGridSearchCV(estimator, grid, **options).fit(X, y, **(fit_params or {}))
    return batched, GridSearchCV(clone(estimator), grid, **options).fit(X, y, **(fit_params or {}))


def same(batched, search, tol=1e-9):
    assert batched.cv_results_["params"] == search.cv_results_["params"]
    assert set(batched.cv_results_) == set(search.cv_results_)
    for name, column in search.cv_results_.items():
        if name.startswith(("mean_test", "split", "std_test", "mean_train")):
            assert_allclose(batched.cv_results_[name], column, rtol=tol, atol=tol, err_msg=name)
    assert batched.best_params_ == search.best_params_
    assert batched.best_score_ == pytest.approx(search.best_score_, rel=tol)
    assert type(batched.best_estimator_) is type(search.best_estimator_)


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_single_fits(name):
    estimator, grid, y = CASES[name]
    batched, search = both(estimator, grid, X, y)
    same(batched, search, 2e-5 if name == "single precision" else 1e-9)
    assert_array_equal(batched.predict(X), search.predict(X))
    if name == "classifiers":
        assert_array_equal(batched.predict_proba(X), search.predict_proba(X))
        assert_array_equal(batched.classes_, search.classes_)


def test_small_stacks_are_the_same():
    estimator, grid, y = CASES["linear"]
    small = BatchedGridSearchCV(estimator, grid, cv=3, batch_memory=1.0).fit(X, y)
    same(small, GridSearchCV(estimator, grid, cv=3).fit(X, y))


def test_pipelines_fit_their_transformers_once_a_fold():
    class Counting(StandardScaler):
        fits = 0

        def fit(self, X, y=None, sample_weight=None):
            Counting.fits += 1
            return super().fit(X, y, sample_weight)

    model = DeepLinearRegressor(2, 6, **RUN)
    pipeline = make_pipeline(Counting(), PCA(), model)
    grid = {"deeplinearregressor__weight_decay": [0.0, 0.1, 1.0], "pca__n_components": [2, 4]}
    batched = BatchedGridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, Y)
    assert Counting.fits == 3 * 2
    search = GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, Y)
    mean = search.cv_results_["mean_test_score"]
    assert_allclose(batched.cv_results_["mean_test_score"], mean, rtol=1e-9)
    same(*both(make_pipeline(StandardScaler(), model), dict([next(iter(grid.items()))]), X, Y))


def test_scorers_weights_and_groups():
    weight, groups = RNG.uniform(0.1, 2, 60), np.arange(60) % 4
    options = {
        "scoring": {"r2": "r2", "error": "neg_mean_absolute_error"},
        "refit": "error",
        "return_train_score": True,
        "cv": GroupKFold(4),
    }
    fit_params = {"sample_weight": weight, "groups": groups}
    same(*both(DeepLinearRegressor(2, 6, **RUN), DECAYS, X, Y, fit_params, **options))
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressor(2, 6, **RUN))
    grid = {f"deeplinearregressor__{name}": values for name, values in DECAYS.items()}
    fit_params = {"deeplinearregressor__sample_weight": weight}
    same(*both(pipeline, grid, X, Y, fit_params))


def test_data_frames_and_lists():
    frame = pd.DataFrame(X, columns=list("vwxyz"))
    batched, search = both(DeepLinearRegressor(2, 6, **RUN), DECAYS, frame, pd.Series(Y[:, 0]))
    same(batched, search)
    assert_array_equal(batched.feature_names_in_, list("vwxyz"))
    same(*both(DeepLinearRegressor(2, 6, **RUN), DECAYS, X.tolist(), Y.tolist()))


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_candidates_that_diverge_or_fail_harm_no_neighbour():
    grid = {"step_size": [0.01, 1e6, 0.02], "weight_decay": [0.1]}
    model = DeepLinearRegressor(3, 6, max_iter=60, tol=0)
    with pytest.warns(UserWarning, match="diverged"):
        batched = BatchedGridSearchCV(model, grid, cv=3).fit(X, Y)
    alone = BatchedGridSearchCV(model, {**grid, "step_size": [0.01, 0.02]}, cv=3).fit(X, Y)
    scores = batched.cv_results_["mean_test_score"]
    assert_allclose(scores[[0, 2]], alone.cv_results_["mean_test_score"], rtol=1e-12)
    with pytest.warns(UserWarning, match="diverged"):
        same(batched, GridSearchCV(model, grid, cv=3).fit(X, Y))  # at their last good records
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        failing = BatchedGridSearchCV(model, {"width": [6, [2, 3, 4]]}, cv=3).fit(X, Y)
    assert np.isnan(failing.cv_results_["mean_test_score"]).tolist() == [False, True]
    with pytest.raises(ValueError, match="width"):
        BatchedGridSearchCV(model, {"width": [[2, 3, 4]]}, cv=3, error_score="raise").fit(X, Y)


@pytest.mark.parametrize("worst", [0.01, 0.3])
def test_scores_that_are_no_numbers_are_ranked_last_and_told(worst):
    def scoring(fit, X, y):
        return np.nan if fit.weight_decay > worst else -fit.weight_decay

    grid = {"weight_decay": [0.5, 0.2, 0.1]}
    with pytest.warns(UserWarning, match="One or more of the test scores are non-finite") as told:
        found = both(DeepLinearRegressor(2, 6, **RUN), grid, X, Y, scoring=scoring)
    assert sum("One or more" in str(warning.message) for warning in told) == 2  # of each search
    for name in ("mean_test_score", "rank_test_score"):
        assert_allclose(*(search.cv_results_[name] for search in found))
    assert found[0].best_params_ == found[1].best_params_


@pytest.mark.parametrize(
    ("estimator", "grid", "reason"),
    [
        (DeepLinearRegressor(solver="lbfgs"), DECAYS, "solver='lbfgs'"),
        (DeepLinearRegressor(), {"solver": ["gd", "analytic"]}, "solver='analytic'"),
        (DeepLinearRegressor(early_stopping=True, random_state=0), DECAYS, "early_stopping=True"),
        (DeepLinearRegressor(record_weights=True), DECAYS, "record_weights=True"),
        (PCA(), {"n_components": [1, 2]}, "PCA is not trained"),
    ],
)
def test_the_rest_is_searched_one_by_one_and_says_so(estimator, grid, reason):
    with pytest.warns(UserWarning, match=f"one by one: {reason}"):
        batched = BatchedGridSearchCV(estimator, grid, cv=3).fit(X, Y[:, 0])
    search = GridSearchCV(estimator, grid, cv=3).fit(X, Y[:, 0])
    assert batched.best_params_ == search.best_params_


def test_one_candidate_that_cannot_be_stacked_leaves_the_others_in_stacks(capsys):
    grid = [{"solver": ["gd"], **DECAYS}, {"solver": ["analytic"], "weight_decay": [0.1]}]
    model = DeepLinearRegressor(2, 6, **RUN)
    with pytest.warns(UserWarning, match="1 of 4 candidates are .* one by one: solver='analytic'"):
        batched = BatchedGridSearchCV(model, grid, cv=3, verbose=1).fit(X, Y)
    assert "9 fits in a stack" in capsys.readouterr().out
    same(batched, GridSearchCV(model, grid, cv=3).fit(X, Y))
    assert (batched.cv_results_["mean_fit_time"] > 0).all()


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [1, 1, 1, 1, 1]), ("meta", [3, 2])])
def test_caches_of_the_cpu_do_not_divide_what_trains_elsewhere(device, sizes):
    """Members of 10 MB in 30 MB: one at a time is what the caches keep."""
    options = SimpleNamespace(device=torch.device(device))
    members = [SimpleNamespace(size=1e7, options=options) for _ in range(5)]
    assert [len(part) for part in stacks(members, 3e7)] == sizes


def test_last_steps_of_a_pipeline_may_be_searched():
    pipeline = make_pipeline(StandardScaler(), DeepLinearRegressor(2, 6, **RUN))
    grid = {"deeplinearregressor": [DeepLinearRegressor(3, 4, **RUN), Ridge()]}
    with pytest.warns(UserWarning, match="1 of 2 candidates .* Ridge is not trained"):
        batched = BatchedGridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    mean = search.cv_results_["mean_test_score"]
    assert_allclose(batched.cv_results_["mean_test_score"], mean, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_single_fits_that_fail_score_as_errors():
    grid = {"solver": ["gd", "analytic"], "weight_decay": [[0.0, 0.1]]}  # has no minimum
    with pytest.warns((FitFailedWarning, UserWarning)):
        batched = BatchedGridSearchCV(DeepLinearRegressor(2, 6, **RUN), grid, cv=3).fit(X, Y)
    assert np.isnan(batched.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_several_processes_fit_stacks_and_single_fits():
    grid = {"depth": [1, 2], "solver": ["gd", "analytic"], **DECAYS}
    model = DeepLinearRegressor(2, 6, **RUN)
    with pytest.warns(UserWarning, match="one by one"):
        batched = BatchedGridSearchCV(model, grid, cv=3, n_jobs=2).fit(X, Y)
    same(batched, GridSearchCV(model, grid, cv=3).fit(X, Y))


@pytest.mark.parametrize("seed", ["int", "instance"])
def test_a_randomized_search_draws_what_that_of_scikit_learn_draws(seed):
    drawn = {"weight_decay": loguniform(1e-3, 1), "depth": [1, 2, 3]}
    model = DeepLinearRegressor(2, 6, **RUN)

    def search(kind):
        random_state = 3 if seed == "int" else np.random.RandomState(3)
        return kind(model, drawn, n_iter=7, cv=3, random_state=random_state).fit(X, Y)

    same(search(BatchedRandomizedSearchCV), search(RandomizedSearchCV))


def test_metadata_routing_is_left_to_single_fits():
    warns = pytest.warns(UserWarning, match="metadata routing")
    with sklearn.config_context(enable_metadata_routing=True), warns:
        BatchedGridSearchCV(DeepLinearRegressor(2, 6, **RUN), DECAYS, cv=3).fit(X, Y)


def test_it_clones_pickles_and_makes_a_frame(capsys):
    batched = BatchedGridSearchCV(DeepLinearRegressor(2, 6, **RUN), DECAYS, cv=3, verbose=1)
    batched = clone(batched).fit(X, Y)
    assert "9 fits in a stack" in capsys.readouterr().out
    again = pickle.loads(pickle.dumps(batched))
    assert_array_equal(again.predict(X), batched.predict(X))
    frame = pd.DataFrame(batched.cv_results_)
    assert len(frame) == 3 and (frame["mean_fit_time"] > 0).all()
    assert "Trained" not in repr(batched) and isinstance(batched.estimator, DeepLinearRegressor)


def test_a_schedule_and_random_starts():
    grid = {"step_size": [shrinking, 0.01], "random_state": [0, 1], "init": ["normal"]}
    same(*both(DeepLinearRegressor(2, 6, max_iter=30, tol=0), grid, X, Y))


def shrinking(t):
    return 0.02 / (1 + t)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
@pytest.mark.parametrize("width", [4, [3, 3]])
def test_starts_that_are_not_finite_fail_alone(width):
    model = HomogeneousMLPRegressor(3, width, step_size=0.01, max_iter=20, random_state=0)
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        batched = BatchedGridSearchCV(model, {"init_scale": [1.0, 1e120, 0.5]}, cv=3).fit(X, Y)
    scores = batched.cv_results_["mean_test_score"]
    assert np.isnan(scores).tolist() == [False, True, False]
    alone = GridSearchCV(model, {"init_scale": [1.0, 0.5]}, cv=3).fit(X, Y)
    assert_allclose(scores[[0, 2]], alone.cv_results_["mean_test_score"], rtol=1e-9)


def test_functions_in_the_grid():
    grid = {"step_size": [0.01, lambda t: 0.02 / (1 + t), lambda t: 0.005]}
    same(*both(DeepLinearRegressor(2, 6, max_iter=20, tol=0), grid, X, Y))


@pytest.mark.parametrize("seed", ["int", "instance"])
@pytest.mark.parametrize(
    "model",
    [
        DeepLinearRegressor(3, 6, init="normal", max_iter=40, tol=0),
        MultiPathwayRegressor(2, 4, init="balanced", max_iter=40, tol=0),
        HomogeneousMLPRegressor(2, 5, max_iter=40, tol=0),
    ],
    ids=["linear", "pathways", "perceptrons"],
)
def test_what_candidates_share_is_what_each_would_find(model, seed):
    """Starts drawn by a seed, automatic steps, and scores: equal to rounding."""
    model = clone(model).set_params(random_state=1 if seed == "int" else np.random.RandomState(1))
    batched, search = both(model, DECAYS, X, Y)
    same(batched, search, 1e-12)


def test_units_at_rest_stay_zero():
    """Starts of few modes leave units without weights: stacks do without them."""
    init = [np.zeros((6, 5)), np.zeros((4, 6)), np.zeros((2, 4))]
    init[0][1], init[1][2, 1], init[2][:, 2] = 0.3, 0.5, [0.4, -0.2]
    aside = [W.copy() for W in init]
    aside[1][0, 0] = 0.7  # between units that nothing reaches, but decays
    zero = [np.zeros_like(W) for W in init]
    grid = {"init": ["spectral", init, aside, zero], "weight_decay": [0.01, 0.1]}
    model = DeepLinearRegressor(3, [6, 4], step_size=0.01, max_iter=50, tol=0)
    for target in (Y, Y[:, 0]):
        grid["init"] = [
            start if isinstance(start, str) else [*start[:2], start[2][: np.ndim(target)]]
            for start in grid["init"]
        ]
        same(*both(model, grid, X, target), 1e-12)
        same(*both(model, grid, X, target, scoring=weighed), 1e-12)


def weighed(model, X, y):
    """A score that tells any entry of the weights of fits apart."""
    return sum(
        float(W.ravel() @ np.cos(np.arange(W.size) + layer))
        for layer, W in enumerate(model.weights_)
    )


@pytest.mark.parametrize("case", ["one", "two", "constant", "single precision", "one sample"])
def test_scores_of_a_test_set_are_those_of_scikit_learn(case):
    target = {"one": Y[:, 0], "constant": np.column_stack([Y[:, 0], np.ones(60)])}.get(case, Y)
    inputs = X.astype(np.float32) if case == "single precision" else X
    model = DeepLinearRegressor(2, 6, **RUN)
    fitted = [clone(model).set_params(depth=depth).fit(inputs, target) for depth in (1, 2, 3)]
    rows = slice(0, 1) if case == "one sample" else slice(0, 25)
    scores = r2_scores(fitted, inputs[rows], target[rows])
    if case not in ("one", "two"):
        assert scores is None  # which scikit-learn has rules for
        return
    own = [each.score(inputs[rows], target[rows]) for each in fitted]
    assert_allclose(scores, own, rtol=1e-13)


def test_splits_that_are_masks():
    masks = [(np.arange(60) % 3 != fold, np.arange(60) % 3 == fold) for fold in range(3)]
    same(*both(DeepLinearRegressor(2, 6, **RUN), DECAYS, X, Y, cv=masks))


@pytest.mark.parametrize("refit", [True, lambda results: 1], ids=["best", "second"])
def test_one_training_set_for_several_test_sets(refit):
    rows = np.arange(60)
    splits = [(rows[:30], rows[30:40]), (rows[:30], rows[40:])]
    batched, search = both(DeepLinearRegressor(2, 6, **RUN), DECAYS, X, Y, cv=splits, refit=refit)
    for name in ("split0_test_score", "split1_test_score"):
        assert_allclose(batched.cv_results_[name], search.cv_results_[name], rtol=1e-9)


@pytest.mark.parametrize("scoring", [None, "neg_max_error"])
def test_the_best_fit_is_a_fit_of_its_own_where_a_split_trains_on_all_data(scoring):
    rows, y = np.arange(60), Y[:, 0]
    splits = [(rows, rows), (rows[:40], rows[40:])]
    model = DeepLinearRegressor(2, 6, **RUN)
    batched, search = both(model, DECAYS, X, y, cv=splits, scoring=scoring)
    same(batched, search)
    assert vars(batched.best_estimator_).keys() == vars(search.best_estimator_).keys()
    drift = batched.best_estimator_.balance_history_.drift
    assert_array_equal(drift, search.best_estimator_.balance_history_.drift)


@pytest.mark.parametrize(
    "options",
    [{"error_score": "none"}, {"verbose": -1}, {"return_train_score": "no"}, {"refit": 3.5}],
    ids=["error_score", "verbose", "return_train_score", "refit"],
)
def test_parameters_are_checked_as_those_of_scikit_learn(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        BatchedGridSearchCV(DeepLinearRegressor(2, 6, **RUN), DECAYS, **options).fit(X, Y)


def test_a_pipeline_of_one_step():
    pipeline = make_pipeline(DeepLinearRegressor(2, 6, **RUN))
    grid = {"deeplinearregressor__weight_decay": [0.0, 0.1]}
    same(*both(pipeline, grid, X, Y))


def test_memory_must_be_positive():
    with pytest.raises(ValueError, match="batch_memory"):
        BatchedGridSearchCV(DeepLinearRegressor(), DECAYS, batch_memory=0).fit(X, Y)


TINY = DeepLinearRegressor(2, 4, max_iter=20)


@parametrize_with_checks(
    [
        BatchedGridSearchCV(TINY, DECAYS, cv=2),
        BatchedRandomizedSearchCV(TINY, DECAYS, n_iter=2, cv=2, random_state=0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits and scores that fail, which are to be errors
        check(estimator)
