"""Layer 5, many strengths in one pass over the data: the same model at each of them, and how well each predicts.

Each strength has the bits of a Stream of its own. Before a sample is learnt, all strengths predict it: the mean of
these losses, progressive validation (Blum, Kalai & Langford 1999), judges them in the first pass over the data.
"""

import numpy as np

from fastreg.linear.factors import penalty_of
from fastreg.linear.stream import OPTIMIZERS, Stream


class StrengthStream:
    """The weights of a linear model at S strengths, which learn from the same samples.

    Parameters
    ----------
    features, columns : int
    strengths : array of shape (S, 2)
        l1 and l2 of each strength; they take the place of those of the Task.
    dtype : float32 or float64
    optimizer : str
        A name in OPTIMIZERS.
    intercept : bool
        Whether there is an intercept. It is not penalised.
    positive : bool
        Whether the weights cannot be negative. The intercept can.
    """

    def __init__(self, features, columns, strengths, dtype, optimizer, intercept, positive=False):
        self.optimizer, self.positive = optimizer, bool(positive)
        self.shape, self.dtype, self.has_intercept = (features, columns), np.dtype(dtype), bool(intercept)
        self.strengths = checked_strengths(strengths)
        self._streams = [
            Stream(features, columns, dtype, optimizer, intercept, positive) for _ in range(len(self.strengths))
        ]
        count = len(self.strengths)
        self._count, self._weight, self._squares = 0, 0.0, 0.0
        self._means, self._firsts, self._seconds = np.zeros(count), np.zeros(count + 1), np.zeros((count + 1,) * 2)

    @staticmethod
    def required_memory(features, columns, strengths, dtype, optimizer):
        """The bytes that the weights of so many strengths, and their state, take."""
        per_weight = (1 + len(OPTIMIZERS[optimizer].initial_state)) * np.dtype(dtype).itemsize
        return features * strengths * (columns * per_weight + 16)

    @property
    def completed(self):
        """The number of samples trained on."""
        return self._streams[0].completed

    @property
    def epochs(self):
        """The number of epochs of the last call."""
        return self._streams[0].epochs

    @property
    def scale(self):
        """The mean size of the samples, updated when their number is a power of two."""
        return self._streams[0].scale

    def factors_of(self, penalty_factor):
        """The checked penalty factors: see Stream.factors_of."""
        return self._streams[0].factors_of(penalty_factor)

    def learn(self, samples, order, targets, weights, task, epochs=1, private=False):
        """One step for each entry of `order`; returns for each strength the sum of the losses before the steps.

        A call completes or changes nothing; see Stream.learn. The l21 of the task is 0, and its l1 and l2 are not used.
        """
        if task.strengths[2]:
            raise ValueError(f"strengths: expected no group lasso with many strengths, got l21 = {task.strengths[2]!r}")
        new = self.copy()
        totals = np.zeros(len(self.strengths))
        for k in range(len(order)):
            own = None if weights is None else weights[k : k + 1]
            losses = [
                stream.learn(samples, order[k : k + 1], targets, own, task._replace(strengths=(l1, l2, 0.0)), epochs)
                for stream, (l1, l2) in zip(new._streams, self.strengths.tolist())
            ]
            totals += losses
            new._judge(np.array(losses), 1.0 if own is None else own[0])
        vars(self).update(vars(new))
        return totals

    def _judge(self, losses, weight):
        """Add weighted losses of one sample, all but the last entry of the sums below, which belongs to no strength."""
        if not weight > 0:
            return
        error = np.append(losses / weight - self._means, 0.0)
        self._count, self._weight = self._count + 1, self._weight + weight
        share = weight / self._weight
        factor = share**2 * self._squares + (weight * (1 - share)) ** 2
        errors = error[:, np.newaxis] - error
        self._seconds += errors * (factor * errors - 2 * share * (self._firsts[:, np.newaxis] - self._firsts))
        self._firsts += weight**2 * (1 - share) * error - share * self._squares * error
        self._means += share * error[:-1]
        self._squares += weight**2

    # Progressive validation

    @property
    def counts(self):
        """The number of samples in the mean losses, and their total weight."""
        return self._count, self._weight

    @property
    def mean_losses(self):
        """The weighted mean of the losses before each step, (S,); NaN before the first one."""
        return self._means.copy() if self._count else np.full(len(self._means), np.nan)

    def standard_errors(self, reference=None):
        """The standard errors of the mean losses, (S,), or of their differences to that of strength `reference`.

        Infinite until there are two samples. The losses of samples are independent as far as they are of the past.
        """
        if not self._count:
            return np.full(len(self._means), np.nan)
        left = 1 - self._squares / self._weight**2
        squares = np.maximum(0, self._seconds[-1 if reference is None else reference, :-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(squares / left) / self._weight if left > 0 else np.full(len(squares), np.inf)

    # Weights

    def single(self, s):
        """The model at strength `s`, as a Stream with the same bits that goes on learning from here."""
        return self._streams[s].copy()

    def weights(self, s):
        """The weights at strength `s` after all pending penalties, (columns, features)."""
        return self._streams[s].coef()

    def intercepts(self, s):
        """The intercept at strength `s`, (columns,); zero if there is none."""
        return self._streams[s].intercept()

    def nonzeros(self):
        """The number of weights that are not zero, (S,)."""
        return np.array([np.count_nonzero(self.weights(s)) for s in range(len(self.strengths))])

    def penalty(self, s):
        """The penalty of the weights at strength `s`, with the penalty factors of the last call."""
        return penalty_of(self.weights(s), (*self.strengths[s].tolist(), 0.0), self._streams[s].learner.factors)

    def copy(self):
        """A consistent copy, even if another thread trains."""
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        new._streams = [stream.copy() for stream in self._streams]
        for name in ("_means", "_firsts", "_seconds"):
            setattr(new, name, getattr(self, name).copy())
        return new


def checked_strengths(strengths):
    """A read-only copy of strengths (S, 2); ValueError unless they are finite and not negative."""
    strengths = np.array(strengths, dtype=float)
    if strengths.ndim != 2 or strengths.shape[1] != 2 or not len(strengths):
        raise ValueError(f"strengths: expected an array of shape (S, 2), l1 and l2, got shape {strengths.shape}")
    bad = ~(np.isfinite(strengths) & (strengths >= 0))
    if bad.any():
        raise ValueError(f"strengths: expected finite numbers, not negative, got {strengths[bad][0]!r}")
    strengths.flags.writeable = False
    return strengths
