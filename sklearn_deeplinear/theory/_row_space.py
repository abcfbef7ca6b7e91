"""Moments in fewer inputs: what linear networks see of data that have more inputs than rows.

The gradient of the loss in M is 2 (M A - S), whose rows lie in the range of A. With V an
orthonormal basis of it (d, k), a network learns from x as from V^T x.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._moments import SecondMoments, Spectrum


def in_row_space(moments, n_idle=0):
    """Moments of the coordinates of the inputs in their row space.

    Parameters
    ----------
    moments : SecondMoments
        Of d inputs.
    n_idle : int, default=0
        Number of further coordinates, orthogonal to the row space, in which the data are zero.

    Returns
    -------
    reduced : SecondMoments
        Of k + n_idle inputs ``V^T (x - mean_x)``, with V the ``directions`` of the spectrum.
    """
    spectrum, m = moments.spectrum, moments.n_outputs
    k = len(spectrum.sigma)
    factor = np.zeros((k + 1, k + n_idle + m))
    factor[:k, :k], factor[:k, k + n_idle :] = np.diag(spectrum.sigma), spectrum.targets
    # Only the trace of what is left of the outputs counts.
    factor[k, -1] = np.sqrt(spectrum.residual)
    mean_x, directions = np.zeros(k + n_idle), np.eye(k + n_idle, k)
    reduced = SecondMoments(
        factor,
        mean_x,
        moments.mean_y,
        moments.n_samples,
        moments.sum_weight,
        moments.centered,
        moments.single_target,
    )
    vars(reduced)["spectrum"] = Spectrum(
        spectrum.sigma, directions, spectrum.targets, spectrum.residual
    )
    return reduced
