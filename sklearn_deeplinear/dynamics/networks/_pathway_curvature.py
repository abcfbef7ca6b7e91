"""Hessian eigenvalues of parallel pathways.

The objective is built on the full weights from the loss of a data term: from second moments if
the pathways are linear, so that its cost does not depend on the number of samples, else on
all samples, at the best intercept if that is free. `_curvature` does the rest.
"""

from __future__ import annotations

import torch

from sklearn_deeplinear.dynamics.networks._curvature import _extreme_eigenvalues


def pathway_hessian_eigenvalues(pathways, data_term, weight_decay, *, k=1, which="LA"):
    """Extreme eigenvalues of the Hessian of the objective of parallel pathways.

    Parameters
    ----------
    pathways : list of lists of arrays or tensors
        W_1, ..., W_L of each pathway.
    data_term : LinearPathways or ActivePathways
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
    like = data_term.modes[0]
    leaves = [
        [torch.as_tensor(W).to(like).detach().clone().requires_grad_() for W in weights]
        for weights in pathways
    ]
    parameters = [W for weights in leaves for W in weights]
    gammas = [float(gamma) for decays in weight_decay for gamma in decays]
    with torch.enable_grad():
        loss = data_term.loss(leaves)
        penalty = sum(g * W.square().sum() for g, W in zip(gammas, parameters, strict=True))
        return _extreme_eigenvalues(loss + penalty, parameters, k, which)
