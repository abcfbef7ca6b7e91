"""The step and the gradient of parallel pathways, against automatic differentiation."""

import numpy as np
import pytest
import torch

from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import PathwayDynamics
from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import pathway_step_size
from sklearn_deeplinear.estimators._training_data import TrainingData
from sklearn_deeplinear.theory import SecondMoments

FUNCTIONS = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    "tanh": torch.tanh,
    "gelu": lambda x: x * torch.special.ndtr(x),
}


def make_case(d, m, depths, activation="identity", activate_output=False, center=True, seed=0):
    """Dynamics, and the objective as a slow function of leaf tensors."""
    rng = np.random.RandomState(seed)
    X, Y, weight = rng.standard_normal((30, d)) + 1, rng.standard_normal((30, m)), rng.rand(30)
    sizes = [[d, *range(4, 3 + L), m] for L in depths]
    pathways = [
        [torch.from_numpy(rng.standard_normal((b, a)) / 2) for a, b in zip(h, h[1:], strict=False)]
        for h in sizes
    ]
    decay = [rng.rand(L) for L in depths]
    moments = SecondMoments.from_data(X, Y, weight, center=center)
    if activation == "identity":
        rule = LinearPathways.from_moments(moments, pathways[0][0])
    else:
        data = TrainingData(X, Y, weight, moments).centred()
        rule = ActivePathways.from_data(*data, moments, activation, activate_output, pathways[0][0])
    X, Y = torch.from_numpy(X - moments.mean_x), torch.from_numpy(Y - moments.mean_y)
    share = torch.from_numpy(weight / weight.sum())[:, None]

    def objective(leaves):
        total, penalty = 0.0, 0.0
        for path, gammas in zip(leaves, decay, strict=True):
            H = X
            for layer, (W, gamma) in enumerate(zip(path, gammas, strict=True), start=1):
                H = H @ W.T
                if layer < len(path) or activate_output:
                    H = FUNCTIONS[activation](H)
                penalty = penalty + gamma * W.square().sum()
            total = total + H
        residual = Y - total
        if center:
            residual = residual - (share * residual).sum(dim=0)
        return (share * residual.square()).sum() + penalty

    return PathwayDynamics(pathways, rule, decay), pathways, objective, moments, decay


CASES = [
    (3, 5, (2, 3), "identity", False, True),
    (5, 3, (2, 3), "identity", False, False),
    (40, 2, (1, 2, 4), "identity", False, True),
    (2, 40, (1, 1), "identity", False, True),
    (3, 2, (2, 3), "relu", False, True),
    (3, 2, (2, 3), "relu", True, False),
    (3, 2, (1, 4), "leaky_relu", True, True),
    (3, 2, (2, 2), "tanh", True, True),
    (3, 2, (3, 1), "tanh", False, False),
    (3, 2, (2, 3), "gelu", True, True),
    (3, 2, (4, 1), "gelu", False, False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_step_and_gradient_are_those_of_autograd(case):
    dynamics, pathways, objective, _, _ = make_case(*case)
    leaves = [[W.clone().requires_grad_() for W in path] for path in pathways]
    J = objective(leaves)
    J.backward()
    with torch.no_grad():
        measured = dynamics.measure(dynamics.state[None])
        dynamics.evaluate()
        dynamics.step(0.01)
    gradient = torch.cat([W.grad.flatten() for path in leaves for W in path])
    torch.testing.assert_close(dynamics.gradient, gradient, rtol=1e-10, atol=1e-12)
    start = torch.cat([W.flatten() for path in pathways for W in path])
    torch.testing.assert_close(dynamics.state, start - 0.01 * gradient, rtol=1e-10, atol=1e-12)
    assert measured["objective"].item() == pytest.approx(J.item(), rel=1e-12)
    assert measured["gradient_norm"].item() == pytest.approx(gradient.norm().item(), rel=1e-10)


@pytest.mark.parametrize("case", [CASES[0], CASES[5]], ids=str)
def test_measuring_many_states_is_measuring_each(case):
    dynamics, *_ = make_case(*case)
    states = torch.stack([dynamics.state * scale for scale in (1.0, 0.5, 2.0)])
    together = dynamics.measure(states)
    for row, state in enumerate(states):
        for name, values in dynamics.measure(state[None]).items():
            torch.testing.assert_close(together[name][row], values[0])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_automatic_step_never_raises_the_objective(case, seed):
    """1/H with H above the curvature on the way: each step descends."""
    dynamics, pathways, _, moments, decay = make_case(*case, seed=seed)
    arrays = [[W.numpy() for W in path] for path in pathways]
    eta = pathway_step_size(arrays, moments, decay, 200, case[3] == "identity")
    objectives = [dynamics.measure(dynamics.state[None])["objective"].item()]
    for _ in range(200):
        dynamics.step(eta)
        objectives.append(dynamics.measure(dynamics.state[None])["objective"].item())
    assert (np.diff(objectives) <= 1e-12).all()
