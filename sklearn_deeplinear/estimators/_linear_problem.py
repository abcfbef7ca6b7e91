"""What a deep linear network is asked to minimise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import ClassVar

import numpy as np
import torch

from sklearn_deeplinear._parameters import check_weight_decay
from sklearn_deeplinear.dynamics.compression._compressed_network import CompressedNetwork
from sklearn_deeplinear.dynamics.compression._row_space_network import RowSpaceNetwork, row_space
from sklearn_deeplinear.dynamics.compression._subspaces import between, live_blocks, live_units
from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.networks._linear import LinearDynamics
from sklearn_deeplinear.dynamics.step_sizes._adam_step_size import adam_step_size
from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import (
    inverse_curvature,
    pathway_curvature,
    reachable_norm,
)
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import auto_network_step_size
from sklearn_deeplinear.estimators._advice import linear_advice
from sklearn_deeplinear.estimators._initial_weights import (
    first_gradient_step,
    given_weights,
    initial_weights,
    sized_weights,
)
from sklearn_deeplinear.estimators._options import linear_batch_flops, step_flops
from sklearn_deeplinear.estimators._problem import (
    BatchNetwork,
    Parameters,
    by_layer,
    check_attained,
)
from sklearn_deeplinear.estimators._training_data import TrainingData, validation_data
from sklearn_deeplinear.estimators._units import check_moments
from sklearn_deeplinear.nn._homogeneous import HomogeneousNetwork
from sklearn_deeplinear.theory import GlobalMinimum, SecondMoments, global_minimum
from sklearn_deeplinear.theory._certify import proven_bound
from sklearn_deeplinear.theory._known_weights import minimum_beside
from sklearn_deeplinear.theory._krylov_moments import KrylovMoments
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._noise import noisy_loss
from sklearn_deeplinear.theory._problem import Problem

# Part of weights outside of a Krylov space, from single precision on.
_OUTSIDE = 1e-6


@dataclass(frozen=True)
class LinearProblem:
    """Squared loss of a deep linear network; a start is a list of float64 tensors.

    Attributes
    ----------
    moments : SecondMoments
        Moments of the data.
    width : tuple of L - 1 ints
        Hidden widths.
    weight_decay, noise : ndarrays of shapes (L,) and (L - 1,)
        Decays and variances of the hidden noise.
    data : TrainingData or None
        The data themselves, which mini-batches need.
    """

    moments: SecondMoments
    width: tuple[int, ...]
    weight_decay: np.ndarray
    noise: np.ndarray
    data: TrainingData | None = None

    loss: ClassVar[str] = "squared_error"
    linear: ClassVar[bool] = True

    @property
    def samples(self) -> TrainingData:
        """The data, of those who were given them."""
        assert self.data is not None
        return self.data

    @property
    def depth(self):
        """Number of weight matrices."""
        return len(self.weight_decay)

    @property
    def n_outputs(self):
        """Number of outputs, m."""
        return self.moments.n_outputs

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers."""
        sizes = [self.moments.n_inputs, *self.width, self.moments.n_outputs]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @cached_property
    def global_minimum(self) -> GlobalMinimum:
        """Exact minimum of the objective."""
        return global_minimum(
            self.moments,
            depth=self.depth,
            width=self.width,
            weight_decay=self.weight_decay,
            noise=self.noise,
        )

    def certify(self, weights):
        """Lower bound on the objective that the map of the fitted weights proves."""
        known = vars(self)
        if "certificate" not in known:  # kept like the minimum
            decay, width = self.weight_decay, self.width
            problem = Problem.checked(self.moments, self.depth, width, decay, self.noise)
            coef = end_to_end([W.astype(np.float64) for W in weights])
            known["certificate"] = proven_bound(problem, coef)
        return known["certificate"]

    @property
    def has_cheap_minimum(self):
        """Whether `global_minimum` solves a scalar equation or less, in milliseconds."""
        regression = self.depth == 1 or not (self.weight_decay.any() or self.noise.any())
        return regression or self.moments.n_outputs == 1

    def step_flops(self, n_rows):
        """Floating-point operations of a step, roughly; `n_rows` None for all data."""
        if n_rows is not None:
            return linear_batch_flops(n_rows, self.shapes)
        thin = min(self.moments.n_inputs, self.moments.n_outputs)
        return step_flops(max(self.width) if self.noise.any() else thin, self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        return linear_advice(self.moments, self.depth, self.weight_decay, n_steps)

    def evaluate(self, weights):
        """Loss and objective of weights, in double precision."""
        weights = [W.astype(np.float64) for W in weights]
        loss = noisy_loss(weights, self.moments, self.noise)
        decays = zip(self.weight_decay, weights, strict=True)
        return loss, loss + float(sum(gamma * np.sum(W**2) for gamma, W in decays))

    def minimum_beside(self, weights, objective=None):
        """The minimum, none that the weights contradict."""
        objective = self.evaluate(weights)[1] if objective is None else objective
        minimum = minimum_beside(self.global_minimum, self.moments, weights, objective)
        vars(self)["global_minimum"] = minimum  # what has been found is found for good
        return minimum

    def initial(self, options, generator):
        """Start as `init` and `init_scale` ask for it."""
        how = options.init, options.init_scale
        krylov = isinstance(self.moments, KrylovMoments)
        if krylov and isinstance(options.init, str) and options.init != "spectral":
            raise ValueError(
                'init must be "spectral" with sparse X of many features, got '
                f"{options.init!r}: other weights leave the space in which these are known."
            )
        check_moments(self.moments, self.depth, options.dtype, linear=True)
        first_step = first_gradient_step(self.moments)
        weights = initial_weights(*how, self.shapes, generator, first_step, self.noise.any())
        return sized_weights(*how, self._in_reach(weights, "init"), self.moments)

    def given(self, parameters, name):
        """Start from given weights."""
        return self._in_reach(given_weights(parameters["weights"], self.shapes, name), name)

    def _in_reach(self, weights, name):
        moments = self.moments
        if isinstance(moments, KrylovMoments) and moments.outside(weights[0].numpy()) > _OUTSIDE:
            raise ValueError(
                f"{name} must hold weights as a fit to these data leaves them, with sparse X of "
                "many features: the rows of W_1 lie outside of the space in which these are known."
            )
        return weights

    def optimum(self):
        """Start at the global minimum."""
        minimum = check_attained(self.global_minimum)
        return given_weights(minimum.weights(self.width), self.shapes, "weights")

    def descent_step_size(self, start, options):
        """Inverse of a bound on the curvature along the run."""
        return self.step_size_on(self.curvature(start, options))

    def curvature(self, start, options):
        """Bound on the curvature of the loss along the run."""
        weights = [W.numpy() for W in live_blocks(start, live_units(start))]  # of equal norms
        return pathway_curvature([weights], self.moments, options.max_iter, noise=self.noise)

    def step_size_on(self, curvature):
        """Inverse of this curvature and that of the penalty."""
        return inverse_curvature(curvature, self.weight_decay.max())

    def batch_step_size(self, start, options):
        """Inverse of a bound on the curvature of the batch with the longest inputs."""
        network, data = self._module(start, options), self.samples.resident(options.like)
        return auto_network_step_size(
            network,
            data.X,
            data.y,
            data.weight / len(data),
            self.loss,
            self.weight_decay,
            options.batch_size,
        )

    def rescaled_step_size(self, start, options):
        """A hundredth of the size of the weights."""
        n_steps = options.max_iter * len(self.samples.batch_sizes(options.batch_size))
        return adam_step_size([start], reachable_norm(self.moments, n_steps))

    def dynamics(self, start, options, compress=False):
        """The network in training, in fewer dimensions where that is exact and pays."""
        if isinstance(self.moments, KrylovMoments) and "sharpness" in options.meters:
            raise ValueError(
                'record must not hold "sharpness" with sparse X of many features: the Hessian has '
                "curvatures outside of the space in which these are known."
            )
        if options.rows_of_a_step is not None:  # a module in all inputs shares the state
            return self._dynamics(start, self.moments, options, compress)
        weights, moments, basis = row_space(start, self.moments)
        if basis is None:
            return self._dynamics(start, self.moments, options, compress)
        network = self._dynamics(weights, moments, options, compress)
        basis = torch.as_tensor(basis, dtype=options.like.dtype, device=options.like.device)
        return RowSpaceNetwork(network, basis, 2 * self.weight_decay[0])

    def _dynamics(self, start, moments, options, compress):
        if compress and not self.noise.any():
            narrow = CompressedNetwork.from_moments(
                start, moments, self.weight_decay, options.like, options.max_iter
            )
            if narrow is not None:
                return narrow
        weights = [W.to(options.like) for W in start]
        return LinearDynamics.from_moments(weights, moments, self.weight_decay, self.noise)

    def with_decay(self, weight_decay):
        """The same with other decays, as users give them."""
        return replace(self, weight_decay=check_weight_decay(weight_decay, self.depth))

    def core(self, start):
        """The weights that move, between live units: others stay zero."""
        blocks = live_blocks(start, live_units(start))
        moves = all(map(len, blocks)) and not self.noise.any()
        if not moves or sum(map(_count, blocks)) < sum(map(_count, start)):
            return start
        return blocks

    def stack_kind(self, core):
        """Shapes, of the weights that move, too, and whether there is noise."""
        moving = tuple(W.shape for W in core)
        return tuple(self.shapes), moving, bool(self.noise.any())

    def n_moving(self, core):
        """Number of weights that move."""
        return sum(W.numel() for W in core)

    @property
    def stack_values(self):
        """Numbers of the factors of the moments, and of the input moment."""
        return self.moments.factor.size + self.moments.n_inputs**2

    def stack(self, problems, cores, options):
        """Networks of one shape as a batch, each on moments of its own."""
        weights = [torch.stack(layers).to(options.like) for layers in zip(*cores, strict=True)]
        decays = by_layer([problem.weight_decay for problem in problems])
        noise = by_layer([problem.noise for problem in problems])
        moments = [problem.moments for problem in problems]
        return LinearDynamics.from_moments(weights, moments, decays, noise)

    def unstacked(self, batch, starts):
        """What each network of a batch is left with, units at rest among it."""
        stacks = batch.unpacked(batch.state.cpu())["weights"]  # one copy, in place of many
        for i, start in enumerate(starts):
            weights = [stack[i] for stack in stacks]
            yield Parameters({"weights": between(live_units(start), weights, self.shapes)})

    def batch_network(self, start, options, dynamics):
        """The network as a torch module, on centred data."""
        if self.noise.any():
            raise ValueError(
                f'noise must be 0 with solver="{options.solver}": "gd" and "flow" train on the '
                "exact expected objective."
            )
        data = self.samples.resident(options.like)
        return BatchNetwork(self._module(start, options), data, self.weight_decay)

    def _module(self, start, options):
        where = {"device": options.device, "dtype": options.dtype}
        return HomogeneousNetwork(self.shapes, "identity", **where).fill(start)

    def validation(self, X, Y, shares):
        """A factor of the moments of other data."""
        return validation_data(X, Y, shares, self.moments, self.linear)

    def attributes(self, dynamics):
        """Weights, and the map and intercept that they make, shaped like Ridge's."""
        weights = arrays(dynamics.unpacked(dynamics.state), copy=True)["weights"]
        coef = reduce(lambda product, W: product @ W, reversed(weights))  # M
        return {
            "weights_": weights,
            "coef_": like_ridge(coef, self.moments),
            "intercept_": like_ridge(self.moments.intercept(coef), self.moments),
            **kept(self),
        }


def _count(W):
    return int(torch.count_nonzero(W))


def like_ridge(values, moments):
    """Values by output (m, ...) in the shape that Ridge gives them."""
    if not moments.single_target:
        return values
    return float(values[0]) if values.ndim == 1 else values[0]


def kept(problem):
    """What a fitted regressor keeps of its problem, to know its minimum: not the data."""
    return {"moments_": problem.moments, "_problem": replace(problem, data=None)}
