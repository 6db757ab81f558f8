"""Handwritten digits: five penalties side by side, then each strength from far too small to far too large.

scikit-learn's digits are easy: a network that has learned them by heart still does well on unseen ones. So a share of
the training labels is made wrong, and the share of those that the network reproduces says how much noise it has
learned; the labels of the test set stay right. The split is drawn by class and seed: the last rows of the file come
from other writers than the first, and a test on them would measure the writers as well.

The comparison trains a second network with NumPy's expressions in turn with the first, epoch by epoch, so that whatever
else the machine does falls on both.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastreg import elastic_net_update
from fastreg.demo import Settings, claims, figures, report
from fastreg.demo.expressions import Timed, numpy_update
from fastreg.demo.network import Network, train

SIZES = (64, 128, 64, 10)
LR = 0.5
STRENGTHS = np.logspace(-5, -1, 9)
TEST_IMAGES = 450
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
    """The images in rows of 64 pixels from 0 to 1, the labels to learn, and which of them are wrong."""

    x: np.ndarray
    y: np.ndarray
    wrong: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def inked(self):
        """The pixels that are not blank in every image to learn from: no gradient ever reaches the others' weights."""
        return self.x.any(axis=0)


@dataclass(frozen=True)
class Outcome:
    """What one training came to. Shares are between 0 and 1; zeros are exact."""

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


def load(settings):
    """The digits, split by class, with a share of the training labels made wrong."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=TEST_IMAGES, stratify=y, random_state=settings.seed)
    rng = np.random.default_rng(settings.seed)
    wrong = rng.permutation(len(y))[: round(settings.label_noise * len(y))]
    y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return Digits(x, y, wrong, x_test, y_test)


def learn(data, settings, penalty, l1, l2, update=elastic_net_update):
    """A network and its training: the same start and the same batches for every penalty."""
    mode, uses_l1, uses_l2 = MODES[penalty]
    rng = np.random.default_rng(settings.seed)
    network = Network(SIZES, rng)
    strengths = {"l1": l1 * uses_l1, "l2": l2 * uses_l2, "mode": mode}
    return network, train(network, data.x, data.y, epochs=settings.epochs, rng=rng, lr=LR, update=update, **strengths)


def outcome(data, network, penalty, l1, l2, **times):
    """Judge a trained network."""
    _, uses_l1, uses_l2 = MODES[penalty]
    learned = network.predict(data.x) == data.y
    return Outcome(
        penalty=penalty,
        l1=l1 * uses_l1,
        l2=l2 * uses_l2,
        weights=network.weights,
        train=float(np.mean(learned)),
        test=float(np.mean(network.predict(data.x_test) == data.y_test)),
        noise=float(np.mean(learned[data.wrong])) if len(data.wrong) else np.nan,
        **times,
    )


def compare(data, settings, penalty, tick):
    """Train twice, with fastreg's update and with NumPy's expressions, an epoch of each in turn."""
    ours, theirs = Timed(elastic_net_update), Timed(numpy_update)
    network, training = learn(data, settings, penalty, settings.l1, settings.l2, ours)
    twin, twin_training = learn(data, settings, penalty, settings.l1, settings.l2, theirs)
    for _ in zip(training, twin_training):
        tick(2)
    difference = max(float(np.max(np.abs(w - v))) for w, v in zip(network.weights, twin.weights))
    times = {"seconds": ours.seconds, "numpy_seconds": theirs.seconds, "difference": difference}
    return outcome(data, network, penalty, settings.l1, settings.l2, **times)


def sweep(data, settings, penalty, tick):
    """One outcome for each strength, the weakest first; the elastic net keeps the ratio of the default strengths."""
    outcomes = []
    for strength in STRENGTHS:
        l1, l2 = strength, strength * (Settings.l2 / Settings.l1 if penalty == "elastic-net" else 1)
        network, training = learn(data, settings, penalty, l1, l2)
        for _ in training:
            tick(1)
        outcomes.append(outcome(data, network, penalty, l1, l2))
    return outcomes


def verdicts(outcomes, images=TEST_IMAGES):
    """Over- and underfitting in words, from the accuracies alone.

    Whatever comes within two standard errors of the best test accuracy is good. The rest overfits if it reproduces its
    training labels better than the best does, and underfits if it does not.
    """
    best = max(outcomes, key=lambda o: o.test)
    margin = 2 * np.sqrt(best.test * (1 - best.test) / images)
    words = []
    for o in outcomes:
        if o is best:
            words.append("best")
        elif o.test >= best.test - margin:
            words.append("good")
        else:
            words.append("overfits" if o.train > best.train else "underfits")
    return words


def section(settings, screen):
    """Compare the penalties and sweep their strengths; returns the figures."""
    data = load(settings)
    screen.print(report.digits_intro(data, settings))
    swept = [penalty for penalty in SWEPT if penalty in settings.penalties]
    runs = 2 * len(settings.penalties) + len(swept) * len(STRENGTHS)
    with screen.progress(runs * settings.epochs) as progress, np.errstate(over="ignore", invalid="ignore"):
        outcomes = [compare(data, settings, p, progress(f"{p}: fastreg and NumPy")) for p in settings.penalties]
        screen.print(report.comparison(outcomes, data))
        screen.claims(claims.compared(outcomes, data))
        sweeps, words = {}, {}
        for penalty in swept:
            sweeps[penalty] = sweep(data, settings, penalty, progress(f"{penalty}: strengths"))
            words[penalty] = verdicts(sweeps[penalty])
            screen.print(report.sweep(sweeps[penalty], words[penalty]))
    if swept:
        screen.print(report.verdicts_explained())
        screen.claims(claims.swept(sweeps, words))
    finite = [o for o in outcomes if np.isfinite(o.norm)]
    drawn = {}
    if finite:
        drawn |= {"histograms.png": figures.histograms(finite), "first-layer.png": figures.first_layer(finite)}
    if swept:
        drawn["strength.png"] = figures.strength(sweeps, words)
    return drawn
