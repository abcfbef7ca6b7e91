"""Global minima along a sweep of weight decays."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_depth, check_weight_decay
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._global_minimum import (
    Problem,
    likely_search,
    scalar_family,
    solve,
)
from sklearn_deeplinear.theory._least_squares import reduced_rank_ridge
from sklearn_deeplinear.theory._moments import SecondMoments


class DeepLinearPath(NamedTuple):
    """Minima for each setting of the decays, in the order they were given.

    Attributes
    ----------
    coefs : ndarray of shape (n_decays, m, d)
        End-to-end maps.
    intercepts : ndarray of shape (n_decays, m)
        Intercepts.
    objectives : ndarray of shape (n_decays,)
        Least values of the objective J.
    """

    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray

    def __repr__(self):
        return one_line(self, "coefs", "intercepts", "objectives")


def deep_linear_path(
    X,
    y=None,
    *,
    weight_decays,
    depth=2,
    width=None,
    noise=0.0,
    sample_weight=None,
    fit_intercept=True,
    prove=True,
) -> DeepLinearPath:
    """Global minima of a deep linear network for many weight decays.

    One decomposition of the data serves all decays. When the cross moment has rank one,
    as it has for one output, and for one layer, all decays are solved at once; otherwise
    one by one, each starting from the one before.

    Parameters
    ----------
    X : array-like of shape (n_samples, d), or SecondMoments
        Inputs, or the moments of the data, so that several calls share them.
    y : array-like of shape (n_samples,) or (n_samples, m), default=None
        Targets; None if X holds moments.
    weight_decays : array-like of shape (n_decays,) or (n_decays, L)
        Decays gamma, equal in all layers, or one row of L decays per setting.
    depth : int, default=2
        Number of weight matrices L.
    width : int or sequence of L - 1 ints, default=None
        Hidden widths; None stands for wide enough. Needed with noise.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the multiplicative noise on the hidden layers.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples; only with data, not with moments.
    fit_intercept : bool, default=True
        Centre the data; only with data, not with moments.
    prove : bool, default=True
        Search each minimum until it is proven to be global, as far as
        :func:`global_minimum` can. False takes the lowest point of a few descents for
        networks of several outputs, in a fraction of the time, unless two layers on
        well-conditioned data make that easy.

    Returns
    -------
    path : DeepLinearPath
        With attributes ``coefs``, ``intercepts`` and ``objectives``, also as a tuple.

    Raises
    ------
    ValueError
        If a parameter is out of range, or both moments and data are given.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_deeplinear.theory import deep_linear_path
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([-2.0, 2.0])
    >>> path = deep_linear_path(X, y, weight_decays=[0.0, 0.5, 3.0], depth=2)
    >>> path.coefs.ravel().round(12), path.objectives.round(12)
    (array([2. , 1.5, 0. ]), array([0.  , 1.75, 4.  ]))
    """
    moments = _moments(X, y, sample_weight, fit_intercept)
    depth = check_depth(depth)
    gammas = _check_weight_decays(weight_decays, depth)
    problem = Problem.checked(moments, depth, width, gammas[0], noise)
    vectorised = _ridge if depth == 1 else _scalar if problem.direction is not None else None
    if vectorised is None or problem.uncorrelated:
        coefs, objectives = _one_by_one(problem, gammas, prove)
    else:
        coefs, objectives = vectorised(problem, gammas)
    return DeepLinearPath(coefs, moments.mean_y - coefs @ moments.mean_x, objectives)


def _moments(X, y, sample_weight, fit_intercept):
    if not isinstance(X, SecondMoments):
        if y is None:
            raise ValueError("y must be given unless X is a SecondMoments.")
        return SecondMoments.from_data(X, y, sample_weight, center=fit_intercept)
    if y is not None or sample_weight is not None or not fit_intercept:
        raise ValueError(
            "y, sample_weight and fit_intercept must be left out when X is a SecondMoments: "
            "they are settled by the moments."
        )
    return X


def _check_weight_decays(weight_decays, depth):
    """The decays as an array of shape (n_decays, L)."""
    gammas = as_array(weight_decays, "weight_decays")
    if gammas.ndim not in (1, 2) or gammas.size == 0 or gammas.shape[1:] not in ((), (depth,)):
        raise ValueError(
            "weight_decays must have shape (n_decays,) or (n_decays, depth), with at least one "
            f"decay; got shape {gammas.shape}."
        )
    check_weight_decay(gammas.ravel(), gammas.size, "weight_decays")
    return np.repeat(gammas[:, None], depth, axis=1) if gammas.ndim == 1 else gammas


def _ridge(problem, gammas):
    """One layer: M = S (A + gamma I)^(-1) for all gammas."""
    spectrum, gammas = problem.moments.spectrum, gammas[:, :, None]
    B = reduced_rank_ridge(spectrum, gammas)  # (n_decays, k, m)
    losses = (spectrum.sigma[:, None] * B - spectrum.targets) ** 2 + (np.sqrt(gammas) * B) ** 2
    return B.mT @ spectrum.directions.T, spectrum.residual + losses.sum(axis=(1, 2))


def _scalar(problem, gammas):
    spectrum, u = problem.moments.spectrum, problem.direction
    family, missed = scalar_family(problem)
    with np.errstate(divide="ignore"):
        log_decay = np.log(gammas).sum(axis=1)
    x, excess, penalty = family.minimum(log_decay)
    maps = family.coordinates(x) @ spectrum.directions.T
    return maps[:, None, :] * u[:, None], spectrum.residual + missed + excess + penalty


def _one_by_one(problem, gammas, prove):
    """From the least decay to the largest: modes that are zero at one are zero at the next."""
    moments, start, minima = problem.moments, None, {}
    problems = [replace(problem, gamma=gamma) for gamma in gammas]
    search = None if prove else likely_search(problems)
    for i in sorted(range(len(problems)), key=lambda i: problems[i].mean_log_decay):
        minima[i] = solve(problems[i], start, search)
        start = (minima[i].coef @ moments.spectrum.directions).T
    ordered = [minima[i] for i in range(len(problems))]
    return np.array([g.coef for g in ordered]), np.array([g.objective for g in ordered])
