"""
Noisy neurons shrink a network, but their variance is not its error
===================================================================

Each hidden unit is multiplied by a random number of mean one, as in dropout. A network trained
under such noise learns smaller weights, just as with weight decay, and its predictions become
random. It is tempting to read their variance as the uncertainty of the prediction.
"""

# %%
# Nothing is sampled to fit: of linear networks the *expected* loss is known, and the weights are
# put at its minimum. A variance of 1 is that of dropout with a rate of one half.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_deeplinear import DeepLinearRegressor
from sklearn_deeplinear.theory import predictive_variance

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

noises, widths = np.linspace(0, 3, 13), (5, 20, 80)
networks = {
    width: [
        DeepLinearRegressor(
            depth=2, width=width, noise=noise, weight_decay=1.0, solver="analytic"
        ).fit(X_train, y_train)
        for noise in noises
    ]
    for width in widths
}

# %%
# The variance of a prediction is known for each input, too. Ten thousand draws of the noise of
# one network agree with it.

network = networks[20][4]
first, second = network.weights_
predicted = np.sqrt(predictive_variance([first, second], X_test, network.noise))[:, 0]
draws = np.random.default_rng(0).normal(1, np.sqrt(network.noise), (10_000, 20))
drawn = np.std(draws * second @ (first @ X_test.T), axis=0)
errors = np.abs(y_test - network.predict(X_test))
correlation = np.corrcoef(predicted, errors)[0, 1]
print(f"drawn / predicted: {np.min(drawn / predicted):.3f} to {np.max(drawn / predicted):.3f}")
print(f"predicted deviations, mean {predicted.mean():.1f}; errors, mean {errors.mean():.1f}")
print(f"correlation of the two {correlation:.2f}")

# %%
# Left the size of the map against the noise; right the deviation that the noise predicts for each
# patient, against the error that was made.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
norms = {width: [np.linalg.norm(fit.coef_) for fit in fits] for width, fits in networks.items()}
styles = zip(widths, ("#0072B2", "#D55E00", "#009E73"), ("-", "--", "-."), strict=True)
for width, color, linestyle in styles:
    left.plot(noises, norms[width], color=color, linestyle=linestyle, label=f"{width} hidden units")
left.set(xlabel="variance of the noise", ylabel="norm of the coefficients (units of the target)")
left.set_ylim(bottom=0)
left.legend(loc="lower left")
right.scatter(predicted, errors, s=15, color="#0072B2")
right.set(xlabel="deviation of the prediction by noise", ylabel="error on a test patient")
right.set_title(f"correlation {correlation:.2f}")
plt.show()

# %%
# **What was learnt.** Noise shrinks the map, the more the fewer hidden units share it: at a
# variance of 3 by 37.5 per cent with 5 units, and by 3.6 per cent with 80. The deviation of a
# prediction, though ten thousand draws agree with it, is proportional to the distance of the
# prediction from the mean and has nothing to do with the error (correlation -0.07).
