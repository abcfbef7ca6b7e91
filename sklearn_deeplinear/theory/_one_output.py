"""The moments of single targets among others, for networks that each predict one."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from sklearn_deeplinear.theory._location import Location


def one_output(moments, output):
    """Moments of the inputs and of one of the outputs, by its index."""
    d = moments.n_inputs
    columns = [*range(d), d + output]
    location = moments._whereabouts
    cut = [f.name for f in fields(Location) if f.name not in ("weight", "exponent")]
    return replace(
        moments,
        factor=moments.factor[:, columns],
        mean_y=moments.mean_y[[output]],
        _location=replace(location, **{name: getattr(location, name)[columns] for name in cut}),
    )


def each_output(moments):
    """Yield the moments of each output, which share the decomposition of the inputs."""
    if moments.n_outputs == 1:
        yield moments
        return
    spectrum = moments.spectrum
    # What the inputs do not reach of the outputs: the factor less its part in their range.
    U = (moments.input_factor @ spectrum.directions) / spectrum.sigma
    residuals = np.sum((moments.output_factor - U @ spectrum.targets) ** 2, axis=0)
    for j, residual in enumerate(residuals):
        single = one_output(moments, j)
        targets = spectrum.targets[:, [j]]
        vars(single)["spectrum"] = replace(spectrum, targets=targets, residual=float(residual))
        yield single
