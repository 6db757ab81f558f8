"""Correlated features: the diabetes data with every column twice, a random start, full-batch proximal gradient descent.

The penalty l1·‖w‖₁ is the same however a weight is shared between a column and its twin, so L1 leaves the shares to the
start. l2/2·‖w‖₂² is least for equal shares, so the elastic net has one solution. Both are known otherwise: the sums of
the twins are the coefficients that scikit-learn finds on the undivided data, for the elastic net with half the l2.

Without mini-batches there is no noise either, so this is also the place to see the limit cycle of the textbook rule.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet

from fastreg import elastic_net_update
from fastreg.demo import claims, figures, report

L1 = 1.0
L2 = 0.2
STARTS = 4
STEPS = 10_000
WATCHED = 1_000


@dataclass(frozen=True)
class Twins:
    """Where the descents ended: one row for each start, one column for each feature, the twins apart."""

    l1: float
    l2: float
    first: np.ndarray
    second: np.ndarray
    known: np.ndarray

    @property
    def apart(self):
        """The largest difference between twins, for each start."""
        return np.max(np.abs(self.first - self.second), axis=1)

    @property
    def error(self):
        """How far the sums of the twins are from the known solution, for each start."""
        return np.max(np.abs(self.first + self.second - self.known), axis=1)


@dataclass(frozen=True)
class Cycle:
    """The textbook rule on the weights that the lasso sets to zero: exact zeros, and the widest swing, by step size."""

    weights: int
    zeros: int
    widths: dict


def load():
    """The diabetes data in units of standard deviation, the target centred, and the names of the features."""
    data = load_diabetes(scaled=False)
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return x, data.target - data.target.mean(), data.feature_names


def descend(x, y, w, lr, l1, l2, *, mode="proximal", steps=STEPS):
    """Minimise ‖y − x·w‖²/(2n) + l1·‖w‖₁ + l2/2·‖w‖₂² in place, from w; yields after each step."""
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    for _ in range(steps):
        elastic_net_update(w, gram @ w - moment, lr, l1, l2, mode=mode)
        yield w


def learning_rate(x):
    """1/L, the largest step at which proximal gradient descent cannot diverge."""
    return float(len(x) / np.linalg.norm(x, 2) ** 2)


def divide(x, y, l1, l2, seed, tick):
    """Descend on the data with every column twice, from several random starts."""
    twice, features = np.hstack([x, x]), x.shape[1]
    ends = []
    for rng in np.random.default_rng(seed).spawn(STARTS):
        w = rng.normal(0, 10, 2 * features)
        for _ in descend(twice, y, w, learning_rate(twice), l1, l2):
            pass
        ends.append(w)
        tick(1)
    ends = np.array(ends)
    total = l1 + l2 / 2
    known = ElasticNet(alpha=total, l1_ratio=l1 / total, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
    return Twins(l1, l2, ends[:, :features], ends[:, features:], known.coef_)


def cycle(x, y, l1, known, seed):
    """The textbook rule on the undivided data, at two step sizes, watched when only its cycle is left."""
    dropped, widths, zeros = known == 0, {}, 0
    for lr in (learning_rate(x), learning_rate(x) / 10):
        w = np.random.default_rng(seed).normal(0, 10, x.shape[1])
        descent = descend(x, y, w, lr, l1, 0.0, mode="subgradient", steps=2 * STEPS)
        path = np.array([w.copy() for w in descent])[-WATCHED:, dropped]
        zeros += int(np.sum(path == 0))
        widths[lr] = float(np.max(np.ptp(path, axis=0), initial=0.0))
    return Cycle(int(np.sum(dropped)), zeros, widths)


def section(settings, screen):
    """Give L1 and the elastic net the same twins; returns the figure."""
    x, y, names = load()
    screen.print(report.twins_intro(x, f"l1 = {L1:g}, l2 = {L2:g}"))
    with screen.progress(2 * STARTS) as progress:
        tick = progress("twins, from several starts")
        lasso = divide(x, y, L1, 0.0, settings.seed, tick)
        net = divide(x, y, L1, L2, settings.seed, tick)
        textbook = cycle(x, y, L1, lasso.known, settings.seed)
    screen.print(report.twins(lasso, net, names))
    screen.claims(claims.twins(lasso, net, textbook))
    return {"twins.png": figures.twins(lasso, net)}
