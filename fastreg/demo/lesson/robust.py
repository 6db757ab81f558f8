"""Noise in the inputs: networks for the digits without a penalty and with one, tested on images with added noise.

The strength of each penalty is the one with the highest accuracy on validation images that are part of the training
set; the test images are used once. Half of the trainings have some labels corrupted, the other half have none.
"""

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from sklearn.model_selection import train_test_split

from fastreg import SGD, path
from fastreg._show.figures import BLUE, GREEN, GREY, add_caption, style_axes
from fastreg._show.tables import heading, make_table, percent
from fastreg.demo import digits
from fastreg.demo.lesson.sentences import Row, print_rows
from fastreg.demo.network import BATCH, Network, groups, train_with

SIZES, EPOCHS, LR, MOMENTUM, VALIDATION = (64, 64, 32, 10), 60, 0.1, 0.9, 350
STRENGTHS = (5e-4, 1.5e-3, 5e-3)
PENALTIES = {"L2": {"l2": 2.0}, "L1": {"l1": 1.0}}
NOISE = (0.0, 0.1, 0.2, 0.3, 0.5)  # standard deviations; pixels are from 0 to 1
AT = 3  # the index of the noise at which networks are compared
REPEATS = 5  # draws of the noise


@dataclass(frozen=True)
class Tested:
    """A network: its strength, its share of nonzero weights, their norm, and the test accuracy at each NOISE."""

    strength: float
    nonzero: float
    norm: float
    accuracy: np.ndarray


def train_network(x, y, seed, epochs, **penalty):
    """A network trained with momentum and a penalty on its weights, the same batches for every penalty."""
    rng = np.random.default_rng(seed)
    network = Network(SIZES, rng)
    steps = epochs * -(-len(x) // BATCH)
    optimizer = SGD(groups(network), lr=lambda done: LR * (1 - done / steps), momentum=MOMENTUM, **penalty)
    for _ in train_with(optimizer, network, x, y, epochs=epochs, rng=rng):
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
    return Tested(strength, float(np.mean(weights != 0)), float(np.linalg.norm(weights)), accuracy / REPEATS)


def compare(settings, label_noise, advance):
    """Train without a penalty, and with each penalty at the strength that is best on the validation images."""
    data = digits.load(replace(settings, label_noise=label_noise))
    seed, epochs = settings.seed, min(settings.epochs, EPOCHS)
    split = {"test_size": VALIDATION, "random_state": seed, "stratify": data.y}
    x, x_validation, y, y_validation = train_test_split(data.x, data.y, **split)
    tested = {"no penalty": test_network(train_network(x, y, seed, epochs), 0.0, data, seed)}
    advance(1)
    for name, shares in PENALTIES.items():
        networks, accuracies = [], []
        for strength in STRENGTHS:
            networks.append(
                train_network(x, y, seed, epochs, **{key: strength * share for key, share in shares.items()})
            )
            accuracies.append(np.mean(networks[-1].predict(x_validation) == y_validation))
            advance(1)
        best = path.choose(accuracies, "min", STRENGTHS, greater_is_better=True)
        tested[name] = test_network(networks[best], STRENGTHS[best], data, seed)
    return tested


def judge(results, images):
    """The rows, from the tested networks by share of corrupted labels and by penalty."""
    better, robust, numbers, drops = {}, {}, [], []
    for label_noise, tested in results.items():
        none, *penalised = tested.values()
        labels = f"{label_noise:.0%} of the labels corrupted" if label_noise else "all labels correct"
        for cases, at in ((better, 0), (robust, AT)):
            cases[labels] = all(exceeds(t.accuracy[at], none.accuracy[at], images) for t in penalised)
        numbers.append(describe(labels, tested, 0))
        drops.append(describe(labels, tested, AT))
    return [
        Row("simple-generalises", better, f"test accuracy: {'; '.join(numbers)}"),
        Row("simple-robust", robust, f"with noise of standard deviation {NOISE[AT]:g}: {'; '.join(drops)}"),
    ]


def describe(labels, tested, at):
    """The accuracies as text."""
    return f"{labels}: " + ", ".join(f"{name} {percent(t.accuracy[at])}%" for name, t in tested.items())


def exceeds(accuracy, baseline, images):
    """Whether an accuracy is higher by more than two standard errors of the difference."""
    variance = (accuracy * (1 - accuracy) + baseline * (1 - baseline)) / images
    return bool(accuracy - baseline > 2 * np.sqrt(variance))


def draw(results):
    """The accuracy over the noise in the inputs."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    styles = (GREY, ":"), (GREEN, "-"), (BLUE, "--")
    row = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axes, (label_noise, tested) in zip(row, results.items()):
        style_axes(axes)
        for (name, t), (colour, line) in zip(tested.items(), styles):
            axes.plot(NOISE, t.accuracy, line, color=colour, marker="o", markersize=3, label=name)
        title = f"{label_noise:.0%} of the training labels corrupted" if label_noise else "all training labels correct"
        axes.set(xlabel="standard deviation of the noise in the inputs", title=title)
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend(fontsize=8)
    add_caption(
        figure,
        "From left to right the test images get noisier. The distance between the dotted line, without a penalty, and "
        "the others is what simpler models gain; compare it in both panels.",
    )
    return figure


def section(settings, console):
    """Train and test all networks; returns the figure."""
    console.print(
        heading(
            "Noise in the inputs",
            f"A network with {SIZES[1]} and {SIZES[2]} hidden units is trained on the digits without a penalty and "
            "with each penalty, at the strength that is best on validation images. The test images get more and more "
            "noise.",
        )
    )
    shares = dict.fromkeys((settings.label_noise, 0.0))
    with console.progress(len(shares) * (1 + len(PENALTIES) * len(STRENGTHS))) as start_task:
        advance = start_task("digits with noise in the inputs")
        results = {share: compare(settings, share, advance) for share in shares}
    columns = "strength", "non-\nzero %", "norm", *(f"noise\n{s:g}" for s in NOISE)
    table = make_table("Test accuracy in % by noise in the inputs", ("labels\ncorr.", "penalty"), columns)
    table.columns[1].no_wrap = True
    for share, tested in results.items():
        for name, t in tested.items():
            numbers = (
                f"{t.strength:.1e}" if t.strength else "-",
                percent(t.nonzero),
                f"{t.norm:.1f}",
                *map(percent, t.accuracy),
            )
            table.add_row(f"{share:.0%}" if name == "no penalty" else "", name, *numbers)
    console.print(table)
    print_rows(console, judge(results, digits.TEST_IMAGES))
    return {"input-noise.png": draw(results)}
