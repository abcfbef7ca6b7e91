"""One place in the user's code that warnings point at; needs no scikit-learn."""

from __future__ import annotations

import re
import sys
import warnings
from types import FrameType

# Frames of these are passed over, as are those of the standard library: they are between the
# user and the warning, or beneath a worker that runs no code of the user's.
_INTERNAL = {"sklearn_deeplinear", "sklearn", "torch", "joblib", "skorch", *sys.stdlib_module_names}

_shown: set = set()


def warn_user(warning):
    """Warn as if from the first line outside this package and those that call into it.

    In a worker that runs no line of the user's, the warning comes from the call of this
    package. Of the equal warnings of one line, Python shows the first, but forgets that it
    did whenever the filters change, as they do in every task that scikit-learn hands to
    joblib. So in the many fits of one call it is remembered here, unless a filter tells what
    to do with the warning.
    """
    frame, one_of_many = _calling_frame()
    module = frame.f_globals.get("__name__", "<unknown>")
    file, line = frame.f_code.co_filename, frame.f_lineno
    if one_of_many and not _is_filtered(warning, module, line):
        key = (type(warning), str(warning), file, line)
        if key in _shown:
            return
        _shown.add(key)
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(warning, type(warning), file, line, module=module, registry=registry)


def _calling_frame():
    """The frame to point at, and whether joblib or a search has called it."""
    frame: FrameType | None = sys._getframe(1)
    ours, one_of_many = None, False
    while frame is not None and (package := _package(frame)) in _INTERNAL:
        ours = frame if package == "sklearn_deeplinear" else ours
        name = frame.f_globals.get("__name__", "")
        one_of_many = one_of_many or name.startswith(("joblib.", "sklearn.model_selection."))
        frame = frame.f_back
    return frame or ours, one_of_many


def _package(frame):
    name, spec = frame.f_globals.get("__name__", ""), frame.f_globals.get("__spec__")
    if name == "__main__" and spec is not None:  # python -m package.module
        name = spec.name
    return name.partition(".")[0]


def _is_filtered(warning, module, line):
    """Whether a filter applies to the warning, so that Python's default does not."""
    # Free-threaded Pythons keep them per context.
    filters = getattr(warnings, "_get_filters", lambda: warnings.filters)()
    return any(
        isinstance(warning, category)
        and (text is None or re.match(text, str(warning)))
        and (name is None or re.match(name, module))
        and at in (0, line)
        for _, text, category, name, at in filters
    )


class ContradictedMinimumWarning(UserWarning):
    """Weights lie below a bound on the global minimum that was taken as proven.

    Attributes
    ----------
    problem : object
        What was minimised: moments, depths, widths, decays and noise.
    minimum : object
        The result that was contradicted.
    weights : list
        The weights that contradict it.
    objective : float
        Their objective.
    """

    def __init__(self, problem=None, minimum=None, weights=None, objective=None):
        super().__init__(
            "weights lie below the proven lower bound of the global minimum. This is a bug in "
            "sklearn_deeplinear, and the minimum shown is only the best value known. Please "
            "report the attributes problem, minimum, weights and objective of this warning."
        )
        self.problem, self.minimum = problem, minimum
        self.weights, self.objective = weights, objective
