"""Training runs of the pathway figures, which go on where they were stopped."""

from __future__ import annotations

import time

import numpy as np

from sklearn_deeplinear import MultiPathwayRegressor
from sklearn_deeplinear.datasets import make_hierarchical

# Standard deviation of the weights at width 1000; narrower networks keep width * variance.
SCALE, WIDTH, RATE = 0.01, 1000, 0.01


def train(path, depth, steps, *, width, seed=0, activation="identity"):
    """Train two pathways on the tree from weights N(0, 0.1 / width), in parts.

    Parameters
    ----------
    path : Path
        Where the result will be; the run so far is kept beside it, and taken up from there.
    depth : int or sequence of ints
        Number of weight matrices of both pathways, or of each.
    steps : int
        Number of steps; the summed squared error has rate 0.01.
    width : int
        Width of all hidden layers.
    seed : int, default=0
        Seed of the initial weights.
    activation : str, default="identity"
        Of hidden layers, and of the output of each pathway.

    Returns
    -------
    result : dict
        "iteration", "loss" and "mode_strengths" of about 250 records, denser at first.
    """
    X, Y = make_hierarchical()
    model = MultiPathwayRegressor(
        depth,
        width,
        activation=activation,
        activate_output=True,
        init_scale=SCALE * (WIDTH / width) ** 0.5,
        step_size=RATE * len(X),
        tol=0,
        fit_intercept=False,
        warm_start=True,
        dtype="float32",
        device="cpu",
        random_state=seed,
    )
    checkpoint = path.with_suffix(".part.npz")
    curves = _taken_up(checkpoint, model)
    begun = done = int(max(curves["iteration"], default=0))
    clock = time.perf_counter()
    while done < steps:
        part = min(max(done // 2, steps // 50, 1), max(steps // 10, 1), steps - done)
        spacing = max(1, (done + steps // 50) // 50)
        model.set_params(max_iter=part, record_every=spacing).fit(X, Y)
        curves = _continued(curves, model.trajectory_, done)
        done = int(curves["iteration"][-1])
        _keep(checkpoint, curves, model.weights_)
        left = (time.perf_counter() - clock) / (done - begun) * (steps - done)
        print(f"    {done}/{steps}  loss {model.loss_:.2g}  {left:.0f} s to go", flush=True)
    return {
        "iteration": np.asarray(curves["iteration"]).tolist(),
        "loss": [float(f"{loss:.6g}") for loss in curves["loss"]],
        "mode_strengths": np.round(curves["mode_strengths"], 6).tolist(),
        "depth": depth,
        "width": width,
        "seed": seed,
    }


def _taken_up(checkpoint, model):
    """Curves of the run so far; its weights become the initial ones of `model`."""
    names = ("iteration", "loss", "mode_strengths")
    if not checkpoint.exists():
        return dict.fromkeys(names, ())
    with np.load(checkpoint) as kept:
        flat = iter([kept[f"W_{i}"] for i in range(len(kept) - len(names))])
        curves = {name: kept[name] for name in names}
    depths = np.broadcast_to(model.depth, 2)
    model.set_params(init=[[next(flat) for _ in range(L)] for L in depths])
    return curves


def _continued(curves, run, done):
    """Append a run that started at iteration `done`, of which the first record is known."""
    new = {
        "iteration": run.iteration + done,
        "loss": run.loss,
        "mode_strengths": run.mode_strengths,
    }
    if not done:
        return new
    return {name: np.concatenate([curves[name], new[name][1:]]) for name in curves}


def _keep(checkpoint, curves, pathways):
    weights = {f"W_{i}": W for i, W in enumerate(W for path in pathways for W in path)}
    unfinished = checkpoint.with_suffix(".new.npz")
    np.savez(unfinished, **curves, **weights)
    unfinished.replace(checkpoint)
