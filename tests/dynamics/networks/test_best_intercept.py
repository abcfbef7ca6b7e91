"""The best intercept against scipy, where outputs are sure, shifted far, tied or of any size."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize
from scipy.special import expit, logsumexp, softmax

from sklearn_deeplinear.dynamics.networks._best_intercept import best_intercept
from sklearn_deeplinear.nn._losses import LOSSES

RNG = np.random.RandomState(0)
N = 30
SHARES = RNG.uniform(0.1, 1, N)
SHARES /= SHARES.sum()
OUTPUTS = {
    "zero": np.zeros(N),
    "random": RNG.standard_normal(N),
    "tied": np.repeat([1.0, -2.0, 0.5], 10),
    "far off": 1e3 + RNG.standard_normal(N),
    "large": 100 * RNG.standard_normal(N),
    "one sample apart": np.r_[1e4, RNG.standard_normal(N - 1)],
    "small": 1e-12 * RNG.standard_normal(N),
}


def found(loss, outputs, Y, start=0.0, dtype=torch.float64):
    tensors = [torch.as_tensor(part, dtype=dtype) for part in (outputs, Y, SHARES[:, None])]
    begin = torch.full((1, Y.shape[1]), start, dtype=dtype)
    return best_intercept(LOSSES[loss], *tensors, begin).numpy()[0]


@pytest.mark.parametrize("start", [0.0, 50.0, -1e4])
@pytest.mark.parametrize("name", OUTPUTS)
def test_two_classes(name, start):
    f, y = OUTPUTS[name], (np.arange(N) % 3 == 0).astype(float)
    (b,) = found("log_loss", f[:, None], y[:, None], start)
    # The mean of the probabilities is the share of the class, and it grows with b.
    wanted = SHARES @ y
    ends = -f.max() - 50, -f.min() + 50
    root = brentq(lambda b: SHARES @ expit(f + b) - wanted, *ends, xtol=1e-13)
    assert SHARES @ expit(f + b) == pytest.approx(wanted, abs=1e-13)
    slope = SHARES @ (expit(f + b) * expit(-f - b))
    if slope > 1e-10:
        assert b == pytest.approx(root, abs=1e-14 / slope + 1e-12 * abs(b))


@pytest.mark.parametrize("name", OUTPUTS)
def test_classes(name):
    F = np.outer(OUTPUTS[name], [1.0, -0.5, 0.0, 2.0]) + 0.1 * RNG.standard_normal((N, 4))
    Y = np.eye(4)[np.arange(N) % 4]
    b = found("cross_entropy", F, Y)

    def loss(b):
        return SHARES @ (logsumexp(F + b, axis=1) - (Y * (F + b)).sum(axis=1))

    assert SHARES @ softmax(F + b, axis=1) == pytest.approx(SHARES @ Y, abs=1e-12)
    assert loss(b) <= minimize(loss, b).fun + 1e-12


def test_rare_classes_and_single_precision():
    f, y = OUTPUTS["random"], np.zeros((N, 1))
    y[3] = 1.0
    for dtype, digits in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        (b,) = found("log_loss", f[:, None], y, dtype=dtype)
        assert SHARES @ expit(f + b) == pytest.approx(SHARES[3], abs=digits)


def test_a_batch_is_that_of_each():
    F = torch.from_numpy(RNG.standard_normal((5, N, 3)))
    Y = torch.eye(3, dtype=F.dtype)[torch.arange(N) % 3]
    shares = torch.from_numpy(SHARES)[:, None]
    together = best_intercept(LOSSES["cross_entropy"], F, Y, shares, F.new_zeros(5, 1, 3))
    for part, b in zip(F, together, strict=True):
        alone = best_intercept(LOSSES["cross_entropy"], part, Y, shares, F.new_zeros(1, 3))
        torch.testing.assert_close(b, alone, rtol=0, atol=1e-12)


def test_what_is_not_finite_comes_to_an_end():
    f = np.full((N, 1), np.nan)
    assert np.isfinite(found("log_loss", f, np.ones((N, 1)))).all()


def test_a_network_that_has_diverged_harms_no_other():
    F = torch.from_numpy(RNG.standard_normal((3, N, 1)))
    y = (torch.arange(N) % 3 == 0).double()[:, None]
    shares, start = torch.from_numpy(SHARES)[:, None], F.new_zeros(3, 1, 1)
    good = best_intercept(LOSSES["log_loss"], F, y, shares, start)
    for bad in (torch.nan, torch.inf, 1e300):
        F[1] = bad
        mixed = best_intercept(LOSSES["log_loss"], F, y, shares, start)
        torch.testing.assert_close(mixed[::2], good[::2], rtol=0, atol=1e-12)


def test_classes_that_no_sample_comes_near():
    """Their curvature is lost beside that of the others, until the intercept has found them."""
    for far in (50.0, 1e3, 1e5):
        F = np.zeros((N, 4)) - far * np.array([0.0, 0.0, 1.0, 1.0])
        Y = np.eye(4)[np.arange(N) % 4]
        b = found("cross_entropy", F, Y)
        assert SHARES @ softmax(F + b, axis=1) == pytest.approx(SHARES @ Y, abs=1e-15 * (100 + far))
