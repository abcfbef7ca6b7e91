"""Any torch module in training: its parameters as one flat vector, and how they move.

The parameters that require a gradient become views of one contiguous buffer, so that a
step is one operation whatever the number of layers, and an ODE solver sees one vector.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager

import torch
from torch.nn.utils import vector_to_parameters

from sklearn_deeplinear._parameters import check_weight_decay
from sklearn_deeplinear.dynamics.networks._curvature import module_hessian_eigenvalues
from sklearn_deeplinear.dynamics.networks._flat import layers, pack
from sklearn_deeplinear.dynamics.networks._rectifiers import RectifierTape
from sklearn_deeplinear.dynamics.networks._trainable import trainable_parameters
from sklearn_deeplinear.nn._norms import norms

# Relative difference of two evaluations of a loss at which it must be random: far above
# rounding, in single precision too, and below what dropout does.
_RANDOM = 1e-3
# How the flow is followed unless users say otherwise: far better than descent follows it.
_SMOOTH_FLOW = {"method": "DOP853", "rtol": 1e-6}
_KINKED_FLOW = {"method": "trapezoidal", "rtol": 1e-6}


class ModuleDynamics:
    """The state of a module and the rule by which it moves.

    From here on the parameters of the module are views of `state`; :func:`attached` gives
    them their own memory back at the end.

    Parameters
    ----------
    module : torch.nn.Module
        Network. Parameters that do not require a gradient stay as they are, and are not
        part of the penalty.
    loss : callable
        ``loss(module)`` returns the loss, a tensor of one element. It must depend on
        the parameters alone: no sampling, no dropout.
    weight_decay : float or sequence of floats, default=0.0
        gamma in ``objective = loss + sum_l gamma_l ||W_l||^2``, where l runs over the
        parameters of two dimensions or more, in the order of ``module.parameters()``.
        Biases and scales, of one dimension, are not decayed.

    Attributes
    ----------
    state : tensor of shape (n_parameters,)
        All parameters; writing into it moves the module.
    gradient : tensor of shape (n_parameters,)
        Gradient of the objective where it was last evaluated or measured.
    """

    rounding, linear = 0.0, False
    flow_options = _SMOOTH_FLOW

    def __init__(self, module, loss, weight_decay=0.0):
        self.module, self.loss = module, checked_loss(loss)
        self.parameters = trainable_parameters(module)
        self.shapes = [tuple(p.shape) for p in self.parameters]
        self.gammas = weight_decay
        self.decay = decay_vector(self.parameters, weight_decay)
        self.state = pack([p.detach() for p in self.parameters])
        self.gradient = torch.empty_like(self.state)
        vector_to_parameters(self.state, self.parameters)

    def evaluate(self):
        """Leave the gradient of the objective in `gradient`, and return the loss."""
        with torch.enable_grad():
            loss = self.loss(self.module)
        self._differentiate(loss)
        return loss.detach().reshape(())

    def _differentiate(self, loss, keep_graph=False):
        parts = torch.autograd.grad(
            loss, self.parameters, retain_graph=keep_graph, materialize_grads=True
        )
        torch.cat([part.reshape(-1) for part in parts], out=self.gradient)
        if self.decay is not None:
            self.gradient.addcmul_(self.decay, self.state, value=2)

    def step(self, eta):
        """Make one step of gradient descent on the objective."""
        self.evaluate()
        self.state.add_(self.gradient, alpha=-eta)

    def measure(self, states):
        """Measure a batch of states (n_records, n_parameters): a dict of tensors."""
        kept, rows = self.state.clone(), []
        for state in states:
            self.state.copy_(state)
            loss = self.evaluate()
            penalty = 0.0 if self.decay is None else self.decay @ state.square()
            rows.append(torch.stack([loss, loss + penalty, norms(self.gradient)]))
        self.state.copy_(kept)
        loss, objective, gradient_norm = torch.stack(rows).unbind(dim=1)
        return {"loss": loss, "objective": objective, "gradient_norm": gradient_norm}

    def check_start(self):
        """Raise a ValueError if the loss is random, or it or its gradient is not finite here."""
        measured = self.measure(self.state[None].clone())
        if not all(torch.isfinite(value).all() for value in measured.values()):
            raise ValueError(
                "module must start where the loss and its gradient are finite; they are not."
            )
        first, again = measured["loss"].item(), self.evaluate().item()
        if abs(again - first) > _RANDOM * max(abs(first), abs(again)):
            raise ValueError(
                f"loss(module) must not be random, and was {first:g} and then {again:g}: call "
                "module.eval() if the module has dropout, and draw no batches."
            )

    def unpacked(self, state):
        """``weights``: views of all trainable parameters of a state, biases included."""
        return {"weights": layers(state, self.shapes)}

    def balance_meter(self):
        """None: no layers of a general module are known to be adjacent."""
        return

    def hessian_eigenvalues(self, state, *, k=1, which="LA"):
        """Extreme eigenvalues of the Hessian of the objective at a state."""
        kept = self.state.clone()
        self.state.copy_(state)
        eigenvalues = module_hessian_eigenvalues(
            self.module, self.loss, weight_decay=self.gammas, k=k, which=which
        )
        self.state.copy_(kept)
        return eigenvalues

    def record_cost(self, operations=0.0):
        """Cost of a record, in steps."""
        return 1


class KinkedModule(ModuleDynamics):
    """A module that calls ReLU or leaky ReLU."""

    flow_options = _KINKED_FLOW

    def linearised(self):
        """Inputs of the ReLU and leaky ReLU units, call by call; see `KinkedDynamics`."""
        loss, tape = _taped(self.module, self.loss)

        def gradient(shares=None):
            tape.shares = shares
            self._differentiate(loss, keep_graph=True)
            return self.gradient

        return tape.inputs, gradient


def module_dynamics(module, loss, weight_decay=0.0):
    """The dynamics of a module: `KinkedModule` if it calls ReLU or leaky ReLU now."""
    trainable_parameters(module)  # without any there is no loss to be had
    _, tape = _taped(module, checked_loss(loss))
    return (KinkedModule if tape.inputs else ModuleDynamics)(module, loss, weight_decay)


def _taped(module, loss):
    """Loss of a module, and what its rectifiers got."""
    tape = RectifierTape()
    with torch.enable_grad(), tape:
        return loss(module), tape


@contextmanager
def attached(module, loss, weight_decay=0.0):
    """Yield the dynamics of `module`, whose parameters share its memory in the block.

    Afterwards the parameters hold the last state in the memory they had before; they are
    the same objects throughout, so that optimisers and tied weights still refer to them.
    """
    memory = [p.data for p in trainable_parameters(module)]
    dynamics = module_dynamics(module, loss, weight_decay)
    try:
        yield dynamics
    finally:
        for p, own in zip(dynamics.parameters, memory, strict=True):
            p.data = own.copy_(p.data)


def decay_vector(parameters, weight_decay):
    """Weight decay of every single parameter, or None if nothing is decayed."""
    matrices = [p.ndim >= 2 for p in parameters]
    gammas = iter(check_weight_decay(weight_decay, sum(matrices)).tolist())
    per_parameter = [next(gammas) if matrix else 0.0 for matrix in matrices]
    if not any(per_parameter):
        return None
    decays = zip(parameters, per_parameter, strict=True)
    return pack([torch.full_like(p, gamma, requires_grad=False) for p, gamma in decays])


def checked_loss(loss):
    """A loss of a module that makes sure of what it returns."""
    if not callable(loss):
        raise TypeError(f"loss must be callable, loss(module), got {type(loss).__name__}.")
    if not takes_arguments(loss, 1):
        raise TypeError(
            "loss must take one argument, loss(module). A loss of outputs and targets becomes "
            "one by: lambda module: loss(module(X), y)."
        )

    def checked(module):
        value = loss(module)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise TypeError(
                "loss(module) must return a tensor of one element, got "
                f"{tuple(value.shape) if isinstance(value, torch.Tensor) else value!r}."
            )
        if not value.requires_grad:
            raise ValueError(
                "loss(module) must depend on the trainable parameters of module by "
                "differentiable torch operations; it returned a constant."
            )
        return value

    return checked


def takes_arguments(function, n):
    """Whether `function` can be called with `n` positional arguments, as far as is known."""
    if isinstance(function, torch.nn.Module):
        function = function.forward  # Module.__call__ takes anything
    try:
        inspect.signature(function).bind(*range(n))
    except ValueError:  # some built-in functions have no signature
        return True
    except TypeError:
        return False
    return True
