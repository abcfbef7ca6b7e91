"""Minima of parallel pathways beside weights that are known."""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._known_weights import beside
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._pathway_global_minimum import Race
from sklearn_deeplinear.theory._pathway_local_minimum import descended_maps


def pathway_minimum_beside(minimum, moments, weights, objective):
    """The minimum of pathways, or a lower one that their `weights` show to exist.

    Parameters
    ----------
    minimum : PathwayMinimum
        Result of :func:`pathway_global_minimum` for `moments`.
    moments : SecondMoments
        Moments of the data.
    weights : list of lists of ndarray
        Weights of the pathways.
    objective : float
        Their objective J.

    Returns
    -------
    minimum : PathwayMinimum
        As for :func:`minimum_beside`.
    """

    def search(bound):
        race = Race(moments, minimum.depths, minimum.widths, minimum.weight_decay)
        layers = [[np.asarray(W, dtype=np.float64) for W in path] for path in weights]
        coefs = [end_to_end(path) for path in layers]
        as_given = race.result_at(coefs, "stationary", bound)
        return min([as_given, *_descended(race, coefs, bound)], key=lambda found: found.objective)

    return beside(minimum, moments, weights, objective, search)


def _descended(race, coefs, bound):
    """What descent makes of the maps, those of pathways that never pay given to the widest."""
    if not race.groups:
        return []
    spectrum = race.reduced.moments.spectrum
    start = [sum(coefs[p] for p in group.members) for group in race.groups]
    widest = max(range(len(start)), key=lambda i: race.groups[i].rank)
    placed = {*race.shallow, *(p for group in race.groups for p in group.members)}
    start[widest] = start[widest] + sum(M for p, M in enumerate(coefs) if p not in placed)
    start = [N @ spectrum.directions for N in start]
    maps = [N @ spectrum.directions.T for N in descended_maps(spectrum, race.groups, [start])]
    return [race.result(maps, "stationary", bound)]
