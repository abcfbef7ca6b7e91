"""One card per paper: what was run, on what, and what came out, read off benchmarks/results.

Settings and times are quoted from the docstrings of the scripts, and a quotation that a script no
longer says stops the build.
"""

from math import log

from _generated_tables import docstring_of, list_table, results_of
from table import environment

# A map is zero that explains less of the targets, a network has collapsed whose loss is above so
# much of that of saying nothing, log 10: as in the scripts.
EXPLAINED, COLLAPSED = 0.01, 0.99


def cards():
    """One card per paper: what was run, on what, and what came out."""
    text = []
    for title, script, card in (_ziyin(), _ziyin_collapse(), _du(), _elkabetz(), _shi()):
        text += [title, "-" * len(title), ""]
        command = f"``python benchmarks/figures/{script}.py``"
        rows = [*card.items(), ("command", command)]
        text += [list_table(rows, (22, 78), "stub-columns"), ""]
    return "\n".join(text)


def _bullets(lines):
    """The lines as a list in a cell."""
    return "\n       ".join(f"- {line}" for line in lines)


def _stated(script, words):
    """The `words`, if the docstring of the script says so."""
    if words not in " ".join(docstring_of(f"figures/{script}").split()):
        raise ValueError(f"{script}.py no longer says {words!r}")
    return words[0].lower() + words[1:]


def _ziyin():
    script = "ziyin2022_figures"
    runs = {name: results_of(f"ziyin2022/trained_{name}_1") for name in ("linear", "relu")}
    rows = []
    for name, run in runs.items():
        ended = [
            (signal, decay)
            for decay, row in zip(run["decays"], run["explained"], strict=True)
            for signal, share in zip(run["signals"], row, strict=True)
            if share < EXPLAINED
        ]
        least = min(decay / signal for signal, decay in ended)
        cells = len(run["decays"]) * len(run["signals"])
        rows.append(
            f"{name}, one hidden layer: {len(ended)} of {cells} networks end at zero, the least "
            f"decay of them is {least:.2f} E[xy]"
        )
    card = {
        "question": "From which weight decay on does training end in zero?",
        "data": "one standard normal input, targets with a given E[xy]",
        "splits": "none",
        "seeds": str(runs["linear"]["seed"]),
        "set-up": f"networks of {_stated(script, 'width 32')}, "
        f"{_stated(script, 'with Adam, step size 0.01, batches of 100')}, over a grid of E[xy] "
        "and decays",
        "ours, where the paper does not say": _stated(
            script, "the grids, the start (Xavier), the 3,000 steps"
        ),
        "result": _bullets(rows),
        "time": _stated(script, "6 minutes"),
        "machine and versions": environment(runs["linear"]),
        "numbers": "``benchmarks/results/ziyin2022/*.json``",
    }
    return "Ziyin, Li and Meng (2022)", script, card


def _ziyin_collapse():
    script = "ziyin2022_collapse"
    rows = []
    for kind in ("perceptrons", "convolutional"):
        for depth in (2, 3, 4, 6):
            run = results_of(f"ziyin2022/collapse_{kind}_{depth}")
            gone = next(i for i, loss in enumerate(run["loss"]) if loss > COLLAPSED * log(10))
            below, above = run["decays"][gone - 1 : gone + 1]
            rows.append(
                f"{kind}, {depth} layers: learn at a decay of {below:.2g}, no longer at {above:.2g}"
            )
    card = {
        "question": "At which weight decay do networks for images collapse, and does depth matter?",
        "data": f"{_stated(script, '1,000 MNIST digits')}",
        "splits": _stated(script, "one fifth held out"),
        "seeds": str(run["seed"]),
        "set-up": "Adam"
        + _stated(script, "Adam with step size 0.003, batches of 100, 100 epochs")[4:],
        "ours, where the paper does not say": "all but the question; the paper's ResNet18 on "
        "CIFAR-10 is a script that has not been run, ``ziyin2022_resnet.py``",
        "result": _bullets(rows),
        "time": _stated(script, "6 minutes"),
        "machine and versions": environment(run),
        "numbers": "``benchmarks/results/ziyin2022/collapse_*.json``",
    }
    return "Ziyin, Li and Meng (2022), on digits", script, card


def _du():
    script = "du2018_balance"
    found = results_of(script)
    runs = found["results"]
    relu = runs["relu, balanced"]
    rows = []
    for name in ("relu, balanced", "relu, unbalanced"):
        first, last = (_differences(runs[name]["squared_norms"][i]) for i in (0, -1))
        rows.append(
            f"{name}: differences of squared norms of adjacent layers {first} at first, {last} "
            f"after {runs[name]['iteration'][-1]:,} steps, loss {runs[name]['loss'][-1]:.1e}"
        )
    for name in ("factorisation, decaying", "factorisation, regularised"):
        run = runs[name]
        share = run["squared_distance"][-1] / run["squared_norm_of_target"]
        rows.append(
            f"{name}: squared distance {share:.1e} of the target's squared norm, imbalance "
            f"{run['imbalance'][0]:.1e} at first, {run['imbalance'][-1]:.1e} at last"
        )
    card = {
        "question": "Do layers stay balanced under gradient descent with steps of a finite size?",
        "data": "random normal inputs and targets, drawn by the script",
        "splits": "none, all data are trained on",
        "seeds": "0",
        "set-up": f"{_stated(script, 'A 1000-100-100-10 ReLU network without biases')}, "
        f"{relu['iteration'][-1]:,} steps, {_stated(script, 'entry variances that balance the')} "
        f"layers {_stated(script, '(1e-4 / 100, 1e-4 / 10, 1e-4) and the same variance, 1e-4')}; "
        "asymmetric matrix factorisation",
        "ours, where the paper does not say": "seeds; the distribution of the data; the loss "
        "has no factor 1/2 and is a mean, so that the factorisation multiplies its steps",
        "result": _bullets(rows),
        "time": _stated(script, "about 5 minutes"),
        "machine and versions": environment(found),
        "numbers": "``benchmarks/results/du2018_balance.json``",
    }
    return "Du, Hu and Lee (2018)", script, card


def _differences(norms):
    return " and ".join(f"{a - b:.4f}" for a, b in zip(norms[:-1], norms[1:], strict=True))


def _elkabetz():
    script = "elkabetz2021_fig1"
    found = results_of(f"{script}_10000")
    rows = []
    for name, run in found.items():
        finest = max(run["distance"], key=int)
        rows.append(
            f"{name.replace('_', ' ')}: after {run['iteration'][-1]:,} steps "
            f"{run['distance_from_init'][-1]:.2f} from the start and "
            f"{run['distance'][finest][-1]:.1e} from the run with a step {finest} times smaller; "
            f"losses {run['loss']['1'][-1]:.5f} and {run['loss'][finest][-1]:.5f}"
        )
    about = found["conv_max_pool"]["environment"]
    minutes = [found[name]["environment"]["seconds"] / 60 for name in ("conv_max_pool", "linear")]
    card = {
        "question": "How far is gradient descent from gradient flow?",
        "data": f"1,000 digits: {about['digits']}",
        "splits": "none, all digits are trained on",
        "seeds": str(about["seed"]),
        "set-up": f"full batches, {_stated(script, 'step size eta_0 = 0.001')}, divided by "
        + ", ".join(sorted(found["linear"]["distance"], key=int))
        + f"; {about['dtype']}, from weights drawn on the CPU",
        "ours, where the paper does not say": "the digits are "
        f"{_stated(script, 'every 50th of the MNIST training set')}, those of the paper, only "
        "where OpenML can be reached; the seed",
        "not run at this length": "divisor 20 of the convolutional networks",
        "result": _bullets(rows),
        "time": f"{minutes[0]:.1f} minutes for all runs of the convolutional networks at once, "
        f"{minutes[1]:.1f} for those of the others; on one core of a CPU "
        + _stated(script, "half an hour for each fully connected network"),
        "machine and versions": f"{about['device']}; {environment(found['conv_max_pool'])}",
        "numbers": "``benchmarks/results/elkabetz2021_fig1_10000.json``",
    }
    return "Elkabetz and Cohen (2021)", script, card


def _shi():
    script = "shi2022_figures"
    runs = {depth: results_of(f"shi2022/linear_{depth}") for depth in (2, 3, 4, 7)}
    shares = [
        f"linear pathways of depth {depth}: larger share of the strongest mode "
        f"{_larger_share(run):.2f} after {run['iteration'][-1]:,} steps"
        for depth, run in runs.items()
    ]
    widths, seeds = ({run[key] for run in runs.values()} for key in ("width", "seed"))
    card = {
        "question": "Do parallel pathways share a mode, or does one of them take it?",
        "data": "a binary tree of 8 items and 15 features, ``make_hierarchical``",
        "splits": "none, all items are trained on",
        "seeds": ", ".join(
            map(str, sorted(seeds | {results_of("shi2022/linear_7_seed_1")["seed"]}))
        ),
        "set-up": f"two pathways of width {', '.join(map(str, widths))}, "
        f"{_stated(script, 'Weights start as N(0, 0.01^2)')}, "
        f"{_stated(script, 'the summed squared error has rate 0.01')}",
        "ours, where the paper does not say": _stated(
            script, "The spreads of Figure 3 and the depths of Figures 7 and 8 are ours"
        ),
        "result": _bullets(shares),
        "time": _stated(script, "all, about an hour"),
        "machine and versions": environment(runs[2]),
        "numbers": "``benchmarks/results/shi2022/*.json``",
    }
    return "Shi, Shea-Brown and Buice (2022)", script, card


def _larger_share(run):
    strengths = [abs(pathway[0]) for pathway in run["mode_strengths"][-1]]
    return max(strengths) / sum(strengths)
