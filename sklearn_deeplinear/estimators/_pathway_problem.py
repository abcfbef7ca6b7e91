"""What parallel pathways are asked to minimise, and what they predict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar

import numpy as np
import torch

from sklearn_deeplinear.dynamics.compression._compressed_pathways import compressed
from sklearn_deeplinear.dynamics.networks._active_pathways import ActivePathways
from sklearn_deeplinear.dynamics.networks._arrays import arrays
from sklearn_deeplinear.dynamics.networks._linear_pathways import LinearPathways
from sklearn_deeplinear.dynamics.networks._pathways import pathway_dynamics
from sklearn_deeplinear.dynamics.step_sizes._adam_step_size import adam_step_size
from sklearn_deeplinear.dynamics.step_sizes._pathway_step_size import (
    inverse_curvature,
    pathway_curvature,
    reachable_norm,
)
from sklearn_deeplinear.dynamics.step_sizes._perceptron_step_size import longest_batch
from sklearn_deeplinear.estimators._advice import linear_advice, network_advice
from sklearn_deeplinear.estimators._linear_problem import kept, like_ridge
from sklearn_deeplinear.estimators._options import linear_batch_flops, step_flops
from sklearn_deeplinear.estimators._pathway_initial_weights import (
    given_pathways,
    pathway_initial_weights,
)
from sklearn_deeplinear.estimators._problem import (
    BatchNetwork,
    Parameters,
    by_layer,
    check_attained,
)
from sklearn_deeplinear.estimators._training_data import TrainingData, validation_data
from sklearn_deeplinear.estimators._units import check_moments
from sklearn_deeplinear.nn._activations import ACTIVATIONS
from sklearn_deeplinear.nn._parallel_pathways import ParallelPathways
from sklearn_deeplinear.theory import PathwayMinimum, SecondMoments
from sklearn_deeplinear.theory._known_weights import minimum_beside
from sklearn_deeplinear.theory._layers import end_to_end
from sklearn_deeplinear.theory._pathway_global_minimum import (
    Race,
    pathway_global_minimum,
    proven_pathway_bound,
)
from sklearn_deeplinear.theory._pathway_parameters import check_pathway_decays


@dataclass(frozen=True)
class PathwayProblem:
    """Squared loss of parallel pathways; a start is a list of float64 tensors for each.

    Attributes
    ----------
    moments : SecondMoments
        Moments of the data.
    widths : list of tuples of ints
        Hidden widths of the pathways.
    weight_decay : list of ndarrays of shape (L_p,)
        Decays.
    activation : str
        Activation of the hidden units.
    activate_output : bool
        Whether it also acts on the outputs of the pathways.
    data : TrainingData or None
        The data themselves, which linear pathways need for mini-batches only.
    """

    moments: SecondMoments
    widths: list[tuple[int, ...]]
    weight_decay: list[np.ndarray]
    activation: str
    activate_output: bool
    data: TrainingData | None = None

    loss: ClassVar[str] = "squared_error"

    @property
    def samples(self) -> TrainingData:
        """The data, of those who were given them."""
        assert self.data is not None
        return self.data

    @property
    def depths(self):
        """Numbers of weight matrices."""
        return tuple(len(gamma) for gamma in self.weight_decay)

    @property
    def linear(self):
        """Whether the pathways are linear maps."""
        return self.activation == "identity"

    @property
    def n_outputs(self):
        """Number of outputs, m."""
        return self.moments.n_outputs

    @property
    def shapes(self):
        """Shapes (h_l, h_{l-1}) of the layers of each pathway."""
        d, m = self.moments.n_inputs, self.moments.n_outputs
        sizes = [[d, *hidden, m] for hidden in self.widths]
        return [list(zip(h[1:], h[:-1], strict=True)) for h in sizes]

    @cached_property
    def global_minimum(self) -> PathwayMinimum:
        """Exact minimum of the objective of linear pathways."""
        return pathway_global_minimum(
            self.moments, depths=self.depths, widths=self.widths, weight_decay=self.weight_decay
        )

    def certify(self, pathways):
        """Lower bound on the objective that the maps of fitted linear pathways prove."""
        known = vars(self)
        if "certificate" not in known:  # kept like the minimum
            race = Race(self.moments, self.depths, self.widths, self.weight_decay)
            coefs = [end_to_end([W.astype(np.float64) for W in weights]) for weights in pathways]
            known["certificate"] = float(proven_pathway_bound(race, race.deep(coefs)))
        return known["certificate"]

    @property
    def has_cheap_minimum(self):
        """Whether there is a `global_minimum`, and it takes milliseconds."""
        decayed = any(decay.any() for decay in self.weight_decay)
        return self.linear and (self.moments.n_outputs == 1 or not decayed)

    def step_flops(self, n_rows):
        """Floating-point operations of a step, roughly; `n_rows` None for all data."""
        if n_rows is not None and self.linear:
            return sum(linear_batch_flops(n_rows, shapes) for shapes in self.shapes)
        thin = min(self.moments.n_inputs, self.moments.n_outputs)
        n_rows = n_rows or (thin if self.linear else self.moments.n_samples)
        return sum(step_flops(n_rows, shapes) for shapes in self.shapes)

    def advice(self, n_steps):
        """What to do about a run of `n_steps` that is not done."""
        if self.linear:
            return linear_advice(self.moments, None, np.concatenate(self.weight_decay), n_steps)
        return network_advice(np.linalg.norm(self.moments.input_factor, axis=0))

    def evaluate(self, pathways):
        """Loss and objective of the weights of linear pathways, in double precision."""
        pathways = [[W.astype(np.float64) for W in weights] for weights in pathways]
        loss = self.moments.loss(sum(end_to_end(weights) for weights in pathways))
        decays = zip(self.weight_decay, pathways, strict=True)
        penalty = sum(
            gamma * np.sum(W**2)
            for gammas, weights in decays
            for gamma, W in zip(gammas, weights, strict=True)
        )
        return loss, loss + float(penalty)

    def minimum_beside(self, pathways, objective=None):
        """The minimum, none that the weights contradict."""
        objective = self.evaluate(pathways)[1] if objective is None else objective
        minimum = minimum_beside(self.global_minimum, self.moments, pathways, objective)
        vars(self)["global_minimum"] = minimum  # what has been found is found for good
        return minimum

    def initial(self, options, generator):
        """Start as `init` and `init_scale` ask for it."""
        if ACTIVATIONS[self.activation].homogeneous:
            check_moments(self.moments, max(self.depths), options.dtype, self.linear)
        return pathway_initial_weights(options.init, options.init_scale, self, generator)

    def given(self, parameters, name):
        """Start from given weights."""
        return given_pathways(parameters["weights"], self.shapes, name)

    def optimum(self):
        """Start at the global minimum."""
        if not self.linear:
            raise ValueError('solver="analytic" needs activation="identity".')
        minimum = check_attained(self.global_minimum)
        return given_pathways(minimum.weights(self.widths), self.shapes, "weights")

    def descent_step_size(self, start, options):
        """Inverse of a bound on the curvature along the run."""
        return self._step_size(start, options.max_iter)

    def batch_step_size(self, start, options):
        """That of "gd", divided by how much more curved the worst batch is than all samples."""
        samples = self.samples
        data, sizes = samples.resident(options.like), samples.batch_sizes(options.batch_size)
        X, shares = longest_batch(data.X, data.weight / len(data), min(sizes))
        batch_sigma = torch.linalg.svdvals(shares.sqrt()[:, None] * X).numpy(force=True)
        sigma = self.moments.spectrum.sigma
        # The curvature of linear pathways follows lambda_max(A), that of others tr A.
        order = np.inf if self.linear else 2
        excess = 1.0
        if sigma.size:
            ratio = np.linalg.norm(batch_sigma, order) / np.linalg.norm(sigma, order)
            excess = max(float(ratio**2), 1.0)
        return self._step_size(start, options.max_iter * len(sizes)) / excess

    def rescaled_step_size(self, start, options):
        """A hundredth of the size of the weights."""
        n_steps = options.max_iter * len(self.samples.batch_sizes(options.batch_size))
        return adam_step_size(start, reachable_norm(self.moments, n_steps))

    def _step_size(self, start, n_steps):
        return self.step_size_on(self._curvature(start, n_steps))

    def curvature(self, start, options):
        """Bound on the curvature of the loss along the run."""
        return self._curvature(start, options.max_iter)

    def _curvature(self, start, n_steps):
        pathways = [[W.numpy() for W in weights] for weights in start]
        return pathway_curvature(pathways, self.moments, n_steps, self.linear)

    def step_size_on(self, curvature):
        """Inverse of this curvature and that of the penalty."""
        return inverse_curvature(curvature, max(gamma.max() for gamma in self.weight_decay))

    def data_term(self, options):
        """Mean loss of the data and its gradient, on the device and in the precision asked for."""
        if self.linear:
            return LinearPathways.from_moments(self.moments, options.like)
        data, network = self.samples.centred(), (self.activation, self.activate_output)
        return ActivePathways.from_data(*data, self.moments, *network, options.like)

    def dynamics(self, start, options, compress=False):
        """The pathways in training, in fewer dimensions where that is exact and pays."""
        term = self.data_term(options)
        if compress and self.linear:
            narrow = compressed(start, term, self.weight_decay)
            if narrow is not None:
                return narrow
        pathways = [[W.to(options.like) for W in weights] for weights in start]
        return pathway_dynamics(pathways, term, self.weight_decay)

    def with_decay(self, weight_decay):
        """The same with other decays, as users give them."""
        return replace(self, weight_decay=check_pathway_decays(weight_decay, self.depths))

    def core(self, start):
        """All weights move."""
        return start

    def stack_kind(self, core):
        """Shapes, activations, and whether the intercept is free."""
        shapes = tuple(map(tuple, self.shapes))
        return shapes, self.activation, self.activate_output, self.moments.centered

    def n_moving(self, core):
        """Number of weights."""
        return sum(h * k for shapes in self.shapes for h, k in shapes)

    @property
    def stack_values(self):
        """Numbers of the factors of the moments; of samples and the values of units there."""
        if self.linear:
            return self.moments.factor.size + self.moments.n_inputs**2
        widths = sum(sum(h for h, _ in shapes) for shapes in self.shapes)
        return self.moments.n_samples * (self.moments.n_inputs + 4 * widths)

    def stack(self, problems, cores, options):
        """Pathways of one shape as a batch, each on data of its own."""
        moments = [problem.moments for problem in problems]
        if self.linear:
            term: Any = LinearPathways.from_moments(moments, options.like)
        else:
            X, Y, share = zip(*(problem.samples.centred() for problem in problems), strict=True)
            network = self.activation, self.activate_output, options.like
            term = ActivePathways.from_data(list(X), list(Y), list(share), moments, *network)
        pathways = [
            [torch.stack(layers).to(options.like) for layers in zip(*path, strict=True)]
            for path in zip(*cores, strict=True)
        ]
        decays = zip(*(problem.weight_decay for problem in problems), strict=True)
        return pathway_dynamics(pathways, term, [by_layer(list(path)) for path in decays])

    def unstacked(self, batch, starts):
        """What each network of a batch is left with."""
        stacks = batch.unpacked(batch.state.cpu())["weights"] if self.linear else None
        for i in range(len(starts)):
            if stacks is not None:
                yield Parameters({"weights": [[W[i] for W in path] for path in stacks]})
            else:
                yield batch.part((i,))

    def batch_network(self, start, options, dynamics):
        """The pathways as a torch module on centred data, at the best intercept each epoch."""
        network = ParallelPathways(
            self.shapes,
            self.activation,
            self.activate_output,
            device=options.device,
            dtype=options.dtype,
        ).fill(start)

        def renew():
            network.intercept.copy_(dynamics.data_term.mean_residual(dynamics.pathways))

        decays = np.concatenate(self.weight_decay)
        return BatchNetwork(network, self.samples.resident(options.like), decays, renew)

    def validation(self, X, Y, shares):
        """Other data less the means of these, or for linear pathways a factor of their moments."""
        return validation_data(X, Y, shares, self.moments, self.linear)

    def attributes(self, dynamics):
        """Weights and intercept, and the maps of linear pathways, shaped like Ridge's."""
        weights = arrays(dynamics.unpacked(dynamics.state), copy=True)["weights"]
        attributes = {"weights_": weights, **kept(self)}
        if self.linear:
            maps = [reduce(lambda product, W: product @ W, reversed(path)) for path in weights]
            coef = sum(maps)
            intercept = self.moments.intercept(coef)
            attributes |= {"pathway_coefs_": maps, "coef_": like_ridge(coef, self.moments)}
        else:
            rest = dynamics.data_term.mean_residual(dynamics.pathways).numpy(force=True)
            intercept = self.moments.mean_y + rest.astype(np.float64)
        return {**attributes, "intercept_": like_ridge(intercept, self.moments)}
