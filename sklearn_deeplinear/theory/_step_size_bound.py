"""A step size with which gradient descent provably stays near gradient flow.

If beta_t and gamma_t bound the norms of the Hessian and of the gradient, and m(t) the
Hessian's eigenvalues from below, on the ball of radius eps around the flow at time t, then
gradient descent stays within eps of the flow up to time T for every step size below

    inf_{0 < t <= T}  eps / int_0^t beta_s gamma_s exp(-int_s^t m(u) du) ds.

Time is cut into intervals on which the flow moves by at most a fraction of eps, which makes
bounds on a slightly larger ball around one point hold for the whole interval: the integrand
is bounded by a piecewise constant one and its integral is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from sklearn_deeplinear._parameters import check_real, check_weight_decay
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._curvature_bounds import CURVATURE_BOUNDS, gradient, objective
from sklearn_deeplinear.theory._layers import check_weights, packed, unpacked
from sklearn_deeplinear.theory._moments import check_moments

# Part of eps that the flow may cover within one interval: smaller is tighter and slower.
_MOVE = 0.25
_MAX_INTERVALS = 20_000


@dataclass(frozen=True, eq=False)
class StepSizeBound:
    """A step size that keeps gradient descent near the flow, and what it rests on.

    Attributes
    ----------
    step_size : float
        Gradient descent with any smaller step stays within `eps` of the flow, in the
        Euclidean norm over all weights, at all of its steps up to the last time.
    eps : float
        Radius of the tube around the flow.
    times : ndarray of shape (n + 1,)
        End points of the intervals, from 0 to the last time.
    smoothness : ndarray of shape (n,)
        beta, an upper bound of the Hessian's norm in the tube, on each interval.
    gradient_norm : ndarray of shape (n,)
        gamma, an upper bound of the gradient's norm there.
    curvature : ndarray of shape (n,)
        m, a lower bound of the Hessian's smallest eigenvalue there.
    log_integral : ndarray of shape (n + 1,)
        Logarithm of the integral at each of the times; minus infinity at time 0.
    """

    step_size: float
    eps: float
    times: np.ndarray
    smoothness: np.ndarray
    gradient_norm: np.ndarray
    curvature: np.ndarray
    log_integral: np.ndarray

    def __repr__(self):
        return one_line(self, "step_size", "eps", "times")


def flow_step_size_bound(
    weights_0, moments, *, time, eps, weight_decay=0.0, curvature="bound", rtol=1e-10
) -> StepSizeBound:
    """Largest step size for which theory keeps gradient descent within eps of the flow.

    Parameters
    ----------
    weights_0 : sequence of L array-like
        Initial weights ``[W_1, ..., W_L]`` of a deep linear network, common to gradient
        descent and gradient flow.
    moments : SecondMoments
        Moments of the data.
    time : float
        Last time T; gradient descent with step eta makes T / eta steps.
    eps : float
        Largest distance allowed, in the Euclidean norm over all weights.
    weight_decay : float or sequence of L floats, default=0.0
        Decays gamma_l.
    curvature : {"bound", "measured"}, default="bound"
        How the Hessian is bounded. "bound" uses the spectral norms of the layers, of A
        and of the residual. "measured" forms the Hessian at one point of each interval,
        of size (number of weights)^2, and adds a bound of its change within the tube:
        much tighter for small `eps`, slow beyond a few hundred weights.
    rtol : float, default=1e-10
        Relative tolerance of the integration of the flow, which is taken as exact.

    Returns
    -------
    bound : StepSizeBound
        With the step size, and the terms of the bound as functions of time. The step
        size is 0 when the integral is too large for a float.

    Raises
    ------
    ValueError
        If an argument is out of range, the weights do not fit the moments, or the flow
        moves so far beyond `eps` that more than 20,000 intervals would be needed.

    References
    ----------
    .. [1] Elkabetz, O., Cohen, N. (2021). "Continuous vs. discrete optimization of deep
       neural networks." NeurIPS 34.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, flow_step_size_bound
    >>> moments = SecondMoments.from_moments([[1.0]], [[1.0]], 1.0)
    >>> weights_0 = [[[0.5]], [[0.5]]]
    >>> crude = flow_step_size_bound(weights_0, moments, time=1.0, eps=0.01)
    >>> fine = flow_step_size_bound(
    ...     weights_0, moments, time=1.0, eps=0.01, curvature="measured"
    ... )
    >>> 0 < crude.step_size < fine.step_size
    True
    """
    check_moments(moments)
    weights_0 = check_weights(weights_0, "weights_0", moments)
    gamma = check_weight_decay(weight_decay, len(weights_0))
    time = check_real(time, "time", closed=False)
    eps = check_real(eps, "eps", closed=False)
    rtol = check_real(rtol, "rtol", closed=False)
    if curvature not in CURVATURE_BOUNDS:
        raise ValueError(f'curvature must be "bound" or "measured", got {curvature!r}.')
    times, moves, centres = _intervals(weights_0, moments, gamma, time, eps, rtol)
    terms = [
        CURVATURE_BOUNDS[curvature](W, moments, gamma, eps + move)
        for W, move in zip(centres, moves, strict=True)
    ]
    beta, slope, m = np.array(terms).T
    with np.errstate(divide="ignore"):  # a flat objective allows any step
        log_source = np.log(beta) + np.log(slope)
    log_integral = _log_integral(np.diff(times), log_source, m)
    step_size = float(np.exp(np.log(eps) - log_integral.max()))
    return StepSizeBound(step_size, eps, times, beta, slope, m, log_integral)


def _intervals(weights_0, moments, gamma, time, eps, rtol):
    """Cut time: ends of the intervals, how far the flow can move in each, weights at each start.

    As dJ/dt = -||dJ/dW||^2, the way made in an interval of length s in which J falls by
    dJ is at most sqrt(s dJ), by the Cauchy-Schwarz inequality.
    """

    def velocity(t, state):
        return -packed(gradient(unpacked(state, weights_0), moments, gamma))

    def height(state):
        return objective(unpacked(state, weights_0), moments, gamma)

    start = packed(weights_0)
    atol = rtol * min(eps, np.linalg.norm(start) or eps)
    flow = scipy.integrate.solve_ivp(
        velocity, (0.0, time), start, method="DOP853", rtol=rtol, atol=atol, dense_output=True
    )
    if not flow.success:
        raise RuntimeError(f"The flow could not be integrated: {flow.message}")
    times = flow.t
    J = np.array([height(state) for state in flow.y.T])
    while True:
        moves = np.sqrt(np.diff(times) * np.maximum(-np.diff(J), 0.0))
        far = np.flatnonzero(moves > _MOVE * eps)
        if not far.size:
            return times, moves, (unpacked(flow.sol(t), weights_0) for t in times[:-1])
        if len(times) > _MAX_INTERVALS:
            raise ValueError(
                f"eps must be larger, or time shorter: the flow moves so far that tubes of "
                f"radius {eps:g} would need more than {_MAX_INTERVALS} intervals."
            )
        middle = (times[far] + times[far + 1]) / 2
        J = np.insert(J, far + 1, [height(flow.sol(t)) for t in middle])
        times = np.insert(times, far + 1, middle)


def _log_integral(lengths, log_source, m):
    """Logarithm of I at the ends of the intervals, I' = beta gamma - m I, I(0) = 0."""
    z = -m * lengths
    # log of (e^z - 1) / z, without overflow for either sign of z.
    growth = np.maximum(z, 0.0) + np.log(scipy.special.exprel(-np.abs(z)))
    logs = [-np.inf]
    for z_i, gain in zip(z, log_source + np.log(lengths) + growth, strict=True):
        logs.append(np.logaddexp(logs[-1] + z_i, gain))
    return np.array(logs)
