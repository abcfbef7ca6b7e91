"""Results of a benchmark as JSON, with the environment they were measured in."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def environment():
    """Return what a reader needs to judge a timing."""
    packages = ("numpy", "scipy", "scikit-learn", "torch", "sklearn-deeplinear")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in packages},
    }


def write_results(name, rows):
    """Write ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), "results": rows}, indent=1) + "\n")
    print(f"wrote {path}")
