"""Bounds on the derivatives of the objective in a ball around the weights of a linear net.

Let p_l >= ||W_l||_2 for every network in the ball, and let q_l, q_kl and q_jkl be the product
of all of them but p_l, but p_k and p_l, and but p_j, p_k and p_l. Along a displacement of the
weights whose layers have the Frobenius norms delta_l, the derivatives of the end-to-end map obey

    ||DM||_F <= sum_l q_l delta_l,    ||D^2 M||_* <= sum_{k != l} q_kl delta_k delta_l,
    ||D^3 M||_* <= sum_{j, k, l distinct} q_jkl delta_j delta_k delta_l,

(spectral norms outside, the nuclear norm of a product of Frobenius factors inside), and with
G = M A - S the objective ``tr(M A M^T) - 2 tr(M S^T) + c + sum_l gamma_l ||W_l||_F^2`` has

    D^2 J = 2 tr(DM A DM^T) + 2 <G, D^2 M> + 2 sum_l gamma_l delta_l^2,
    D^3 J = 6 tr(D^2 M A DM^T) + 2 <G, D^3 M>.
"""

from __future__ import annotations

import numpy as np

from sklearn_deeplinear.theory._layers import chain_gradients, end_to_end, packed, partial_products


def objective(weights, moments, gamma):
    """J = loss + sum_l gamma_l ||W_l||_F^2."""
    penalty = sum(g * np.sum(W**2) for g, W in zip(gamma, weights, strict=True))
    return moments.loss(end_to_end(weights)) + penalty


def gradient(weights, moments, gamma):
    """dJ/dW_l = 2 B_l^T G P_{l-1}^T + 2 gamma_l W_l, layer by layer."""
    products = partial_products(weights)
    slopes = chain_gradients(products, 2 * _residual(products[1][-1], moments))
    return [S + 2 * g * W for S, g, W in zip(slopes, gamma, weights, strict=True)]


def hessian(weights, moments, gamma):
    """Dense Hessian of J over all weights, each layer in row-major order."""
    above, below = partial_products(weights)
    G, L = _residual(below[-1], moments), len(weights)
    jacobian = np.hstack(
        [np.kron(B, moments.input_factor @ P.T) for B, P in zip(above, below[:-1], strict=True)]
    )  # of M R_x^T
    H = 2 * jacobian.T @ jacobian
    sizes = [W.size for W in weights]
    ends = np.cumsum([0, *sizes])
    H[np.diag_indices_from(H)] += 2 * np.repeat(gamma, sizes)
    for low in range(L):
        between = np.eye(weights[low].shape[0])  # W_{k-1} ... W_{l+1}
        for high in range(low + 1, L):
            X = above[high].T @ G @ below[low].T
            block = 2 * np.einsum("ae,bc->abce", X, between).reshape(sizes[high], sizes[low])
            rows, columns = slice(*ends[high : high + 2]), slice(*ends[low : low + 2])
            H[rows, columns] += block
            H[columns, rows] += block.T
            between = weights[high] @ between
    return H


def norm_bounds(weights, moments, gamma, radius):
    """Bounds (beta, gamma, m) of the ball from the spectral norms of the layers.

    Parameters
    ----------
    weights : list of L ndarray
        Centre of the ball.
    moments : SecondMoments
        Moments of the data.
    gamma : ndarray of shape (L,)
        Weight decays.
    radius : float
        Radius of the ball, in the Euclidean norm over all weights.

    Returns
    -------
    smoothness, gradient_norm, curvature : float
        Upper bounds of the norms of the Hessian and of the gradient, lower bound of the
        smallest eigenvalue of the Hessian.
    """
    lam, residual, first, second, _ = _ball_terms(weights, moments, radius)
    bend = 2 * residual * second
    smoothness = 2 * lam * first**2 + bend + 2 * gamma.max()
    slope = np.linalg.norm(packed(gradient(weights, moments, gamma))) + radius * smoothness
    return smoothness, slope, 2 * gamma.min() - bend


def hessian_bounds(weights, moments, gamma, radius):
    """Bounds as :func:`norm_bounds`, from the Hessian at the centre and D^3 J in the ball."""
    lam, residual, first, second, third = _ball_terms(weights, moments, radius)
    change = radius * (6 * lam * first * second + 2 * residual * third)
    eigenvalues = np.linalg.eigvalsh(hessian(weights, moments, gamma))
    smoothness = np.abs(eigenvalues[[0, -1]]).max() + change
    crude, _, floor = norm_bounds(weights, moments, gamma, radius)
    smoothness = min(smoothness, crude)
    slope = np.linalg.norm(packed(gradient(weights, moments, gamma))) + radius * smoothness
    return smoothness, slope, max(eigenvalues[0] - change, floor)


CURVATURE_BOUNDS = {"bound": norm_bounds, "measured": hessian_bounds}


def _ball_terms(weights, moments, radius):
    """lambda_max(A) and the bounds of ||G||_2, ||DM||_F, ||D^2 M||_*, ||D^3 M||_* in the ball."""
    L = len(weights)
    p = np.array([np.linalg.norm(W, 2) for W in weights]) + radius
    first = np.sqrt(sum(np.prod(np.delete(p, i)) ** 2 for i in range(L)))
    q = np.array(
        [[0.0 if i == j else np.prod(np.delete(p, [i, j])) for j in range(L)] for i in range(L)]
    )
    second = np.linalg.eigvalsh(q)[-1]
    # The sum over ordered triples is largest for equal delta_l = L^(-1/2) (Maclaurin).
    triples = (L - 1) * (L - 2) / np.sqrt(L)
    third = triples * np.prod(np.sort(p)[3:]) if L > 2 else 0.0
    lam = np.linalg.norm(moments.input_factor, 2) ** 2
    G = _residual(end_to_end(weights), moments)
    residual = np.linalg.norm(G, 2) + lam * radius * first
    return lam, residual, first, second, third


def _residual(M, moments):
    """G = M A - S, as one product with the residuals of the factor."""
    return (moments.input_factor @ M.T - moments.output_factor).T @ moments.input_factor
