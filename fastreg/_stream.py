"""Layer 5, what the linear models share and scikit-learn need not know: weights that learn from samples as they come.

The weights lie as (features, columns), one column for each class: a sample touches rows, and its features are caught up
with once for all columns. The state lives from call to call, so that it makes no difference how a stream is cut.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from fastreg._learn import Learner, survey

LOSSES = {  # in the order of losses.pxd, with the largest second derivative, the corner of hinge aside
    "log_loss": 0.25,
    "hinge": 0.0,
    "squared_hinge": 2.0,
    "squared_error": 1.0,
    "huber": 1.0,
}
CHUNK = 1 << 15  # samples between two looks at the keyboard


class Optimizer(NamedTuple):
    """What a record holds beside its weights, and where it starts."""

    direction: str
    second: float  # the direction's second number
    first: tuple  # where the state starts
    stamp: tuple | None  # and the stamp


OPTIMIZERS = {
    "sgd": Optimizer("Plain", 0.0, (), (1.0, 0.0)),
    "adagrad": Optimizer("Adagrad", 1e-10, (0.1,), (0,)),
    "ftrl": Optimizer("FTRL", 1.0, (0.0, 0.0), None),
}


def check(x):
    """The kernels trust the indices of a CSR matrix, which SciPy's constructors do not look at."""
    starts, stop = x.indptr, x.indptr[-1]
    indices = x.indices[: max(stop, 0)]
    if starts[0] != 0 or (np.diff(starts) < 0).any() or stop > min(len(x.indices), len(x.data)):
        raise ValueError("X: expected a CSR matrix whose indptr rises from 0 to the number of its entries, got another")
    if indices.min(initial=0) < 0 or indices.max(initial=-1) >= x.shape[1]:
        raise ValueError(f"X: expected a CSR matrix with indices from 0 to {x.shape[1] - 1}, got others")


class Samples:
    """The rows of an array or a CSR matrix, as the kernels read them: no row has an index twice."""

    def __init__(self, x):
        self.shared = not sparse.issparse(x)
        if self.shared:
            self.data, self.indices = x, np.arange(x.shape[1])
            self.starts = np.arange(x.shape[0] + 1) * x.shape[1]
        else:
            check(x)
            if not x.has_canonical_format:
                x = x.copy()
                x.sum_duplicates()
            self.data, self.indices, self.starts = x.data, x.indices, x.indptr.astype(np.intp)
        self.longest = int(np.diff(self.starts).max(initial=0))

    def __len__(self):
        return len(self.starts) - 1

    @cached_property
    def surveyed(self):
        """What `survey` tells of each sample; a pass over all features, so not before it is asked for."""
        return survey(self)

    @property
    def squares(self):
        """The squared length of each sample."""
        return self.surveyed[0]

    @property
    def prints(self):
        """A number for each sample that depends on its features alone."""
        return self.surveyed[2]

    def sizes(self, order):
        """The root mean square of each sample's features, as far as they are not zero; 0 where that says nothing."""
        squares, counts, _ = self.surveyed
        with np.errstate(invalid="ignore"):
            sizes = np.sqrt(squares[order] / counts[order])
        return np.where(np.isfinite(sizes), sizes, 0.0)


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
        direction, second, first, stamp = OPTIMIZERS[optimizer]
        fields = [("stamp", "i8" if direction == "Adagrad" else "f8", len(stamp))] if stamp else []
        fields += [(name, dtype, columns) for name in ("w", "a", "b")[: 1 + len(first)]]
        size = np.dtype(fields, align=True).itemsize
        if size <= 16:  # whole records in a cache line
            fields.append(("", f"V{(1 << (size - 1).bit_length()) - size}"))
        records = np.zeros(features, np.dtype(fields, align=True))
        if stamp:
            records["stamp"] = stamp
        for name, x in zip("ab", first):
            records[name] = x
        own = [np.full(columns, x, dtype) for x in (0.0, *first)] if intercept else []
        self.optimizer, self.learner = optimizer, Learner(records, direction, second, own)
        self.sizes = 0.0, 0  # the sum of the samples' sizes, and how many had one
        self.scale = 1.0  # their mean, when they were last 1, 2, 4, 8, ... samples
        self._told = None

    def __getstate__(self):
        return vars(self) | {"_told": None}

    @property
    def shape(self):
        """Features and columns."""
        return self.learner.records["w"].shape

    @property
    def dtype(self):
        """Float32 or float64."""
        return self.learner.records["w"].dtype

    @property
    def intercept(self):
        """The intercept of each column, or None."""
        return self.learner.intercept[0] if self.learner.intercept else None

    @property
    def has_intercept(self):
        """Whether there is one."""
        return bool(self.learner.intercept)

    def suits(self, x, columns, optimizer, intercept):
        """Whether training on x can go on from here."""
        here = self.optimizer, self.has_intercept, self.shape, self.dtype
        return (optimizer, intercept, (x.shape[1], columns), x.dtype) == here

    @property
    def completed(self):
        """Samples seen."""
        return self.learner.completed

    def _scales(self, sizes):
        """The scale at each of these samples, the same ones however a stream is cut; and what `sizes` will be then.

        It changes when the samples have doubled, since Adagrad pays a pass over all weights for every change.
        """
        totals = np.cumsum(np.concatenate([[self.sizes[0]], sizes]))[1:]
        counts = self.sizes[1] + np.cumsum(sizes > 0)
        doubled = (sizes > 0) & (counts & (counts - 1) == 0)
        scales = np.concatenate([[self.scale], totals[doubled] / counts[doubled]])[np.cumsum(doubled)]
        return scales, (float(totals[-1]), int(counts[-1]))

    def learn(self, samples, order, targets, weights, rates, strengths, loss, epsilon, careful, unit):
        """A step for each sample of `order`, in order; the sum of their losses.

        `rates` gives the learning rates after so many steps; `careful` is whether to cut those that would take a sample
        beyond the minimum of its own loss. `unit`, if not 0, is the rate for features of size 1, in place of `rates`:
        that of the weights is as much smaller as the features are larger. `strengths` are l1 and l2; for FTRL, which
        adds its strengths once and not at every step, they grow with the samples seen.
        """
        total = 0.0
        for start in range(0, len(order), CHUNK):
            part = slice(start, start + CHUNK)
            steps = self.completed + np.arange(len(order[part]))
            scales, sizes = self._scales(samples.sizes(order[part])) if unit else (self.scale, self.sizes)
            lr = unit / scales if unit else rates(steps)
            times = steps + 1.0 if self.optimizer == "ftrl" else 1.0
            table = np.stack(np.broadcast_arrays(lr, *(x * times for x in strengths))).reshape(3, -1)
            total += self.learner.learn(
                samples, order[part], targets, None if weights is None else weights[part],
                np.ascontiguousarray(table, dtype=float), list(LOSSES).index(loss), epsilon,
                LOSSES[loss] if careful else 0.0, unit,
            )  # fmt: skip
            self.sizes, self.scale = sizes, float(np.ravel(scales)[-1])
        return total

    def coef(self):
        """The weights as they are now, (columns, features)."""
        if self._told is None or self._told[0] != self.completed:
            told = self.learner.weights().T
            told.flags.writeable = False  # it is what margins are made of until the next step
            self._told = self.completed, told
        return self._told[1]

    def margins(self, x):
        """x·w plus intercept, (samples, columns); for few non-zeros, without a look at all weights."""
        if sparse.issparse(x):
            check(x)
        stale = self._told is None or self._told[0] != self.completed
        if stale and sparse.issparse(x) and 10 * x.nnz < x.shape[1]:
            stop = x.indptr[-1]  # there may be room behind
            features, places = np.unique(x.indices[:stop], return_inverse=True)
            few = sparse.csr_matrix((x.data[:stop], places, x.indptr), (x.shape[0], len(features)))
            margins = few @ self.learner.weights(features.astype(np.int64))
        else:
            margins = x @ self.coef().T
        return margins if self.intercept is None else margins + self.intercept
