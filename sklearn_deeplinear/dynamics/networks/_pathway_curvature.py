"""Hessian eigenvalues of parallel pathways, and the sharpness along their runs.

The objective is built on the full weights from the loss of a rule: from second moments if
the pathways are linear, so that its cost does not depend on the number of samples, else on
all samples, at the best intercept if that is free. `_curvature` does the rest.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._curvature import _extreme_eigenvalues


def pathway_hessian_eigenvalues(pathways, rule, weight_decay, *, k=1, which="LA"):
    """Extreme eigenvalues of the Hessian of the objective of parallel pathways.

    Parameters
    ----------
    pathways : list of lists of arrays or tensors
        W_1, ..., W_L of each pathway.
    rule : LinearPathways or ActivePathways
        Gives the loss, in its precision and on its device.
    weight_decay : list of sequences of floats
        Decays of the layers of each pathway.
    k : int, default=1
        Number of eigenvalues.
    which : {"LA", "SA", "LM"}, default="LA"
        The largest eigenvalues, the smallest ones, or those largest in magnitude.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        The most extreme one first. A kink of an activation counts as flat.
    """
    like = rule.modes[0]
    leaves = [
        [torch.as_tensor(W).to(like).detach().clone().requires_grad_() for W in weights]
        for weights in pathways
    ]
    parameters = [W for weights in leaves for W in weights]
    gammas = [float(gamma) for decays in weight_decay for gamma in decays]
    with torch.enable_grad():
        loss, *_ = rule.measure(leaves)
        penalty = sum(g * W.square().sum() for g, W in zip(gammas, parameters, strict=True))
        return _extreme_eigenvalues(loss + penalty, parameters, k, which)


class WithSharpness:
    """Dynamics of pathways whose records hold the largest eigenvalue of the Hessian, too.

    Compressed pathways are measured in full: directions in which they do not move are part
    of the Hessian.

    Parameters
    ----------
    dynamics : PathwayDynamics
        What is trained; it answers to all but `measure`.
    curvature_rule : LinearPathways or ActivePathways
        Its rule in float64: Lanczos iterations hardly converge in less.
    """

    def __init__(self, dynamics, curvature_rule):
        self.dynamics, self.curvature_rule = dynamics, curvature_rule

    def __getattr__(self, name):
        return getattr(self.dynamics, name)

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        measured = self.dynamics.measure(states)
        finite = (measured["objective"] + measured["gradient_norm"]).isfinite()
        sharpness = [
            self._sharpness(state) if good else float("nan")
            for state, good in zip(states.numpy(force=True), finite.tolist(), strict=True)
        ]
        return {**measured, "sharpness": torch.tensor(sharpness, dtype=torch.float64)}

    def _sharpness(self, state):
        weights, decay = self.dynamics.unpacked(state), self.dynamics.weight_decay
        return pathway_hessian_eigenvalues(weights, self.curvature_rule, decay)[0]
