"""Cells of tables: numbers, times and what lies at a path of keys."""

from __future__ import annotations


def time(seconds):
    """Seconds in a unit of which there is at least one."""
    units = (("s", 1), ("ms", 1e-3), ("us", 1e-6))
    unit, size = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{shown(seconds / size)} {unit}"


def keys(rows, name):
    """All keys of a dict that rows hold, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.get(name, {})))


def at_path(row, path):
    """What lies at a path of keys; None where it ends before."""
    for part in path:
        row = row.get(part) if row else None
    return row


def shown(value):
    """A number in three digits, a list of sizes as their product or from first to last."""
    if value is None:
        return "--"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        few = len(value) <= 3
        return " x ".join(map(shown, value)) if few else f"{shown(value[0])} to {shown(value[-1])}"
    return f"{value:,}" if isinstance(value, int) else str(value)
