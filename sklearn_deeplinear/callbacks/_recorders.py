"""Callbacks that record the balance and the course of the training of any skorch net."""

from __future__ import annotations

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.dataset import get_len, unpack_data
from skorch.utils import to_tensor

from sklearn_deeplinear._parameters import check_integer
from sklearn_deeplinear._results import BalanceHistory, Trajectory
from sklearn_deeplinear.callbacks._layer_pairs import find_layers, is_linear, layer_pairs
from sklearn_deeplinear.dynamics.networks._balance import BalanceMeter


class _EpochRecorder(Callback):
    """Takes a record before training, every `record_every` epochs and after the last."""

    def initialize(self):
        """Forget former records; skorch calls this when the net is initialised."""
        check_integer(self.record_every, "record_every", low=1)
        self.records_ = []
        self.epoch_, self.time_ = 0, 0.0
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Record the initial network."""
        self.dataset_ = net.get_split_datasets(X, y)[0] if self._needs_data else None
        if not self.records_:
            self._start(net)
            self._record(net)

    def on_epoch_end(self, net, **kwargs):
        """Record the network, if it is time to."""
        self.epoch_ += 1
        rate = net.optimizer_.param_groups[0]["lr"]
        self.time_ += float(rate) * net.history[-1]["train_batch_count"]
        if self.epoch_ % self.record_every == 0:
            self._record(net)

    def on_train_end(self, net, **kwargs):
        """Record the final network."""
        if self.records_[-1]["iteration"] != self.epoch_:
            self._record(net)
        self.dataset_ = None

    def _start(self, net):
        pass

    def _record(self, net):
        axis = {"iteration": self.epoch_, "time": self.time_}
        self.records_.append(axis | self._measure(net))

    def _curves(self):
        names = self.records_[0].keys() - {"weights"}
        return {name: np.array([record[name] for record in self.records_]) for name in names}


class BalanceRecorder(_EpochRecorder):
    """Record the balance of adjacent layers of any skorch net while it trains.

    Gradient flow conserves the difference of the squared norms of adjacent layers, unit by
    unit, if the activations between them are homogeneous (ReLU, leaky ReLU, identity);
    this callback measures how much it changes. Layers are those of the module that are
    linear or convolutional. The units of a convolution are its channels; a bias is one
    more incoming weight of its unit.

    Parameters
    ----------
    record_every : int, default=1
        Epochs between records; the network before training and the last one are always
        recorded.
    layers : list of str, default=None
        Names of the layers, as in ``module.named_modules()``, in the order in which they
        are applied. None takes all, in the order of their definition.

    Attributes
    ----------
    history_ : BalanceHistory
        What was recorded. ``iteration`` counts epochs; ``time`` is the sum of the step
        sizes of all batches (learning rates of the optimizer's first group). ``matrix``
        is None unless the module is a `torch.nn.Sequential` of linear layers.

    See Also
    --------
    TrajectoryRecorder : Loss and gradient norm on all training data.

    References
    ----------
    .. [1] Du, S. S., Hu, W., Lee, J. D. (2018). "Algorithmic regularization in
       learning deep homogeneous models: layers are automatically balanced."
       NeurIPS 31, Theorems 2.1 and 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skorch import NeuralNetRegressor
    >>> from sklearn_deeplinear.callbacks import BalanceRecorder
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
    ... )
    >>> recorder = BalanceRecorder()
    >>> net = NeuralNetRegressor(module, max_epochs=5, callbacks=[recorder], verbose=0)
    >>> X = np.random.RandomState(0).standard_normal((20, 3)).astype(np.float32)
    >>> _ = net.fit(X, X[:, :1])
    >>> recorder.history_.layer.shape
    (6, 1)
    """

    _needs_data = False

    def __init__(self, record_every=1, layers=None):
        self.record_every = record_every
        self.layers = layers

    @property
    def history_(self):
        """Records as a `BalanceHistory`."""
        return BalanceHistory(**{"matrix": None, **self._curves()})

    def _start(self, net):
        linear = is_linear(net.module_)
        self.meters_ = [BalanceMeter(pair, linear=linear) for pair in self._pairs(net)]

    def _measure(self, net):
        columns = [
            meter([W[None] for W in pair])
            for meter, pair in zip(self.meters_, self._pairs(net), strict=True)
        ]
        names = columns[0] if columns else ("layer", "neuron", "change")
        return {
            name: np.array([float(column[name]) for column in columns], dtype=np.float64)
            for name in names
        }

    def _pairs(self, net):
        """Pairs in double precision: differences of norms cancel."""
        pairs = layer_pairs(find_layers(net.module_, self.layers))
        return [[W.to("cpu", torch.float64) for W in pair] for pair in pairs]


class TrajectoryRecorder(_EpochRecorder):
    """Record loss, objective and gradient norm of any skorch net on all training data.

    Each record evaluates the loss and its gradient once on the data that the net trains
    on, in evaluation mode; neither training nor global random numbers are affected.

    Parameters
    ----------
    record_every : int, default=1
        Epochs between records; the network before training and the last one are always
        recorded.
    record_weights : bool, default=False
        Keep the trainable parameters of every record.

    Attributes
    ----------
    trajectory_ : Trajectory
        What was recorded. ``iteration`` counts epochs; ``time`` is the sum of the step
        sizes of all batches (learning rates of the optimizer's first group). The
        objective adds ``weight_decay / 2 ||p||^2`` for the parameters that the optimizer
        decays through the gradient, as SGD and Adam do (AdamW does not).

    See Also
    --------
    BalanceRecorder : Conserved quantities of adjacent layers.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skorch import NeuralNetRegressor
    >>> from sklearn_deeplinear.callbacks import TrajectoryRecorder
    >>> recorder = TrajectoryRecorder()
    >>> net = NeuralNetRegressor(
    ...     torch.nn.Linear(3, 1), max_epochs=5, callbacks=[recorder], verbose=0
    ... )
    >>> X = np.random.RandomState(0).standard_normal((20, 3)).astype(np.float32)
    >>> _ = net.fit(X, X[:, :1])
    >>> recorder.trajectory_.iteration
    array([0, 1, 2, 3, 4, 5])
    """

    _needs_data = True

    def __init__(self, record_every=1, record_weights=False):
        self.record_every = record_every
        self.record_weights = record_weights

    @property
    def trajectory_(self):
        """Records as a `Trajectory`."""
        weights = [record["weights"] for record in self.records_] if self.record_weights else None
        return Trajectory(**self._curves(), weights=weights)

    def _measure(self, net):
        parameters = [p for _, p in net.get_all_learnable_params() if p.requires_grad]
        loss, gradients = self._loss_and_gradients(net, parameters)
        penalty = 0.0
        for group in net.optimizer_.param_groups:
            decay = 0.0 if _is_decoupled(net.optimizer_) else group.get("weight_decay", 0.0)
            for p in group["params"]:
                penalty += decay / 2 * float(p.detach().double().square().sum())
                if p.requires_grad and decay:
                    gradients[id(p)].add_(p.detach(), alpha=decay)
        norm = sum(float(g.double().square().sum()) for g in gradients.values()) ** 0.5
        record = {"loss": loss, "objective": loss + penalty, "gradient_norm": norm}
        if self.record_weights:
            record["weights"] = [p.numpy(force=True).copy() for p in parameters]
        return record

    def _loss_and_gradients(self, net, parameters):
        """Mean loss over the training data and its gradient, by parameter."""
        gradients = {id(p): torch.zeros_like(p) for p in parameters}
        loss, n_samples = 0.0, 0
        # Data loaders draw a seed, even if they do not shuffle.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for batch in net.get_iterator(self.dataset_, training=False):
                X, y = unpack_data(batch)
                X, y = to_tensor(X, device=net.device), to_tensor(y, device=net.device)
                net._set_training(False)
                size = get_len(X)
                mean = net.get_loss(net.infer(X), y, X=X, training=False)
                parts = torch.autograd.grad(mean, parameters, materialize_grads=True)
                for p, part in zip(parameters, parts, strict=True):
                    gradients[id(p)].add_(part, alpha=size)
                loss, n_samples = loss + mean.item() * size, n_samples + size
        for gradient in gradients.values():
            gradient.div_(n_samples)
        return loss / n_samples, gradients


def _is_decoupled(optimizer):
    return isinstance(optimizer, torch.optim.AdamW) or any(
        group.get("decoupled_weight_decay", False) for group in optimizer.param_groups
    )
