"""What must hold of any fit, as deviations in units of what rounding explains.

Each function returns a dict from a claim to ``deviation / tolerance``: a claim holds where
that is at most one. Where a claim is about a run, its tolerance is what the plain run itself
changes by when every number it starts from is moved by one rounding error.
"""

import warnings
from functools import reduce

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.dynamics import hessian_eigenvalues
from tests.estimators.fit_references import PlainLinear, flatten, rounded

# Rounding errors of a few operations with dozens of terms each.
ROUNDING = {"float64": 1e-12, "float32": 3e-5}
# Beyond this the plain run itself does not know its weights: nothing to compare with.
_KNOWN = 1e-3
# A run makes more rounding errors than the first ones that are followed.
_MARGIN = 100
# Weights and biases of a perceptron, weights of a linear network: the dense Hessian is cheap.
_DENSE = 150
FLOW_RTOL = 1e-6


def fitted(case):
    """The case's estimator, fitted; warnings but of convergence are errors."""
    return _fit(clone(case.estimator), case.X, case.y, case.sample_weight)


def _fit(model, X, y, sample_weight=None):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, sample_weight=sample_weight)


def initial(model, case):
    """Initial weights of the fit."""
    first = clone(model).set_params(solver="gd", max_iter=0)
    return _fit(first, case.X, case.y, case.sample_weight)


def check(case):
    """All claims of the case's family: a dict from claims to deviations."""
    model = fitted(case)
    if case.family == "perceptron":
        from tests.estimators.perceptron_checks import check_perceptron

        return check_perceptron(case, model)
    return check_linear(case, model)


# -- linear networks and pathways -------------------------------------------------------------


def network_of(weights):
    """Weights of an estimator as a list of pathways, in float64."""
    paths = [weights] if isinstance(weights[0], np.ndarray) else weights
    return [[np.asarray(W, dtype=float) for W in path] for path in paths]


def weights_of(network, model):
    return network[0] if isinstance(model, DeepLinearRegressor) else network


def plain(case, model):
    """The fit's objective on its samples."""
    problem, noise = model._problem, getattr(model, "noise", 0.0)
    decays = problem.weight_decay
    decays = [decays] if isinstance(model, DeepLinearRegressor) else decays
    return PlainLinear(case.X, case.y, case.sample_weight, model.fit_intercept, decays, noise)


def check_linear(case, model):
    problem, network = plain(case, model), network_of(model.weights_)
    eps = ROUNDING[model.dtype or "float64"]
    found = _attributes(case, model, problem, network, eps)
    found |= goes_down(model, problem.scale)
    found |= _records(model, problem, eps)
    found |= _minimum(case, model, problem, network, eps)
    if model.dtype is None:
        found |= _run(case, model, problem, network)
        found |= _hessian(case, model, problem, network)
        found |= _symmetries(case, model, problem)
    return found


def goes_down(model, scale):
    """Automatic steps of descent, and the flow, do not end above the start."""
    path = model.trajectory_
    if model.solver not in ("gd", "flow") or (model.solver == "gd" and model.step_size != "auto"):
        return {}
    rise = path.objective[-1] - path.objective[0]
    # Weights of a flow at rest are known to 1e-8, a loss of zero to the square of that.
    at_rest = 1e-16 * scale if model.solver == "flow" else 0.0
    off = _off(max(rise, 0), 0, 1e-9 * path.objective[0] + at_rest)
    return {"ends below its start": np.inf if model.stop_reason_ == "diverged" else off}


def _end_to_end(path):
    return reduce(lambda product, W: product @ W, reversed(path))


def _off(value, wanted, tolerance):
    """Largest deviation in units of the tolerance; nan and inf count as infinite."""
    kind = np.result_type(np.asarray(value), np.float32)
    with np.errstate(all="ignore"):
        deviation = np.max(np.abs(np.asarray(value) - wanted), initial=0.0)
        # Numbers as small as the least have no digits.
        off = deviation / (tolerance + np.finfo(kind).tiny)
    return float(np.nan_to_num(off, nan=np.inf))


def _attributes(case, model, problem, network, eps):
    coef = sum(_end_to_end(path) for path in network)
    layers = sum(np.prod([np.linalg.norm(W) for W in path]) for path in network)
    inputs = np.abs(problem.X).max(initial=0.0)
    single = np.ndim(case.y) == 1
    intercept = problem.mean_y - coef @ problem.mean_x
    # Means of columns, even those that are zero but for rounding.
    size = np.abs(problem.Y + problem.mean_y).max() + layers * np.abs(case.X).max()
    y = case.X @ coef.T + intercept
    out = size + layers * np.abs(case.X).max() + np.abs(y).max()
    J, penalty = problem.objective(network), problem.penalty(network)
    noise = np.prod(1 + problem.noise) ** (len(network[0]) - 1 if problem.noise.size == 1 else 1)
    J_size = problem.scale + noise * (layers * inputs) ** 2 * problem.X.shape[1] + penalty
    found = {
        "coef_ is the product": _off(model.coef_, coef[0] if single else coef, eps * layers),
        "intercept_": _off(model.intercept_, intercept[0] if single else intercept, eps * size),
        "predict": _off(model.predict(case.X), y[:, 0] if single else y, eps * out),
        "loss_ on the samples": _off(model.loss_, J - penalty, eps * J_size),
        "objective_ on the samples": _off(model.objective_, J, eps * J_size),
        "gradient norm": _off(
            model.trajectory_.gradient_norm[-1],
            np.linalg.norm(flatten(problem.gradient(network))),
            100 * eps * problem.gradient_size(network),
        ),
    }
    if isinstance(model, DeepLinearRegressor):
        std = np.reshape(model.predict(case.X, return_std=True)[1], (len(case.X), -1))
        mean = np.sum(problem.share * std**2)
        found["predictive variance"] = _off(mean, problem._variance(network[0]), eps * J_size)
    else:
        found["mode strengths"] = _strengths(model, network, eps * layers)
    return found


def _strengths(model, network, tolerance):
    """diag(U^T M_p V), summed over modes of equal singular values."""
    U, s, Vt = np.linalg.svd(model.moments_.cross_moment, full_matrices=False)
    n_modes = model.mode_strengths_.shape[1]
    if n_modes == 0:
        return 0.0
    if n_modes < len(s) and s[n_modes] > 1e-9 * s[0]:
        return np.inf
    # Modes whose singular values lie closer than this are turned into each other by rounding.
    gaps = np.diff(s[:n_modes]) < -1e-5 * s[0]
    groups = np.concatenate([[0], np.cumsum(gaps)])
    wanted = [np.diag(U.T @ _end_to_end(path) @ Vt.T)[:n_modes] for path in network]
    summed = [np.bincount(groups, values) for values in wanted]
    got = [np.bincount(groups, values) for values in model.mode_strengths_]
    closest = np.min(-np.diff(s)[:n_modes], initial=s[0], where=-np.diff(s)[:n_modes] > 1e-5 * s[0])
    return _off(got, summed, tolerance * s[0] / closest)


def _records(model, problem, eps):
    """Recorded losses, and the balance of recorded weights."""
    found, path = {"records": 0.0, "balance": 0.0}, model.trajectory_
    for r in {0, len(path) // 2, len(path) - 1}:
        network = network_of(path.weights[r])
        J = problem.objective(network)
        size = problem.scale + problem.penalty(network) + J
        size += sum(np.prod([np.sum(W**2) for W in p]) for p in network) * np.sum(
            problem.share * problem.X**2
        )
        found["records"] = max(found["records"], _off(path.objective[r], J, eps * size))
        histories = model.balance_history_
        histories = [histories] if isinstance(model, DeepLinearRegressor) else histories
        start = network_of(path.weights[0])
        for history, now, before in zip(histories, network, start, strict=True):
            for layer in range(len(now) - 1):
                D, D_0 = (
                    p[layer] @ p[layer].T - p[layer + 1].T @ p[layer + 1] for p in (now, before)
                )
                unit = np.diag(D)
                size = sum(np.sum(W**2) for p in (now, before) for W in p[layer : layer + 2])
                for name, wanted in {
                    "layer": unit.sum(),
                    "neuron": np.abs(unit).max(),
                    "matrix": np.linalg.norm(D),
                    "change": np.linalg.norm(D - D_0),
                }.items():
                    off = _off(getattr(history, name)[r, layer], wanted, 10 * eps * size)
                    found["balance"] = max(found["balance"], off)
    return found


def _minimum(case, model, problem, network, eps):
    """The gap, the weights at the minimum, and what a quasi-Newton method finds from there."""
    least, unit = model.global_minimum_, problem.scale
    rounding = (1e-12 if eps < 1e-9 else 10 * eps) * unit
    relative = 1e-9 if eps < 1e-9 else 1e-5

    def below(J):
        return max(least.objective - J, 0.0) / max(relative * abs(J) + rounding, 1e-300)

    proven = least.kind in ("exact", "certified")
    found = {
        "gap >= 0": max(below(J) for J in [model.objective_, *model.trajectory_.objective]),
        "lower bound": _off(min(least.objective - least.lower_bound, 0), 0, 1e-12 * unit),
    }
    if proven:
        found["bound is the minimum"] = _off(least.lower_bound, least.objective, 1e-8 * unit)
    starts = _starts(case, model, network)
    if least.kind != "unattained":
        widths = [[len(W) for W in path[:-1]] for path in network]
        best = least.weights(widths[0] if isinstance(model, DeepLinearRegressor) else widths)
        best = network_of(best)
        J = problem.objective(best)
        found["weights attain the minimum"] = _off(J, least.objective, 1e-10 * unit)
        rng, size = np.random.RandomState(case.index), np.abs(flatten(network)).max()
        starts += [_near(rng, best, share, size) for share in (0.01, 0.3)]
    if model.solver == "analytic":
        found["analytic fit is at the minimum"] = _off(
            model.objective_, least.objective, 1e-10 * unit
        )
    # Of a minimum that is not proven, how much less there is is told, but is no failure.
    unproven = not proven and least.kind != "unattained"
    claim = "(stationary, excess)" if unproven else "no start ends below"
    with np.errstate(all="ignore"):  # starts may be far off where units are extreme
        found[claim] = below(np.nanmin([model.objective_, *map(problem.polished, starts)]))
    return found


def _starts(case, model, network):
    """The fit, and maps that explain y: zero keeps what is near it, from three layers on."""
    spectral = clone(model).set_params(init="spectral", init_scale=None, dtype=None)
    start = network_of(initial(spectral, case).weights_)
    scaled = [[[c ** (1 / len(path)) * W for W in path] for path in start] for c in (0.7, 2.0)]
    return [network, *scaled]


def _near(rng, network, share, size):
    """The network with a share of each layer at random; layers of zeros get that of `size`."""
    return [
        [W + share * (np.abs(W).max() or size) * rng.standard_normal(W.shape) for W in path]
        for path in network
    ]


def _run(case, model, problem, network):
    """The run against a plain loop over the full network from the same weights."""
    if model.solver == "analytic":
        return {}
    first = network_of(initial(model, case).weights_)
    ours, plain_start = flatten(network_of(model.trajectory_.weights[0])), flatten(first)
    found = {"starts alike": _off(ours, plain_start, 1e-14 * np.abs(plain_start).max(initial=0.0))}
    rng = np.random.RandomState(case.index)
    other = problem.perturbed(rng, case.X, case.y, case.sample_weight, model.fit_intercept)
    runs = [
        _plain_run(model, problem, first),
        _plain_run(model, other, rounded(rng, first), perturbed=True),
    ]
    ours, plain_end, moved = flatten(network), flatten(runs[0]), flatten(runs[1])
    size = np.abs(plain_end).max(initial=0.0)
    rounding = np.abs(moved - plain_end).max(initial=0.0)
    if model.stop_reason_ == "diverged" or not rounding < _KNOWN * size / _MARGIN:
        return found  # nobody knows the weights
    floor = 1e-4 if model.solver == "flow" else 1e-12
    atol = 1e-7 if model.solver == "flow" else 1e-14  # of the weights at the start
    tolerance = _MARGIN * rounding + floor * size + atol * np.abs(plain_start).max(initial=0.0)
    found[f"{model.solver} run"] = _off(ours, plain_end, tolerance)
    return found


def _plain_run(model, problem, network, perturbed=False):
    if model.solver == "flow":
        time = model.trajectory_.time[-1]
        return problem.flow(network, time, FLOW_RTOL if perturbed else 1e-3 * FLOW_RTOL)
    if model.solver == "adam":
        norm, count = model.trajectory_.gradient_norm[0], len(flatten(network))
        eps = min(1e-8, 1e-5 * norm / np.sqrt(count)) or 1e-8  # as small as the units ask for
        return problem.adam(network, model.step_size_, model.n_iter_, eps)
    return problem.descend(network, model.step_size_, model.n_iter_)


def _hessian(case, model, problem, network):
    flat = flatten(network)
    if case.index % 3 or len(flat) > _DENSE:
        return {}
    H = problem.hessian(network)
    size = np.linalg.norm(H, 2) if np.isfinite(H).all() else np.inf
    # Differences of the gradient, at steps of h, are exact to h^2 and eps / h.
    h = max(np.abs(flat).max(initial=0.0), 1e-30)
    tolerance = 1e-5 * size + 1e-9 * problem.gradient_size(network) / h
    values, k = np.linalg.eigvalsh(H), min(5, len(flat))
    ask = {"sample_weight": case.sample_weight, "k": k}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        top = hessian_eigenvalues(model, case.X, case.y, which="LA", **ask)
        low = hessian_eigenvalues(model, case.X, case.y, which="SA", **ask)
    return {
        "hessian LA": _off(top, values[::-1][:k], tolerance),
        "hessian SA": _off(low, values[:k], tolerance),
    }


# -- symmetries: the same problem in other units, coordinates and copies ------------------------


def _symmetries(case, model, problem):
    """Fits of transformed data from transformed weights are the transformed fits."""
    if model.solver not in ("gd", "analytic") or case.index % 2:
        return {}
    first, found = network_of(initial(model, case).weights_), {}
    rng = np.random.RandomState(case.index)
    rounding = _sensitivity(case, model, problem, first)
    for name, transform in _TRANSFORMS.items():
        data = transform(rng, case, first, problem)
        if data is None or (model.solver == "gd" and rounding is None):
            continue
        X, y, weight, start, decays, unit_y, map_back = data
        twin = clone(model).set_params(init=weights_of(start, model), init_scale=None)
        if isinstance(model, DeepLinearRegressor):
            twin.set_params(weight_decay=list(decays[0]))
        else:
            twin.set_params(weight_decay=[list(d) for d in decays])
        _fit(twin, X, y, weight)
        J, scale = model.objective_ * unit_y**2, problem.scale * unit_y**2
        if model.solver == "analytic":
            found[name] = _off(twin.objective_, J, 1e-9 * scale)
        elif twin.n_iter_ == model.n_iter_:
            size = np.abs(np.atleast_2d(model.coef_)).max(initial=0.0)
            found[name] = _off(
                map_back(np.atleast_2d(twin.coef_)),
                np.atleast_2d(model.coef_),
                _MARGIN * rounding + 1e-11 * size,
            )
    return found


def _sensitivity(case, model, problem, first):
    """How far a rounding error at the start moves the end-to-end map; None if too far."""
    if model.solver == "analytic":
        return 0.0
    rng = np.random.RandomState(case.index)
    other = problem.perturbed(rng, case.X, case.y, case.sample_weight, model.fit_intercept)
    ends = [_plain_run(model, problem, first), _plain_run(model, other, rounded(rng, first))]
    maps = [sum(_end_to_end(path) for path in network) for network in ends]
    # The steps themselves follow the data: what a relative change of eta changes.
    eta = problem.descend(first, model.step_size_ * (1 + 1e-15), model.n_iter_)
    maps.append(sum(_end_to_end(path) for path in eta))
    layers = sum(np.prod([np.linalg.norm(W) for W in path]) for path in ends[0])
    off = max(np.abs(M - maps[0]).max() for M in maps[1:]) + 1e-16 * layers
    return off if off < _KNOWN / _MARGIN * np.abs(maps[0]).max() else None


def _units_of_y(rng, case, first, problem):
    """y in other units: W_l times c^(1/L), gamma_l times c^(2 - 2/L)."""
    if len({len(path) for path in first}) > 1:
        return None  # pathways of different depths start relative to each other
    c = float(rng.choice([1e-3, 2.0**20, 1e5]))
    L = len(first[0])
    start = [[c ** (1 / L) * W for W in path] for path in first]
    decays = [c ** (2 - 2 / L) * np.asarray(d, dtype=float) for d in problem.decays]
    return case.X, c * case.y, case.sample_weight, start, decays, c, lambda M: M / c


def _units_of_x(rng, case, first, problem):
    """X in other units: W_l times c^(-1/L), gamma_l times c^(2/L)."""
    if len({len(path) for path in first}) > 1:
        return None
    c = float(rng.choice([1e-3, 2.0**20, 1e5]))
    L = len(first[0])
    start = [[c ** (-1 / L) * W for W in path] for path in first]
    decays = [c ** (2 / L) * np.asarray(d, dtype=float) for d in problem.decays]
    return c * case.X, case.y, case.sample_weight, start, decays, 1.0, lambda M: M * c


def _rotated_inputs(rng, case, first, problem):
    d = case.X.shape[1]
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return _turned(case, first, problem, Q)


def _permuted_features(rng, case, first, problem):
    return _turned(case, first, problem, np.eye(case.X.shape[1])[rng.permutation(case.X.shape[1])])


def _turned(case, first, problem, Q):
    """X Q has means that may be much larger than what is left of them: rounding."""
    if np.abs(problem.mean_x).max(initial=0) > 100 * np.abs(problem.X).max(initial=0):
        return None
    start = [[path[0] @ Q, *path[1:]] for path in first]
    return case.X @ Q, case.y, case.sample_weight, start, problem.decays, 1.0, lambda M: M @ Q.T


def _copies(rng, case, first, problem):
    """Samples that are there twice, once as weights and once as rows; and as halves."""
    copies = rng.randint(1, 4, size=len(case.X))
    rows = np.repeat(np.arange(len(case.X)), copies)
    weight = np.ones(len(case.X)) if case.sample_weight is None else case.sample_weight
    data = case.X[rows], case.y[rows], (weight / copies)[rows]
    return *data, first, problem.decays, 1.0, lambda M: M


_TRANSFORMS = {
    "y in other units": _units_of_y,
    "X in other units": _units_of_x,
    "rotated inputs": _rotated_inputs,
    "permuted features": _permuted_features,
    "copies of samples": _copies,
}
