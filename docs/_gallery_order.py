"""The order of the gallery: first fits, choices, what weight decay does, training, data, tools."""

ORDER = [
    "quick_start",
    "at_a_glance",
    "gap",
    "depth_beside_ridge",
    "pipelines",
    "low_rank",
    "prediction_intervals",
    "classification",
    "collapse",
    "noise",
    "early_stopping",
    "flow",
    "relu_balance",
    "edge_of_stability",
    "pathway_race",
    "out_of_core",
    "certificates",
    "own_module",
]


class Lessons:
    """Key of an example; one that is not in the list stops the build."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, filename):
        """Its place in the list."""
        return ORDER.index(filename.removeprefix("plot_").removesuffix(".py"))
