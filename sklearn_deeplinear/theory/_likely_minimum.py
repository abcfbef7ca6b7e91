"""Likely minima of the Schatten problem for many decays, quickly and without proof."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from sklearn_deeplinear.theory._mode_descent import alive, descend_modes, lower_and_lower
from sklearn_deeplinear.theory._scalar_family import ScalarFamily
from sklearn_deeplinear.theory._schatten import (
    normalised,
    normalised_log_decay,
    ridge,
    seeded,
)

# Relative decrease of a step at which descents end.
_LIKELY = 1e-10


class LikelySearch:
    """Descents from a few starts, which all decays make together.

    Parameters
    ----------
    spectrum : Spectrum
        Of the moments of the data.
    depth : int
        Number of weight matrices L, at least 2.
    log_decays : list of float
        Means of the logarithms of the decays that minima are asked for; others that are not
        finite are left out.
    """

    def __init__(self, spectrum, depth, log_decays):
        self.spectrum, self.depth = spectrum, depth
        self.log_decays = np.unique([log_g for log_g in log_decays if np.isfinite(log_g)])

    def minimum(self, log_g, rank, start=None):
        """Coordinates (k, m) of the lowest point that the descents reach; nothing is proven.

        Two layers wide enough have no minimum but the global one: one descent will do, in which
        no mode is missing. Others start at the best modes for two choices of output directions,
        and at a map `start`, for instance the minimum at a decay a little smaller, from which
        the weakest modes are taken while that gains (:func:`lower_and_lower`). Zero is a
        candidate, too. Along ten paths of 31 decays (digits, 32 outputs; depth 2 to 4, with
        and without bottlenecks) no result was more than 1e-8 above what L-BFGS in W reaches from
        such starts, and four were 1e-5 to 2.5e-4 below.
        """
        problem, basis, unit = normalised(self.spectrum, log_g, self.depth)
        p, scale = problem.Y.shape[1], unit / self.spectrum.sigma[0]
        rank = min(rank, p)
        given = None if start is None or not start.any() else start @ basis / scale
        if self._is_convex(p, rank):
            B = ridge(problem) if given is None else given
            starts = [seeded(problem.factor(B, p))]
        else:
            starts = [problem.factor(B, rank) for B in self._best_modes(log_g, rank)]
        ends = [descend_modes(problem, W, _LIKELY) for W in starts]
        if given is not None and not self._is_convex(p, rank):
            ends += lower_and_lower(problem, problem.factor(given, rank), _LIKELY)
        W = min([*ends, np.zeros((p, 0))], key=problem.value)
        return problem.coordinates(alive(W)) @ basis.T * scale

    def _is_convex(self, n_outputs, rank):
        return self.depth == 2 and rank == n_outputs

    def _best_modes(self, log_g, rank):
        """Yield maps of the modes that gain most, for each choice of directions; not zero."""
        at = np.searchsorted(self.log_decays, log_g)
        for directions, families, x, gain in self._modes:
            best = np.argsort(-gain[:, at])[:rank]
            modes = [families[j].coordinates(x[j, at]) for j in best]
            B = np.transpose(modes) @ directions[:, best].T
            if B.any():
                yield B

    @cached_property
    def _modes(self):
        """Output directions, their families, and for all decays where minima are and their gain."""
        problem, _, _ = normalised(self.spectrum, self.log_decays[0], self.depth)
        unit = normalised_log_decay(self.spectrum, 0.0, self.depth)
        log_decays, found = self.depth * (self.log_decays + unit), []
        for directions in problem.natural_directions():
            targets = (problem.Y @ directions).T
            families = [ScalarFamily(problem.sigma, target, self.depth) for target in targets]
            minima = [family.minimum(log_decays) for family in families]
            x, excess, penalty = (np.array(part) for part in zip(*minima, strict=True))
            gain = np.sum(targets**2, axis=1)[:, None] - excess - penalty
            found.append((directions, families, x, gain))
        return found
