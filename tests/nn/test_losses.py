"""Slopes, curvatures and batch forms of the losses, against autograd and scikit-learn."""

import pytest
import torch
from sklearn.metrics import log_loss

from sklearn_deeplinear.nn._losses import LOSSES

GENERATOR = torch.Generator().manual_seed(0)


def drawn(name, n=6, m=3):
    GENERATOR.manual_seed(0)  # the same in any order of the tests
    m = 1 if name == "log_loss" else m
    f = torch.randn(n, m, generator=GENERATOR, dtype=torch.float64)
    f[0] *= 40
    if name == "squared_error":
        return f, torch.randn(n, m, generator=GENERATOR, dtype=torch.float64)
    codes = torch.arange(n) % 3
    y = torch.eye(3, dtype=f.dtype)[codes] if m == 3 else (codes == 0).to(f.dtype)[:, None]
    return f, y


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives(name):
    loss, (f, y) = LOSSES[name], drawn(name)
    shares = torch.rand(len(f), 1, generator=GENERATOR, dtype=f.dtype)
    f.requires_grad_()
    (slope,) = torch.autograd.grad(loss.terms(f, y).sum(), f)
    torch.testing.assert_close(loss.slope(f.detach(), y, out=torch.empty_like(f)), slope)
    each = [
        share * torch.autograd.functional.hessian(lambda x, y=row: loss.terms(x[None], y).sum(), x)
        for x, row, share in zip(f.detach(), y, shares, strict=True)
    ]
    found = loss.mean_hessian(f.detach(), shares)
    torch.testing.assert_close(found, sum(each))
    assert torch.linalg.eigvalsh(found).max() <= loss.curvature * shares.sum() + 1e-12


@pytest.mark.parametrize("name", LOSSES)
def test_batches_see_the_same_loss(name):
    loss, (f, y) = LOSSES[name], drawn(name)
    terms = loss.of_batch(f, loss.batch_targets(y))
    torch.testing.assert_close(terms, loss.terms(f, y).sum(dim=1))


@pytest.mark.parametrize("name", ["log_loss", "cross_entropy"])
def test_they_are_minus_the_log_of_the_probabilities(name):
    loss, (f, y) = LOSSES[name], drawn(name)
    f = f / 4  # scikit-learn takes probabilities below 2e-16 for that
    codes = y[:, 0].long() if name == "log_loss" else y.argmax(dim=1)
    P = loss.probabilities(f)
    expected = log_loss(codes, P, labels=list(range(P.shape[1])))
    assert loss.terms(f, y).sum(dim=1).mean().item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [1e-3, 30.0, 800.0])
def test_sure_predictions_lose_no_digits(size):
    """log(1 + e^-z) and its slope are e^-z far out, not zero, and z beyond the other end."""
    f, y = torch.tensor([[size], [-size]], dtype=torch.float64), torch.ones(2, 1)
    right, wrong = LOSSES["log_loss"].terms(f, y.double())[:, 0]
    z = torch.tensor(size, dtype=torch.float64)
    assert right == torch.log1p(torch.exp(-z)) and wrong == pytest.approx(float(right + z))
    slope = LOSSES["log_loss"].slope(f, y.double(), out=torch.empty_like(f))[0, 0]
    assert -slope == pytest.approx(float(torch.exp(-z) / (1 + torch.exp(-z))), rel=1e-14)
