"""Momentum and Adam on the digits: the penalty in the gradient compared with the proximal step, epoch by epoch.

Data, network, initial weights and mini-batches are those of the other trainings. If the gradient of a weight has always
been zero, the weight has learned nothing, and its zero is no selection of a feature: in Adam's metric such a weight has
the step size lr/eps, so the first proximal step removes it. Therefore zeros are counted in three parts: "trained"
weights, which have had a nonzero gradient; weights of "blank" pixels, which are blank in every training image; and the
remaining weights, nearly all of them of "dead" ReLU units. With Adam the third part is large: if a unit is inactive
throughout the first mini-batch, its weights become zero, and it stays inactive.

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
PARTS = ("trained", "blank", "dead")


@dataclass(frozen=True)
class History:
    """The result of one training, and its values after each epoch.

    `test` holds the test accuracy after each epoch. `zeros` and `sizes` hold, for each epoch, the number of exact zeros
    and of all weights in each of the PARTS. `first_zeros` holds the exact zeros in each part after the first step.
    """

    optimizer: str
    mode: str
    result: digits.Result
    test: np.ndarray
    zeros: np.ndarray
    sizes: np.ndarray
    first_zeros: np.ndarray


class ZeroCounter:
    """An optimizer that records which weights have had a nonzero gradient, to count zeros in each of the PARTS."""

    def __init__(self, optimizer, network, nonblank):
        self.optimizer, self.weights = optimizer, network.weights
        self.had_gradient = [np.zeros(w.shape, bool) for w in network.weights]
        self.blank = [np.zeros(w.shape, bool) for w in network.weights]
        self.blank[0][~nonblank] = True

    def step(self, grads):
        """A step of the optimizer."""
        for had_gradient, g in zip(self.had_gradient, grads[0]):
            had_gradient |= g != 0
        self.optimizer.step(grads)
        if self.optimizer.completed == 1:
            self.first_zeros, _ = self.count()

    def count(self):
        """The current number of exact zeros and of all weights in each of the PARTS."""
        counts = np.zeros((2, len(PARTS)), int)
        for w, had_gradient, blank in zip(self.weights, self.had_gradient, self.blank):
            for i, part in enumerate((had_gradient & ~blank, blank, ~had_gradient & ~blank)):
                counts[:, i] += np.sum(w[part] == 0), np.sum(part)
        return counts


def train_and_count(data, settings, name, mode, advance):
    """Train with an optimizer in a mode; returns its history."""
    rng = np.random.default_rng(settings.seed)
    network, (optimizer, lr) = Network(digits.SIZES, rng), OPTIMIZERS[name]
    steps = settings.epochs * ceil(len(data.x) / BATCH)

    def schedule(completed):
        return lr * (1 - completed / steps)

    counter = ZeroCounter(optimizer(groups(network), lr=schedule, l1=settings.l1, mode=mode), network, data.nonblank)
    test, counts = [], []
    for _ in train_with(counter, network, data.x, data.y, epochs=settings.epochs, rng=rng):
        test.append(np.mean(network.predict(data.x_test) == data.y_test))
        counts.append(counter.count())
        advance(1)
    zeros, sizes = np.array(counts).transpose(1, 0, 2)
    result = digits.evaluate(data, network, f"l1-{mode}", settings.l1, 0.0)
    return History(name, mode, result, np.array(test), zeros, sizes, counter.first_zeros)


def section(settings, console):
    """Train with every optimizer in both modes; returns the figure."""
    data = digits.load(settings)
    console.print(report.optimizers_intro(OPTIMIZERS, digits.LR, settings))
    runs = [(name, mode) for name in OPTIMIZERS for mode in MODES]
    with console.progress(len(runs) * settings.epochs) as start_task, np.errstate(over="ignore", invalid="ignore"):
        histories = [train_and_count(data, settings, *run, start_task(": ".join(run))) for run in runs]
    console.print(report.optimizers(histories))
    report.print_claims(console, "documentation", claims.optimizers(histories, len(data.y_test)))
    return {"optimizers.png": figures.optimizers(histories)}
