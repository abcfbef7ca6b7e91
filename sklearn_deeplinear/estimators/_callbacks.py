"""Progress of a fit: scikit-learn's callbacks and `verbose`, once a recorded chunk."""

from __future__ import annotations

# Lines that `verbose` prints in a fit.
_LINES = 10


class FitListener:
    """Passes the progress of one fit on to whoever listens.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    X, y, sample_weight : arrays
        The training data, of which the callbacks are told.
    place : Place
        Where these are, and the attributes that callbacks get.
    """

    def __init__(self, estimator, X, y, sample_weight, *, place):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator, self.place = estimator, place
        self.data = {"X": X, "y": y, "metadata": metadata}
        self.context = None

    def start(self, n_chunks, attributes):
        """Announce the fit and return the ``watch(index, log)`` for its training loop.

        Parameters
        ----------
        n_chunks : int
            Number of chunks planned.
        attributes : callable
            Returns the fitted attributes as they are now, for callbacks that want to
            predict along the way.

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
            is_due = index * _LINES // n_chunks < (index + 1) * _LINES // n_chunks
            if self.estimator.verbose and is_due:
                self._print(log.parts[-1])
            return self._end_chunk(task, attributes)

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

    def _end_chunk(self, task, attributes):
        if task is None:
            return False
        return task.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self._moved(attributes()),
            **self.data,
        )

    def _moved(self, attributes):
        return {name: self.place.moved(value) for name, value in attributes.items()}

    def _print(self, record):
        print(  # noqa: T201
            f"[{type(self.estimator).__name__}] iteration {record['iteration'][-1]}: "
            f"objective {record['objective'][-1]:.6g}, "
            f"gradient norm {record['gradient_norm'][-1]:.3g}"
        )
