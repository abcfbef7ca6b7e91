"""Fits of structured and degenerate data, drawn at random from a list of what can go wrong.

`linear_fit`, `pathway_fit` and `perceptron_fit` return an estimator that is not fitted yet
with the data it is to be fitted to. A case depends on its index and seed alone, so that one
that fails can be drawn again.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from sklearn_deeplinear import (
    DeepLinearRegressor,
    HomogeneousMLPClassifier,
    HomogeneousMLPRegressor,
    MultiPathwayRegressor,
)
from sklearn_deeplinear.theory import SecondMoments, critical_weight_decay

INITS = ("spectral", "balanced", "normal", "xavier_uniform", "xavier_normal", "orthogonal")


@dataclass
class Fit:
    """An estimator and its data; `family` and `data` say where they come from."""

    index: int
    family: str
    data: str
    estimator: object
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None

    def __str__(self):
        parameters = self.estimator.get_params(deep=False)
        default = type(self.estimator)().get_params(deep=False)
        shown = {
            name: value if name != "init" or isinstance(value, str) else "explicit"
            for name, value in parameters.items()
            if not _same(value, default[name])
        }
        return (
            f"{self.family} {self.index}: {self.data}, X {self.X.shape}, y {self.y.shape}, "
            f"{'weighted, ' if self.sample_weight is not None else ''}{shown}"
        )


def _same(a, b):
    return a is b or (isinstance(a, (int, float, str)) and a == b)


# -- data: functions of a RandomState to X (n, d) and Y (n, m) ------------------------------


def _mirrored(diagonal):
    """Inputs of mean zero and second moment diag(diagonal)^2 / d."""
    return np.vstack([np.diag(diagonal), -np.diag(diagonal)]).astype(float)


def white_and_rank_one(rng):
    d, m = rng.randint(1, 5, size=2)
    X = _mirrored(np.full(d, rng.choice([1.0, np.sqrt(d), 3.0])))
    coef = np.outer(rng.randint(-3, 4, size=m), rng.randint(-4, 5, size=d))
    return X, X @ coef.T + _orthogonal_noise(rng, X, m)


def white_and_equal_modes(rng):
    d = rng.randint(2, 5)
    X = _mirrored(np.full(d, np.sqrt(d)))
    coef = rng.choice([1.0, 2.0, 7.0]) * np.eye(d)[rng.permutation(d)]
    return X, X @ coef.T + _orthogonal_noise(rng, X, d)


def hadamard_rows(rng):
    X = hadamard(8)[:, 1 : rng.randint(3, 7)].astype(float)
    return X, X @ rng.randint(-2, 3, size=(X.shape[1], rng.randint(1, 4)))


def symmetric(rng):
    X = _mirrored([2.0, 2.0])
    coef = np.array([[2.0, 1.0], [1.0, 2.0]]) if rng.randint(2) else np.array([[3.0, 1], [1, 2]])
    return X, X @ coef


def integers(rng):
    n, d, m = rng.randint(4, 20), rng.randint(1, 5), rng.randint(1, 4)
    return rng.randint(-3, 4, size=(n, d)).astype(float), rng.randint(-5, 6, size=(n, m)) * 1.0


def diagonal_with_repeats(rng):
    diagonal = np.array([[3, 3, 1], [2, 1, 1], [5, 5, 5], [4, 1, 0]][rng.randint(4)], dtype=float)
    X = _mirrored(diagonal)
    return X, X @ np.diag([[1.0, 2, 3], [1, 1, 0], [0, 0, 4]][rng.randint(3)])[
        : rng.randint(1, 4)
    ].T


def clustered(rng):
    spread = rng.choice([1e-12, 1e-9, 1e-6])
    X = _mirrored(1 + spread * np.arange(4)) @ _rotation(rng, 4)
    return X, X @ rng.standard_normal((4, rng.randint(1, 4)))


def rank_one_inputs(rng):
    X = np.outer(rng.standard_normal(12), rng.standard_normal(4))
    return X, X @ rng.standard_normal((4, 2)) + 0.3 * rng.standard_normal((12, 2))


def rank_deficient_inputs(rng):
    X = rng.standard_normal((15, 2)) @ rng.randint(-2, 3, size=(2, 5))
    return X, X @ rng.standard_normal((5, 2)) + 0.3 * rng.standard_normal((15, 2))


def blind_to_leading_inputs(rng):
    """Y depends on the two weakest directions only, exactly."""
    X = _mirrored([100.0, 10.0, 1.0, 0.5])
    coef = np.zeros((rng.randint(1, 4), 4))
    coef[:, 2:] = rng.randint(-3, 4, size=(len(coef), 2))
    return X, X @ coef.T


def one_dimension(rng):
    x = rng.standard_normal((10, 1)) if rng.randint(2) else np.array([[1.0], [-1.0]])
    return x, rng.choice([-2.0, 1.0, 3.0]) * x + 0.1 * rng.randint(2) * rng.standard_normal(x.shape)


def no_target(rng):
    return rng.standard_normal((8, 3)), np.zeros((8, rng.randint(1, 3)))


def no_input(rng):
    return np.zeros((6, 2)), rng.standard_normal((6, 2))


def zero_column(rng):
    X = rng.standard_normal((12, 4))
    X[:, rng.randint(4)] = 0
    return X, X @ rng.standard_normal((4, 2)) + 0.2 * rng.standard_normal((12, 2))


def one_sample(rng):
    return rng.standard_normal((1, 3)), rng.standard_normal((1, 2))


def few_samples(rng):
    return rng.standard_normal((4, 9)), rng.standard_normal((4, rng.randint(1, 4)))


def repeated_samples(rng):
    rows = rng.randint(0, 3, size=20)
    return rng.standard_normal((3, 4))[rows], rng.standard_normal((20, 2))


def large_means(rng):
    X = rng.standard_normal((15, 4)) + [0, 1e3, 1e6, -1e4]
    X[:, 3] = -1e4
    return X, (X - X.mean(axis=0)) @ rng.standard_normal((4, 2)) + rng.choice([0, 1e5])


def identity_task(rng):
    X = rng.standard_normal((20, 3))
    return X, X[:, rng.permutation(3)]


def one_hot_tree(rng):
    tree = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    return np.eye(4), np.array(tree, dtype=float).T


def anisotropic(rng):
    X = rng.standard_normal((30, 4)) * [1, 1e-1, 1e-2, 1e-3]
    return X @ _rotation(rng, 4), rng.standard_normal((30, rng.randint(1, 3)))


def generic(rng):
    d, m = rng.randint(1, 7), rng.randint(1, 5)
    X = rng.standard_normal((25, d)) @ rng.standard_normal((d, d)) + 1
    return X, X @ rng.standard_normal((d, m)) + rng.standard_normal((25, m))


DATA = (
    white_and_rank_one,
    white_and_rank_one,
    white_and_rank_one,
    white_and_equal_modes,
    hadamard_rows,
    symmetric,
    integers,
    diagonal_with_repeats,
    clustered,
    rank_one_inputs,
    rank_deficient_inputs,
    blind_to_leading_inputs,
    one_dimension,
    no_target,
    no_input,
    zero_column,
    one_sample,
    few_samples,
    repeated_samples,
    large_means,
    identity_task,
    one_hot_tree,
    anisotropic,
    generic,
    generic,
)


def _orthogonal_noise(rng, X, m):
    """Targets that no input explains: equal for x and -x, of mean zero."""
    half = rng.choice([0.0, 1.0]) * rng.standard_normal((len(X) // 2, m))
    half -= half.mean(axis=0)
    return np.vstack([half, half])


def _rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def _draw_data(rng, index, units):
    """The data sets in turn, in units of a power of ten; vectors of targets now and then."""
    make = DATA[index % len(DATA)]
    X, Y = make(rng)
    a, b = (0, 0) if rng.rand() < 0.7 else rng.choice(units, size=2)
    X, Y = X * 10.0**a, Y * 10.0**b
    name = make.__name__ + (f" * (1e{a}, 1e{b})" if (a, b) != (0, 0) else "")
    return name, X, Y[:, 0] if Y.shape[1] == 1 and rng.randint(2) else Y


def _draw_weights(rng, n):
    """Sample weights: none, positive, whole numbers with zeros, or of tiny size."""
    kind = rng.randint(6)
    if kind > 2 or n == 1:
        return None
    weight = (rng.uniform(0.1, 2, n), rng.randint(0, 3, n) * 1.0, 1e-30 * rng.rand(n))[kind]
    return weight if np.count_nonzero(weight) > 1 else None


# -- parameters ------------------------------------------------------------------------------


def _draw_width(rng, depth):
    if rng.rand() < 0.25:
        return [int(rng.choice([1, 2, 3, 5, 33])) for _ in range(depth - 1)]
    return int(rng.choice([1, 2, 3, 4, 7, 20, 33, 37, 100], p=[0.15] + [0.1] * 7 + [0.15]))


def decay_unit(moments, depth):
    """A decay of which zero and the least-squares map are about equally good."""
    strength = np.linalg.norm(moments.cross_moment, 2)
    sigma = moments.spectrum.sigma
    if strength == 0 or sigma.size == 0:
        return 1.0
    return float(strength * (strength / sigma[0] ** 2) ** (1 - 2 / depth))


def _draw_decay(rng, moments, depth, width, noise):
    """None, moderate, at and around the critical one, or different in each layer."""
    unit, kind = decay_unit(moments, depth), rng.randint(8)
    if kind < 2:
        return 0.0
    if kind < 4:
        return unit * float(rng.choice([1e-3, 0.03, 0.3, 3.0]))
    if kind < 6:
        try:
            critical = critical_weight_decay(moments, depth=depth, width=width, noise=noise)
        except ValueError:  # S of rank two or more and depth of three or more
            return unit * 0.1
        at = float(critical.collapse if rng.randint(2) else critical.spinodal)
        if not np.isfinite(at):  # ridge regression does not collapse
            return unit
        return at * float(rng.choice([1 - 1e-6, 1 - 2**-53, 1.0, 1 + 2**-52, 1 + 1e-6, 0.999]))
    if kind == 6:
        return (unit * rng.choice([0.01, 0.1, 0.5], size=depth)).tolist()
    return (unit * rng.choice([0.0, 0.1], size=depth)).tolist()


def explicit_weights(rng, shapes, size):
    """Starts with structure: zeros, aligned modes of widely different size, low rank."""
    kind, L = rng.randint(5), len(shapes)
    root = size ** (1 / L) if size > 0 else 1.0
    weights = [np.zeros(shape) for shape in shapes]
    if kind == 1:  # on the axes, one mode of order one and others that are tiny and may grow
        tiny = float(rng.choice([1e-13, 1e-8, 1e-5])) ** (1 / L)
        for W in weights:
            np.fill_diagonal(W, root * np.array([1.0, *[tiny] * (min(W.shape) - 1)]))
    elif kind == 2:
        weights = [root * 0.3 * np.ones(shape) / max(shape) for shape in shapes]  # all units alike
    elif kind == 3:
        weights = [root * 0.5 * rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
    elif kind == 4:  # the first layer alone is zero
        weights = [root * rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
        weights[0][:] = 0
    return weights


def _shapes(d, m, depth, width):
    hidden = [width] * (depth - 1) if np.ndim(width) == 0 else width
    sizes = [d, *hidden, m]
    return list(zip(sizes[1:], sizes[:-1], strict=True))


def _reach(moments):
    sigma = moments.spectrum.sigma
    return 0.0 if sigma.size == 0 else np.linalg.norm(moments.cross_moment) / sigma[0] ** 2


def _draw_init(rng, moments, depth, width, names):
    kind = rng.randint(len(names) + 3)
    if kind < len(names):
        return names[kind], None
    if kind == len(names):
        return "identity", None
    d, m = moments.n_inputs, moments.n_outputs
    return explicit_weights(rng, _shapes(d, m, depth, width), _reach(moments)), None


def _run_length(rng, depth, width):
    """Long runs of small networks only: a plain loop is to make as many steps."""
    small = np.max(width, initial=1) < 40 and depth < 6
    return int(rng.choice([3, 30, 120, 400] if small else [3, 30]))


def linear_fit(index, seed):
    """A fit of DeepLinearRegressor."""
    rng = np.random.RandomState([seed, index, 1])
    data, X, y = _draw_data(rng, index, [-60, -20, -6, -2, 2, 6, 20, 60])
    solver = rng.choice(["gd", "flow", "sgd", "adam", "analytic"], p=[0.4, 0.15, 0.1, 0.1, 0.25])
    deep = [10, 50] if solver == "analytic" else [7, 10]
    depth = int(rng.choice([1, 2, 3, 4, 5, *deep], p=[0.1, 0.3, 0.3, 0.1, 0.1, 0.05, 0.05]))
    if data == "white_and_rank_one" and rng.randint(2):
        depth = 3  # all of the scalar family hangs on one eigenvalue
    width, intercept = _draw_width(rng, depth), bool(rng.rand() < 0.7)
    weight = _draw_weights(rng, len(X))
    moments = SecondMoments.from_data(X, y, weight, center=intercept)
    noise = 0.0
    small = max(moments.cross_moment.shape) < 5  # minima with noise take long otherwise
    if small and solver not in ("sgd", "adam") and 1 < depth < 6 and rng.rand() < 0.4:
        noise = float(rng.choice([0.3, 3, 67]))
        if rng.rand() < 0.3:
            noise = [float(s) for s in rng.choice([0, 0.3, 3, 67], size=depth - 1)]
    decay = _draw_decay(rng, moments, depth, width, noise)
    if solver == "analytic" and np.any(decay):
        decay = np.maximum(decay, np.max(decay) / 8).tolist()  # else it is not attained
    init, scale = _draw_init(rng, moments, depth, width, INITS)
    single = "1e" not in data and solver != "analytic" and rng.rand() < 0.1
    estimator = DeepLinearRegressor(
        depth,
        width,
        weight_decay=decay,
        noise=noise,
        solver=str(solver),
        max_iter=_run_length(rng, depth, width),
        tol=float(rng.choice([0, 1e-6])),
        batch_size=1000,
        init=init,
        init_scale=scale,
        fit_intercept=intercept,
        record_weights=True,
        dtype="float32" if single else None,
        random_state=int(rng.randint(1000)),
    )
    return Fit(index, "linear", data, estimator, X, y, weight)


def pathway_fit(index, seed):
    """A fit of MultiPathwayRegressor with linear pathways."""
    rng = np.random.RandomState([seed, index, 2])
    data, X, y = _draw_data(rng, index, [-20, -6, -2, 2, 6, 20])
    solver = rng.choice(["gd", "flow", "sgd", "analytic"], p=[0.45, 0.15, 0.1, 0.3])
    depths = [int(L) for L in rng.choice([1, 2, 3, 4], size=rng.randint(1, 4))]
    widths = [_draw_width(rng, L) for L in depths]
    widths = [[w] * (L - 1) if np.ndim(w) == 0 else w for w, L in zip(widths, depths, strict=True)]
    intercept, weight = bool(rng.rand() < 0.7), _draw_weights(rng, len(X))
    moments = SecondMoments.from_data(X, y, weight, center=intercept)
    decay = [rng.choice([0.03, 0.3, 1.0, 1 - 2.0**-53]) * decay_unit(moments, L) for L in depths]
    decay = [[g] * L for g, L in zip(decay, depths, strict=True)] if rng.randint(4) else 0.0
    init = str(rng.choice([*INITS, "identity", "explicit"]))
    if init == "explicit":
        d, m = moments.n_inputs, moments.n_outputs
        init = [
            explicit_weights(rng, _shapes(d, m, L, w), _reach(moments))
            for L, w in zip(depths, widths, strict=True)
        ]
    estimator = MultiPathwayRegressor(
        depths,
        widths,
        n_pathways=len(depths),
        weight_decay=decay,
        solver=str(solver),
        max_iter=_run_length(rng, max(depths), [1, *sum(widths, [])]),
        tol=float(rng.choice([0, 1e-6])),
        batch_size=1000,
        init=init,
        fit_intercept=intercept,
        record_weights=True,
        random_state=int(rng.randint(1000)),
    )
    return Fit(index, "pathways", data, estimator, X, y, weight)


def perceptron_fit(index, seed):
    """A fit of a homogeneous perceptron, every second one a classifier; None without classes."""
    rng = np.random.RandomState([seed, index, 3])
    data, X, y = _draw_data(rng, index // 2, [-5, -2, 2, 6])
    depth = int(rng.choice([1, 2, 3, 4]))
    width = [int(h) for h in rng.choice([1, 2, 3, 7, 33], size=depth - 1)]
    classes = _labels(rng, y) if index % 2 else None
    n_outputs = len(set(classes)) if classes is not None else y.reshape(len(y), -1).shape[1]
    weight = _draw_weights(rng, len(X))
    kind, loss = HomogeneousMLPRegressor, {}
    if classes is not None:
        if n_outputs < 2:
            return None
        kind, y = HomogeneousMLPClassifier, classes
        loss = {"loss": str(rng.choice(["cross_entropy", "squared_error"]))}
    names = (*INITS[1:], "identity", "explicit")
    init = str(rng.choice(names))
    if init == "explicit":
        init = explicit_weights(rng, _shapes(X.shape[1], n_outputs, depth, width), 1.0)
    estimator = kind(
        depth,
        width,
        activation=str(rng.choice(["relu", "leaky_relu", "identity"])),
        weight_decay=float(rng.choice([0, 0.01, 1.0]))
        if rng.randint(3)
        else [float(g) for g in rng.choice([0, 0.1, 0.3], size=depth)],
        solver=str(rng.choice(["gd", "flow", "sgd", "adam"], p=[0.5, 0.2, 0.15, 0.15])),
        max_iter=int(rng.choice([3, 30, 120])),
        tol=float(rng.choice([0, 1e-6])),
        batch_size=1000,
        init=init,
        fit_bias=bool(rng.randint(2)),
        record_weights=True,
        random_state=int(rng.randint(1000)),
        **loss,
    )
    return Fit(index, "perceptron", data, estimator, X, y, weight)


def _labels(rng, y):
    """Classes by the sign or the largest of the targets, or at random; names or numbers."""
    Y = y.reshape(len(y), -1)
    label = Y.argmax(axis=1) if Y.shape[1] > 1 else (Y[:, 0] > np.median(Y)).astype(int)
    if len(set(label)) < 2:
        label = rng.randint(0, 3, size=len(Y))
    return label if rng.randint(2) else np.array(["cold", "mild", "warm", "hot"])[label % 4]


FAMILIES = {"linear": linear_fit, "pathways": pathway_fit, "perceptron": perceptron_fit}
