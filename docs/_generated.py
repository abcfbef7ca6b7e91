"""What pages include or offer and no one types: written by ``conf.py`` before pages are read."""

from pathlib import Path

from _claims import claim_tables
from _generated_tables import (
    api_tables,
    benchmark_tables,
    cost_curves,
    out_of_core,
    version_table,
)
from _notebook import tutorial
from _reproducibility_cards import cards

HERE = Path(__file__).parent

FILES = {
    "_api_tables.rst": api_tables,
    "_claims.rst": claim_tables,
    "_cost_curves.rst": cost_curves,
    "_out_of_core.rst": out_of_core,
    "_benchmark_tables.rst": benchmark_tables,
    "_reproducibility_cards.rst": cards,
    "_version_table.rst": version_table,
    "tutorial.ipynb": tutorial,
}


def write():
    """Write all files; pages include or link them by their names."""
    for name, text in FILES.items():
        (HERE / name).write_text(text(), encoding="utf-8")
