"""Are the perceptrons as fast and as accurate as what people train today?

- "gd": a 1000-100-100-10 ReLU network on 1000 points, full batch, with loss, gradient norm
  and balance recorded every ten steps, against a bare autograd loop that records nothing.
- "adam": mini-batches on digits, against skorch's NeuralNetClassifier without callbacks
  and scikit-learn's MLPClassifier, the same network and number of epochs for all.
- "accuracy": test accuracy of "adam" on digits and wine against MLPClassifier of the same
  shape, over five splits and seeds.

Contestants run in turn; ratios are those of the medians.

    python benchmarks/bench_homogeneous.py            # about 4 minutes on two cores
    python benchmarks/bench_homogeneous.py --quick    # less of everything
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from _environment import write_results
from _measure import agreed, in_turn, largest_difference, parser, row, show
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier

from sklearn_deeplinear.estimators._mlp_classifier import HomogeneousMLPClassifier
from sklearn_deeplinear.estimators._mlp_regressor import HomogeneousMLPRegressor

ADAM = {"max_iter": 200, "batch_size": 200, "random_state": 0}


def gd_case():
    """Data and weights of the 1000-100-100-10 network."""
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((1000, 1000)), rng.standard_normal((1000, 10))
    shapes = [(100, 1000), (100, 100), (10, 100)]
    return X, Y, [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]


def bare_loop(X, Y, weights, step_size, steps):
    """Train with autograd and SGD; return the final weights."""
    X, Y = torch.from_numpy(X), torch.from_numpy(Y)
    layers = [torch.nn.Linear(*W.shape[::-1], bias=False, dtype=torch.float64) for W in weights]
    with torch.no_grad():
        for layer, W in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(W))
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(net.parameters(), lr=step_size)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(X) - Y).square().sum() / len(X)
        loss.backward()
        optimizer.step()
    return [layer.weight.detach().numpy() for layer in layers]


def bench_gd(quick):
    """Time full-batch gradient descent; check that both make the same steps."""
    X, Y, weights = gd_case()
    steps, repeats, step_size = (20, 2, 1e-3) if quick else (200, 5, 1e-3)
    model = HomogeneousMLPRegressor(
        init=weights,
        fit_bias=False,
        step_size=step_size,
        max_iter=steps,
        tol=0,
        record_every=10,
        device="cpu",
    )
    ways = {
        "ours": lambda: model.fit(X, Y).weights_,
        "torch loop": lambda: bare_loop(X, Y, weights, step_size, steps),
    }
    timings = in_turn(ways, repeats, warm_up=1)
    error = agreed("weights", largest_difference(*timings.outcomes.values()), 1e-8)
    case, ratios = f"full batch, {steps} steps", [("ours", "torch loop")]
    return row(case, timings, ratios, agreement=error, part="full batch")


def skorch_digits(epochs):
    """Return skorch's net of the same shape, without callbacks."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(64, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 10),
    )
    return NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=epochs,
        batch_size=200,
        train_split=None,
        callbacks="disable",
        iterator_train__shuffle=True,
        verbose=0,
    )


def bench_adam(quick):
    """Time mini-batches on digits, all in single precision."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    epochs, repeats = (5, 2) if quick else (50, 5)
    options = {**ADAM, "max_iter": epochs}
    contestants = {
        "ours": lambda: HomogeneousMLPClassifier(
            solver="adam", dtype="float32", device="cpu", tol=0, **options
        ),
        "skorch": lambda: skorch_digits(epochs),
        "MLPClassifier": lambda: MLPClassifier((100, 100), n_iter_no_change=epochs, **options),
    }
    ways = {name: lambda make=make: make().fit(X, y) for name, make in contestants.items()}
    timings = in_turn(ways, repeats, warm_up=1)
    ratios = [("ours", "skorch"), ("ours", "MLPClassifier")]
    return row(f"digits, {epochs} epochs", timings, ratios, part="mini-batches, adam")


def bench_accuracy(quick):
    """Compare test accuracies with MLPClassifier, in points."""
    rows = []
    for name, load in {"digits": load_digits, "wine": load_wine}.items():
        X, y = load(return_X_y=True)
        scores = {"ours": [], "MLPClassifier": []}
        for seed in range(2 if quick else 5):
            X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed, stratify=y)
            options = {**ADAM, "random_state": seed}
            models = {
                "ours": HomogeneousMLPClassifier(solver="adam", **options),
                "MLPClassifier": MLPClassifier((100, 100), **options),
            }
            for contestant, model in models.items():
                fitted = make_pipeline(StandardScaler(), model).fit(X_train, y_train)
                scores[contestant].append(100 * fitted.score(X_test, y_test))
        mean = {contestant: float(np.mean(values)) for contestant, values in scores.items()}
        part = "accuracy on test data, %"
        rows.append(row(name, None, figures=mean, part=part, accuracies=scores))
    return rows


def main():
    """Run all and print a line each."""
    quick = parser(__doc__, "less of everything").parse_args().quick
    warnings.simplefilter("ignore")
    rows = [bench_gd(quick), bench_adam(quick), *bench_accuracy(quick)]
    for found in rows:
        show(found)
    write_results("bench_homogeneous", rows, quick=quick)


if __name__ == "__main__":
    main()
