"""
Prove that a network trained elsewhere cannot be improved
=========================================================

Some other library has trained your network. Is it as good as it can be, or should it train longer,
or from another start? From the weights alone one can compute a *certificate*: a number that no
network of the same number of layers and weight decay can fall below. If the objective is equal to
it, training is done, and that is a proof.
"""

# %%
# A plain torch module, without any part of this package: four measurements of diabetes patients
# predict six blood values, through three layers. The objective is the squared error, plus 0.05
# times all squared weights.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_deeplinear.theory import SecondMoments, certify, global_minimum, verify

data = scale(load_diabetes().data)
X, Y = data[:, :4], data[:, 4:]
decay = 0.05


def train(size, n_steps=400, record_every=10):
    """Train by Adam from weights of some size; return objectives and weights along the way."""
    torch.manual_seed(0)
    shapes = [(4, 10), (10, 10), (10, 6)]
    layers = [torch.nn.Linear(*shape, bias=False, dtype=torch.float64) for shape in shapes]
    network = torch.nn.Sequential(*layers)
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    with torch.no_grad():
        for weight in network.parameters():
            weight *= size
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    records = []
    for step in range(n_steps + 1):
        loss = (network(inputs) - targets).square().sum(dim=1).mean()
        objective = loss + decay * sum(weight.square().sum() for weight in network.parameters())
        if step % record_every == 0:
            weights = [weight.detach().numpy().copy() for weight in network.parameters()]
            records.append((step, objective.item(), weights))
        optimiser.zero_grad()
        objective.backward()
        optimiser.step()
    return records


# %%
# The certificate needs the second moments of the data, and the weights.

moments = SecondMoments.from_data(X, Y)
runs = {"ordinary start": train(1.0), "start near zero": train(0.1)}
bounds = {
    name: [certify(weights, moments, depth=3, weight_decay=decay) for _, _, weights in run]
    for name, run in runs.items()
}
for name, run in runs.items():
    objective, bound = run[-1][1], max(bounds[name])
    print(f"{name}: objective {objective:.8f}, certificate {bound:.8f}")

# %%
# Lines are the objectives along training, dotted lines what the weights of the same moment prove.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, (name, run) in zip(axes, runs.items(), strict=True):
    steps, objectives, _ = zip(*run, strict=True)
    ax.plot(steps, objectives, color="#0072B2", label="objective")
    ax.plot(steps, bounds[name], ":", color="#D55E00", label="certificate of the weights")
    ax.set(xlabel="step of Adam", ylabel="squared error and penalty", title=name)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %%
# Where a gap remains, the minimum can be computed, and checked without the code that found it.

minimum = global_minimum(moments, depth=3, weight_decay=decay)
print(minimum)
print(verify(minimum, moments))

# %%
# **What was learnt.** From the ordinary start Adam reached 4.94389926, and the weights themselves
# prove that no network is lower: training is done. From a start near zero it ended at 5.01, above
# the certificate of 4.94, and the gap was the hint that a better network exists; the global
# minimum is 4.944.
