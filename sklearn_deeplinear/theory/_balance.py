"""Balance between adjacent layers, and the balanced factors of a linear map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._parameters import as_array, check_depth, check_weight_decay, check_width
from sklearn_deeplinear._results import one_line
from sklearn_deeplinear.theory._layers import check_weights
from sklearn_deeplinear.theory._singular_modes import leading_modes


@dataclass(frozen=True, eq=False)
class Balance:
    """How far the layers of one network are from balance.

    Entry ``l - 1`` compares layer ``l`` with layer ``l + 1``, for l = 1, ..., L - 1; the
    names are those of the curves over training that the estimators record.

    Attributes
    ----------
    layer : ndarray of shape (L - 1,)
        ``||W_l||_F^2 - ||W_{l+1}||_F^2 = tr D_l``, signed.
    neuron : ndarray of shape (L - 1,)
        Largest ``| ||W_l[i, :]||^2 - ||W_{l+1}[:, i]||^2 |`` over the hidden units i.
    matrix : ndarray of shape (L - 1,)
        ``||D_l||_F``.
    differences : list of L - 1 ndarray of shape (h_l, h_l)
        ``D_l = W_l W_l^T - W_{l+1}^T W_{l+1}``.
    """

    layer: np.ndarray
    neuron: np.ndarray
    matrix: np.ndarray
    differences: list

    def __repr__(self):
        return one_line(self, "layer", "neuron", "matrix")


def balance(weights) -> Balance:
    """Balance of a network: what gradient flow without weight decay conserves.

    Along the gradient flow of a linear network the matrices D_l stay constant, and with
    an equal weight decay gamma they shrink as ``exp(-4 gamma t)``. With a homogeneous
    activation the diagonal of D_l, hence its trace, does so.

    Parameters
    ----------
    weights : sequence of L array-like
        ``[W_1, ..., W_L]``, with W_l of shape (h_l, h_{l-1}).

    Returns
    -------
    balance : Balance
        With attributes ``layer``, ``neuron``, ``matrix`` and ``differences``.

    Raises
    ------
    ValueError
        If the weights are not matrices that can be multiplied, or are not finite.

    References
    ----------
    .. [1] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced."
       NeurIPS 31, Theorems 2.1 and 2.2.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import balance
    >>> balance([[[1.0], [2.0]], [[1.0, 1.0]]]).layer
    array([3.])
    """
    weights = check_weights(weights)
    differences = [W @ W.T - V.T @ V for W, V in zip(weights[:-1], weights[1:], strict=True)]
    return Balance(
        layer=np.array([np.trace(D) for D in differences]),
        neuron=np.array([np.abs(np.diag(D)).max() for D in differences]),
        matrix=np.array([np.linalg.norm(D) for D in differences]),
        differences=differences,
    )


def balanced_factors(coef, width=None, *, depth=None, weight_decay=None) -> list[np.ndarray]:
    """Weights of a deep linear network that realise a map at the least penalty.

    With the singular value decomposition ``coef = U diag(s) V^T`` and
    ``D = diag(s^(1/L))``, padded with zeros to the widths, the factors are ``U D``,
    ``D`` (L - 2 times) and ``D V^T``. They satisfy ``D_l = 0`` (see :func:`balance`) and
    minimise ``sum_l gamma_l ||W_l||_F^2`` over all factorisations of `coef`.

    Parameters
    ----------
    coef : array-like of shape (m, d) or (d,)
        End-to-end map; a vector stands for one output.
    width : int, sequence of ints or None, default=None
        Hidden widths h_1, ..., h_{L-1}; a sequence also fixes the depth. None takes the
        least width that will do, the rank of `coef`.
    depth : int, default=None
        Number of weight matrices L; needed unless `width` is a sequence.
    weight_decay : float or sequence of L floats, default=None
        Decays gamma_l. Unequal ones scale layer l by ``(g / gamma_l)^(1/2)``, with g
        their geometric mean, which leaves the product as it is and makes the L
        penalties ``gamma_l ||W_l||_F^2`` equal. None stands for equal decays.

    Returns
    -------
    weights : list of L ndarray
        ``[W_1, ..., W_L]``, whose product ``W_L ... W_1`` is `coef` up to rounding.

    Raises
    ------
    ValueError
        If a width is below the rank of `coef`, neither argument gives the depth or the
        two contradict each other, or some but not all decays are zero.

    Notes
    -----
    Singular values below ``max(m, d) * eps`` times the largest count as zero: their
    L-th roots would turn rounding errors into weights of noticeable size.

    Examples
    --------
    >>> from sklearn_deeplinear.theory import balanced_factors
    >>> W_1, W_2, W_3 = balanced_factors([[0.0, 8.0]], (2, 1))
    >>> abs(W_1).round(12), (W_3 @ W_2 @ W_1).round(12)
    (array([[0., 2.],
           [0., 0.]]), array([[0., 8.]]))
    """
    coef = np.atleast_2d(as_array(coef, "coef")).copy()
    if coef.ndim != 2 or coef.size == 0 or not np.isfinite(coef).all():
        raise ValueError(
            f"coef must be a finite (m, d) or (d,) array, got an array of shape {coef.shape}."
        )
    U, s, Vt = leading_modes(coef)
    r = len(s)
    if depth is None and not np.iterable(width):
        raise ValueError("depth must be given unless width is a sequence of depth - 1 ints.")
    depth = len(width) + 1 if depth is None else check_depth(depth)
    widths = check_width(max(r, 1) if width is None else width, depth)
    if min(widths, default=r) < r:
        raise ValueError(f"width must be at least the rank of coef, {r}; got {width!r}.")
    gamma = check_weight_decay(0.0 if weight_decay is None else weight_decay, depth)
    if gamma.any() and not gamma.all():
        raise ValueError(
            "weight_decay must be positive in every layer or in none: with some zeros the "
            f"penalty has no minimum over the factors; got {gamma.tolist()!r}."
        )
    if depth == 1:
        return [coef]
    root = s ** (1 / depth)
    bases = [Vt.T, *(np.eye(h, r) for h in widths), U]
    layers = [(Q * root) @ P.T for P, Q in zip(bases[:-1], bases[1:], strict=True)]
    return [c * W for c, W in zip(layer_scales(gamma), layers, strict=True)]


def layer_scales(gamma):
    """Factors (g / gamma_l)^(1/2), of product one, that equal decays g turn into `gamma`.

    They are one if a decay is zero.
    """
    if not gamma.all():
        return np.ones(len(gamma))
    logs = np.log(gamma)
    return np.exp((logs.mean() - logs) / 2)
