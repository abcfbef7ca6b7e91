"""Progress of a fit: scikit-learn's callbacks and `verbose`, once a recorded chunk."""

from __future__ import annotations


class FitListener:
    """Passes the progress of one fit on to whoever listens.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    attributes : callable
        Makes the fitted attributes out of a list of weights, for callbacks that want to
        predict along the way.
    **data : X, y and metadata
        What the callbacks are told of the training data.
    """

    def __init__(self, estimator, attributes, **data):
        self.estimator = estimator
        self.attributes = attributes
        self.data = data
        self.context = None

    def start(self, n_chunks, weights):
        """Announce the fit and return the ``watch(index, log)`` for its training loop.

        Parameters
        ----------
        n_chunks : int
            Number of chunks planned.
        weights : callable
            Returns the weights as they are, a list of arrays.

        Returns
        -------
        watch : callable or None
            None if nobody listens.
        """
        if hasattr(self.estimator, "_skl_callbacks"):
            self.context = self.estimator._init_callback_context(max_subtasks=n_chunks)
            self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        elif not self.estimator.verbose:
            return None
        task = None

        def watch(index, log):
            nonlocal task
            if log is None:
                task = self._begin_chunk()
                return False
            if self.estimator.verbose and index * 10 // n_chunks < (index + 1) * 10 // n_chunks:
                self._print(log.parts[-1])
            return self._end_chunk(task, weights)

        return watch

    def end(self):
        """Announce the end of the fit, the estimator being fitted."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes={}, **self.data
            )

    def _begin_chunk(self):
        if self.context is None:
            return None
        task = self.context.subcontext(task_name="steps")
        return task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def _end_chunk(self, task, weights):
        if task is None:
            return False
        return task.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.attributes(weights()),
            **self.data,
        )

    def _print(self, record):
        print(  # noqa: T201
            f"[{type(self.estimator).__name__}] iteration {record['iteration'][-1]}: "
            f"objective {record['objective'][-1]:.6g}, "
            f"gradient norm {record['gradient_norm'][-1]:.3g}"
        )
