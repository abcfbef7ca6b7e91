"""The moments of one target beside others, for networks that each predict one."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from sklearn_deeplinear.theory._location import Location


def one_output(moments, output):
    """Moments of the inputs and of one of the outputs, by its index.

    The decomposition of the inputs is shared.
    """
    d, spectrum = moments.n_inputs, moments.spectrum
    columns = [*range(d), d + output]
    location = moments._whereabouts
    cut = [f.name for f in fields(Location) if f.name not in ("weight", "exponent")]
    single = replace(
        moments,
        factor=moments.factor[:, columns],
        mean_y=moments.mean_y[[output]],
        _location=replace(location, **{name: getattr(location, name)[columns] for name in cut}),
    )
    targets = spectrum.targets[:, [output]]
    missed = single.output_factor[:, 0]
    # What the inputs do not reach of this output: the factor less its part in their range.
    U = (single.input_factor @ spectrum.directions) / spectrum.sigma
    residual = float(np.sum((missed - U @ targets[:, 0]) ** 2))
    vars(single)["spectrum"] = replace(spectrum, targets=targets, residual=residual)
    return single
