"""DeepLinearClassifier: against LogisticRegression, autograd, scipy and its own minimum."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_deeplinear import DeepLinearClassifier
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from tests.estimators import structured_fits

# The checks fit small data for few steps: not converging is no fault there.
CHECKED = [
    DeepLinearClassifier(),
    DeepLinearClassifier(3, [4, 2], weight_decay=1e-3, solver="gd", max_iter=30),
    # Adam divides by the size of slopes, which of "spectral" weights are often only rounding.
    DeepLinearClassifier(2, 5, solver="adam", init="normal", random_state=0, max_iter=60),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(CHECKED)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(params=[load_breast_cancer, load_wine], ids=["two classes", "three classes"])
def data(request):
    return standardised(request.param)


def labels(n_classes, n=40, d=5, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * [1, 2, 0.5, 1, 3][:d] + 1
    scores = X @ rng.standard_normal((d, n_classes)) + rng.standard_normal((n, n_classes))
    return X, np.array(["a", "b", "c"])[scores.argmax(axis=1)]


def test_one_layer_is_logistic_regression(data):
    X, y = data
    gamma = 0.01
    model = DeepLinearClassifier(1, weight_decay=gamma, tol=1e-9).fit(X, y)
    C = 1 / (2 * len(X) * gamma)
    other = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(X, y)
    assert_allclose(model.coef_, other.coef_, rtol=1e-6, atol=1e-7)
    # Of several intercepts only the differences matter.
    shift = (model.intercept_ - other.intercept_).mean() if len(model.classes_) > 2 else 0.0
    assert_allclose(model.intercept_ - shift, other.intercept_, rtol=1e-6, atol=1e-7)
    assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-7)
    assert_allclose(model.predict_log_proba(X), other.predict_log_proba(X), rtol=1e-5, atol=1e-7)
    assert_array_equal(model.predict(X), other.predict(X))
    assert model.decision_function(X).shape == other.decision_function(X).shape


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_descent_is_that_of_autograd_with_the_intercept_minimised(n_classes, fit_intercept, depth):
    X, y = labels(n_classes)
    weight = np.random.RandomState(1).uniform(0.2, 2, len(X))
    options = {"solver": "gd", "step_size": 0.02, "max_iter": 7, "tol": 0, "record_every": 1}
    start = {"init": "normal", "init_scale": 0.5, "random_state": 0, "record_weights": True}
    model = DeepLinearClassifier(
        depth, 4, weight_decay=0.03, fit_intercept=fit_intercept, **options, **start
    ).fit(X, y, sample_weight=weight)

    classes = np.unique(y)
    columns = classes[1:] if n_classes == 2 else classes
    Y = (y[:, None] == columns).astype(float)
    centre = weight @ X / weight.sum() if fit_intercept else 0.0
    inputs, targets = torch.from_numpy(X - centre), torch.from_numpy(Y)
    shares = torch.from_numpy(weight / weight.sum())

    def loss(outputs):
        if n_classes == 2:
            function = torch.nn.functional.binary_cross_entropy_with_logits
            terms = function(outputs, targets, reduction="none")[:, 0]
        else:
            codes = targets.argmax(dim=1)
            terms = torch.nn.functional.cross_entropy(outputs, codes, reduction="none")
        return (shares * terms).sum()

    def intercept(outputs):
        if not fit_intercept:
            return torch.zeros(outputs.shape[1], dtype=outputs.dtype)

        def mean(b):
            b = torch.from_numpy(b).requires_grad_()
            value = loss(outputs.detach() + b)
            return value.item(), torch.autograd.grad(value, b)[0].numpy()

        start = np.zeros(outputs.shape[1])
        found = minimize(mean, start, jac=True, options={"gtol": 1e-12})
        return torch.from_numpy(found.x)

    recorded = model.trajectory_.weights
    weights = [torch.from_numpy(W).requires_grad_() for W in recorded[0]]
    for record in range(8):
        outputs = inputs
        for W in weights:
            outputs = outputs @ W.T
        value = loss(outputs + intercept(outputs))
        assert model.trajectory_.loss[record] == pytest.approx(value.item(), abs=1e-10)
        for ours, W in zip(recorded[record], weights, strict=True):
            assert_allclose(ours, W.detach(), atol=1e-8)  # the error of b
        objective = value + 0.03 * sum(W.square().sum() for W in weights)
        gradients = torch.autograd.grad(objective, weights)
        size = torch.cat([g.ravel() for g in gradients]).norm().item()
        assert model.trajectory_.gradient_norm[record] == pytest.approx(size, rel=1e-8)
        with torch.no_grad():
            for W, g in zip(weights, gradients, strict=True):
                W -= 0.02 * g


@pytest.mark.parametrize("solver", ["gd", "momentum", "flow", "lbfgs"])
def test_full_batch_solvers_end_at_one_point(solver):
    X, y = labels(3)
    model = DeepLinearClassifier(2, 6, weight_decay=0.05, tol=1e-8, max_iter=20_000)
    exact = clone(model).set_params(solver="lbfgs", tol=1e-10).fit(X, y)
    if solver == "flow":
        model.set_params(max_iter=4000)
    fit = clone(model).set_params(solver=solver).fit(X, y)
    assert fit.objective_ == pytest.approx(exact.objective_, rel=1e-9)
    assert_allclose(fit.coef_, exact.coef_, atol=1e-4)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_mini_batches_come_near(solver):
    X, y = standardised(load_wine)
    exact = DeepLinearClassifier(weight_decay=0.01).fit(X, y)
    model = DeepLinearClassifier(
        weight_decay=0.01, solver=solver, batch_size=20, max_iter=200, random_state=0
    ).fit(X, y)
    assert 0 <= model.objective_ - exact.objective_ < 0.02 * exact.objective_
    with torch.no_grad():
        outputs = model.net_.module_(torch.from_numpy(X - X.mean(axis=0)))
    assert_allclose(outputs.numpy(), model.decision_function(X), atol=1e-8)


def test_flow_conserves_the_balance_of_layers():
    X, y = labels(3)
    model = DeepLinearClassifier(
        3, 4, solver="flow", init="normal", init_scale=0.5, flow_time=3.0, random_state=0
    ).fit(X, y)
    assert (model.balance_history_.drift < 1e-5).all()
    assert model.trajectory_.loss[-1] < model.trajectory_.loss[0] / 2


def test_units_of_the_inputs_are_those_of_the_decay():
    """Inputs c times as large make layers smaller by c^(1/3), and their squares by c^(2/3)."""
    X, y = standardised(load_breast_cancer)
    one = DeepLinearClassifier(3, 7, weight_decay=0.01).fit(X, y)
    for c in (1e-6, 1e5):
        other = DeepLinearClassifier(3, 7, weight_decay=0.01 * c ** (2 / 3)).fit(c * X, y)
        assert other.objective_ == pytest.approx(one.objective_, rel=1e-8)
        assert_allclose(c * other.coef_, one.coef_, atol=1e-3 * np.abs(one.coef_).max())


def test_means_do_not_matter():
    X, y = labels(2)
    near = DeepLinearClassifier(weight_decay=0.02).fit(X, y)
    far = DeepLinearClassifier(weight_decay=0.02).fit(X + 1e6, y)
    assert_allclose(far.coef_, near.coef_, rtol=1e-6)
    assert_allclose(far.decision_function(X + 1e6), near.decision_function(X), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_repeat_and_classes_weigh(n_classes):
    X, y = labels(n_classes)
    weight = np.random.RandomState(0).randint(0, 4, len(X))
    model = DeepLinearClassifier(weight_decay=0.02, tol=1e-9)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-5, atol=1e-6)

    factors = {"a": 0.3, "b": 2.0, "c": 1.0} if n_classes == 3 else {"a": 0.3, "b": 2.0}
    by_class = clone(model).set_params(class_weight=factors).fit(X, y)
    product = np.vectorize(factors.get)(y)
    assert_allclose(by_class.coef_, clone(model).fit(X, y, product).coef_, rtol=1e-5, atol=1e-6)
    balanced = clone(model).set_params(class_weight="balanced").fit(X, y)
    same = clone(model).fit(X, y, compute_sample_weight("balanced", y))
    assert_allclose(balanced.coef_, same.coef_, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_sharpness_is_that_of_finite_differences(n_classes):
    X, y = labels(n_classes)
    model = DeepLinearClassifier(2, 2, weight_decay=0.05).fit(X, y)
    shapes = [W.shape for W in model.weights_]

    def gradient(w):
        parts = np.split(w, [shapes[0][0] * shapes[0][1]])
        init = [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]
        run = {"solver": "gd", "step_size": 1.0, "max_iter": 1, "tol": 0, "record_weights": True}
        after = clone(model).set_params(init=init, **run).fit(X, y).weights_
        return w - np.concatenate([W.ravel() for W in after])

    w = np.concatenate([W.ravel() for W in model.weights_])
    h = 1e-4
    hessian = [(gradient(w + h * e) - gradient(w - h * e)) / (2 * h) for e in np.eye(len(w))]
    expected = np.sort(np.linalg.eigvalsh(np.array(hessian)))[::-1][:3]
    assert_allclose(hessian_eigenvalues(model, X, y, k=3), expected, rtol=1e-5)


def synthetic(n, d, seed):
    X, y = make_classification(n, d, n_informative=3, flip_y=0.1, random_state=seed)
    return StandardScaler().fit_transform(X), y


TWO_CLASSES = {
    "breast cancer": (standardised(load_breast_cancer), 0.01),
    "synthetic": (synthetic(200, 10, 0), 0.003),
    "wide": (synthetic(30, 60, 1), 0.01),
}


@pytest.mark.parametrize("name", TWO_CLASSES)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_trained_networks_end_within_the_bracket_of_two_classes(name, depth):
    (X, y), gamma = TWO_CLASSES[name]
    model = DeepLinearClassifier(depth, 8, weight_decay=gamma, tol=1e-9)
    minimum = model.fit(X, y).global_minimum_
    assert 0 <= minimum.objective - minimum.lower_bound < 1e-6 * minimum.objective
    assert minimum.kind == ("exact" if depth == 1 else "certified")
    for seed in range(2):
        start = {"init": "xavier_normal", "random_state": seed}
        end = clone(model).set_params(**start).fit(X, y).objective_
        assert end >= minimum.lower_bound - 1e-12
        # Deeper ones may come to rest at zero instead, which is a minimum of its own.
        at_zero = pytest.approx(log_loss(y, np.full(len(y), y.mean())), rel=1e-6)
        assert end == pytest.approx(minimum.objective, rel=1e-6) or (depth > 2 and end == at_zero)
    assert model.objective_ == pytest.approx(minimum.objective, rel=1e-6)
    assert_allclose(minimum.decision_function(X), model.decision_function(X), atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_analytic_solver_stands_at_the_minimum(n_classes, depth):
    X, y = labels(n_classes)
    model = DeepLinearClassifier(depth, 6, weight_decay=0.02, solver="analytic").fit(X, y)
    assert model.objective_ == pytest.approx(model.global_minimum_.objective, rel=1e-10)
    assert model.trajectory_.gradient_norm[-1] < 1e-6
    trained = DeepLinearClassifier(depth, 6, weight_decay=0.02, tol=1e-9).fit(X, y)
    assert trained.optimality_gap_ == pytest.approx(0, abs=1e-8)
    assert_allclose(trained.coef_, model.coef_, atol=1e-4)
    kind = "stationary" if (n_classes, depth) == (3, 3) else "certified" if depth > 1 else "exact"
    assert model.global_minimum_.kind == kind


def test_a_minimum_is_never_above_the_fit():
    X, y = labels(3)
    model = DeepLinearClassifier(3, 6, weight_decay=0.02, tol=1e-9).fit(X, y)
    found = model.global_minimum_
    # Had it been missed, the weights would lead there.
    worse = replace(found, objective=found.objective + 0.1, coef=0 * found.coef)
    vars(model._problem)["global_minimum"] = worse
    assert model.global_minimum_.objective == pytest.approx(found.objective, rel=1e-10)


def test_no_decay_of_classes_that_a_plane_separates_is_unattained():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
    for y in ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]):
        model = DeepLinearClassifier().fit(X, y)
        assert model.global_minimum_.kind == "unattained"
        assert model.global_minimum_.objective == 0
        with pytest.raises(ValueError, match="weight_decay|attain"):
            DeepLinearClassifier(solver="analytic").fit(X, y)


def test_separable_classes_without_decay_go_to_zero_loss():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = DeepLinearClassifier().fit(X, [0, 0, 1, 1])
    assert model.loss_ < 1e-4 and np.isfinite(model.coef_).all()
    assert_array_equal(model.predict(X), [0, 0, 1, 1])


def test_it_pickles():
    X, y = labels(2)
    model = DeepLinearClassifier(weight_decay=0.01).fit(X, y)
    other = pickle.loads(pickle.dumps(model))
    assert_array_equal(other.predict_proba(X), model.predict_proba(X))


def test_loss_is_that_of_the_probabilities(data):
    X, y = data
    model = DeepLinearClassifier(weight_decay=0.01).fit(X, y)
    assert model.loss_ == pytest.approx(log_loss(y, model.predict_proba(X)), rel=1e-12)
    penalty = 0.01 * sum(np.sum(W**2) for W in model.weights_)
    assert model.objective_ == pytest.approx(model.loss_ + penalty, rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"sample_weight": [1, 1, 0, 0]}, "every class"),
        ({"sample_weight": [1, 1, -1, 1]}, "[Nn]egative"),
        ({"class_weight": {0: 0}}, "every class"),
        ({"class_weight": {0: -1}}, "class_weight must hold finite numbers"),
        ({"class_weight": {0: np.nan}}, "class_weight must hold finite numbers"),
        ({"class_weight": {"ham": 3}}, "not in class_weight|not in"),
        ({"class_weight": "ham"}, "class_weight"),
    ],
)
def test_weights_that_do_not_suit(weights, message):
    X, y = np.arange(4.0)[:, None], [0, 0, 1, 1]
    model = DeepLinearClassifier(class_weight=weights.pop("class_weight", None))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **weights)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("index", [*range(60), 233])
def test_structured_data(index):
    """Ties, clusters, rank one, constants, zero weights, units: what random data never are."""
    rng = np.random.RandomState([0, index, 7])
    _, X, y = structured_fits._draw_data(rng, index, [-6, -2, 0, 2, 6])
    classes = structured_fits._labels(rng, y)
    weight = structured_fits._draw_weights(rng, len(X))
    if len(set(classes)) < 2:
        return
    depth = int(rng.choice([1, 2, 3, 4]))
    width = [int(h) for h in rng.choice([1, 2, 3, 7], size=depth - 1)]
    size = np.linalg.norm(X - X.mean(axis=0), 2) / np.sqrt(len(X)) or 1.0
    gamma = float(rng.choice([0, 1e-4, 1e-2, 1.0])) * size ** (2 / depth)
    solvers = ["lbfgs", "gd", "momentum", "flow", "sgd", "adam", "analytic"]
    model = DeepLinearClassifier(
        depth,
        width,
        weight_decay=gamma,
        solver=str(rng.choice(solvers)),
        init=str(rng.choice(structured_fits.INITS)),
        max_iter=int(rng.choice([5, 60])),
        fit_intercept=bool(rng.randint(4)),
        class_weight=[None, "balanced"][rng.randint(2)],
        random_state=0,
    )
    try:
        model.fit(X, classes, sample_weight=weight)
    except ValueError as error:
        if not any(name in str(error) for name in ("every class", "weight_decay must be positive")):
            raise
        return
    P = model.predict_proba(X)
    assert np.isfinite(P).all() and P.sum(axis=1) == pytest.approx(1)
    minimum = model.global_minimum_
    assert minimum.lower_bound <= minimum.objective * (1 + 1e-12)
    assert model.optimality_gap_ >= -1e-9 * model.objective_
    if minimum.kind != "unattained":
        weights = minimum.weights(width)
        penalty = gamma * sum(np.sum(W**2) for W in weights)
        assert penalty == pytest.approx(minimum.penalty, abs=1e-9 * minimum.objective)
