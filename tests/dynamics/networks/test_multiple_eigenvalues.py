"""Multiple eigenvalues count as often as they occur, against whole spectra."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_deeplinear import DeepLinearRegressor, HomogeneousMLPClassifier, MultiPathwayRegressor
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks import _curvature
from sklearn_deeplinear.dynamics.networks._block_lanczos import block_lanczos
from sklearn_deeplinear.dynamics.networks._curvature import (
    linear_hessian_eigenvalues,
    module_hessian_eigenvalues,
)
from sklearn_deeplinear.theory import SecondMoments, balanced_factors
from sklearn_deeplinear.theory._curvature_bounds import hessian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WHICH = ("LA", "SA", "LM")
# Residuals stop at 1e-9 of the norm of the Hessian, and bound the errors.
TOL = 1e-9


def extreme(eigenvalues, k, which):
    order = {"LA": lambda e: -e, "SA": lambda e: e, "LM": lambda e: -abs(e)}[which]
    return np.array(sorted(eigenvalues, key=order)[:k])


def assert_extreme(found, spectrum, k, which, tol=2 * TOL):
    """The k extreme eigenvalues; of pairs +-e that k cuts, "LM" may take either."""
    wanted, size = extreme(spectrum, k, which), np.abs(spectrum).max()
    if which == "LM":
        found, wanted = np.abs(found), np.abs(wanted)
    assert_allclose(found, wanted, rtol=0, atol=tol * size)


SPECTRA = {
    "one value": np.full(150, 3.0),
    "two values": np.repeat([1.0, -2.0], [140, 10]),
    "saddle": np.repeat([5.0, -5.0, 0.0], [60, 60, 30]),
    "rank one": np.r_[1.0, np.zeros(149)],
    "clusters": np.repeat([1.0, 0.5, 0.0], 50) + 1e-10 * np.tile(np.arange(50), 3),
    "tight clusters": np.repeat([1.0, 0.5, 0.0], 50) + 1e-6 * np.tile(np.arange(50), 3),
    "even": np.linspace(-1, 1, 150),
}


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_of_all_kinds(name, which):
    """In a random basis, for any number of them."""
    spectrum = SPECTRA[name]
    Q = np.linalg.qr(np.random.RandomState(1).standard_normal((150, 150)))[0]
    H = (Q * spectrum) @ Q.T
    for k in (1, 2, 7, 36, 150):
        found = block_lanczos(lambda v: H @ v, 150, k, which, TOL)
        assert_extreme(found, spectrum, k, which)


def test_it_gives_up_where_the_whole_matrix_costs_less():
    """The smallest of many values near zero takes some hundred products."""
    spectrum = np.logspace(-14, 0, 150)
    assert block_lanczos(lambda v: spectrum * v, 150, 2, "SA", TOL, max_products=100) is None


def networks():
    rng, d, m = np.random.RandomState(0), 6, 3
    root = rng.standard_normal((d, d))
    A, M = root @ root.T / d, rng.standard_normal((m, d))
    one = np.outer(M[:, 0], M[0])
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    return {
        "zero": ([np.zeros((60, d)), np.zeros((m, 60))], np.eye(d), M),
        "zero, depth 3": ([np.zeros((15, d)), np.zeros((15, 15)), np.zeros((m, 15))], A, M),
        "identity": ([np.eye(30, d), np.eye(m, 30)], np.eye(d), M),
        "identity, depth 3": ([np.eye(10, d), np.eye(10), np.eye(m, 10)], np.eye(d), M),
        "orthogonal": ([turn[:, :d], turn, turn[:m]], np.eye(d), M),
        "minimum": (balanced_factors(M, [30]), A, M @ A),
        "minimum, depth 4": (balanced_factors(M, [12, 12, 12]), A, M @ A),
        "rank one": (balanced_factors(one, [30]), A, M @ A),
        "minimum of rank one": (balanced_factors(one, [30]), np.eye(d), one),
        "equal": ([np.ones((30, d)), np.ones((m, 30))], np.eye(d), M),
    }


@pytest.mark.parametrize("name", networks())
def test_linear_networks_of_degenerate_curvature(name):
    weights, A, S = networks()[name]
    decay = 0.0 if "identity" in name else 0.1
    moments = SecondMoments.from_moments(A, S, 100.0)
    spectrum = np.linalg.eigvalsh(hessian(weights, moments, np.full(len(weights), decay)))
    for which, k in itertools.product(WHICH, (1, 5, 21)):
        found = linear_hessian_eigenvalues(weights, A, S, decay, k=k, which=which)
        assert_extreme(found, spectrum, k, which)


@pytest.mark.parametrize("unit", [1e-150, 1e-20, 1e20, 1e150])
@pytest.mark.parametrize("k", [1, 5])
def test_eigenvalues_follow_the_units(unit, k):
    """That of a saddle, whose smallest eigenvalues are far from those of largest magnitude."""
    rng = np.random.RandomState(0)
    weights = [rng.standard_normal(s) / 3 for s in [(20, 6), (9, 20), (4, 9)]]
    root, S = rng.standard_normal((6, 6)), rng.standard_normal((4, 6))
    A = root @ root.T
    for which in WHICH:
        wanted = linear_hessian_eigenvalues(weights, A, S, k=k, which=which)
        found = linear_hessian_eigenvalues(weights, unit * A, unit * S, k=k, which=which)
        assert_allclose(found / unit, wanted, rtol=1e-7)


def test_a_module_with_equal_units():
    """ReLU units that are copies of one another, and dead ones, which have no curvature."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2))
    net = net.double()
    with torch.no_grad():
        net[0].weight[1:15] = net[0].weight[0]
        net[0].bias[1:15] = net[0].bias[0]
        net[2].weight[:, 1:15] = net[2].weight[:, :1]
        net[0].bias[15:] = -100.0
    X, Y = torch.randn(30, 4).double(), torch.randn(30, 2).double()

    def loss(net):
        return (net(X) - Y).square().sum() / 30

    theta = torch.nn.utils.parameters_to_vector(net.parameters()).detach()

    def of_vector(vector):
        parts, values = {}, vector
        for name, p in net.named_parameters():
            parts[name], values = values[: p.numel()].view_as(p), values[p.numel() :]
        return (torch.func.functional_call(net, parts, X) - Y).square().sum() / 30

    spectrum = np.linalg.eigvalsh(torch.autograd.functional.hessian(of_vector, theta).numpy())
    for which, k in itertools.product(WHICH, (2, 16)):
        found = module_hessian_eigenvalues(net, loss, k=k, which=which)
        assert_extreme(found, spectrum, k, which)


@pytest.mark.parametrize("kind", ["linear", "pathways", "classifier"])
def test_trained_networks_have_as_many_flat_directions_as_the_dense_hessian(kind):
    """At a minimum most directions are flat: all of the smallest eigenvalues are zero."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 5))
    Y = X @ rng.standard_normal((5, 2))
    if kind == "classifier":
        model = HomogeneousMLPClassifier(2, 25, activation="identity", max_iter=50, random_state=0)
        Y = (Y[:, 0] > 0).astype(int)
    elif kind == "linear":
        model = DeepLinearRegressor(2, 25, max_iter=20_000)
    else:
        model = MultiPathwayRegressor(2, 12, max_iter=20_000, random_state=0)
    model.fit(X, Y)
    n = sum(p.size for p in _arrays(model))
    spectrum = hessian_eigenvalues(model, X, Y, k=n)  # dense
    for which, k in itertools.product(WHICH, (5, 20)):
        assert_extreme(hessian_eigenvalues(model, X, Y, k=k, which=which), spectrum, k, which)
    if kind == "linear":
        assert_allclose(
            hessian_eigenvalues(model, X, Y, k=5, which="SA"), 0, atol=1e-6 * spectrum[0]
        )


def _arrays(model):
    layers = [*model.weights_, *(getattr(model, "biases_", None) or [])]
    return [W for layer in layers for W in (layer if isinstance(layer, list) else [layer])]


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
def test_one_eigenvalue_near_a_saddle_takes_few_products(which, monkeypatch):
    """Small weights: the Hessian is almost [[0, S], [S^T, 0]] for each unit, of +-sigma(S)."""
    products = []
    made = _curvature._hessian_product

    def counted(*arguments):
        product = made(*arguments)
        return lambda v: products.append(1) or product(v)

    monkeypatch.setattr(_curvature, "_hessian_product", counted)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6))
    Y = X @ rng.normal(size=(6, 4))
    init = [1e-3 * rng.normal(size=(40, 6)), 1e-3 * rng.normal(size=(4, 40))]
    model = DeepLinearRegressor(2, 40, init=init, max_iter=0, fit_intercept=False).fit(X, Y)
    (found,) = hessian_eigenvalues(model, X, Y, which=which)
    top = 2 * np.linalg.norm(Y.T @ X / 50, 2)
    assert len(products) < 5000
    assert_allclose(abs(found), top, rtol=1e-3)
