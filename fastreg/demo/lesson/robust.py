"""Noise in the inputs: networks for the digits without a penalty and with one, tested on images with added noise.

The strength of each penalty is the one with the highest accuracy on validation images that are part of the training
set; the test images are used once. Half of the trainings have some labels corrupted, the other half have none. All are
repeated for several seeds: splits, initial weights and batches. Differences are paired by seed.

L2 makes weights smaller, L1 makes them smaller and fewer. To tell the two apart, the weights that L1 leaves are trained
on without a penalty: they stay few and grow again.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.model_selection import train_test_split

from fastreg import SGD, path
from fastreg._show.figures import BLUE, GREEN, GREY, ORANGE, add_caption, style_axes
from fastreg._show.tables import heading, make_table, percent
from fastreg.demo import digits
from fastreg.demo.lesson.sentences import Row, below, print_rows
from fastreg.demo.network import Network, groups, train_with

SIZES, EPOCHS, BATCH, LR, MOMENTUM, VALIDATION = (64, 64, 32, 10), 50, 64, 0.1, 0.9, 350
STRENGTHS = (5e-4, 1.5e-3, 5e-3)
PENALTIES = {"L2": {"l2": 2.0}, "L1": {"l1": 1.0}}
FEWER = "L1, then none"
SIMPLER = {"L2": "smaller weights (L2)", "L1": "fewer and smaller weights (L1)", FEWER: f"fewer weights ({FEWER})"}
NOISE = (0.0, 0.1, 0.2, 0.3, 0.5)  # standard deviations; pixels are from 0 to 1
AT = 3  # the index of the noise at which networks are compared
REPEATS = 5  # draws of the noise
SEEDS = 5


class Tested(NamedTuple):
    """Networks, one for each seed: strength, share of nonzero weights, their size, test accuracy at each NOISE.

    The size is the root mean square of the weights that are not zero.
    """

    strength: np.ndarray
    nonzero: np.ndarray
    size: np.ndarray
    accuracy: np.ndarray


class Masked(Network):
    """A network with the weights of another one, in which the weights that are zero stay so."""

    def __init__(self, network):
        self.weights = [w.copy() for w in network.weights]
        self.biases = [b.copy() for b in network.biases]
        self.masks = [w != 0 for w in network.weights]

    def gradients(self, x, y):
        """The gradients, those of the weights that stay zero being zero."""
        return [(gw * mask, gb) for mask, (gw, gb) in zip(self.masks, super().gradients(x, y))]


def train_network(x, y, seed, epochs, *, fewer=None, **penalty):
    """A network trained with momentum and a penalty on its weights, the same batches for every penalty.

    With `fewer`, a network, its nonzero weights are trained on; otherwise all weights, from random ones.
    """
    rng = np.random.default_rng(seed)
    network = Network(SIZES, rng) if fewer is None else Masked(fewer)
    steps = epochs * -(-len(x) // BATCH)
    optimizer = SGD(groups(network), lr=lambda done: LR * (1 - done / steps), momentum=MOMENTUM, **penalty)
    for _ in train_with(optimizer, network, x, y, epochs=epochs, rng=rng, batch=BATCH):
        pass
    return network


def test_network(network, strength, data, seed):
    """The accuracy of a network on test images with noise."""
    rng = np.random.default_rng(seed)
    accuracy = np.zeros(len(NOISE))
    for _ in range(REPEATS):
        added = rng.standard_normal(data.x_test.shape)
        accuracy += [np.mean(network.predict(data.x_test + s * added) == data.y_test) for s in NOISE]
    weights = np.concatenate([w.ravel() for w in network.weights])
    size = np.sqrt(np.mean(weights[weights != 0] ** 2))
    return Tested(strength, np.mean(weights != 0), size, accuracy / REPEATS)


def compare(settings, label_noise, advance):
    """Train without a penalty, and with each penalty at the strength that is best on the validation images."""
    data = digits.load(replace(settings, label_noise=label_noise))
    seed, epochs = settings.seed, min(settings.epochs, EPOCHS)
    split = {"test_size": VALIDATION, "random_state": seed, "stratify": data.y}
    x, x_validation, y, y_validation = train_test_split(data.x, data.y, **split)
    tested = {"no penalty": test_network(train_network(x, y, seed, epochs), 0.0, data, seed)}
    for name, shares in PENALTIES.items():
        networks, accuracies = [], []
        for strength in STRENGTHS:
            penalty = {key: strength * share for key, share in shares.items()}
            networks.append(train_network(x, y, seed, epochs, **penalty))
            accuracies.append(np.mean(networks[-1].predict(x_validation) == y_validation))
        best = path.choose(accuracies, "min", STRENGTHS, greater_is_better=True)
        tested[name] = test_network(networks[best], STRENGTHS[best], data, seed)
    fewer = train_network(x, y, seed, epochs, fewer=networks[best])
    tested[FEWER] = test_network(fewer, 0.0, data, seed)
    advance(1)
    return tested


def compare_seeds(settings, label_noise, advance):
    """The networks of all seeds, by penalty; runs with other seeds of the demo have other ones."""
    seeds = range(SEEDS * settings.seed, SEEDS * (settings.seed + 1))
    runs = [compare(replace(settings, seed=seed), label_noise, advance) for seed in seeds]
    return {name: Tested(*map(np.array, zip(*(run[name] for run in runs)))) for name in runs[0]}


def judge(results, test_ratio):
    """The rows, from the tested networks by share of corrupted labels and penalty; `test_ratio` is that of `below`."""
    better, robust, numbers, drops = {}, {}, [], []
    for label_noise, tested in results.items():
        none = tested["no penalty"]
        labels = f"{label_noise:.0%} of the labels corrupted" if label_noise else "all labels correct"
        for cases, at in ((better, 0), (robust, AT)):
            for name, simpler in SIMPLER.items():
                baseline, accuracy = none.accuracy[:, at], tested[name].accuracy[:, at]
                cases[f"{simpler}, {labels}"] = below(baseline, accuracy, test_ratio=test_ratio)
        numbers.append(describe(labels, tested, 0))
        drops.append(describe(labels, tested, AT))
    return [
        Row("simple-generalises", better, f"test accuracy: {'; '.join(numbers)}"),
        Row("simple-robust", robust, f"with noise of standard deviation {NOISE[AT]:g}: {'; '.join(drops)}"),
    ]


def describe(labels, tested, at):
    """The mean accuracies as text."""
    return f"{labels}: " + ", ".join(f"{name} {percent(t.accuracy[:, at].mean())}%" for name, t in tested.items())


def draw(results):
    """The accuracy over the noise in the inputs."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    styles = (GREY, ":"), (GREEN, "-"), (BLUE, "--"), (ORANGE, "-.")
    row = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axes, (label_noise, tested) in zip(row, results.items()):
        style_axes(axes)
        for (name, t), (colour, line) in zip(tested.items(), styles):
            axes.plot(NOISE, t.accuracy.mean(axis=0), line, color=colour, marker="o", markersize=3, label=name)
        title = f"{label_noise:.0%} of the training labels corrupted" if label_noise else "all training labels correct"
        axes.set(xlabel="standard deviation of the noise in the inputs", title=title)
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend(fontsize=8)
    add_caption(
        figure,
        "From left to right the test images get noisier. The distance between the dotted line, without a penalty, and "
        "the others is what simpler models gain; compare it in both panels. The dash-dotted line has as few weights as "
        "L1, but not as small ones.",
    )
    return figure


def section(settings, console):
    """Train and test all networks; returns the figure."""
    console.print(
        heading(
            "Noise in the inputs",
            f"A network with {SIZES[1]} and {SIZES[2]} hidden units is trained on the digits without a penalty and "
            "with each penalty, at the strength that is best on validation images. The weights that L1 leaves are also "
            f"trained on without a penalty ({FEWER}). The test images get more and more noise. Means of {SEEDS} seeds.",
        )
    )
    shares = dict.fromkeys((settings.label_noise, 0.0))
    with console.progress(len(shares) * SEEDS) as start_task:
        advance = start_task("digits with noise in the inputs")
        results = {share: compare_seeds(settings, share, advance) for share in shares}
    columns = "stren-\ngth", "non-\nzero %", "size", *(f"noise\n{s:g}" for s in NOISE)
    table = make_table("Test accuracy in % by noise in the inputs", ("labels\ncorr.", "penalty"), columns)
    table.columns[1].no_wrap = True
    for share, tested in results.items():
        for name, t in tested.items():
            numbers = (
                f"{np.median(t.strength):g}" if t.strength.any() else "-",
                percent(t.nonzero.mean()),
                f"{t.size.mean():.2f}",
                *map(percent, t.accuracy.mean(axis=0)),
            )
            table.add_row(f"{share:.0%}" if name == "no penalty" else "", name, *numbers)
    console.print(table)
    data = digits.load(settings)
    print_rows(console, judge(results, len(data.y_test) / len(data.y)))
    return {"input-noise.png": draw(results)}
