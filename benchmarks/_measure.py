"""Contestants in turn, agreement before times, and the command line of every benchmark."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timings:
    """Seconds of every turn of each contestant, and what each of them returned last."""

    seconds: dict[str, list[float]]
    outcomes: dict[str, object]

    def median(self, way):
        """Median seconds of one contestant."""
        return statistics.median(self.seconds[way])

    def medians(self):
        """Median seconds by contestant."""
        return {way: self.median(way) for way in self.seconds}

    def ratio(self, way, other):
        """How many times as long `way` takes as `other`, by the medians."""
        return self.median(way) / self.median(other)

    def spreads(self):
        """Distance between the quartiles, in medians; None of a single turn."""
        return {way: spread(seconds) for way, seconds in self.seconds.items()}

    def each(self, count):
        """The same for one of `count` steps or epochs that each turn has made."""
        seconds = {way: [turn / count for turn in turns] for way, turns in self.seconds.items()}
        return Timings(seconds, self.outcomes)

    def named(self, names):
        """The same of the contestants that `names` has, by the names that it gives them."""
        seconds = {name: self.seconds[way] for way, name in names.items()}
        return Timings(seconds, self.outcomes)

    def figures(self):
        """What every row of results says of its medians."""
        turns = {len(seconds) for seconds in self.seconds.values()}
        return {"repeats": max(turns), "spread": self.spreads()}


def spread(values):
    """Distance between the quartiles of some values, in units of their median."""
    if len(values) < 2:
        return None
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((high - low) / middle)


def row(case, timings, ratios=(), *, agreement=None, floor=None, figures=None, **others):
    """What results say of one case, in the shape that `table.py` reads.

    Parameters
    ----------
    case : str
        What was done, told apart from other rows of its part.
    timings : Timings or None
        Of the contestants, by the names that head their columns; None where nothing is timed.
    ratios : sequence of pairs of str
        Contestants whose medians are divided, the first by the second.
    agreement : float or None
        Largest difference between what the contestants found.
    floor : float or None
        How many times as long as the machine needs at least the first contestant takes.
    figures : dict or None
        Further numbers, by the words that head their columns.
    others : dict
        ``part``, rows of which make one table; ``of``, such as "epoch", where seconds are of one of
        several that were timed; ``why``, a note below the table; and what the table leaves out.
    """
    found = {"case": case}
    if timings is not None:
        over = {f"{way} over {other}": timings.ratio(way, other) for way, other in ratios}
        found |= {"seconds": timings.medians(), **timings.figures(), "ratios": over}
    found |= {"floor": floor, "agreement": agreement, "figures": figures or {}, **others}
    return {key: value for key, value in found.items() if value is not None and value != {}}


def show(row):
    """Print a row in one line."""
    cells = [f"{way} {1e3 * value:.4g} ms" for way, value in row.get("seconds", {}).items()]
    for kind in ("ratios", "figures"):
        cells += [
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in row.get(kind, {}).items()
        ]
    cells += [f"{kind} {row[kind]:.2g}" for kind in ("floor", "agreement") if kind in row]
    print(f"{row['case']}: {', '.join(cells)}", flush=True)


def in_turn(ways, repeats, *, warm_up=0, primed=False, clock=time.perf_counter):
    """Call contestants one after the other, so that what slows the machine slows all of them.

    Parameters
    ----------
    ways : dict of callables without arguments
        The contestants by name.
    repeats : int
        Number of turns that are timed.
    warm_up : int, default=0
        Number of turns before them.
    primed : bool, default=False
        Whether each contestant is also called right before its clock starts, so that short calls
        find the caches as they leave them.
    clock : callable, default=time.perf_counter
        ``time.process_time`` where other jobs must not count.

    Returns
    -------
    timings : Timings
    """
    seconds, outcomes = {way: [] for way in ways}, {}
    for turn in range(-warm_up, repeats):
        for way, call in ways.items():
            if primed:
                call()
            begin = clock()
            outcomes[way] = call()
            elapsed = clock() - begin
            if turn >= 0:
                seconds[way].append(elapsed)
    return Timings(seconds, outcomes)


def agreed(what, error, limit):
    """Return the error as a number, or stop: times of different work are not told."""
    if not error <= limit:
        raise AssertionError(f"{what}: results differ by {error:.1e}, allowed are {limit:.0e}")
    return float(error)


def largest_difference(ours, theirs):
    """Largest difference between the arrays of two lists."""
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


def parser(doc, quick, *, only=None):
    """Return the parser of a script with `doc`: ``--quick`` does `quick`, ``--only`` some cases."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--quick", action="store_true", help=f"{quick}; writes to results/quick")
    if only:
        made.add_argument("--only", help=f"part of the name of the {only} to run; writes nothing")
    return made


def chosen(cases, only):
    """Names of the cases that ``--only`` leaves."""
    return [name for name in cases if only is None or only in name]
