"""Plain networks on the samples themselves: what structured fits are compared with.

A network is a list of pathways, each a list of weights; DeepLinearRegressor has one. All of
it is numpy on all samples, layer by layer, as one would write it on a blackboard.
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize


class PlainLinear:
    """J of parallel deep linear networks with multiplicative noise, and its gradient."""

    def __init__(self, X, y, sample_weight, center, decays, noise):
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        self.share = (weight / weight.sum())[:, None]
        Y = np.reshape(y, (len(X), -1)).astype(float)
        self.mean_x, self.mean_y = (
            np.sum(self.share * part, axis=0) * center for part in (X, Y)
        )  # of columns, zero without an intercept
        self.X, self.Y = X - self.mean_x, Y - self.mean_y
        self.decays, self.noise = decays, np.atleast_1d(noise)
        # The scale of J, of what is left where nothing has been learned.
        self.scale = float(np.sum(self.share * self.Y**2))

    def perturbed(self, rng, X, y, sample_weight, center):
        """The same problem with one rounding error on every number."""
        eps = np.finfo(float).eps
        X, y = (part + eps * _size(part) * rng.choice([-1, 1], np.shape(part)) for part in (X, y))
        return PlainLinear(X, y, sample_weight, center, self.decays, self.noise)

    def activities(self, weights):
        """Inputs and noiseless activities of each layer, as [H_0, ..., H_L]."""
        H = [self.X]
        for W in weights:
            H.append(H[-1] @ W.T)
        return H

    def loss(self, network):
        """Weighted mean squared error, averaged over the noise."""
        residual = self.Y - sum(self.activities(path)[-1] for path in network)
        loss = np.sum(self.share * residual**2)
        return float(loss + sum(self._variance(path) for path in network))

    def _variance(self, weights):
        """tr V_L with V_l = W_l (V_{l-1} + s_{l-1} diag(P_{l-1} + V_{l-1})) W_l^T, P = E[h h^T]."""
        if not self.noise.any():
            return 0.0
        V = np.zeros((len(weights[0]),) * 2)
        for W, H, s in zip(
            weights[1:], self.activities(weights)[1:-1], self._noises(weights), strict=True
        ):
            second = np.sum(self.share * H**2, axis=0) + np.diag(V)
            V = W @ (V + s * np.diag(second)) @ W.T
        return np.trace(V)

    def _noises(self, weights):
        return np.broadcast_to(self.noise, len(weights) - 1)

    def penalty(self, network):
        return float(
            sum(
                g * np.sum(W**2)
                for path, decays in zip(network, self.decays, strict=True)
                for W, g in zip(path, decays, strict=True)
            )
        )

    def objective(self, network):
        return self.loss(network) + self.penalty(network)

    def gradient(self, network):
        """dJ/dW_l of each pathway, by backpropagation."""
        residual = sum(self.activities(path)[-1] for path in network) - self.Y
        slopes = []
        for path, decays in zip(network, self.decays, strict=True):
            H, delta, own = self.activities(path), 2 * self.share * residual, []
            for layer in range(len(path) - 1, -1, -1):
                own.append(delta.T @ H[layer] + 2 * decays[layer] * path[layer])
                delta = delta @ path[layer]
            own.reverse()
            if self.noise.any():
                own = [g + v for g, v in zip(own, self._variance_gradient(path), strict=True)]
            slopes.append(own)
        return slopes

    def _variance_gradient(self, weights):
        """Backpropagation through the recursion of `_variance`, P_l included."""
        s, H = [*self._noises(weights)], self.activities(weights)
        V, seconds, inner = [np.zeros((len(weights[0]),) * 2)], [], []
        for layer, W in enumerate(weights[1:]):
            seconds.append(np.sum(self.share * H[layer + 1] ** 2, axis=0) + np.diag(V[-1]))
            inner.append(V[-1] + s[layer] * np.diag(seconds[-1]))
            V.append(W @ inner[-1] @ W.T)
        G = np.eye(len(weights[-1]))  # d tr V_L / d V_l
        slopes = [np.zeros_like(W) for W in weights]
        delta = np.zeros((len(self.X), len(weights[-1])))  # d / d H_l
        for layer in range(len(weights) - 1, 0, -1):
            W = weights[layer]
            slopes[layer] += 2 * G @ W @ inner[layer - 1] + delta.T @ H[layer]
            back = W.T @ G @ W
            diagonal = s[layer - 1] * np.diag(back)
            delta = delta @ W + 2 * self.share * H[layer] * diagonal
            G = back + np.diag(diagonal)
        slopes[0] += delta.T @ self.X
        return slopes

    def gradient_size(self, network):
        """Size of the terms that the gradient is the sum of, for its rounding error."""
        inputs, total = np.sqrt(np.sum(self.share * self.X**2)), 0.0
        outputs = np.sqrt(self.scale)
        for path in network:
            outputs += inputs * np.prod([np.linalg.norm(W) for W in path])
        noise = np.prod(1 + self.noise)
        for path, decays in zip(network, self.decays, strict=True):
            norms = [np.linalg.norm(W) for W in path]
            for layer in range(len(path)):
                others = np.prod(np.delete(norms, layer))
                total += 2 * noise * inputs * outputs * others + 2 * decays[layer] * norms[layer]
        return total

    # -- runs --------------------------------------------------------------------------------

    def descend(self, network, step_size, n_steps):
        """Gradient descent with steps of one size."""
        for _ in range(n_steps):
            network = _moved(network, self.gradient(network), -step_size)
        return network

    def adam(self, network, step_size, n_steps, eps):
        """Adam of Kingma and Ba (2015) on the whole objective."""
        first = second = [[np.zeros_like(W) for W in path] for path in network]
        for t in range(1, n_steps + 1):
            g = self.gradient(network)
            first = _map(lambda m, a: 0.9 * m + 0.1 * a, first, g)
            second = _map(lambda v, a: 0.999 * v + 0.001 * a * a, second, g)
            network = _map(
                lambda W, m, v, t=t: (
                    W - step_size * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps)
                ),
                network,
                first,
                second,
            )
        return network

    def flow(self, network, time, rtol):
        """Gradient flow by a tight Runge-Kutta method."""
        flat = flatten(network)
        size = np.abs(flat).max(initial=0.0) or 1.0
        done = solve_ivp(
            lambda t, state: -flatten(self.gradient(unflatten(state, network))),
            (0, time),
            flat,
            method="DOP853",
            rtol=rtol,
            atol=1e-3 * rtol * size,
        )
        return unflatten(done.y[:, -1], network)

    def polished(self, network, max_iter=300):
        """J after quasi-Newton steps from `network`, rounding errors added.

        Numbers are of order one in the units that are taken. Units
        and pathways that cancel leave rounding errors of their size.
        """
        flat, J_unit = flatten(network), self.scale
        unit = np.abs(flat).max(initial=0.0)
        if unit == 0 or J_unit == 0:
            return self.objective(network)

        def value_and_slope(x):
            here = unflatten(unit * x, network)
            return self.objective(here) / J_unit, flatten(self.gradient(here)) * (unit / J_unit)

        found = minimize(
            value_and_slope,
            flat / unit,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "ftol": 1e-15, "gtol": 1e-11},
        )
        end = unflatten(unit * found.x, network)
        layers = sum(np.prod([np.linalg.norm(W) for W in path]) for path in end)
        error = 1e-15 * np.sqrt(np.sum(self.share * self.X**2)) * layers  # of the outputs
        return float(found.fun * J_unit) + error**2 + 2 * error * np.sqrt(J_unit)

    def hessian(self, network):
        """Dense Hessian by central differences of the exact gradient, symmetrised."""
        flat = flatten(network)
        h = 1e-5 * max(np.abs(flat).max(initial=0.0), 1e-30)
        columns = []
        for i in range(len(flat)):
            e = np.zeros_like(flat)
            e[i] = h
            up, down = (flatten(self.gradient(unflatten(flat + z, network))) for z in (e, -e))
            columns.append((up - down) / (2 * h))
        H = np.array(columns)
        return (H + H.T) / 2


def flatten(network):
    return np.concatenate([np.ravel(W).astype(float) for path in network for W in path])


def unflatten(flat, like):
    parts, used = [], 0
    for path in like:
        parts.append([])
        for W in path:
            parts[-1].append(flat[used : used + W.size].reshape(W.shape))
            used += W.size
    return parts


def rounded(rng, network):
    """The network with a rounding error of its largest weight on every weight."""
    eps = np.finfo(float).eps
    return [[W + eps * _size(W) * rng.choice([-1, 1], W.shape) for W in path] for path in network]


def _size(array):
    return np.abs(array).max(initial=0.0)


def _map(function, *networks):
    return [
        [function(*parts) for parts in zip(*paths, strict=True)]
        for paths in zip(*networks, strict=True)
    ]


def _moved(network, direction, factor):
    return _map(lambda W, g: W + factor * g, network, direction)
