"""Whether outputs do better with a setting each than with one for all."""

from __future__ import annotations

import numpy as np

# Of 20 halvings, and more, the choices on real data hardly differ.
_N_HALVINGS = 20


def one_each_is_better(residuals, share):
    """Whether settings chosen for each output predict other samples better than one for all.

    The best of many settings looks better than it is, all the more if it is chosen for each
    output. So both ways choose by the left-out residuals of a half of the samples and are
    compared on the other half, for several random halvings; one each must be better by more
    than the standard error of the difference.

    Parameters
    ----------
    residuals : list of list of ndarray of shape (n_settings, n_samples)
        For each group of settings one array an output.
    share : ndarray of shape (n_samples,)
        Weights of sum one.
    """
    outputs = [np.concatenate(parts) for parts in zip(*residuals, strict=True)]
    size = max(np.abs(output).max() for output in outputs) or 1.0  # squares may overflow
    errors = [(output / size) ** 2 * share for output in outputs]
    n, rng = len(share), np.random.RandomState(0)
    first = np.stack([rng.permutation(n) < n / 2 for _ in range(_N_HALVINGS)])
    chosen_by = np.concatenate([first, ~first])
    sums = [error @ chosen_by.T for error in errors]
    one = np.sum(sums, axis=0).argmin(axis=0)
    gain = np.zeros(n)
    for error, own in zip(errors, sums, strict=True):
        better = error[one] - error[own.argmin(axis=0)]
        gain += np.sum(better, axis=0, where=~chosen_by) / _N_HALVINGS
    total = gain.sum()
    return bool(total > np.linalg.norm(gain - share * total))
