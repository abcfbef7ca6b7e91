"""Tables of results whose rows are not of the shape that `_measure.row` makes."""

from __future__ import annotations

from _cells import at_path, keys, shown, time

# The key of each column, a slash goes one level down, and its heading.
COLUMNS = {
    "bench_gpu": {
        "case": "case",
        "dtype": "precision",
        "seconds/cpu": "CPU, s",
        "seconds/device": "device, s",
        "cpu_over_device": "CPU / device",
        "difference": "difference",
        "floor/products": "products at full rate, s",
        "floor/bytes": "arrays at full rate, s",
        "floor/calls": "calls, s",
    },
    "bench_scaling": {
        "sweep": "what grows",
        "sizes": "sizes",
        "exponent_of_time": "exponent of time",
        "predicted_for_time": "predicted",
        "exponent_of_memory": "exponent of memory",
        "predicted_for_memory": "predicted",
    },
    "check_certificates": {
        "case": "problems",
        "problems": "number",
        "share_within_1e-8": "share within 1e-8 of a bound",
        "share_within_1e-6": "within 1e-6",
        "gap_quantiles/0.5": "median gap",
        "gap_quantiles/1.0": "largest gap",
        "cpu_seconds_quantiles/0.5": "median, s",
        "cpu_seconds_quantiles/1.0": "longest, s",
    },
    "check_noise": {
        "problems": "problems",
        "share_certified": "share certified",
        "gap_quantiles/0.5": "median gap",
        "gap_quantiles/0.9": "gap of nine in ten at most",
        "gap_quantiles/1.0": "largest gap",
        "lower_by_more_than_1e-6": "minima of restarts that are lower by 1e-6",
        "wide_gap_quantiles/0.5": "10 outputs, 50 units: median gap",
        "wide_gap_quantiles/1.0": "largest",
    },
    "check_nist": {
        "set": "set",
        "exact": "exact",
        "lstsq": "lstsq",
        "lstsq_equal_columns": "lstsq, equal columns",
        "global_minimum": "global_minimum",
        "DeepLinearRegressor": "DeepLinearRegressor",
        "DeepLinearRegressorCV": "DeepLinearRegressorCV",
    },
}


def rows_of(results):
    """Rows of a list, of cases by their names, or of a summary."""
    if isinstance(results, list):
        return results
    if "cases" in results:
        return results["cases"]
    if "summary" in results:
        return [results["summary"]]
    return [{"case": case, **row} for case, row in results.items()]


def scored(rows):
    """Lines of test scores beside that of the best ridge regression of each row, and a note."""
    models = keys(rows, "models")
    lines = [["data", "samples, inputs, targets", "R2 of RidgeCV", *models]]
    for row in rows:
        own = [row["models"].get(name) for name in models]
        ridge = row["models"]["RidgeCV"]["score"]
        lines.append([row["data"], shown(row["shape"]), shown(ridge), *map(difference, own)])
    note = "Models: R2 on test data less that of the best ridge regression, mean and standard error"
    return lines, f"{note} over {rows[0]['n_splits']} splits, and time of a fit."


def difference(model):
    """Score less that of the best ridge regression, with its standard error, and time."""
    if model is None:
        return "--"
    least, error = (shown(model[key]) for key in ("less_best_ridge", "standard_error"))
    return f"{least} +- {error} ({time(model['seconds'])})"


def columns(name, rows, heads):
    """Lines of the chosen columns, all of which must hold something."""
    cells = [[at_path(row, key.split("/")) for key in heads] for row in rows]
    for key, column in zip(heads, zip(*cells, strict=True), strict=True):
        if all(value is None for value in column):
            raise KeyError(f"{name} has no {key!r}")
    return [list(heads.values()), *([shown(value) for value in row] for row in cells)]
