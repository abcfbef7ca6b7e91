"""Linear networks with multiplicative noise on their hidden units, without sampling.

Unit i of hidden layer l is multiplied by an independent random number of mean 1 and
variance s_l (dropout with rate p has s = p / (1 - p)). First and second moments of the
output are then polynomials in the weights, whatever the law of the noise.

Write mu_l = W_l ... W_1 x for the noiseless activity of layer l and K_l for the matrix of
the quadratic form that gives E[f_o^2] from the activity of layer l when the noise of the
layers above is averaged out. One more noisy layer turns K_l into K_l + s_l diag(K_l), so

    E[f_o^2] = (M x)_o^2 + sum_l s_l sum_i (K_l)_ii mu_{l,i}^2

and only the diagonals of K_l are needed. All terms are non-negative: nothing cancels.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_noise
from sklearn_deeplinear.theory._layers import check_weights, end_to_end
from sklearn_deeplinear.theory._moments import check_moments

# Activities of a wide layer are computed for blocks of samples of this many numbers.
_BLOCK_SIZE = 2**22


def expected_loss(weights, moments, noise=0.0) -> float:
    """Mean squared error of a noisy linear network, averaged over its noise.

    ``tr(C_L) - 2 tr(M S^T) + c`` with the second moments ``C_0 = A`` and
    ``C_l = W_l (C_{l-1} + s_{l-1} diag(C_{l-1})) W_l^T`` of the layers (no noise on the
    input), evaluated as the loss of the mean prediction plus a sum of variances.

    Parameters
    ----------
    weights : sequence of L array-like
        ``[W_1, ..., W_L]``, with W_l of shape (h_l, h_{l-1}).
    moments : SecondMoments
        Moments of the data.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the noise on the hidden layers.

    Returns
    -------
    loss : float
        Expected loss, in squared units of the targets.

    Raises
    ------
    ValueError
        If the shapes of the weights do not fit each other or the moments.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35, Equation 1 (the objective for one output).

    Examples
    --------
    >>> from sklearn_deeplinear.theory import SecondMoments, expected_loss
    >>> moments = SecondMoments.from_moments([[1.0]], [[1.0]], 1.0)
    >>> expected_loss([[[1.0]], [[1.0]]], moments, noise=0.5)
    0.5
    """
    check_moments(moments)
    weights = check_weights(weights, moments=moments)
    return noisy_loss(weights, moments, check_noise(noise, len(weights)))


def noisy_loss(weights, moments, variances):
    """:func:`expected_loss` without checks; an entry of `variances` may be one per unit."""
    (R, *layers), exponent = _scaled([moments.input_factor, *weights])
    terms = _noise_terms(layers, variances, np.ones((1, moments.n_outputs)))
    variance = sum(np.sum((R @ P.T) ** 2 @ k.T) for P, k in terms)
    return moments.loss(end_to_end(weights)) + float(np.ldexp(variance, 2 * exponent))


def predictive_variance(weights, X, noise=0.0) -> np.ndarray:
    """Variance of the outputs of a noisy linear network, for each sample.

    Parameters
    ----------
    weights : sequence of L array-like
        ``[W_1, ..., W_L]``, with W_l of shape (h_l, h_{l-1}).
    X : array-like of shape (n_samples, d)
        Inputs as the first layer receives them, that is centred if the network has an
        intercept fitted by centring.
    noise : float or sequence of L - 1 floats, default=0.0
        Variances s_l of the noise on the hidden layers.

    Returns
    -------
    variance : ndarray of shape (n_samples, m)
        Variance of each output, in squared units of the targets.

    Raises
    ------
    ValueError
        If the shapes of the weights do not fit each other or X.

    References
    ----------
    .. [1] Ziyin, L., Li, B., Meng, X. (2022). "Exact solutions of a deep linear
       network." NeurIPS 35 (the variance at the global minimum).

    Examples
    --------
    >>> from sklearn_deeplinear.theory import predictive_variance
    >>> predictive_variance([[[1.0]], [[1.0]]], [[2.0]], noise=0.5)
    array([[2.]])
    """
    weights = check_weights(weights)
    X = as_array(X, "X")
    if X.ndim != 2 or X.shape[1] != weights[0].shape[1]:
        raise ValueError(f"X must have shape (n_samples, {weights[0].shape[1]}), got {X.shape}.")
    m = weights[-1].shape[0]
    variance = np.zeros((len(X), m))
    (X, *layers), exponent = _scaled([X, *weights])
    for P, k in _noise_terms(layers, check_noise(noise, len(weights)), np.eye(m)):
        size = max(_BLOCK_SIZE // len(P), 1)
        for rows in (slice(i, i + size) for i in range(0, len(X), size)):
            variance[rows] += (X[rows] @ P.T) ** 2 @ k.T
    return np.ldexp(variance, 2 * exponent)


def _scaled(arrays):
    """Arrays in units of their sizes, and the exponent of two of the product of the units.

    Squares of the products of some of them may leave the range of floats, that of all does
    not; powers of two cost no digit.
    """
    exponents = [int(np.frexp(np.abs(array).max(initial=0.0))[1]) for array in arrays]
    return [np.ldexp(a, -e) for a, e in zip(arrays, exponents, strict=True)], sum(exponents)


def _noise_terms(weights, s, outputs):
    """Pairs (P_l, s_l diag K_l) of the noisy hidden layers, from the last to the first.

    P_l = W_l ... W_1 has shape (h_l, d). Row o of `outputs` weights the squared outputs
    of the quadratic form o, and row o of the second array is its s_l diag(K_l).
    """
    maps = [weights[0]]
    for W in weights[1:-1]:
        maps.append(W @ maps[-1])
    # Noise enters K_l through the diagonal of every layer above: each source keeps its
    # weights and the product of the layers between it and layer l.
    sources = [(outputs, None)]
    terms = []
    for W, P, s_l in zip(weights[:0:-1], maps[::-1], s[::-1], strict=False):
        sources = [(k, W if T is None else T @ W) for k, T in sources]
        if np.any(s_l > 0):
            k = s_l * sum(k @ T**2 for k, T in sources)
            sources.append((k, None))
            terms.append((P, k))
    return terms
