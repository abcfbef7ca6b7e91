"""The best of the settings that are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_deeplinear._warnings import warn_user
from sklearn_deeplinear.model_selection._candidates import Candidates
from sklearn_deeplinear.model_selection._scores import results_table


@dataclass(frozen=True, eq=False)
class Choice:
    """All settings with their scores, and the best of them.

    Attributes
    ----------
    table : dict
        What GridSearchCV calls ``cv_results_``.
    index : int
        Row of the best setting.
    best : Candidates
        The best setting alone.
    message : str
        Says so if its decay lies at an end of the grid; else empty.
    """

    table: dict
    index: int
    best: Candidates
    message: str

    @property
    def params(self):
        """The best setting, a dict."""
        return self.table["params"][self.index]

    @property
    def score(self):
        """Its mean score."""
        return float(self.table["mean_test_score"][self.index])

    @property
    def network(self):
        """What :func:`global_minimum` takes besides the moments."""
        return {**self.best.network, "weight_decay": self.params["weight_decay"]}


def choose(groups, validation):
    """Score the settings of all `groups`, a list of Candidates, and choose the best one."""
    splits, mean, std = validation.scores(groups)
    settings = [setting for group in groups for setting in group.params()]
    table = results_table(settings, mean, std, splits)
    index = int(table["rank_test_score"].argmin())
    ends = np.cumsum([len(group.weight_decays) for group in groups])
    group = groups[int(np.searchsorted(ends, index, side="right"))]
    decay = settings[index]["weight_decay"]
    return Choice(table, index, group.only(decay), group.end_reached(decay))


def warn_of_scores(choices):
    """Warn if settings have no finite score, in the words of scikit-learn's searches."""
    means = np.concatenate([choice.table["mean_test_score"] for choice in choices])
    if not np.isfinite(means).all():
        warn_user(UserWarning(f"One or more of the test scores are non-finite: {means}"))


def message_of(choices):
    """What to say of decays at the ends of their grids, of one output or several."""
    said = {j: choice.message for j, choice in enumerate(choices) if choice.message}
    if len(choices) == 1 or not said:
        return "".join(said.values())
    first = next(iter(said))
    return (
        f"The best weight decay is an end of its grid for {len(said)} of {len(choices)} outputs. "
        f"Output {first}: {said[first]}"
    )
