"""Curvature of modules takes no parameters that only estimators have."""

import pytest
import torch

from sklearn_deeplinear.dynamics import hessian_eigenvalues


def test_weights_of_samples_belong_into_the_loss_of_a_module():
    X, y = torch.ones(3, 2), torch.ones(3)
    with pytest.raises(ValueError, match="sample_weight must be None for a module"):
        hessian_eigenvalues(
            torch.nn.Linear(2, 1),
            X,
            y,
            sample_weight=torch.ones(3),
            loss=lambda output, target: (output - target).square().mean(),
        )


@pytest.mark.parametrize(
    ("loss", "error", "match"),
    [
        (lambda output, target: 1.0, TypeError, "a tensor of one element, got 1.0"),
        (lambda output, target: output - target, TypeError, "of one element, got .3, 1."),
        (lambda output, target: target.sum(), ValueError, "it returned a constant"),
    ],
    ids=["number", "several", "constant"],
)
def test_losses_of_modules_are_tensors_of_one_element(loss, error, match):
    X, y = torch.ones(3, 2), torch.ones(3, 1)
    with pytest.raises(error, match=match):
        hessian_eigenvalues(torch.nn.Linear(2, 1), X, y, loss=loss)
