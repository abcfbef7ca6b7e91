"""Training by mini-batches in a skorch net, recorded like every run.

This module imports skorch: import it only when mini-batches are asked for.
"""

from __future__ import annotations

import math

from skorch.callbacks import Callback
from torch.nn.utils import vector_to_parameters

from sklearn_deeplinear.dynamics.runs._batch_epochs import BatchEpochs
from sklearn_deeplinear.dynamics.runs._checkpoint import NO_CHECKPOINT, snapshot
from sklearn_deeplinear.dynamics.runs._denormals import flushed_denormals
from sklearn_deeplinear.dynamics.runs._descent import warn_of_ending
from sklearn_deeplinear.dynamics.runs._log import Log
from sklearn_deeplinear.dynamics.runs._resident_net import ResidentNet

# What Adam adds to the root mean square of a gradient that it divides by: its authors' default,
# or this share of the first gradient, if that is less.
_EPS, _EPS_SHARE = 1e-8, 1e-5


def train_minibatch(
    dynamics,
    module,
    data,
    *,
    loss,
    solver,
    schedule,
    weight_decay,
    batch_size,
    generator,
    iterations,
    meters=None,
    tol=0.0,
    record_weights=False,
    callbacks=None,
    watch=None,
    before_epoch=None,
    checkpoint=NO_CHECKPOINT,
):
    """Train a network by stochastic gradients and record the run.

    Parameters
    ----------
    dynamics : Dynamics
        The network as it is measured, on all data. Its state holds the parameters in
        the order of ``module.parameters()``; it is trained in place.
    module : HomogeneousNetwork or ParallelPathways
        The same network as it is trained. Its parameters become views of the state; in
        the end they get memory of their own, on the CPU.
    data : ResidentData
        Training data on the device of the state.
    loss : {"squared_error", "cross_entropy"}
        Loss of a sample.
    solver : str
        Optimizer, by its name in `OPTIMIZERS`.
    schedule : callable
        Step size in epoch t = 0, 1, ...
    weight_decay : sequence of floats
        gamma_l of the parameters of two or more dimensions, in their order; others are
        not decayed. ``2 gamma_l W_l`` is added to the gradient before it is rescaled, so that
        the estimated gradient is that of the objective.
    batch_size : int
        Size of the batches, n_samples at most.
    generator : torch.Generator
        Source of the permutations, on the CPU.
    iterations : ndarray of int
        Epochs to record, the last of them the number of epochs.
    meters : sequence of Meter, optional
        What else is recorded; None takes the balance of the layers.
    tol : float
        Stop at the first record whose gradient norm, on all data, is at most `tol` times
        the first one; 0 makes all epochs. There is no warning when all epochs were made:
        steps of a constant size leave a noise that no number of epochs removes.
    record_weights : bool
        Keep the weights of every record.
    callbacks : list of skorch callbacks, optional
        Called as skorch calls them. With one that follows single batches autograd makes the
        same steps, slowly.
    watch : callable, optional
        As in :func:`sklearn_deeplinear.dynamics.runs._descent.descend`; a chunk of steps is
        what lies between two records.
    before_epoch : callable, optional
        Called without arguments at the start of each epoch, to bring up to date what the
        module has besides its parameters.
    checkpoint : Checkpoint, optional
        Where the run goes on from, and what it leaves there. What skorch callbacks know is not
        among it.

    Returns
    -------
    run : Run
        `iteration` counts epochs; `time` is the sum of the step sizes of all batches.
    net : skorch.NeuralNet
        The fitted net, on the CPU.
    """
    log = Log(dynamics, meters, tol, record_weights)
    recorder = _Recorder(dynamics, log, schedule, iterations, watch, before_epoch, checkpoint)
    vector_to_parameters(dynamics.state, module.parameters())
    net = ResidentNet(
        module,
        loss,
        solver,
        weight_decay=[float(gamma) for gamma in weight_decay],
        generator=generator,
        eps=recorder.eps(),
        batch_size=batch_size,
        lr=schedule(0),
        max_epochs=int(iterations[-1]),
        device=str(dynamics.state.device),
        callbacks=[("run_recorder", recorder), *_checked(callbacks)],
    )
    net.initialize()
    if not net.follows_batches:
        net.epochs = BatchEpochs(
            module,
            dynamics.state,
            data,
            loss=loss,
            solver=solver,
            weight_decay=net.weight_decay,
            optimizer=net.optimizer_,
        )
    recorder.resume(net)
    if recorder.reason is None:  # else it starts at a stationary point
        with flushed_denormals():
            _fit(net, data)
    checkpoint.close()
    _release(net, recorder)
    run = recorder.log.run(recorder.reason or "max_iter")
    _unshare(module)
    warn_of_ending(run)
    return run, net


class _Recorder(Callback):
    """Sets the step size of each epoch, records the run and ends it."""

    def __init__(self, dynamics, log, schedule, iterations, watch, before_epoch, checkpoint):
        self.checkpoint = checkpoint
        self.dynamics, self.schedule, self.watch = dynamics, schedule, watch
        self.log, self.before_epoch = log, before_epoch
        self.marks = {int(mark): index for index, mark in enumerate(iterations[1:])}
        self.epoch, self.time, self.in_epoch = 0, 0.0, False
        self.eta = None  # of the last epoch
        self.reason = self.log.begin()

    def eps(self):
        """Adam's usual eps, unless gradients are in units in which it is not small."""
        norm = float(self.log.parts[0]["gradient_norm"][0])
        return min(_EPS, _EPS_SHARE * norm / math.sqrt(self.dynamics.state.numel())) or _EPS

    def resume(self, net):
        """Go on from the checkpoint, if there is one."""
        place = self.checkpoint.resume(self.log)
        if place is None:
            return
        self.epoch, self.time, self.reason = (place[k] for k in ("epoch", "time", "reason"))
        net.history.extend(place["history"])
        net.generator.set_state(place["generator"])
        if place["optimizer"]:
            for name, tensor in _kept_by_optimizer(net).items():
                tensor.copy_(place["optimizer"][name])

    def _place(self, net):
        return {
            "epoch": self.epoch,
            "time": self.time,
            "history": list(net.history),
            "generator": net.generator.get_state(),
            "optimizer": snapshot(_kept_by_optimizer(net)),
        }

    def on_train_begin(self, net, **kwargs):
        """Announce the first chunk."""
        self._announce(self.marks.get(self.epoch, -1) + 1)

    def on_epoch_begin(self, net, **kwargs):
        """Set the step size."""
        self.in_epoch = True
        if self.before_epoch is not None:
            self.before_epoch()
        eta = self.schedule(self.epoch)
        if eta != self.eta:
            self.eta = eta
            for group in net.optimizer_.param_groups:
                group["lr"] = eta

    def on_epoch_end(self, net, **kwargs):
        """Record the network, if it is time to."""
        self.epoch += 1
        eta = net.optimizer_.param_groups[0]["lr"]
        self.time += eta * net.history[-1]["train_batch_count"]
        if self.epoch in self.marks:
            self._record(net)
            if self.reason is None:
                self._announce(self.marks[self.epoch] + 1)
        self.in_epoch = False  # from here on it is other callbacks that end a run
        if self.reason is not None:
            # What skorch's own EarlyStopping raises; the net catches it.
            raise KeyboardInterrupt

    def on_train_end(self, net, **kwargs):
        """Tell who ended a run early: another callback, between epochs, or the user."""
        if self.reason is not None or (self.epoch == net.max_epochs and not self.in_epoch):
            return
        others = len(net.callbacks) > 1 and self.epoch > 0
        if self.in_epoch or not others:
            self.reason = "interrupted"
            return
        self.reason = "callback"
        if self.epoch not in self.marks:
            self._record(net)

    def _record(self, net):
        # A copy: the log keeps what it is given.
        state = self.dynamics.state[None].clone()
        self.reason = self.log.add(state, [self.epoch], [self.time]) or self.reason
        self.dynamics.state.copy_(self.log.kept)  # the last good one, if this is not
        if self.watch is not None and self.epoch in self.marks:
            stop = self.watch(self.marks[self.epoch], self.log)
            self.reason = self.reason or ("callback" if stop else None)
        self.checkpoint.keep(self.log, self.reason, lambda: self._place(net))

    def _announce(self, index):
        if self.watch is not None and index < len(self.marks):
            self.watch(index, None)


def _kept_by_optimizer(net):
    return {} if net.epochs is None else net.epochs.kept


def _fit(net, data):
    try:
        net.partial_fit(data, epochs=net.max_epochs - len(net.history))
    except KeyError as error:
        if "valid" not in str(error):
            raise
        raise ValueError(
            f"callbacks must not need {error}: all samples are for training, and none are held "
            'out for validation. Take monitor="train_loss", as in '
            'EarlyStopping(monitor="train_loss").'
        ) from error


def _checked(callbacks):
    """Callbacks as skorch takes them: instances or classes, which pairs give a name or turn off."""
    for entry in callbacks or ():
        pair = isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], str)
        callback = entry[1] if pair else entry
        if not hasattr(callback, "on_train_begin") and not (pair and callback is None):
            raise TypeError(
                "callbacks must hold skorch callbacks, or pairs of a name and a callback, got "
                f"{entry!r}."
            )
    return callbacks or ()


def _unshare(module):
    for p in module.parameters():
        p.grad, p.data = None, p.detach().to("cpu", copy=True)
    module.to("cpu")  # buffers, too


def _release(net, recorder):
    """Leave in `net` what its user gave it, and nothing of the training data."""
    net.generator, net.device, net.epochs = None, "cpu", None
    net.callbacks = net.callbacks[1:]
    net.callbacks_ = [(name, cb) for name, cb in net.callbacks_ if cb is not recorder]
