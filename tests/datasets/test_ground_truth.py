"""Problems with known answers, against autograd and against the package's own minima."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.datasets import ground_truth_problems
from sklearn_deeplinear.theory import SecondMoments, global_minimum

PROBLEMS = {problem.name: problem for problem in ground_truth_problems()}

each = pytest.mark.parametrize("name", PROBLEMS)


def scale(problem):
    """Mean square of the targets: the loss of zero weights."""
    return problem.module().y.square().sum().item() / len(problem.module().X)


@each
def test_the_loss_at_the_minimiser_is_the_minimum_and_is_flat(name):
    problem = PROBLEMS[name]
    module = problem.module(problem.minimiser)
    loss = module.loss()
    assert abs(loss.item() - problem.minimum) <= 1e-12 * scale(problem)
    for gradient in torch.autograd.grad(loss, list(module.parameters())):
        assert gradient.abs().max() <= 1e-12 * scale(problem)


@each
def test_the_hessian_is_that_of_autograd(name):
    problem = PROBLEMS[name]
    module = problem.module(problem.minimiser)
    parameters = list(module.parameters())
    names = [key for key, _ in module.named_parameters()]
    sizes = [p.numel() for p in parameters]

    def loss(vector):
        parts = [v.view_as(p) for v, p in zip(vector.split(sizes), parameters, strict=True)]
        # Calling `loss` with other weights: they stand in for those of the module.
        stand_in = dict(zip(names, parts, strict=True))
        return torch.func.functional_call(Loss(module), {f"of.{k}": v for k, v in stand_in.items()})

    point = torch.cat([p.detach().reshape(-1) for p in parameters])
    slow = torch.autograd.functional.hessian(loss, point).numpy()
    np.testing.assert_allclose(problem.hessian, slow, rtol=0, atol=1e-12 * np.abs(slow).max())
    # A minimum: no direction leads down, up to rounding.
    assert problem.hessian_eigenvalues[0] >= -1e-12 * np.abs(slow).max()


class Loss(torch.nn.Module):
    """The loss of a module as what it returns, without arguments."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self):
        return self.of.loss()


@each
def test_the_minimum_is_that_of_the_theory(name):
    problem = PROBLEMS[name]
    module = problem.module()
    moments = SecondMoments.from_data(module.X.numpy(), module.y.numpy(), center=False)
    widths = [len(W) for W in problem.minimiser[:-1]]
    minimum = global_minimum(
        moments,
        depth=len(problem.minimiser),
        width=widths or None,
        weight_decay=problem.weight_decay,
    )
    assert abs(minimum.objective - problem.minimum) <= 1e-10 * scale(problem)


def test_a_chain_has_the_curvature_that_is_known():
    """2 L s^(2-2/L) along the only direction that changes the map, at white inputs."""
    eigenvalues = PROBLEMS["chain"].hessian_eigenvalues
    assert np.isclose(eigenvalues[-1], 2 * 5 * 3 ** (2 - 2 / 5), rtol=1e-13)
    assert np.abs(eigenvalues[:-1]).max() < 1e-12 * eigenvalues[-1]


@each
def test_starts_are_above_the_minimum_and_depend_on_the_seed_alone(name):
    problem = PROBLEMS[name]
    first, again = problem.initial_state(seed=1), problem.initial_state(seed=1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    module = problem.module()
    assert module.loss().item() > problem.minimum
    torch.testing.assert_close(module.state_dict(), problem.initial_state())


def test_an_optimiser_of_torch_closes_the_gap():
    (problem,) = ground_truth_problems(["decay"])
    module = problem.module()
    optimizer = torch.optim.LBFGS(
        module.parameters(),
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = module.loss()
        loss.backward()
        return loss

    optimizer.step(closure)
    gap = module.loss().item() - problem.minimum
    assert -1e-12 < gap < 1e-10


@pytest.mark.parametrize(
    "weights", [[np.ones((2, 4))], [np.ones((3, 2)), np.ones((1, 3))], [[["a"]]]]
)
def test_weights_of_another_network_are_refused(weights):
    (problem,) = ground_truth_problems("two_layers")
    with pytest.raises(ValueError, match="weights must be a"):
        problem.module(weights)


def test_an_unknown_problem_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match="names must be among .*'ridge'.*got 'rosenbrock'"):
        ground_truth_problems(["ridge", "rosenbrock"])
