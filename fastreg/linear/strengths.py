"""Layer 5, many strengths in one pass over the data: the same model at each of them, and how well each predicts.

Each strength has the bits of a Stream of its own. Before a sample is learnt, all strengths predict it: the mean of
these losses, progressive validation (Blum, Kalai & Langford 1999), judges them in the first pass over the data.
"""

from math import inf

import numpy as np

from fastreg._boundary.linear import Learner, record_type
from fastreg._boundary.strengths import StrengthLearner, lanes_of, new_records
from fastreg._boundary.strengths import record_type as strengths_record_type
from fastreg.linear.factors import NONE, check_products
from fastreg.linear.optimizers import OPTIMIZERS
from fastreg.linear.scales import Sizes
from fastreg.linear.stream import Stream
from fastreg.linear.stream_units import Split
from fastreg.linear.units import Units
from fastreg.linear.weights import Read


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
        self.strengths = checked_strengths(strengths, np.dtype(dtype))
        self._shared = SharedStream(features, columns, dtype, optimizer, intercept, positive, self.strengths)

    @staticmethod
    def required_memory(features, columns, strengths, dtype, optimizer):
        """The bytes that the weights at so many strengths take, with the state of their optimizer.

        A call of `learn` with FTRL takes in addition a number for each strength, column and feature of its longest
        sample; four if samples are dense, with the strengths rounded up to a multiple of 32.
        """
        direction = OPTIMIZERS[optimizer].direction
        size = strengths_record_type(direction, np.dtype(dtype), columns, strengths).itemsize
        return features * size + 8 * lanes_of(strengths) * (17 + 10 * columns)

    # The settings and numbers that all strengths share

    shape = property(lambda self: self._shared.shape, doc="The numbers of features and of columns.")
    dtype = property(lambda self: self._shared.dtype, doc="The dtype of the weights.")
    optimizer = property(lambda self: self._shared.optimizer, doc="The name of the optimizer.")
    has_intercept = property(lambda self: self._shared.has_intercept, doc="Whether there is an intercept.")
    positive = property(lambda self: self._shared.positive, doc="Whether the weights cannot be negative.")
    completed = property(lambda self: self._shared.completed, doc="The number of samples trained on.")
    epochs = property(lambda self: self._shared.epochs, doc="The number of epochs of the last call.")
    sizes = property(lambda self: self._shared.sizes, doc="See Stream.sizes.")

    def factors_of(self, penalty_factor):
        """The checked penalty factors: see Stream.factors_of."""
        return self._shared.factors_of(penalty_factor)

    def learn(self, samples, order, targets, weights, task, epochs=1, private=False, left_out=None):
        """One step for each entry of `order`; returns for each strength the sum of the losses before the steps, (S,).

        A call completes or changes nothing. It cannot be interrupted, because a copy for that would take as much memory
        again. (It is taken where features get other units, of which there are few: see units.py.) With
        ``private=True`` it can be, between chunks, and then the caller discards the stream. The l1 and l2 of the task
        are not used, and its l21 is 0.
        """
        if task.strengths[2]:
            raise ValueError(f"strengths: expected no group lasso with many strengths, got l21 = {task.strengths[2]!r}")
        if not len(order):
            return np.zeros(len(self.strengths))
        task, left_out = task._replace(strengths=(1.0, 1.0, 0.0)), [] if left_out is None else left_out
        call = samples, order, targets, weights, task, epochs, left_out
        if private:
            return self._shared._learn_in_chunks(*call)
        try:
            return self._shared.learner.learn(lambda: self._shared._prepare(*call))
        except Split:  # nothing has changed
            pass
        return self._shared.learner.exchange(lambda copy: self._shared._with_learner(copy)._learn_in_chunks(*call))

    def suits(self, task):
        """See StreamUnits.suits."""
        return self._shared.suits(task)

    def loss(self, margins, targets, weights, task):
        """See Stream.loss."""
        return self._shared.loss(margins, targets, weights, task)

    # Progressive validation

    @property
    def counts(self):
        """The number of samples in the mean losses, and their total weight."""
        (count, weight, _), *_ = self._shared.learner.judged()
        return count, weight

    @property
    def mean_losses(self):
        """The weighted mean of the losses before each step, (S,); NaN before the first one."""
        (count, *_), means, _ = self._shared.learner.judged()
        return means if count else np.full(len(means), np.nan)

    def standard_errors(self):
        """The standard errors of the mean losses, (S,); not those of differences between strengths.

        Those of a weighted mean of independent samples, in proportion to √(Σ v²·(l − m)²)/Σ v. NaN before there are two
        samples, and while one has all the weight.
        """
        (count, weight, squares), means, seconds = self._shared.learner.judged()
        left = 1 - squares / weight**2 if count else 0.0  # the unbiased estimate; for equal weights 1 − 1/n
        if count < 2 or not left > 0:
            return np.full(len(means), np.nan)
        return np.sqrt(np.maximum(0, seconds) / left) / weight

    # Weights

    def single(self, s):
        """The model at strength `s`, as a Stream with the same bits that goes on learning from here."""
        return self._shared.single(s)

    def weights(self, s):
        """The weights at strength `s` after all pending penalties, (columns, features)."""
        return self._read(s).raw_coef()

    def intercepts(self, s):
        """The intercept at strength `s`, (columns,); zero if there is none."""
        return self._read(s).raw_intercept()

    def _read(self, s):
        learner, s = self._shared.learner, range(len(self.strengths))[s]
        return Read(0, learner.weights(s).T, learner.intercepts(s), self._shared.units())

    def nonzeros(self):
        """The number of weights that are not zero, (S,)."""
        return self._shared.learner.nonzeros()

    def copy(self):
        """A consistent copy, even if another thread trains."""
        new = object.__new__(type(self))
        vars(new).update(vars(self), _shared=self._shared.copy())
        return new


class SharedStream(Stream):
    """What StrengthStream shares with Stream: learning rates, scales and checks of a call."""

    def __init__(self, *settings):
        *settings, self._strengths = settings
        super().__init__(*settings)

    def _new_learner(self, factors=None):
        features, columns = self.shape
        direction, initial_state, initial_stamp, _ = OPTIMIZERS[self.optimizer]
        records = new_records(features, strengths_record_type(direction, self.dtype, columns, len(self._strengths)))
        if "inverse" in records.dtype.names:
            records["inverse"], records["total"] = initial_stamp
        for name, x in zip("ab", initial_state):
            if x:  # to write zeros would take memory for records that are never used
                records[name] = x
        shape = columns, lanes_of(len(self._strengths))
        own = [np.full(shape, x, self.dtype) for x in (0.0, *initial_state)] if self.has_intercept else []
        return StrengthLearner(records, direction, own, self._strengths, 0.0 if self.positive else -inf, factors)

    def _prepare(self, *call):
        prepared = super()._prepare(*call)
        factor = prepared[5][1].max(initial=0)  # what l1 and l2 are multiplied by: see StrengthLearner.learn
        *_, sizes, factors = prepared
        largest = self._largest_factor(Sizes.of(sizes).units, call[4].factors, factors)
        with np.errstate(over="ignore"):  # checked here
            check_products(self._strengths.max() * factor, largest, self.dtype)
        return prepared

    def _strongest(self, task):
        return self._strengths.max()

    def _change_units(self, sizes, task):
        """As for a single model, for one strength after the other."""
        self._change_each(lambda single: single._change_units(sizes, task))

    def _begin_anew(self, sizes, center, task):
        """As for a single model, and the losses are forgotten, too."""
        self._change_each(lambda single: single._begin_anew(sizes, center, task))
        self.learner.forget_losses()

    def _change_each(self, change):
        """Change a Stream at each strength, and take over what it is then, as is what all of them share."""
        learner = self.learner
        learner.flush()
        for s in range(len(self._strengths)):
            single = self.single(s)
            change(single)
            own = single.learner
            learner.set_state(s, own.records, own.intercept)
        units = own.factors, bool(single.sizes.units)
        learner.set_units(*units, (own.epochs, own.center, own.sizes))

    def units(self):
        """The Units of features; None for raw ones."""
        return Units.unpacked(self.sizes.units)

    def single(self, s):
        """See StrengthStream."""
        new = object.__new__(Stream)
        state = {name: x for name, x in dict(vars(self)).items() if name not in ("_learner", "_strengths", "_factors")}
        vars(new).update(state, _factors=NONE)
        fields, intercept, record, numbers, factors = self.learner.state_of(range(len(self._strengths))[s])
        direction = self.learner.direction
        records = np.zeros(self.shape[0], record_type(direction, self.dtype, self.shape[1]))
        for name in "wab":
            if name in fields:
                records[name] = fields[name]
        if "inverse" in fields:
            records["stamp"] = np.stack([fields["inverse"], fields["total"]], axis=1)
        elif "stamp" in fields:
            records["stamp"][:, 0] = fields["stamp"]
        in_units = bool(Sizes.of(numbers[-1]).units)
        low = 0.0 if self.positive else -inf
        new._learner = Learner(records, direction, intercept, factors, low=low, in_units=in_units)
        new._learner.restore_numbers(record, numbers)
        return new


def checked_strengths(strengths, dtype):
    """A read-only copy of strengths (S, 2); ValueError unless the dtype can hold them, and they are not negative."""
    strengths = np.array(strengths, dtype=float)
    if strengths.ndim != 2 or strengths.shape[1] != 2 or not len(strengths):
        raise ValueError(f"strengths: expected an array of shape (S, 2), l1 and l2, got shape {strengths.shape}")
    with np.errstate(over="ignore"):
        bad = ~(np.isfinite(strengths.astype(dtype)) & (strengths >= 0))
    if bad.any():
        raise ValueError(f"strengths: expected finite {dtype} numbers, not negative, got {strengths[bad][0]!r}")
    strengths.flags.writeable = False
    return strengths
