"""Whole units and pixels: the group lasso makes rows of the weight matrices zero, and then they are cut out.

A row of a weight matrix has the outgoing weights of one unit, and in the first matrix those of one pixel. With
`group_axis=0` each row is a group. A unit without outgoing weights has no effect, so its row, its column in the matrix
before, and its bias can be removed. The smaller network computes the same function with ordinary dense matrices.

L1 on single weights is the comparison. Its strength is chosen so that as many weights are nonzero after the same cut;
the search looks at that number and not at the test digits.
"""

from dataclasses import dataclass
from math import ceil
from statistics import median
from time import perf_counter

import numpy as np

from fastreg import SGD
from fastreg.demo import claims, digits, figures, report
from fastreg.demo.network import BATCH, Network, train_with

LR, MOMENTUM = 0.1, 0.9
L21 = 7e-3
EPOCHS = 25  # at most; more epochs hardly change the result
FIRST_L1, L1_TRIALS, TOLERANCE = 1.5e-3, 3, 0.1
ROUNDS = 25


@dataclass(frozen=True)
class Pruned:
    """A trained network before and after the cut.

    `kept` is the mask of the pixels that the smaller network reads. `difference` is the largest absolute difference of
    the scores of both networks, over the test images. `seconds` are for a forward pass over the test images, before and
    after the cut.
    """

    name: str
    result: digits.Result
    kept: np.ndarray
    smaller: Network
    difference: float
    seconds: tuple

    @property
    def pixels(self):
        return int(np.sum(self.kept))

    @property
    def units(self):
        """The number of units in each hidden layer of the smaller network."""
        return [len(w) for w in self.smaller.weights[1:]]

    @property
    def removed_units(self):
        return sum(len(w) for w in self.result.weights[1:]) - sum(self.units)

    @property
    def nonzeros(self):
        return count_nonzeros(self.smaller)

    @property
    def multiplications(self):
        """The multiplications for one image: one for each element of the matrices, zero or not."""
        return sum(w.size for w in self.smaller.weights)


def cut(weights, biases):
    """Remove the inputs and the hidden units without outgoing weights; returns (mask of kept inputs, weights, biases).

    Removing a unit takes its row out of one matrix, its column out of the matrix before, and its bias.
    """
    kept = [w.any(axis=1) for w in weights]
    outputs = [*kept[1:], np.ones(weights[-1].shape[1], bool)]
    smaller = [w[np.ix_(rows, columns)] for w, rows, columns in zip(weights, kept, outputs)]
    return kept[0], smaller, [b[columns] for b, columns in zip(biases, outputs)]


def cut_network(network):
    """The mask of kept pixels, and the smaller network."""
    kept, weights, biases = cut(network.weights, network.biases)
    smaller = Network((), None)
    smaller.weights, smaller.biases = weights, biases
    return kept, smaller


def count_nonzeros(network):
    """The number of nonzero weights."""
    return sum(int(np.count_nonzero(w)) for w in network.weights)


def train_network(data, settings, advance, **penalty):
    """A network trained by SGD with momentum and a penalty on its weights: the same batches for every penalty."""
    rng, epochs = np.random.default_rng(settings.seed), min(settings.epochs, EPOCHS)
    network = Network(digits.SIZES, rng)
    steps = epochs * ceil(len(data.x) / BATCH)

    def schedule(completed):
        return LR * (1 - completed / steps)

    parameters = [{"params": network.weights, **penalty}, {"params": network.biases}]
    optimizer = SGD(parameters, lr=schedule, momentum=MOMENTUM)
    for _ in train_with(optimizer, network, data.x, data.y, epochs=epochs, rng=rng):
        advance(1)
    return network


def match_l1(data, settings, nonzeros, advance):
    """The strength of L1, and its network, with the number of nonzero weights after the cut closest to `nonzeros`."""
    l1, trials = FIRST_L1, []
    for _ in range(L1_TRIALS):
        network = train_network(data, settings, advance, l1=l1)
        found = count_nonzeros(cut_network(network)[1])
        trials.append((abs(found - nonzeros), l1, network))
        if abs(found - nonzeros) <= TOLERANCE * nonzeros:
            break
        l1 *= (max(found, 1) / max(nonzeros, 1)) ** 0.7  # the number falls a little faster than 1/l1
    return min(trials, key=lambda trial: trial[0])[1:]


def time_forward(passes):
    """The median time of each forward pass, a pair (network, x); they take turns, so that other load affects all."""
    times = []
    for _ in range(ROUNDS):
        times.append([])
        for network, x in passes:
            start = perf_counter()
            network.forward(x)
            times[-1].append(perf_counter() - start)
    return [median(column) for column in zip(*times)]


def prune(data, networks, l1):
    """Cut every network and compare it with its smaller version. `networks` and `l1` are by name."""
    x = data.x_test
    cuts = {name: cut_network(network) for name, network in networks.items()}
    inputs = [np.ascontiguousarray(x[:, kept]) for kept, _ in cuts.values()]
    passes = [*((network, x) for network in networks.values()), *zip((smaller for _, smaller in cuts.values()), inputs)]
    times = time_forward(passes)
    pruned = []
    for i, ((name, network), (kept, smaller)) in enumerate(zip(networks.items(), cuts.values())):
        difference = float(np.max(np.abs(network.forward(x)[1] - smaller.forward(inputs[i])[1])))
        result = digits.evaluate(data, network, "l1-proximal", l1[name], 0.0)
        pruned.append(Pruned(name, result, kept, smaller, difference, (times[i], times[i + len(networks)])))
    return pruned


def section(settings, console):
    """Train without a penalty, with L1 and with the group lasso, cut, and compare; returns the figure."""
    data, epochs = digits.load(settings), min(settings.epochs, EPOCHS)
    console.print(report.pruning_intro(LR, MOMENTUM, L21, epochs))
    with console.progress((2 + L1_TRIALS) * epochs) as start_task, np.errstate(over="ignore", invalid="ignore"):
        unpenalised = train_network(data, settings, start_task("no penalty"))
        grouped = train_network(data, settings, start_task("group lasso"), l21=L21, group_axis=0)
        nonzeros = count_nonzeros(cut_network(grouped)[1])
        l1, sparse = match_l1(data, settings, nonzeros, start_task("L1 with as many weights"))
    networks = {"none": unpenalised, "L1": sparse, "group lasso": grouped}
    pruned = prune(data, networks, {"none": 0.0, "L1": l1, "group lasso": 0.0})
    console.print(report.pruning(pruned, data))
    report.print_claims(console, "documentation", claims.pruning(pruned, data))
    return {"units-and-pixels.png": figures.pruning(pruned, data)}
