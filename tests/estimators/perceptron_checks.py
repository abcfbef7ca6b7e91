"""What must hold of any fit of a homogeneous perceptron, against plain autograd."""

import warnings

import numpy as np
import torch
from sklearn.base import clone

from sklearn_deeplinear import HomogeneousMLPClassifier
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from tests.estimators import fit_checks
from tests.estimators.fit_checks import _KNOWN, _MARGIN, _off

_DENSE = 120
_ACTIVATIONS = {
    "identity": lambda Z: Z,
    "relu": torch.relu,
    "leaky_relu": lambda Z: torch.nn.functional.leaky_relu(Z, 0.01),
}


class PlainPerceptron:
    """J of a perceptron as a function of one flat tensor of float64 numbers."""

    def __init__(self, case, model, X=None, y=None):
        X, y = case.X if X is None else X, case.y if y is None else y
        if isinstance(model, HomogeneousMLPClassifier):
            Y = (np.asarray(y)[:, None] == model.classes_).astype(float)
        else:
            Y = np.reshape(y, (len(X), -1))
        weight = np.ones(len(X)) if case.sample_weight is None else case.sample_weight
        self.X, self.Y = torch.tensor(X), torch.tensor(Y)
        self.share = torch.tensor(weight / weight.sum())
        self.loss_name = getattr(model, "loss", "squared_error")
        self.activation = _ACTIVATIONS[model.activation]
        self.decays = np.broadcast_to(model.weight_decay, len(model.weights_))
        self.shapes = [W.shape for W in model.weights_]
        self.biased = model.fit_bias

    def pack(self, weights, biases):
        parts = []
        for layer, W in enumerate(weights):
            parts.append(np.ravel(W))
            if self.biased:
                parts.append(np.ravel(biases[layer]))
        return torch.tensor(np.concatenate(parts), dtype=torch.float64)

    def layers(self, flat):
        used, layers = 0, []
        for rows, columns in self.shapes:
            W = flat[used : used + rows * columns].reshape(rows, columns)
            used += rows * columns
            b = flat[used : used + rows] if self.biased else torch.zeros(rows, dtype=flat.dtype)
            used += rows if self.biased else 0
            layers.append((W, b))
        return layers

    def outputs(self, flat):
        H = self.X
        for layer, (W, b) in enumerate(self.layers(flat)):
            H = (self.activation(H) if layer else H) @ W.T + b
        return H

    def loss(self, flat):
        out = self.outputs(flat)
        if self.loss_name == "cross_entropy":
            per_sample = -(torch.log_softmax(out, dim=1) * self.Y).sum(dim=1)
        else:
            per_sample = ((out - self.Y) ** 2).sum(dim=1)
        return (self.share * per_sample).sum()

    def objective(self, flat):
        penalty = sum(
            g * (W**2).sum() for (W, _), g in zip(self.layers(flat), self.decays, strict=True)
        )
        return self.loss(flat) + penalty

    def gradient(self, flat):
        flat = flat.detach().requires_grad_(True)
        return torch.autograd.grad(self.objective(flat), flat)[0]

    def run(self, flat, solver, step_size, n_steps, eps=1e-8):
        first = second = torch.zeros_like(flat)
        for t in range(1, n_steps + 1):
            g = self.gradient(flat)
            if solver == "adam":
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
                g = (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + eps)
            flat = flat - step_size * g
        return flat

    def hessian(self, flat):
        return torch.autograd.functional.hessian(self.objective, flat).numpy()


def check_perceptron(case, model):
    problem = PlainPerceptron(case, model)
    end = problem.pack(model.weights_, model.biases_)
    J, loss = float(problem.objective(end)), float(problem.loss(end))
    out = problem.outputs(end).numpy()
    size = 1e-11 * (np.abs(out).max() + float(problem.X.abs().max()) * 1e-3 + 1e-300)
    scale = 1e-11 * (J + float((problem.share[:, None] * problem.Y**2).sum()) + (out**2).sum())
    norm = float(problem.gradient(end).norm())
    found = {
        "loss_ on the samples": _off(model.loss_, loss, scale),
        "objective_ on the samples": _off(model.objective_, J, scale),
        "gradient norm": _off(
            model.trajectory_.gradient_norm[-1],
            norm,
            1e-8 * norm + _gradient_rounding(problem, end),
        ),
    }
    if isinstance(model, HomogeneousMLPClassifier):
        found["predict"] = float(
            np.any(model.predict(case.X) != model.classes_[model._outputs(case.X).argmax(axis=1)])
        )
        scores = out[:, 1] - out[:, 0] if out.shape[1] == 2 else out
        found["scores"] = _off(model.decision_function(case.X), scores, 2 * size)
        proba = model.predict_proba(case.X)
        found["probabilities"] = _off(proba.sum(axis=1), 1, 1e-9) + float(proba.min() < 0)
    else:
        found["predict"] = _off(model.predict(case.X), out[:, 0] if case.y.ndim == 1 else out, size)
    found |= fit_checks.goes_down(model, float((problem.share[:, None] * problem.Y**2).sum()))
    if found.get("ends below its start", 0) > 1:
        return found  # weights of a run that diverges are not compared
    found |= _balance(problem, model)
    found |= _run(case, model, problem, end)
    found |= _hessian(case, model, problem, end)
    if np.isfinite(J) and model.solver == "gd":
        found |= _symmetries(case, model, problem)
    return found


def _gradient_rounding(problem, flat):
    eps = np.finfo(float).eps * float(flat.abs().max())
    moved = flat + eps * torch.where(torch.arange(len(flat)) % 2 == 0, 1.0, -1.0)
    return 1e3 * float((problem.gradient(moved) - problem.gradient(flat)).norm()) + 1e-300


def _balance(problem, model):
    """Norms of incoming weights, biases included, less those of outgoing ones, at the end."""
    worst, history = 0.0, model.balance_history_
    layers = problem.layers(problem.pack(model.weights_, model.biases_))
    for layer in range(len(layers) - 1):
        (W, b), (after, _) = layers[layer], layers[layer + 1]
        unit = ((W**2).sum(dim=1) + b**2 - (after**2).sum(dim=0)).numpy()
        size = float((W**2).sum() + (b**2).sum() + (after**2).sum())
        for name, wanted in {"layer": unit.sum(), "neuron": np.abs(unit).max()}.items():
            worst = max(worst, _off(getattr(history, name)[-1, layer], wanted, 1e-11 * size))
    return {"balance": worst}


def _run(case, model, problem, end):
    if model.solver == "flow":
        return {}
    first = fit_checks.initial(model, case)
    start = problem.pack(first.weights_, first.biases_)
    norm, count = model.trajectory_.gradient_norm[0], len(start)
    eps = min(1e-8, 1e-5 * norm / np.sqrt(count)) or 1e-8
    plan = (model.solver, model.step_size_, model.n_iter_, eps)
    wanted = problem.run(start, *plan)
    moved, unit = [], np.finfo(float).eps * float(start.abs().max())
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, start.shape, generator=generator) * 2.0 - 1
        moved.append(float((problem.run(start + unit * signs, *plan) - wanted).abs().max()))
    rounding, size = max(moved), float(wanted.abs().max())
    if model.stop_reason_ == "diverged" or not rounding < _KNOWN * size / _MARGIN:
        return {}
    off = _off(
        end.numpy(),
        wanted.numpy(),
        _MARGIN * rounding + 1e-12 * size + 1e-14 * float(start.abs().max()),
    )
    return {f"{model.solver} run": off}


def _hessian(case, model, problem, end):
    if (
        case.index % 3
        or len(end) > _DENSE
        or model.activation != "identity"
        and _at_kink(problem, end)
    ):
        return {}
    H = problem.hessian(end)
    values, k = np.linalg.eigvalsh(H), min(5, len(end))
    ask = {"sample_weight": case.sample_weight, "k": k}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {
            which: hessian_eigenvalues(model, case.X, case.y, which=which, **ask)
            for which in ("LA", "SA")
        }
    tolerance = 1e-7 * np.abs(values).max() + 1e-300
    return {
        "hessian LA": _off(found["LA"], values[::-1][:k], tolerance),
        "hessian SA": _off(found["SA"], values[:k], tolerance),
    }


def _at_kink(problem, flat):
    """Whether some unit gets an input of zero, where there is no second derivative."""
    H = problem.X
    for layer, (W, b) in enumerate(problem.layers(flat)[:-1]):
        H = (problem.activation(H) if layer else H) @ W.T + b
        if bool((H.abs() <= 1e-12 * H.abs().max()).any()):
            return True
    return False


def _symmetries(case, model, problem):
    """Copies of samples, and features in another order."""
    if case.index % 2 == 0:
        return {}
    first = fit_checks.initial(model, case)
    if first.biases_ is not None and any(b.any() for b in first.biases_):
        return {"biases start at zero": np.inf}
    rng = np.random.RandomState(case.index)
    weight = np.ones(len(case.X)) if case.sample_weight is None else case.sample_weight
    copies = rng.randint(1, 4, size=len(case.X))
    rows = np.repeat(np.arange(len(case.X)), copies)
    order = rng.permutation(case.X.shape[1])
    turned = [first.weights_[0][:, order], *first.weights_[1:]]
    twins = {
        "copies of samples": (case.X[rows], case.y[rows], (weight / copies)[rows], first.weights_),
        "permuted features": (case.X[:, order], case.y, case.sample_weight, turned),
    }
    found = {}
    start = problem.pack(first.weights_, first.biases_)
    plan = (model.solver, model.step_size_, model.n_iter_)
    wanted = problem.objective(problem.run(start, *plan))
    unit = np.finfo(float).eps * float(start.abs().max())
    signs = torch.where(torch.arange(len(start)) % 2 == 0, 1.0, -1.0).double()
    moved = problem.objective(problem.run(start + unit * signs, *plan))
    rounding = abs(float(moved - wanted))
    if not rounding < 1e-5 * abs(float(wanted)):
        return {}
    for name, (X, y, share, weights) in twins.items():
        twin = clone(model).set_params(
            init=list(weights), step_size=model.step_size_, init_scale=None
        )
        fit_checks._fit(twin, X, y, share)
        if twin.n_iter_ == model.n_iter_:
            found[name] = _off(
                twin.objective_, model.objective_, 1e3 * rounding + 1e-10 * abs(float(wanted))
            )
    return found
