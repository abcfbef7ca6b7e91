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
