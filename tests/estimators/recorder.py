"""A callback of scikit-learn that keeps what it is told."""


class Recorder:
    """Keeps what it is told; stops, or fails, when the hook of the given name is called."""

    def __init__(self, stop_after=None, fail_at=None):
        self.calls, self.fitted = [], []
        self.stop_after, self.fail_at = stop_after, fail_at

    def _note(self, hook, context):
        self.calls.append((hook, context.task_name, context.task_id))
        if hook == self.fail_at:
            raise RuntimeError(f"failed at {hook}")

    def setup(self, estimator, context):
        self._note("setup", context)

    def teardown(self, estimator, context):
        self._note("teardown", context)

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.begin = (X, y, metadata)
        self._note("begin", context)

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.end = X
        self._note("end", context)
        if context.parent is None:
            return False
        self.fitted.append(fitted_estimator)
        return len(self.fitted) == self.stop_after

    def tasks(self, hook):
        return [(name, index) for called, name, index in self.calls if called == hook]
