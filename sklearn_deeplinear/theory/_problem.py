"""Checked parameters of a global minimum, what decides between the cases, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sklearn_deeplinear._parameters import (
    check_depth,
    check_integer,
    check_noise,
    check_weight_decay,
    check_width,
)
from sklearn_deeplinear.theory._least_squares import excess_loss
from sklearn_deeplinear.theory._minimum_result import GlobalMinimum, escapes
from sklearn_deeplinear.theory._moments import SecondMoments, check_moments
from sklearn_deeplinear.theory._schatten import (
    is_well_conditioned,
    normalised_log_decay,
    schatten_penalty,
)
from sklearn_deeplinear.theory._singular_modes import leading_modes

# Relative size below which singular values of S or differences of sigma are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Problem:
    """Checked parameters of :func:`global_minimum`, and what decides between the cases."""

    moments: SecondMoments
    depth: int
    width: tuple | None
    gamma: np.ndarray
    noise: np.ndarray
    rank: int

    @classmethod
    def checked(cls, moments, depth, width, weight_decay, noise, rank=None):
        """Check the parameters; `rank` becomes the bound on the rank of the map."""
        check_moments(moments)
        depth = check_depth(depth)
        width = None if width is None else check_width(width, depth)
        noise = check_noise(noise, depth)
        if noise.any() and width is None:
            raise ValueError("width must be given when noise is not zero.")
        bounds = [moments.n_inputs, moments.n_outputs, *(width or ())]
        if rank is not None:
            bounds.append(check_integer(rank, "rank", low=1))
        gamma = check_weight_decay(weight_decay, depth)
        return cls(moments, depth, width, gamma, noise, min(bounds))

    @cached_property
    def mean_log_decay(self):
        """Logarithm of the geometric mean g of the decays, -inf if one of them is zero."""
        return mean_log(self.gamma)

    @cached_property
    def direction(self):
        """Unit vector u (m,) with S = u u^T S if S has rank one, else None (also if S = 0)."""
        directions = leading_modes(self.moments.spectrum.targets, rtol=_ROUNDING)[2]
        return directions[0] if len(directions) == 1 else None

    @property
    def uncorrelated(self):
        """Whether S = 0, up to rounding, which is that of each output."""
        targets, outputs = self.moments.spectrum.targets, self.moments.output_factor
        rounding = max(self.moments.factor.shape) * np.finfo(float).eps
        sizes = np.linalg.norm(outputs, axis=0)
        return bool(np.all(np.linalg.norm(targets, axis=0) <= rounding * sizes))

    @property
    def undecayed(self):
        """Whether the scale of the network is free, so that the penalty can be made zero."""
        return self.depth > 1 and not self.gamma.all()

    @property
    def overwhelmed(self):
        """Whether the decay is so large that zero is known to be the minimum."""
        log_g = normalised_log_decay(self.moments.spectrum, self.mean_log_decay, self.depth)
        return log_g >= 0

    @property
    def is_cheap(self):
        """Whether two layers without noise are nuclear-norm regression on well-conditioned data."""
        sigma = self.moments.spectrum.sigma
        wide = self.rank >= min(self.moments.n_inputs, self.moments.n_outputs)
        return self.depth == 2 and wide and is_well_conditioned(sigma)

    @property
    def is_white(self):
        """Whether A has one eigenvalue, besides zero."""
        sigma = self.moments.spectrum.sigma
        return bool(sigma[-1] >= (1 - _ROUNDING / 2) * sigma[0])

    def result_without_noise(self, B, kind, lower_bound=None) -> GlobalMinimum:
        """The minimum at the map with coordinates B, realised at the least penalty."""
        penalty = schatten_penalty(B, self.mean_log_decay, self.depth)
        return self.result(B, excess_loss(self.moments.spectrum, B), penalty, kind, lower_bound)

    def result(self, B, loss, penalty, kind, lower_bound=None, **others) -> GlobalMinimum:
        """The minimum at the map with coordinates B; losses are counted above least squares."""
        spectrum = self.moments.spectrum
        coef = B.T @ spectrum.directions.T
        return GlobalMinimum._at(
            self.moments,
            coef,
            spectrum.residual + loss,
            penalty,
            "unattained" if escapes(coef, self.gamma) else kind,
            lower_bound,
            depth=self.depth,
            width=self.width,
            weight_decay=self.gamma,
            noise=self.noise,
            **others,
        )


def mean_log(gamma):
    """Mean of the logarithms of decays, -inf if one of them is zero."""
    return float(np.mean(np.log(gamma))) if np.all(gamma) else -np.inf
