"""Results of a benchmark as JSON, with the environment they were measured in."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
QUICK = RESULTS / "quick"

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "sklearn-deeplinear")
# What some scripts compare with, where it is installed.
PEERS = ("numba", "skorch", "dask", "cvxpy", "skglm", "curvlinops-for-pytorch", "pyscnn")


def environment():
    """Return what a reader needs to judge a timing."""
    peers = {name: found for name in PEERS if (found := version_of(name))}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "packages": {name: version(name) for name in PACKAGES},
        "peers": peers,
    }


def version_of(name):
    """Version of a package, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor():
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_results(name, rows, *, quick=False, seed=0, repeats=None):
    """Write ``results/<name>.json``, or ``results/quick/<name>.json`` from a quick run.

    Quick runs show that a script works; they must not stand where the documentation reads figures.
    `repeats` is the number of turns that medians and spreads were taken over, None where each row
    says so itself.
    """
    folder = QUICK if quick else RESULTS
    folder.mkdir(exist_ok=True)
    envelope = {
        "environment": environment(),
        "date": datetime.now(UTC).date().isoformat(),
        "quick": bool(quick),
        "seed": seed,
        "repeats": repeats,
        "results": rows,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(envelope, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
