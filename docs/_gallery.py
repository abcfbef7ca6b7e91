"""The order of the gallery, and its animations."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.animation import Animation
from sphinx_gallery.scrapers import figure_rst

# First fits, choices, what weight decay does, training, data, tools.
ORDER = [
    "quick_start",
    "at_a_glance",
    "animation",
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


def animations(block, block_vars, gallery_conf):
    """Keep the animations that a cell leaves as small GIF files, and close their figures."""
    paths = []
    for value in block_vars["example_globals"].values():
        if isinstance(value, Animation) and plt.fignum_exists(value._fig.number):
            path = Path(next(block_vars["image_path_iterator"])).with_suffix(".gif")
            value.save(path, writer="pillow", dpi=60)
            plt.close(value._fig)
            paths.append(str(path))
    return figure_rst(paths, gallery_conf["src_dir"]) if paths else ""
