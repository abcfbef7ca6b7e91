"""Deep linear regression on the diabetes data: how far is training from the optimum?

For depths 1 to 4 and five weight decays the objective reached by gradient descent is
printed beside the exact global minimum of the same objective, with the R2 on held-out
data beside that of RidgeCV and of a linear MLPRegressor. The training curves are saved as
demo_output/diabetes.png.
"""

from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.inspection import TrajectoryDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DEPTHS = (1, 2, 3, 4)
WEIGHT_DECAYS = (0.001, 0.01, 0.05, 0.2, 1.0)
OUTPUT = Path("demo_output")


def standardised_diabetes():
    """Return train and test halves with inputs and target of unit variance."""
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    inputs, target = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])
    return (
        inputs.transform(X_train),
        inputs.transform(X_test),
        target.transform(y_train[:, None])[:, 0],
        target.transform(y_test[:, None])[:, 0],
    )


def peers():
    """Return the regressors to compare with."""
    mlp = MLPRegressor(
        hidden_layer_sizes=(50,), activation="identity", solver="lbfgs", alpha=1, random_state=0
    )
    return {"RidgeCV": RidgeCV(np.logspace(-3, 3, 60)), "MLPRegressor(identity)": mlp}


def draw(model, axes, name):
    """Draw the objective above its exact minimum, and the gap between the two."""
    display = TrajectoryDisplay.from_estimator(model, ax=axes[0], name=name)
    display.plot(ax=axes[1], curve="gap", name="")


def main():
    """Fit every model, print the table and save the figure."""
    X_train, X_test, y_train, y_test = standardised_diabetes()
    figure, axes = plt.subplots(
        2, len(DEPTHS), figsize=(14, 7), sharex=True, sharey="row", layout="constrained"
    )
    print("depth  weight_decay   objective     minimum   relative gap  stopped      test R2")
    for depth, column in zip(DEPTHS, axes.T, strict=True):
        for weight_decay in WEIGHT_DECAYS:
            model = DeepLinearRegressor(
                depth=depth,
                width=50,
                weight_decay=weight_decay,
                max_iter=20_000,
                tol=1e-5,
                record_every=1,
            ).fit(X_train, y_train)
            print(
                f"{depth:5}  {weight_decay:12g} {model.objective_:11.6f} "
                f"{model.global_minimum_.objective:11.6f} "
                f"{model.optimality_gap_ / model.objective_:14.1e}  {model.stop_reason_:9} "
                f"{model.score(X_test, y_test):10.3f}"
            )
            draw(model, column, f"decay {weight_decay:g}" if depth == 1 else "")
        column[0].set(title=f"depth {depth}", xlabel="", ylabel="")
        column[1].set(ylabel="", xscale="symlog", xlim=(0, 20_000), ylim=(1e-10, 5))
    axes[0, 0].set(ylabel="objective J (dashed: exact minimum)", ylim=(0.4, 1.3))
    axes[1, 0].set(ylabel="J - exact minimum")
    for name, model in peers().items():
        print(f"{name:62} test R2 {model.fit(X_train, y_train).score(X_test, y_test):10.3f}")
    OUTPUT.mkdir(exist_ok=True)
    figure.savefig(OUTPUT / "diabetes.png", dpi=110)
    print(f"training curves: {OUTPUT / 'diabetes.png'}")


if __name__ == "__main__":
    main()
