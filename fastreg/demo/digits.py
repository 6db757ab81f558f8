"""Handwritten digits: five penalties compared, then a sweep of each strength from far too small to far too large.

scikit-learn's digits are easy: a network that has memorised them still classifies unseen digits well. Therefore a share
of the training labels is corrupted, and the share of these that the network reproduces measures how much noise it has
learned. The test labels stay correct. The split is stratified by class and depends on the seed: the last rows of the
file come from other writers than the first, and a test on them would also measure the difference between writers.

The comparison trains a second network with NumPy expressions and alternates the two, epoch by epoch, so that other load
on the machine affects both.

The sweep looks at training images that it holds out for validation, and never at the test images. Their labels are as
noisy as the other training labels, which a user could not tell apart either. The network with the lowest loss on them
is chosen, and it alone is tested. There is no warm start: a network in which a strong penalty has made all weights zero
has no gradient and would stay there.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastreg import elastic_net_update, path
from fastreg.demo import Settings, claims, figures, report
from fastreg.demo.expressions import TimedUpdate, numpy_update
from fastreg.demo.network import Network, softmax, train

SIZES = (64, 128, 64, 10)
LR = 0.5
STRENGTHS = np.logspace(-5, -1, 9)
TEST_IMAGES = 450
VALIDATION_SHARE = 0.25  # of the training images, in a sweep
MODES = {  # penalty → mode, and which of l1 and l2 it uses
    "none": ("subgradient", 0, 0),
    "l2": ("subgradient", 0, 1),
    "l1-subgradient": ("subgradient", 1, 0),
    "l1-proximal": ("proximal", 1, 0),
    "elastic-net": ("proximal", 1, 1),
}
SWEPT = ("l2", "l1-proximal", "elastic-net")


@dataclass(frozen=True)
class Digits:
    """Training images in rows of 64 pixels from 0 to 1, their labels, and the indices of the corrupted labels."""

    x: np.ndarray
    y: np.ndarray
    corrupted: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def nonblank(self):
        """Mask of the pixels that are not blank in all training images; weights of the others never get a gradient."""
        return self.x.any(axis=0)


@dataclass(frozen=True)
class Result:
    """The result of one training.

    `train` and `test` are accuracies from 0 to 1, `noise` is the share of corrupted labels that the network reproduces.
    """

    penalty: str
    l1: float
    l2: float
    weights: list
    train: float
    test: float
    noise: float
    seconds: float = np.nan
    numpy_seconds: float = np.nan
    difference: float = np.nan

    @property
    def all_weights(self):
        return np.concatenate([w.ravel() for w in self.weights])

    @property
    def zeros(self):
        return int(np.sum(self.all_weights == 0))

    @property
    def size(self):
        return self.all_weights.size

    @property
    def norm(self):
        return float(np.linalg.norm(self.all_weights))


class Trial(NamedTuple):
    """One strength of a sweep. `loss` is the mean cross-entropy on the validation images, `error` its standard error.

    `train` and `validation` are accuracies from 0 to 1, `noise`, `zeros`, `size` and `norm` are as for a Result.
    """

    loss: float
    error: float
    l1: float
    l2: float
    train: float
    validation: float
    noise: float
    zeros: float
    size: float
    norm: float


def load(settings):
    """The digits, split by class, with a share of the training labels corrupted."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=TEST_IMAGES, stratify=y, random_state=settings.seed)
    rng = np.random.default_rng(settings.seed)
    corrupted = rng.permutation(len(y))[: round(settings.label_noise * len(y))]
    y[corrupted] = (y[corrupted] + rng.integers(1, 10, len(corrupted))) % 10
    return Digits(x, y, corrupted, x_test, y_test)


def hold_out(data, settings):
    """The digits with the last share of the training images, split by class, in the place of the test images."""
    rows, others = train_test_split(
        np.arange(len(data.y)), test_size=VALIDATION_SHARE, stratify=data.y, random_state=settings.seed
    )
    corrupted = np.flatnonzero(np.isin(rows, data.corrupted))
    return Digits(data.x[rows], data.y[rows], corrupted, data.x[others], data.y[others])


def start_training(data, settings, penalty, l1, l2, update=elastic_net_update):
    """A network and its training: the same initial weights and the same batches for every penalty."""
    mode, uses_l1, uses_l2 = MODES[penalty]
    rng = np.random.default_rng(settings.seed)
    network = Network(SIZES, rng)
    strengths = {"l1": l1 * uses_l1, "l2": l2 * uses_l2, "mode": mode}
    return network, train(network, data.x, data.y, epochs=settings.epochs, rng=rng, lr=LR, update=update, **strengths)


def evaluate(data, network, penalty, l1, l2, **times):
    """The result of a trained network."""
    _, uses_l1, uses_l2 = MODES[penalty]
    reproduced = network.predict(data.x) == data.y
    return Result(
        penalty=penalty,
        l1=l1 * uses_l1,
        l2=l2 * uses_l2,
        weights=network.weights,
        train=float(np.mean(reproduced)),
        test=float(np.mean(network.predict(data.x_test) == data.y_test)),
        noise=float(np.mean(reproduced[data.corrupted])) if len(data.corrupted) else np.nan,
        **times,
    )


def compare(data, settings, penalty, advance):
    """Train two networks, with fastreg's update and with NumPy expressions, in alternate epochs."""
    timed, timed_numpy = TimedUpdate(elastic_net_update), TimedUpdate(numpy_update)
    network, training = start_training(data, settings, penalty, settings.l1, settings.l2, timed)
    numpy_network, numpy_training = start_training(data, settings, penalty, settings.l1, settings.l2, timed_numpy)
    for _ in zip(training, numpy_training):
        advance(2)
    difference = max(float(np.max(np.abs(w - v))) for w, v in zip(network.weights, numpy_network.weights))
    times = {"seconds": timed.seconds, "numpy_seconds": timed_numpy.seconds, "difference": difference}
    return evaluate(data, network, penalty, settings.l1, settings.l2, **times)


def strengths_of(penalty, strength):
    """l1 and l2; the elastic net keeps the ratio of the default strengths."""
    return strength, strength * (Settings.l2 / Settings.l1 if penalty == "elastic-net" else 1)


def sweep(data, settings, penalty, advance):
    """The table of a sweep over the STRENGTHS, scored on validation images; its extras are the fields of a Trial."""
    parts = hold_out(data, settings)

    def train_at(strength, fold, state):
        l1, l2 = strengths_of(penalty, strength)
        network, training = start_training(parts, settings, penalty, l1, l2)
        for _ in training:
            advance(1)
        r = evaluate(parts, network, penalty, l1, l2)
        probabilities = softmax(network.forward(parts.x_test)[1])[np.arange(len(parts.y_test)), parts.y_test]
        losses = -np.log(np.maximum(probabilities, np.finfo(float).tiny))
        reports = {"error": losses.std(ddof=1) / np.sqrt(len(losses)), "validation": r.test}
        for name in ("l1", "l2", "train", "noise", "zeros", "size", "norm"):
            reports[name] = getattr(r, name)
        return losses.mean(), reports

    return path.sweep(train_at, STRENGTHS, warm_start=False, progress=False)


def trials_of(table):
    """The trials of a sweep, in increasing order of strength."""
    rows = zip(table.mean, *(table.extras[name][:, 0] for name in Trial._fields[1:]))
    return [Trial(*row) for row in rows][::-1]


def evaluate_chosen(data, settings, penalty, table, advance):
    """The network with the lowest validation loss, trained again to the same weights, and now tested."""
    l1, l2 = strengths_of(penalty, table.best("min"))
    parts = replace(hold_out(data, settings), x_test=data.x_test, y_test=data.y_test)
    network, training = start_training(parts, settings, penalty, l1, l2)
    for _ in training:
        advance(1)
    return evaluate(parts, network, penalty, l1, l2)


def classify_fits(trials):
    """One of "best", "good", "overfits" and "underfits" for each trial.

    The lowest validation loss is the best one; a loss within one standard error of it is good. The other trials overfit
    if their training accuracy is higher than that of the best one, and underfit otherwise.
    """
    strengths = [t.l1 or t.l2 for t in trials]
    best = trials[path.choose([t.loss for t in trials], "min", strengths)]
    fits = []
    for t in trials:
        if t is best:
            fits.append("best")
        elif t.loss <= best.loss + best.error:
            fits.append("good")
        else:
            fits.append("overfits" if t.train > best.train else "underfits")
    return fits


def section(settings, console):
    """Compare the penalties and sweep their strengths; returns the figures."""
    data = load(settings)
    console.print(report.digits_intro(data, settings))
    swept = [penalty for penalty in SWEPT if penalty in settings.penalties]
    runs = 2 * len(settings.penalties) + len(swept) * (len(STRENGTHS) + 1)
    with console.progress(runs * settings.epochs) as start_task, np.errstate(over="ignore", invalid="ignore"):
        results = [compare(data, settings, p, start_task(f"{p}: fastreg and NumPy")) for p in settings.penalties]
        console.print(report.comparison(results, data))
        report.print_claims(console, "textbook", claims.compared(results, data))
        sweeps, fits, chosen = {}, {}, {}
        for penalty in swept:
            advance = start_task(f"{penalty}: strengths")
            table = sweep(data, settings, penalty, advance)
            sweeps[penalty] = trials_of(table)
            fits[penalty] = classify_fits(sweeps[penalty])
            chosen[penalty] = evaluate_chosen(data, settings, penalty, table, advance)
            console.print(report.sweep(penalty, sweeps[penalty], fits[penalty]))
    if swept:
        console.print(report.fits_explained())
        console.print(report.chosen(chosen.values()))
        report.print_claims(console, "textbook", claims.swept(sweeps, fits))
    finite = [r for r in results if np.isfinite(r.norm)]
    pictures = {}
    if finite:
        pictures |= {"histograms.png": figures.histograms(finite), "first-layer.png": figures.first_layer(finite)}
    if swept:
        pictures["strength.png"] = figures.strength(sweeps, fits, chosen)
    return pictures
