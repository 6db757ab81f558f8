"""Linear regressions by the hundred: many samples and all strengths in one descent, with one optimizer of fastreg.

Repeated fits (bootstrap, bias and variance) are slow one at a time. Here the weights are one array of shape (samples,
features, strengths): a gradient is two matrix products, and a step is one call of fastreg, in which `penalty_factor`
gives every weight the strength of its column. The steps are those of FISTA: a proximal step from a point that lies
ahead in the direction of the last step, with a restart where the two directions disagree.
"""

from dataclasses import dataclass

import numpy as np

from fastreg import SGD, path

STRENGTHS = path.grid(10.0, 17, 1e-4)  # strongest first
# Strengths to choose from. Shares of L1 divide them, in steps of a factor of 2.4 at 33 candidates; those of 5.6 at 17
# are so wide that the elastic net misses its minimum.
CANDIDATES = path.grid(10.0, 33, 1e-4)
SHARES = {"L1": (1.0,), "L2": (0.0,), "elastic net": (0.25, 0.5, 0.75)}  # penalty → shares of L1 in the strength
STEPS, MOST = 300, 6000  # the least and the largest number of steps
TOLERANCE = 5e-3  # how far a weight may be pulled from its minimum, relative to the largest pull at zero


@dataclass(frozen=True)
class Chosen:
    """The weights (samples, features) at the strengths that are best on validation data, and their test errors.

    `common` holds the weights at one strength for all samples, the best for all validation data together: their spread
    shows the differences between the samples, not those between the chosen strengths.
    """

    weights: np.ndarray
    errors: np.ndarray
    common: np.ndarray

    @property
    def nonzero(self):
        """The share of weights that are not exactly zero, for each sample."""
        return np.mean(self.weights != 0, axis=1)


def fit(x, y, share, strengths=STRENGTHS, *, start=None, steps=STEPS):
    """Minimise ‖y − x·w‖²/(2n) + s·(share·‖w‖₁ + (1 − share)/2·‖w‖₂²) for each sample and each strength s.

    x has the shape (samples, n, features) and y (samples, n); returns weights of shape (samples, features, strengths).
    It takes `steps` steps, and more until no weight violates the conditions of a minimum by more than the TOLERANCE.
    """
    samples, n, features = x.shape
    w = np.zeros((samples, features, len(strengths))) if start is None else start.copy()
    transposed = np.ascontiguousarray(x.transpose(0, 2, 1)) / n
    gram = transposed @ x if features < 2 * n else None
    moment = transposed @ y[:, :, None]
    rate = 1 / max(np.linalg.norm(one, 2) ** 2 / n for one in x)
    factors = np.broadcast_to(strengths, w.shape).copy()
    optimizer = SGD(w, lr=rate, l1=share, l2=1 - share, mode="proximal", penalty_factor=factors)
    before, ahead = w.copy(), 1.0

    def gradient_at(point):
        return (gram @ point if gram is not None else transposed @ (x @ point)) - moment

    for k in range(MOST + 1):
        if k >= steps and k % 50 == 0:
            pull = violation(before, gradient_at(before), factors * share, factors * (1 - share))
            if pull <= TOLERANCE * np.abs(moment).max():
                return before
        point = w.copy()
        optimizer.step(gradient_at(w))
        step = w - before
        before[...] = w
        restart = np.sum((point - w) * step, axis=1, keepdims=True) > 0
        further = (1 + np.sqrt(1 + 4 * ahead**2)) / 2
        momentum = np.where(restart, 0.0, (ahead - 1) / further)
        ahead = np.where(restart, 1.0, further)
        w += momentum * step
    raise ArithmeticError(f"strengths: expected a minimum within {MOST} steps, got weights that still move")


def violation(w, gradient, l1, l2):
    """How far the weights are from the conditions of a minimum: the largest pull on any of them."""
    free = np.abs(gradient + l1 * np.sign(w) + l2 * w)
    return np.max(np.where(w != 0, free, np.maximum(np.abs(gradient) - l1, 0.0)))


def squared_errors(weights, x, y):
    """The mean squared error of the predictions, of shape (samples, strengths)."""
    return np.mean((x @ weights - y[:, :, None]) ** 2, axis=1)


def choose(train, validation, test, shares):
    """Fit, choose the strength (and the share of L1) on the validation data of each sample, and judge on test data.

    Each of `train`, `validation` and `test` is a pair (x, y) with the samples along the first axis. The shares divide
    the CANDIDATES: the best of more candidates has an advantage, so every penalty has the same number.
    """
    parts = [(share, CANDIDATES[i :: len(shares)]) for i, share in enumerate(shares)]
    weights = np.concatenate([fit(*train, share, strengths) for share, strengths in parts], axis=2)
    judged = squared_errors(weights, *validation)
    best, common = np.argmin(judged, axis=1), np.argmin(judged.mean(axis=0))
    chosen = np.take_along_axis(weights, best[:, None, None], axis=2)
    errors = squared_errors(chosen, *test)[:, 0]
    return Chosen(chosen[:, :, 0], errors, weights[:, :, common])


def choose_each(train, validation, test):
    """`choose` for L1, L2 and the elastic net, by name."""
    return {name: choose(train, validation, test, shares) for name, shares in SHARES.items()}
