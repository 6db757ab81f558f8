"""Correlated features: the diabetes data with every column duplicated, full-batch proximal gradient descent.

The penalty l1·‖w‖₁ does not depend on how a weight is shared between a column and its copy, so with L1 the shares
depend on the initial weights. l2/2·‖w‖₂² is smallest for equal shares, so the elastic net has one solution. In both
cases the sums of the two weights are known: they are the coefficients that scikit-learn finds on the original data, for
the elastic net with half the l2.

There is no mini-batch noise here, so this data also shows the limit cycle of the textbook rule.
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
CYCLE_STEPS = 1_000


@dataclass(frozen=True)
class DuplicatedFits:
    """Fits from several starts: one row for each start, one column for each feature; columns and copies separately."""

    l1: float
    l2: float
    columns: np.ndarray
    copies: np.ndarray
    known: np.ndarray

    @property
    def difference(self):
        """The largest difference between the weights of a column and its copy, for each start."""
        return np.max(np.abs(self.columns - self.copies), axis=1)

    @property
    def error(self):
        """The largest difference between the sum of the two weights and the known solution, for each start."""
        return np.max(np.abs(self.columns + self.copies - self.known), axis=1)


@dataclass(frozen=True)
class LimitCycle:
    """The textbook rule on the weights that are zero in the lasso solution.

    `weights` is their number, `zeros` counts how often one of them was exactly zero, and `widths` holds the largest
    range of a weight, by learning rate.
    """

    weights: int
    zeros: int
    widths: dict


def load():
    """The standardised diabetes features, the centred target, and the names of the features."""
    data = load_diabetes(scaled=False)
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return x, data.target - data.target.mean(), data.feature_names


def descend(x, y, w, lr, l1, l2, *, mode="proximal", steps=STEPS):
    """Minimise ‖y − x·w‖²/(2n) + l1·‖w‖₁ + l2/2·‖w‖₂² in place, from w; yields w after each step."""
    gram, moment = x.T @ x / len(x), x.T @ y / len(x)
    for _ in range(steps):
        elastic_net_update(w, gram @ w - moment, lr, l1, l2, mode=mode)
        yield w


def learning_rate(x):
    """1/L, with L the Lipschitz constant of the gradient."""
    return float(len(x) / np.linalg.norm(x, 2) ** 2)


def fit_duplicated(x, y, l1, l2, seed, advance):
    """Fit the data with every column duplicated, from several random starts."""
    duplicated, features = np.hstack([x, x]), x.shape[1]
    ends = []
    for rng in np.random.default_rng(seed).spawn(STARTS):
        w = rng.normal(0, 10, 2 * features)
        for _ in descend(duplicated, y, w, learning_rate(duplicated), l1, l2):
            pass
        ends.append(w)
        advance(1)
    ends = np.array(ends)
    total = l1 + l2 / 2
    known = ElasticNet(alpha=total, l1_ratio=l1 / total, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
    return DuplicatedFits(l1, l2, ends[:, :features], ends[:, features:], known.coef_)


def observe_cycle(x, y, l1, known, seed):
    """The textbook rule on the original data with two learning rates; the last steps show its limit cycle."""
    zero_in_lasso, widths, zeros = known == 0, {}, 0
    for lr in (learning_rate(x), learning_rate(x) / 10):
        w = np.random.default_rng(seed).normal(0, 10, x.shape[1])
        descent = descend(x, y, w, lr, l1, 0.0, mode="subgradient", steps=2 * STEPS)
        path = np.array([w.copy() for w in descent])[-CYCLE_STEPS:, zero_in_lasso]
        zeros += int(np.sum(path == 0))
        widths[lr] = float(np.max(np.ptp(path, axis=0), initial=0.0))
    return LimitCycle(int(np.sum(zero_in_lasso)), zeros, widths)


def section(settings, console):
    """Fit L1 and the elastic net to duplicated features; returns the figure."""
    x, y, names = load()
    console.print(report.correlated_intro(x, f"l1 = {L1:g}, l2 = {L2:g}"))
    with console.progress(2 * STARTS) as start_task:
        advance = start_task("duplicated features, several starts")
        lasso = fit_duplicated(x, y, L1, 0.0, settings.seed, advance)
        net = fit_duplicated(x, y, L1, L2, settings.seed, advance)
        cycle = observe_cycle(x, y, L1, lasso.known, settings.seed)
    console.print(report.correlated(lasso, net, names))
    report.print_claims(console, "textbook", claims.correlated(lasso, net, cycle))
    return {"correlated-features.png": figures.correlated(lasso, net)}
