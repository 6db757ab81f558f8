"""Layer 5, what the linear models share and scikit-learn need not know: weights that learn from samples as they come.

The weights lie as (features, columns), one column for each class: a sample touches rows, and its features are caught up
with once for all columns. The state lives from call to call, so that it makes no difference how a stream is cut.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg import reference
from fastreg._boundary.linear import Learner, keep, mean_loss, record_type, survey

LOSSES = {  # in the order of losses.pxd, with the largest second derivative, the corner of hinge aside
    "log_loss": 0.25,
    "hinge": 0.0,
    "squared_hinge": 2.0,
    "squared_error": 1.0,
    "huber": 1.0,
}
CHUNK = 1 << 15  # samples between two looks at the keyboard, where there are any
LONG = 1 << 27  # values times columns of a call that can be interrupted: seconds


class Optimizer(NamedTuple):
    """How the compiled code knows it, and where its state starts."""

    direction: tuple  # of the reference; each call has its own learning rates
    first: tuple  # where the state starts
    stamp: tuple | None  # and the stamp


OPTIMIZERS = {
    "sgd": Optimizer(reference.Plain(0.0), (), (1.0, 0.0)),
    "adagrad": Optimizer(reference.Adagrad(0.0, 1e-10), (0.1,), (0,)),
    "ftrl": Optimizer(reference.FTRL(0.0, 1.0), (0.0, 0.0), None),
}


class Samples:
    """The rows of an array or of a CSR matrix that csr.py has checked, as the kernels read them: without duplicates.

    Their values stay the caller's memory, but nobody can free or shorten it meanwhile.
    """

    def __init__(self, x):
        self.shared, self.features = not sparse.issparse(x), x.shape[1]
        self.borrowed = getattr(x, "borrowed", False)  # the indices are the caller's memory, too
        if self.shared:
            values, self.indices = x.ravel(), np.arange(x.shape[1])
            self.starts = np.arange(x.shape[0] + 1) * x.shape[1]
        else:
            if not x.has_canonical_format:
                x = x.copy()
                x.sum_duplicates()
            values, self.indices, self.starts = x.data, x.indices, x.indptr.astype(np.intp)
        self.guards = keep([values, self.indices])
        self.data = values if values.flags.aligned and values.flags.c_contiguous else values.copy()
        self._surveyed = None
        self.longest = int(np.diff(self.starts).max(initial=0))

    def __len__(self):
        return len(self.starts) - 1

    def surveyed(self, fingerprints=False):
        """What `survey` tells of each sample; a pass over all features, so not before it is asked for."""
        if self._surveyed is None or (fingerprints and self._surveyed[2] is None):
            self._surveyed = survey(self, fingerprints)
        return self._surveyed

    @property
    def squares(self):
        """The squared length of each sample."""
        return self.surveyed()[0]

    @property
    def fingerprints(self):
        """A number for each sample that depends on its features alone."""
        return self.surveyed(fingerprints=True)[2]

    def sizes(self, order):
        """The root mean square of each sample's features, as far as they are not zero; 0 where that says nothing."""
        squares, counts, _ = self.surveyed()
        with np.errstate(invalid="ignore"):
            sizes = np.sqrt(squares[order] / counts[order])
        return np.where(np.isfinite(sizes), sizes, 0.0)


class Task(NamedTuple):
    """What the samples are to teach."""

    rates: Callable  # gives the learning rates after so many steps
    strengths: tuple  # l1 and l2; for FTRL, which adds them once and not at every step, they grow with the samples seen
    loss: str
    epsilon: float
    careful: bool  # whether to cut rates that would take a sample beyond the minimum of its own loss
    unit: float  # if not 0, the rate for features of size 1, in place of `rates`: the weights' shrinks with the size


class Stream:
    """The weights and the intercept of a linear model, and what their optimizer remembers.

    Parameters
    ----------
    features, columns : int
    dtype : float32 or float64
    optimizer : str
        A name of OPTIMIZERS.
    intercept : bool
        Whether there is one; it is never penalised.
    """

    def __init__(self, features, columns, dtype, optimizer, intercept):
        direction, first, stamp = OPTIMIZERS[optimizer]
        records = np.zeros(features, record_type(direction, dtype, columns))
        if stamp:
            records["stamp"] = stamp
        for name, x in zip("ab", first):
            records[name] = x
        own = [np.full(columns, x, dtype) for x in (0.0, *first)] if intercept else []
        self.optimizer, self.learner = optimizer, Learner(records, direction, own)
        self._told = None  # version, weights (columns, features) and intercept, when they were last read

    def __getstate__(self):
        return vars(self) | {"_told": None}

    def copy(self):
        """All of it, at one moment."""
        return self._around(self.learner.copy())

    def _around(self, learner):
        new = object.__new__(Stream)
        new.__dict__ = vars(self) | {"learner": learner, "_told": None}
        return new

    @property
    def shape(self):
        """Features and columns."""
        return self.learner.records["w"].shape

    @property
    def dtype(self):
        """Float32 or float64."""
        return self.learner.records["w"].dtype

    @property
    def has_intercept(self):
        """Whether there is one."""
        return bool(self.learner.intercept)

    @property
    def completed(self):
        """Samples seen."""
        return self.learner.completed

    @property
    def scale(self):
        """The mean size of the samples, when they were last 1, 2, 4, 8, ... samples."""
        return self.learner.scale

    def _scales(self, sizes):
        """The scale at each of these samples, however a stream is cut; and the sum and the count of sizes after them.

        It changes when the samples have doubled, since Adagrad pays a pass over all weights for every change.
        """
        total, count = self.learner.sizes
        totals = np.cumsum(np.concatenate([[total], sizes]))[1:]
        counts = count + np.cumsum(sizes > 0)
        doubled = (sizes > 0) & (counts & (counts - 1) == 0)
        scales = np.concatenate([[self.scale], totals[doubled] / counts[doubled]])[np.cumsum(doubled)]
        return scales, float(totals[-1]), int(counts[-1])

    def learn(self, samples, order, targets, weights, task, epochs=1, private=False):
        """A step for each sample of `order`, in order; the sum of their losses.

        It happens whole or not at all. A call that takes long works on a copy, in pieces, between which an interrupt
        may come. So does, without the copy, one that is `private`: if it fails, its only owner drops the stream.
        """
        if private:
            return self._pieces(samples, order, targets, weights, task, epochs)
        values = len(order) * int(samples.starts[-1]) // max(1, len(samples)) * self.shape[1]
        if values > LONG and values > 4 * self.learner.records.size * self.shape[1]:
            return self.learner.exchange(
                lambda copy: self._around(copy)._pieces(samples, order, targets, weights, task, epochs)
            )
        return self.learner.learn(lambda: self._prepared(samples, order, targets, weights, task, epochs))

    def _pieces(self, samples, order, targets, weights, task, epochs):
        total = 0.0
        for start in range(0, max(1, len(order)), CHUNK):
            part = slice(start, start + CHUNK)
            own = order[part], targets, None if weights is None else weights[part]
            total += self.learner.learn(lambda own=own: self._prepared(samples, *own, task, epochs))
        return total

    def _prepared(self, samples, order, targets, weights, task, epochs):
        """What Learner.learn takes."""
        steps, (total, count), scales = self.completed + np.arange(len(order)), self.learner.sizes, self.scale
        if task.unit and len(order):
            scales, total, count = self._scales(samples.sizes(order))
        lr = task.unit / scales if task.unit else task.rates(steps)
        times = steps + 1.0 if self.optimizer == "ftrl" else 1.0
        table = np.stack(np.broadcast_arrays(lr, *(x * times for x in task.strengths))).reshape(3, -1)
        table = np.ascontiguousarray(table, dtype=float)
        self._check_rates(table[0])
        return (
            samples, order, targets, weights, table, list(LOSSES).index(task.loss), task.epsilon,
            LOSSES[task.loss] if task.careful else 0.0, task.unit, total, count, float(np.ravel(scales)[-1]), epochs,
        )  # fmt: skip

    def _check_rates(self, lr):
        """The kernels round them to the dtype of the weights; FTRL divides by them."""
        if lr.min(initial=1) >= 1e-30 and lr.max(initial=1) <= 1e30:
            return
        with np.errstate(all="ignore"):
            rounded = lr.astype(self.dtype)
            bad = ~np.isfinite(rounded) | ((rounded == 0) & (lr > 0))
            if self.optimizer == "ftrl":
                bad |= ~np.isfinite(1 / rounded)
        if bad.any():
            lost = "can hold and invert" if self.optimizer == "ftrl" else "can hold"
            raise ValueError(
                f"eta0, learning_rate: expected learning rates that {self.dtype}, the dtype of the weights, {lost}, got"
                f" {lr[bad][0]!r}"
            )

    def _read(self):
        """Version, weights (columns, features) and intercept, of one moment."""
        told = self._told
        if told is None or told[0] != self.learner.version:
            version, weights, intercept = self.learner.read(self.shape[0])
            weights.flags.writeable = False  # it is what margins are made of until the next step
            told = self._told = version, weights.T, intercept
        return told

    def coef(self):
        """The weights as they are now, (columns, features), read-only."""
        return self._read()[1]

    def intercept(self):
        """The intercept as it is now, an entry a column; zero for none."""
        return self.learner.read_intercept() if self.has_intercept else np.zeros(self.shape[1])

    def margins(self, x):
        """x·w plus intercept, (samples, columns); for few non-zeros, without a look at all weights."""
        told = self._told
        stale = told is None or told[0] != self.learner.version
        if stale and sparse.issparse(x) and 10 * x.nnz < x.shape[1]:
            features, places = np.unique(x.indices, return_inverse=True)
            few = sparse.csr_matrix((x.data, places, x.indptr), (x.shape[0], len(features)))
            _, weights, intercept = self.learner.read(x.shape[1], features.astype(np.int64))
            margins = few @ weights
        else:
            _, coef, intercept = self._read()
            if x.shape[1] != coef.shape[1]:
                raise ValueError(f"X: expected {coef.shape[1]} features, as in the first call, got {x.shape[1]}")
            margins = x @ coef.T
        return margins + intercept if self.has_intercept else margins

    def loss(self, margins, targets, weights, task):
        """The mean loss of samples with these margins, (samples, columns)."""
        margins = np.ascontiguousarray(margins, dtype=float)
        return mean_loss(margins, targets, weights, list(LOSSES).index(task.loss), task.epsilon)
