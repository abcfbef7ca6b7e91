"""
Data on disk are read once, whatever comes after
================================================

All that a linear network needs to know of its data are their second moments: the means of products
of two columns. Moments of parts add up to those of the whole, so that files larger than the
memory are read block by block, and depths and weight decays are then compared without reading
them again.
"""

# %%
# A file of 200,000 rows, here in a temporary folder; a real one would not fit into memory.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_deeplinear import DeepLinearRegressor, DeepLinearRegressorCV
from sklearn_deeplinear.theory import SecondMoments

n_rows, n_features = 200_000, 20
rng = np.random.default_rng(0)
true_coef = rng.normal(size=n_features)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "inputs.dat"
X = np.memmap(path, np.float32, "w+", shape=(n_rows, n_features))
X[:] = rng.normal(size=X.shape)
y = X @ true_coef + 5 * rng.normal(size=n_rows)

# %%
# A memory map goes straight into ``fit``, and is read in blocks. So does a dask array, whose chunks
# are summed up by dask, if it is installed.

network = DeepLinearRegressor(depth=3, weight_decay=0.01, solver="analytic")
fits = {"memory map": network.fit(X, y).coef_}
try:
    import dask.array as da
except ImportError:
    print("dask is not installed")
else:
    lazy_X = da.from_array(np.asarray(X), chunks=(50_000, n_features))
    fits["dask array"] = network.fit(lazy_X, da.from_array(y, chunks=50_000)).coef_

# %%
# Anything else that yields batches will do: they are turned into moments, and moments are fitted.

batches = ((X[i : i + 10_000], y[i : i + 10_000]) for i in range(0, n_rows, 10_000))
fits["iterator"] = network.fit_moments(SecondMoments.from_batches(batches)).coef_
in_memory = network.fit(np.array(X), y).coef_
for name, coef in fits.items():
    print(f"{name:10} differs from a fit in memory by at most {np.abs(coef - in_memory).max():.0e}")

# %%
# Cross-validation keeps the moments of each fold, in the same single pass.

search = DeepLinearRegressorCV(depths=[1, 2, 3], cv=5).fit(X, y)
print(f"{len(search.cv_results_['params'])} settings compared, best: {search.best_params_}")

# %%
# Data may also arrive over time. ``partial_fit`` adds the moments of a batch to those that it has:
# after each call the network is the fit to all rows so far.

online = DeepLinearRegressor(depth=3, weight_decay=0.001, solver="analytic")
seen = np.unique(np.geomspace(100, n_rows, 16).astype(int))
errors = []
for start, stop in zip([0, *seen[:-1]], seen, strict=True):
    online.partial_fit(X[start:stop], y[start:stop])
    errors.append(np.linalg.norm(online.coef_ - true_coef))

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.loglog(seen, errors, "o-", color="#0072B2", label="partial_fit")
ax.loglog(seen, 5 * np.sqrt(n_features / seen), "k--", label="expected of least squares")
ax.set(xlabel="rows read so far", ylabel="distance from the true coefficients")
ax.legend(loc="upper right")
plt.show()

del X
folder.cleanup()

# %%
# **What was learnt.** A memory map, a dask array and an iterator gave the coefficients of a fit in
# memory to 1e-14, and 93 settings were cross-validated in one pass over the file. Batches that
# come one after the other lose nothing either: after each the error is about that of least squares
# on all rows so far.
