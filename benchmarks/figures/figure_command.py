"""Command line of figures: experiments are kept as JSON, figures are drawn from them."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from _environment import RESULTS, environment


@dataclass(frozen=True)
class Figure:
    """A figure, and where it gets its numbers from.

    Parameters
    ----------
    experiments : dict of callables
        ``experiments[name](path, quick)`` returns what is written into `path`, a JSON file.
    draw : callable
        ``draw(results)`` returns the matplotlib figure; results are in the order of
        `experiments`.
    """

    experiments: dict
    draw: object


def run(figures, paper, description, argv=None):
    """Compute or plot the figures that the command line names.

    Parameters
    ----------
    figures : dict of Figure
        By name.
    paper : str
        Name of the folder of the results.
    description : str
        What the script does.
    argv : sequence of str, default=None
        Arguments; None takes those of the process.
    """
    home = RESULTS / paper
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("action", choices=["compute", "plot"])
    parser.add_argument("names", nargs="*", help=f"figures, among {', '.join(figures)}")
    parser.add_argument(
        "--quick", action="store_true", help="small grids, narrow networks and few steps"
    )
    parser.add_argument("--folder", type=Path, help=f"of the results ({home}, or its quick/)")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - set(figures)
    if unknown:
        parser.error(f"unknown figures: {', '.join(sorted(unknown))}")
    folder = arguments.folder or (home / "quick" if arguments.quick else home)
    chosen = {name: figures[name] for name in arguments.names or figures}
    if arguments.action == "compute":
        compute(chosen.values(), folder, arguments.quick)
    else:
        plot(chosen, folder)


def compute(figures, folder, quick):
    """Run the experiments that have no result in `folder` yet."""
    experiments = {name: f for figure in figures for name, f in figure.experiments.items()}
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for number, (name, experiment) in enumerate(experiments.items(), start=1):
        path, start = folder / f"{name}.json", time.perf_counter()
        if path.exists():
            print(f"[{number}/{len(experiments)}] {name}: there already", flush=True)
            continue
        print(f"[{number}/{len(experiments)}] {name}", flush=True)
        result = experiment(path, quick) | {"environment": environment()}
        unfinished = path.with_suffix(".part.json")
        unfinished.write_text(json.dumps(result) + "\n")
        unfinished.replace(path)  # a run that was stopped leaves no result behind
        path.with_suffix(".part.npz").unlink(missing_ok=True)
        print(f"    {time.perf_counter() - start:.1f} s", flush=True)


def plot(figures, folder):
    """Draw the figures whose results are all in `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for name, figure in figures.items():
        paths = [folder / f"{experiment}.json" for experiment in figure.experiments]
        missing = [path.stem for path in paths if not path.exists()]
        if missing:
            print(f"{name}: {', '.join(missing)} not computed yet")
            continue
        drawn = figure.draw([json.loads(path.read_text()) for path in paths])
        drawn.savefig(folder / f"{name}.png", dpi=100)
        plt.close(drawn)
        print(f"wrote {folder / name}.png")
