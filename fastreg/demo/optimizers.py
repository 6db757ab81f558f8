"""Momentum and Adam on the digits: the penalty as part of the gradient against the proximal step, epoch by epoch.

Data, network, start and mini-batches are those of the other trainings. A weight whose gradient has always been zero
learns nothing, and a zero there selects no feature: in Adam's metric such a weight has the step size lr/eps, so that
the first proximal step removes it. Zeros are therefore counted in three parts: on weights that have had a gradient, on
those of pixels that are blank in every training image, and on the rest, nearly all of them of units that were never on.
With Adam these are many: a unit that is off throughout the first mini-batch loses its weights, and stays off.

The learning rates are small enough for both modes to follow nearly the same path, so that they can be compared.
"""

from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np

from fastreg import SGD, Adam
from fastreg.demo import claims, digits, figures, report
from fastreg.demo.network import BATCH, Network, groups, train_with

OPTIMIZERS = {"momentum": (partial(SGD, momentum=0.9), 0.012), "Adam": (Adam, 0.001)}  # name → class, learning rate
MODES = ("subgradient", "proximal")
PARTS = ("live", "blank", "silent")


@dataclass(frozen=True)
class Course:
    """One training: what it came to, and its course from epoch to epoch.

    `zeros` and `sizes` hold, for every epoch, the exact zeros and all weights of each of the PARTS; `at_once` the exact
    zeros of each after the first step.
    """

    optimizer: str
    mode: str
    outcome: digits.Outcome
    test: np.ndarray
    zeros: np.ndarray
    sizes: np.ndarray
    at_once: np.ndarray


class Watched:
    """An optimizer that remembers which weights have had a gradient, and counts zeros accordingly."""

    def __init__(self, optimizer, network, inked):
        self.optimizer, self.weights = optimizer, network.weights
        self.reached = [np.zeros(w.shape, bool) for w in network.weights]
        self.blank = [np.zeros(w.shape, bool) for w in network.weights]
        self.blank[0][~inked] = True

    def step(self, grads):
        """A step of the optimizer."""
        for reached, g in zip(self.reached, grads[0]):
            reached |= g != 0
        self.optimizer.step(grads)
        if self.optimizer.completed == 1:
            self.at_once, _ = self.count()

    def count(self):
        """The exact zeros and the number of weights in each of the PARTS, as they are now."""
        counts = np.zeros((2, len(PARTS)), int)
        for w, reached, blank in zip(self.weights, self.reached, self.blank):
            for i, part in enumerate((reached & ~blank, blank, ~reached & ~blank)):
                counts[:, i] += np.sum(w[part] == 0), np.sum(part)
        return counts


def follow(data, settings, name, mode, tick):
    """Train with an optimizer in a mode and watch."""
    rng = np.random.default_rng(settings.seed)
    network, (optimizer, lr) = Network(digits.SIZES, rng), OPTIMIZERS[name]
    steps = settings.epochs * ceil(len(data.x) / BATCH)

    def falling(completed):
        return lr * (1 - completed / steps)

    watched = Watched(optimizer(groups(network), lr=falling, l1=settings.l1, mode=mode), network, data.inked)
    test, counts = [], []
    for _ in train_with(watched, network, data.x, data.y, epochs=settings.epochs, rng=rng):
        test.append(np.mean(network.predict(data.x_test) == data.y_test))
        counts.append(watched.count())
        tick(1)
    zeros, sizes = np.array(counts).transpose(1, 0, 2)
    outcome = digits.outcome(data, network, f"l1-{mode}", settings.l1, 0.0)
    return Course(name, mode, outcome, np.array(test), zeros, sizes, watched.at_once)


def section(settings, screen):
    """Train with every optimizer in both modes; returns the figure."""
    data = digits.load(settings)
    screen.print(report.optimizers_intro(OPTIMIZERS, digits.LR, settings))
    runs = [(name, mode) for name in OPTIMIZERS for mode in MODES]
    with screen.progress(len(runs) * settings.epochs) as progress, np.errstate(over="ignore", invalid="ignore"):
        courses = [follow(data, settings, name, mode, progress(f"{name}: {mode}")) for name, mode in runs]
    screen.print(report.optimizers(courses))
    screen.claims(claims.optimizers(courses, len(data.y_test)), source="the documentation")
    return {"optimizers.png": figures.optimizers(courses)}
