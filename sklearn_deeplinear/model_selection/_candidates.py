"""The settings that are compared: grids over depths, widths, noises and weight decays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from sklearn_deeplinear._parameters import (
    check_depth,
    check_noise,
    check_real,
    check_weight_decay,
    check_width,
)
from sklearn_deeplinear.theory import critical_weight_decay
from sklearn_deeplinear.theory._scalar_family import ScalarFamily, log_shrinkage

# The grid of "auto": from the decay at which the network collapses down to a millionth of it,
# where the eigenvalues of the inputs below about a millionth of the largest are still shrunk.
_DECADES, _PER_DECADE = 6, 5

# The largest ridge penalty of one layer, in units of the largest eigenvalue of the inputs.
_LARGE_RIDGE = 100.0


@dataclass(frozen=True, eq=False)
class Candidates:
    """Networks of one depth, width and noise, for many weight decays.

    Attributes
    ----------
    depth : int
        Number of weight matrices L.
    width : int, sequence of ints or None
        Hidden widths as they were given; None for wide enough.
    noise : float or sequence of floats
        Variances of the noise as they were given.
    weight_decays : ndarray of shape (J,)
        Decays, the same in all layers.
    step_size : float, "auto" or None
        Step of networks that are trained.
    """

    depth: int
    width: object
    noise: object
    weight_decays: np.ndarray
    step_size: object = None

    def params(self):
        """One dict for each setting."""
        shared = {"depth": self.depth, "width": self.width, "noise": self.noise}
        if self.step_size is not None:
            shared["step_size"] = self.step_size
        return [{**shared, "weight_decay": float(gamma)} for gamma in self.weight_decays]

    def only(self, weight_decay):
        """The same with a single decay."""
        return replace(self, weight_decays=np.array([weight_decay]))

    def end_reached(self, weight_decay):
        """What to say if `weight_decay` lies at an end of the grid; else an empty text."""
        least, largest = self.weight_decays.min(), self.weight_decays.max()
        inside = least < weight_decay < largest or least == largest
        if inside or not weight_decay:  # below zero there is none
            return ""
        end = "largest" if weight_decay == largest else "smallest"
        hint = "larger" if end == "largest" else "smaller"
        return (
            f"The best weight decay, {weight_decay:.3g} at depth {self.depth}, is the {end} that "
            f"was tried: {hint} ones may be better, unless the network is zero already or the "
            "penalty does not matter any more."
        )

    @property
    def network(self):
        """What :func:`global_minimum` and others take besides the decay."""
        return {"depth": self.depth, "width": self.width, "noise": self.noise}

    def hidden(self, moments):
        """Hidden widths of a network to train; None is as wide as the rank of its map can be."""
        enough = min(moments.n_inputs, moments.n_outputs)
        return check_width(enough if self.width is None else self.width, self.depth)

    @property
    def variances(self):
        """Noise of each hidden layer, of shape (L - 1,)."""
        return check_noise(self.noise, self.depth)

    @property
    def log_decays(self):
        """``sum_l log gamma_l``, of shape (J,)."""
        with np.errstate(divide="ignore"):
            return self.depth * np.log(self.weight_decays)

    @property
    def log_rho(self):
        """Logarithm of the factor by which noise shrinks the map of one output."""
        noise = self.variances
        return log_shrinkage(noise, check_width(self.width, self.depth)) if noise.any() else 0.0


def candidates(depths, widths, noises, weight_decays, moments):
    """All combinations, as a list of :class:`Candidates`; `moments` settle "auto".

    Raises
    ------
    ValueError, TypeError
        If a value is out of range; the message names the parameter.
    """
    for name, values in (("depths", depths), ("widths", widths), ("noises", noises)):
        if not np.iterable(values) or not len(values):
            raise ValueError(f"{name} must hold at least one value.")
    found = []
    for i, depth in enumerate(depths):
        depth = check_depth(depth, f"depths[{i}]")
        # One layer has no hidden units.
        pairs = product(widths, noises) if depth > 1 else [(None, 0.0)]
        for width, noise in pairs:
            width = None if width is None else _checked(check_width, width, depth, "widths")
            noise = _checked(check_noise, noise, depth, "noises")
            if np.any(noise) and width is None:
                raise ValueError("noises must be zero where widths hold None.")
            network = {"depth": depth, "width": width, "noise": noise}
            found.append(
                Candidates(**network, weight_decays=_decays(weight_decays, network, moments))
            )
    return found


def _checked(check, value, depth, name):
    check(value, depth, name)
    return value


def _decays(weight_decays, network, moments):
    if isinstance(weight_decays, str):
        top = largest_useful_decay(moments, **network)
        return top * np.logspace(-_DECADES, 0, _DECADES * _PER_DECADE + 1)
    wanted = 'weight_decays must be "auto" or a list of floats'
    try:
        gammas = np.asarray(weight_decays, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}, got {weight_decays!r}.") from None
    if gammas.ndim != 1 or not gammas.size:
        raise ValueError(f"{wanted}, got shape {gammas.shape}.")
    return check_weight_decay(gammas, gammas.size, "weight_decays")


def largest_useful_decay(moments, depth, width=None, noise=0.0):
    """Decay from which on the network is zero, in the units of the data.

    With three layers or more and several outputs a bound, as ``sum_k sigma_k^q`` is at least
    ``||M||_F^q`` for q < 2, and noise only adds to the objective: what minimises the loss plus
    that, a problem with S of rank one and z_k = ||S v_k||^2, is zero from its own collapse on.
    One layer never is zero; a hundred times the largest eigenvalue of A leaves a percent of it.
    """
    spectrum = moments.spectrum
    if not len(spectrum.sigma) or not spectrum.targets.any():
        return 1.0
    if depth == 1:
        return float(_LARGE_RIDGE * spectrum.sigma[0] ** 2)
    if depth == 2:
        return critical_weight_decay(moments, depth=2).collapse
    alone = moments.n_outputs == 1 and np.any(noise)
    log_rho = log_shrinkage(check_noise(noise, depth), check_width(width, depth)) if alone else 0.0
    family = ScalarFamily(spectrum.sigma, spectrum._target_norms, depth, log_rho)
    collapse = family.critical_log_decays()[0]
    return float(np.exp(collapse / depth))


def check_step_sizes(step_sizes):
    """Return step sizes, each a positive float or "auto"; a ValueError if there is another."""
    if not np.iterable(step_sizes) or not len(step_sizes):
        raise ValueError("step_sizes must hold at least one value.")
    return [
        eta if isinstance(eta, str) and eta == "auto" else check_real(eta, name, closed=False)
        for name, eta in ((f"step_sizes[{i}]", eta) for i, eta in enumerate(step_sizes))
    ]
