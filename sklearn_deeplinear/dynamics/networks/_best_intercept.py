"""The intercept at which a convex loss of shifted outputs is least.

Mean losses of classes are generalised self-concordant in the intercept b: along a direction v
their third derivative is at most r = max_k v_k - min_k v_k (|v| with one output) times the
second. With v = -H^-1 g the Newton step, the loss at b + t v exceeds its minimum along the line
in the model g^T v (t - (e^(r t) - 1 - r t) / r^2) the least at

    t = log(1 + r) / r,

so that steps of this length go down from anywhere, without a search, and become Newton's where
r is small. Where almost all outputs are sure, they are short; the step that gives each class its
share if all samples follow alike, b_k + log(share of class k) - log(mean probability of k), goes
down as well (it is one of iterative scaling) and then gets near at once.
"""

from __future__ import annotations

import torch

# Newton steps: some five from the intercept of no inputs, one or two from the last one.
_MAX_ITERATIONS = 100
# Rounding error of the slopes, and of the curvature beside its largest part, in units of eps.
_ROUNDING = 4


def best_intercept(loss, outputs, Y, shares, start):
    """Minimise the mean loss of ``outputs + b`` over b.

    Parameters
    ----------
    loss : Loss
        Of classes: one that has a `mean_hessian`.
    outputs : tensor of shape (..., n, m)
        Outputs without intercept.
    Y : tensor of shape (..., n, m)
        Targets; every class has a positive share.
    shares : tensor of shape (..., n, 1)
        Weights of the samples, of sum one.
    start : tensor of shape (..., 1, m)
        Intercept to start from.

    Returns
    -------
    intercept : tensor of shape (..., 1, m)
        Of several outputs, which may move together, that of mean zero.
    """
    eps, b, former = torch.finfo(outputs.dtype).eps, start, float("inf")
    slopes = torch.empty_like(outputs + start)
    for _ in range(_MAX_ITERATIONS):
        shifted = outputs + b
        # Of a network of a batch that has diverged nothing is wanted any longer.
        slope = (loss.slope(shifted, Y, out=slopes) * shares).sum(dim=-2).nan_to_num_(0.0, 0.0, 0.0)
        size = float(slope.abs().max())
        # Not larger than rounding makes them, or no smaller than before.
        if size <= _ROUNDING * eps or eps**0.5 > size >= former:
            break
        if size > former / 2:
            b, former = b + _scaling_step(shifted, Y, shares), float("inf")
            continue
        step = _newton_step(slope, loss.mean_hessian(shifted, shares).nan_to_num_(0.0))
        reach = step.abs() if step.shape[-1] == 1 else step.amax(-1, True) - step.amin(-1, True)
        b = b + (step * torch.where(reach > 0, torch.log1p(reach) / reach, 1.0)).unsqueeze(-2)
        former = size
    return b if b.shape[-1] == 1 else b - b.mean(dim=-1, keepdim=True)


def _newton_step(slope, hessian):
    """-H^-1 g, with H made larger where outputs that are all sure leave no curvature.

    A larger H keeps the bound above, so that the step still goes down.
    """
    machine = torch.finfo(slope.dtype)
    least = machine.tiny**0.5  # steps then come to some hundreds at most
    if hessian.shape[-1] == 1:
        return -slope / (hessian.squeeze(-1) + least)
    m = hessian.shape[-1]
    size = hessian.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None] + least
    identity = torch.eye(m, dtype=slope.dtype, device=slope.device)
    # Along outputs that move together there is no curvature, nor a slope.
    regular = hessian + _ROUNDING * machine.eps * size * identity + size / m
    step, info = torch.linalg.solve_ex(regular, slope.unsqueeze(-1))
    # Where all curvature is lost there is no step, and a scaling step will follow.
    return -torch.where(info[..., None] > 0, 0.0, step.squeeze(-1)).nan_to_num_(0.0, 0.0, 0.0)


def _scaling_step(outputs, Y, shares):
    """Logarithms, or log odds of one output, of the classes' shares less those predicted."""
    weight, wanted = shares.log(), (shares * Y).sum(dim=-2, keepdim=True)
    if outputs.shape[-1] == 1:
        odds = torch.nn.functional.logsigmoid
        return torch.logit(wanted) - _total(odds(outputs), weight) + _total(odds(-outputs), weight)
    return wanted.log() - _total(torch.log_softmax(outputs, dim=-1), weight)


def _total(logarithms, weight):
    return torch.logsumexp(logarithms + weight, dim=-2, keepdim=True)
